//! Reads the text of an uploaded PDF in a child process, because a parser that overflows its stack
//! or eats all memory takes its process along and nothing inside that process can prevent it.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Semaphore;

use crate::config::DocumentConfig;

/// Address space of the child: room for a 10 MiB file, its objects and one inflated stream.
const MEMORY_BYTES: u64 = 384 * 1024 * 1024;
/// CPU time of the child.
const CPU_SECONDS: u64 = 20;
/// No stream of the PDF may inflate to more.
const STREAM_BYTES: usize = 64 * 1024 * 1024;
/// Pages of a document that is read at all. A tender has hundreds.
const PAGES_MAX: usize = 2_000;
/// What the drawing instructions of all pages together may inflate to; 100 times an honest large tender.
const INFLATED_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Text that is kept of one document: about 50,000 tokens, more than a prompt takes from it.
const TEXT_BYTES_MAX: usize = 200_000;
/// What the parent reads at most: the text, escaped in the worst way.
const OUTPUT_BYTES_MAX: u64 = 6 * TEXT_BYTES_MAX as u64 + 1024;

/// The text of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtractedText {
    /// Pages it has.
    pub page_count: i32,
    /// Its text, perhaps cut; empty for scanned pages.
    pub text: String,
}

/// What the child says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Report {
    Text(ExtractedText),
    Unreadable(Unreadable),
}

/// Why a document has no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Unreadable {
    /// It needs a password.
    #[error("it is encrypted")]
    Encrypted,
    /// The parser does not understand it.
    #[error("it is damaged or not a PDF")]
    Damaged,
    /// Nothing in it.
    #[error("it has no pages")]
    NoPages,
    /// More than anybody reads.
    #[error("it has more than {PAGES_MAX} pages")]
    TooManyPages,
    /// It inflates to far more than a document needs.
    #[error("it unpacks to more than a document needs")]
    Bomb,
}

impl Unreadable {
    /// Its name in problems.
    pub fn name(self) -> &'static str {
        match self {
            Self::Encrypted => "document-encrypted",
            Self::Damaged => "document-damaged",
            Self::NoPages => "document-without-pages",
            Self::TooManyPages => "document-too-long",
            Self::Bomb => "document-bomb",
        }
    }
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// A fault of the document.
    #[error("read the document")]
    Unreadable(#[from] Unreadable),
    /// The document made the child run out of time, memory or stack.
    #[error("read the document within its limits: {0}")]
    Exhausted(String),
    /// The child could not be run, or its input broke off: come again.
    #[error("run the extractor")]
    Broken(#[source] std::io::Error),
}

/// Runs children, no more at once than there are cores.
#[derive(Debug, Clone)]
pub struct Extractor {
    program: PathBuf,
    timeout: Duration,
    running: Arc<Semaphore>,
}

impl Extractor {
    /// An extractor as configured.
    pub fn new(config: &DocumentConfig) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            program: config.extractor_path.clone(),
            timeout: config.extractor_timeout,
            running: Arc::new(Semaphore::new(cores)),
        }
    }

    /// Reads a document as it streams in. Dropping the future kills the child.
    ///
    /// # Errors
    /// When the document has no readable text, or the child could not be run.
    pub async fn extract(&self, document: ByteStream) -> Result<ExtractedText, ExtractError> {
        self.run(Stdio::piped(), Some(document)).await
    }

    /// Reads a document from where the file stands.
    ///
    /// # Errors
    /// As [`Self::extract`].
    pub async fn extract_file(
        &self,
        document: std::fs::File,
    ) -> Result<ExtractedText, ExtractError> {
        self.run(document.into(), None).await
    }

    async fn run(
        &self,
        stdin: Stdio,
        document: Option<ByteStream>,
    ) -> Result<ExtractedText, ExtractError> {
        let broken = |what: &str| ExtractError::Broken(std::io::Error::other(what.to_owned()));
        let permit = self.running.acquire().await;
        let _permit = permit.map_err(|error| broken(&error.to_string()))?;
        let mut child = Command::new(&self.program)
            .arg("extract-text")
            // A parser of strangers' files has no business with our secrets.
            .env_clear()
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(ExtractError::Broken)?;
        let stdout = child.stdout.take().ok_or_else(|| broken("no pipe"))?;
        let stdin = child.stdin.take();
        let is_fed = AtomicBool::new(document.is_none());
        let feeding = async {
            let fed = match document.zip(stdin) {
                Some((document, stdin)) => feed(document, stdin).await,
                None => Ok(()),
            };
            is_fed.store(true, Ordering::Relaxed);
            fed
        };
        let conversation = async {
            let mut output = Vec::new();
            let mut capped = stdout.take(OUTPUT_BYTES_MAX);
            let (fed, read) = tokio::join!(feeding, capped.read_to_end(&mut output));
            read.map_err(ExtractError::Broken)?;
            let status = child.wait().await.map_err(ExtractError::Broken)?;
            match fed {
                // Whatever the child says, it says of a part of the document. But a child that died closes its
                // input, so its death explains a broken pipe and not the other way round.
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    Err(ExtractError::Broken(error))
                }
                _ if status.success() => Ok(output),
                _ => Err(ExtractError::Exhausted(status.to_string())),
            }
        };
        let output = tokio::time::timeout(self.timeout, conversation)
            .await
            .map_err(|_| {
                let in_time = format!("in {} ms", self.timeout.as_millis());
                if is_fed.load(Ordering::Relaxed) {
                    ExtractError::Exhausted(format!("no answer {in_time}"))
                } else {
                    // The child reads all before it does anything: the document is late, not hard.
                    broken(&format!("the document did not arrive {in_time}"))
                }
            })??;
        match serde_json::from_slice(&output) {
            Ok(Report::Text(text)) => Ok(text),
            Ok(Report::Unreadable(reason)) => Err(reason.into()),
            Err(error) => Err(ExtractError::Broken(error.into())),
        }
    }
}

