//! Steps 4 and 5: render the PDF, store it, end the generation.
//!
//! The bytes are kept nowhere between the two: rendering is deterministic and takes milliseconds,
//! so a chain that is picked up here renders again and overwrites the same object.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::db;
use crate::db::leases::Claim;
use crate::db::steps::{Bill, StoredPdf};
use crate::domain::generation::{Step, pdf_key};
use crate::pdf::{Proposal, RenderedPdf, Section, render};
use crate::retry::jitter;
use crate::telemetry::chain;
use crate::worker::Worker;
use crate::worker::steps::{StepError, announce, attempt_delay, held};

/// Tries to store within an attempt.
const TRIES: u32 = 6;

/// Renders, stores, ends.
pub(super) async fn run(
    worker: &Worker,
    claim: &Claim,
    titles: &[String],
) -> Result<(), StepError> {
    let sections = u16::try_from(titles.len()).unwrap_or(u16::MAX);
    announce(worker, claim, Step::RenderPdf, sections).await?;
    let rendered = render_proposal(worker, claim, titles).await?;
    let page_count = i32::try_from(rendered.page_count).unwrap_or(i32::MAX);
    let (lane, pages) = (&worker.state.lane, page_count.to_string());
    let finish = || db::steps::finish(lane, claim, Step::RenderPdf, &pages, Bill::default());
    held(worker.persist(finish).await?)?;

    announce(worker, claim, Step::StorePdf, sections).await?;
    let key = pdf_key(claim.id);
    let size_bytes = i64::try_from(rendered.bytes.len()).unwrap_or(i64::MAX);
    store(worker, claim, &key, rendered.bytes.into()).await?;
    let pdf = StoredPdf {
        key: &key,
        size_bytes,
        page_count,
    };
    held(
        worker
            .persist(|| db::steps::succeed(lane, claim, &pdf))
            .await?,
    )
}

async fn render_proposal(
    worker: &Worker,
    claim: &Claim,
    titles: &[String],
) -> Result<RenderedPdf, StepError> {
    let sections = u16::try_from(titles.len()).unwrap_or(u16::MAX);
    let written = worker
        .persist(|| db::steps::written(&worker.state.lane, claim.id, sections))
        .await?;
    if written.sections.len() != titles.len() {
        return Err(StepError::for_good(
            "internal",
            "The service lost a step's output.",
        ));
    }
    let section = |(title, markdown): (&String, String)| Section {
        title: title.clone(),
        markdown,
    };
    let proposal = Proposal {
        title: written.title,
        subtitle: "Technical proposal".to_owned(),
        sections: titles.iter().zip(written.sections).map(section).collect(),
    };
    let _permit = worker
        .rendering
        .acquire()
        .await
        .map_err(|error| StepError::internal(&error))?;
    let rendering = tokio::task::spawn_blocking(move || render(&proposal)).await;
    rendering
        .map_err(|error| StepError::internal(&error))?
        .map_err(|error| StepError::internal(&error))
}

async fn store(worker: &Worker, claim: &Claim, key: &str, bytes: Bytes) -> Result<(), StepError> {
    let sha256: [u8; 32] = Sha256::digest(&bytes).into();
    let mut failures = 0;
    loop {
        let error = match worker
            .state
            .storage
            .put_bytes(key, bytes.clone(), &sha256)
            .await
        {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        failures += 1;
        worker.state.metrics.upstream_error("storage");
        tracing::warn!(generation_id = %claim.id, failures, error = %chain(&error), "storing the PDF failed");
        if failures == TRIES || !error.is_transient() {
            let detail = "The finished PDF could not be stored.";
            return Err(StepError::for_now(
                "storage_unavailable",
                detail,
                attempt_delay(worker),
            ));
        }
        tokio::time::sleep(worker.state.config.backoff.delay(failures, jitter())).await;
    }
}
