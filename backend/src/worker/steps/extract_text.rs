//! Step 1: the text of the uploaded documents, joined for prompts. A document that nobody has read yet
//! is read here, by a child process.

use crate::db;
use crate::db::documents::Stored;
use crate::db::leases::Claim;
use crate::db::steps::Bill;
use crate::domain::generation::Step;
use crate::pdf::extract::{ExtractError, ExtractedText};
use crate::retry::jitter;
use crate::storage::StorageError;
use crate::telemetry::chain;
use crate::worker::Worker;
use crate::worker::steps::{StepError, announce, attempt_delay, held, output};

/// Characters of all documents together in a prompt: about 20,000 tokens.
const PROMPT_CHARS_MAX: usize = 80_000;
/// Tries to read one document within an attempt.
const TRIES: u32 = 6;

/// Extracts unless it was done before.
pub(super) async fn run(worker: &Worker, claim: &Claim) -> Result<(), StepError> {
    if claim.resumed && output(worker, claim, Step::ExtractText).await?.is_some() {
        return Ok(());
    }
    announce(worker, claim, Step::ExtractText, 1).await?;
    let documents = worker
        .persist(|| db::documents::of_generation(&worker.state.lane, claim.id))
        .await?;
    let mut texts = Vec::with_capacity(documents.len());
    for document in documents {
        let text = match document.text.zip(document.page_count) {
            Some((text, page_count)) => ExtractedText { page_count, text },
            None => read_first(worker, &document.stored).await?,
        };
        texts.push((document.stored.file_name, text));
    }
    let joined = join(&texts, PROMPT_CHARS_MAX);
    let (lane, step) = (&worker.state.lane, Step::ExtractText);
    held(
        worker
            .persist(|| db::steps::finish(lane, claim, step, &joined, Bill::default()))
            .await?,
    )
}

/// Reads a document and remembers what stands in it.
async fn read_first(worker: &Worker, document: &Stored) -> Result<ExtractedText, StepError> {
    let text = read(worker, document).await?;
    let (lane, id) = (&worker.state.lane, document.id);
    worker
        .persist(|| db::documents::remember(lane, id, &text))
        .await?;
    Ok(text)
}

async fn read(worker: &Worker, document: &Stored) -> Result<ExtractedText, StepError> {
    let name = &document.file_name;
    let mut failures = 0;
    loop {
        let cause = match worker.state.storage.get(&document.storage_key).await {
            Ok(stream) => match worker.state.extractor.extract(stream).await {
                Ok(text) => return Ok(text),
                Err(ExtractError::Unreadable(reason)) => {
                    return Err(StepError::for_good(
                        "document_unreadable",
                        format!("The document {name} cannot be read: {reason}."),
                    ));
                }
                Err(ExtractError::Exhausted(how)) => {
                    tracing::warn!(document_id = %document.id, how, "a document exhausted its reader");
                    return Err(StepError::for_good(
                        "document_unreadable",
                        format!(
                            "The document {name} cannot be read: it takes too much time or memory."
                        ),
                    ));
                }
                Err(error @ ExtractError::Broken(_)) => chain(&error).to_string(),
            },
            Err(StorageError::Missing { .. }) => {
                return Err(StepError::for_good(
                    "document_missing",
                    format!("The document {name} is not there."),
                ));
            }
            Err(error) => {
                worker.state.metrics.upstream_error("storage");
                chain(&error).to_string()
            }
        };
        failures += 1;
        tracing::warn!(document_id = %document.id, failures, error = cause, "a document was not read");
        if failures == TRIES {
            let detail = format!("The document {name} could not be fetched and read.");
            return Err(StepError::for_now(
                "document_unavailable",
                detail,
                attempt_delay(worker),
            ));
        }
        tokio::time::sleep(worker.state.config.backoff.delay(failures, jitter())).await;
    }
}

/// Joins texts under their names. Where the room is short, long documents are cut to the same
/// length and short ones stay whole (max-min fairness).
fn join(texts: &[(String, ExtractedText)], chars_max: usize) -> String {
    let lengths: Vec<usize> = texts
        .iter()
        .map(|(_, text)| text.text.chars().count())
        .collect();
    let cut = fair_cut(lengths, chars_max);
    let mut joined = String::new();
    for (name, text) in texts {
        let kept: String = text.text.chars().take(cut).collect();
        let body = if kept.is_empty() { "(no text)" } else { &kept };
        let pages = text.page_count;
        joined.push_str(&format!(
            "## Document: {name} ({pages} pages)\n\n{body}\n\n"
        ));
    }
    joined
}

/// The length to cut to, so that the sum of what is left stays within `room` and as little as
/// possible is lost: short ones leave what they do not need to the longer ones.
fn fair_cut(mut lengths: Vec<usize>, mut room: usize) -> usize {
    lengths.sort_unstable();
    let count = lengths.len();
    for (index, length) in lengths.into_iter().enumerate() {
        let share = room / (count - index);
        if length > share {
            return share;
        }
        room -= length;
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn document(text: &str) -> (String, ExtractedText) {
        (
            "a.pdf".to_owned(),
            ExtractedText {
                page_count: 2,
                text: text.to_owned(),
            },
        )
    }

    #[test]
    fn short_documents_leave_their_room_to_long_ones() {
        let joined = join(&[document("ab"), document(&"y".repeat(50))], 20);
        assert_eq!(joined.matches('y').count(), 18);
    }

    #[test]
    fn no_documents_give_an_empty_text() {
        assert_eq!(join(&[], 20), "");
    }

    proptest! {
        #[test]
        fn joined_texts_never_exceed_their_room(texts in prop::collection::vec("[qé]{0,60}", 0..8), room in 0_usize..200) {
            let documents: Vec<_> = texts.iter().map(|text| document(text)).collect();
            let kept = join(&documents, room).chars().filter(|character| matches!(character, 'q' | 'é')).count();
            let all: usize = texts.iter().map(|text| text.chars().count()).sum();
            prop_assert!(kept <= room && kept <= all);
            prop_assert!(all > room || kept == all);
        }
    }
}