async fn feed(
    mut document: ByteStream,
    mut stdin: tokio::process::ChildStdin,
) -> std::io::Result<()> {
    while let Some(chunk) = document.next().await {
        let bytes = chunk.map_err(std::io::Error::other)?;
        stdin.write_all(&bytes).await?;
    }
    stdin.shutdown().await
}

/// The child's whole life: limits itself, reads a PDF from stdin, writes a JSON report to stdout.
pub fn child_main() -> ExitCode {
    let limited = rlimit::Resource::AS
        .set(MEMORY_BYTES, MEMORY_BYTES)
        .and_then(|()| rlimit::Resource::CPU.set(CPU_SECONDS, CPU_SECONDS))
        .and_then(|()| rlimit::Resource::CORE.set(0, 0));
    // Without limits nothing is read at all.
    if limited.is_err() {
        return ExitCode::FAILURE;
    }
    let mut bytes = Vec::new();
    if std::io::stdin().lock().read_to_end(&mut bytes).is_err() {
        return ExitCode::FAILURE;
    }
    let report = match extract_now(&bytes) {
        Ok(text) => Report::Text(text),
        Err(reason) => Report::Unreadable(reason),
    };
    let written = serde_json::to_vec(&report).map_err(std::io::Error::from);
    match written.and_then(|bytes| std::io::stdout().lock().write_all(&bytes)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn extract_now(bytes: &[u8]) -> Result<ExtractedText, Unreadable> {
    let options = lopdf::LoadOptions {
        max_decompressed_size: Some(STREAM_BYTES),
        ..lopdf::LoadOptions::default()
    };
    let document =
        lopdf::Document::load_mem_with_options(bytes, options).map_err(|error| match error {
            lopdf::Error::Decryption(_)
            | lopdf::Error::InvalidPassword
            | lopdf::Error::AlreadyEncrypted => Unreadable::Encrypted,
            error if is_bomb(&error) => Unreadable::Bomb,
            _ => Unreadable::Damaged,
        })?;
    if document.is_encrypted() {
        return Err(Unreadable::Encrypted);
    }
    let pages = document.get_pages();
    match pages.len() {
        0 => return Err(Unreadable::NoPages),
        1..=PAGES_MAX => {}
        _ => return Err(Unreadable::TooManyPages),
    }
    let mut inflated_bytes = 0;
    for id in pages.values() {
        // A page whose content is broken otherwise costs its own text only.
        match document.get_page_content_with_limit(*id, STREAM_BYTES) {
            Ok(content) => inflated_bytes += content.len(),
            Err(error) if is_bomb(&error) => return Err(Unreadable::Bomb),
            Err(_) => {}
        }
        if inflated_bytes > INFLATED_BYTES_MAX {
            return Err(Unreadable::Bomb);
        }
    }
    Ok(ExtractedText {
        page_count: i32::try_from(pages.len()).unwrap_or(i32::MAX),
        text: text_of(&document, pages.keys()),
    })
}

fn is_bomb(error: &lopdf::Error) -> bool {
    use lopdf::DecompressError;
    matches!(
        error,
        lopdf::Error::Decompress(
            DecompressError::MemoryLimitExceeded { .. } | DecompressError::TooManyFilters { .. }
        )
    )
}

fn text_of<'a>(document: &lopdf::Document, pages: impl Iterator<Item = &'a u32>) -> String {
    let mut text = String::new();
    for page in pages {
        let of_page = document
            .extract_text_with_limit(&[*page], STREAM_BYTES)
            .unwrap_or_default();
        // Postgres text and prompts can do without control characters.
        text.extend(
            of_page
                .chars()
                .filter(|character| *character == '\n' || !character.is_control()),
        );
        text.push('\n');
        if text.len() >= TEXT_BYTES_MAX {
            break;
        }
    }
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    text.truncate(end);
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pdf::{Proposal, Section, render};

    #[test]
    fn text_and_pages_of_a_real_pdf_are_read() {
        let section = Section {
            title: "Scope".to_owned(),
            markdown: "Forty pumps.".to_owned(),
        };
        let proposal = Proposal {
            title: "Bid".to_owned(),
            subtitle: String::new(),
            sections: vec![section],
        };
        let pdf = render(&proposal).expect("renders");
        let extracted = extract_now(&pdf.bytes).expect("reads");
        assert_eq!(extracted.page_count, 3);
        assert!(
            extracted.text.contains("Forty pumps."),
            "{}",
            extracted.text
        );
    }

    #[test]
    fn what_is_no_pdf_is_told_apart() {
        assert_eq!(
            extract_now(b"%PDF-1.7\nnothing more"),
            Err(Unreadable::Damaged)
        );
        assert_eq!(extract_now(b""), Err(Unreadable::Damaged));
    }
}
