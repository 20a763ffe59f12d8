//! The chain of steps. Each one finds its result when it was done before, so a chain that is
//! picked up again goes on where it was left.

mod ask_openai;
mod extract_text;
mod store_pdf;
mod write_outline;
mod write_sections;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Instrument;

use crate::db;
use crate::db::leases::Claim;
use crate::domain::generation::Step;
use crate::telemetry::{chain, spans};
use crate::worker::Worker;

/// Delay before the next attempt when the step does not say otherwise.
const ATTEMPT_DELAY_FAILURES: u32 = 2;

/// Why a chain did not reach its end.
#[derive(Debug)]
pub(super) enum StepError {
    /// The generation is not ours any more, or the process is going: write nothing, say nothing.
    Fenced,
    /// The attempt failed.
    Failed {
        /// For programs.
        code: String,
        /// For people; no internals.
        detail: String,
        /// When to try again; `None` means never.
        retry_in: Option<Duration>,
    },
}

impl StepError {
    /// A fault that another attempt would meet again.
    pub(super) fn for_good(code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Failed {
            code: code.into(),
            detail: detail.into(),
            retry_in: None,
        }
    }

    /// A fault that may pass.
    pub(super) fn for_now(
        code: impl Into<String>,
        detail: impl Into<String>,
        retry_in: Duration,
    ) -> Self {
        Self::Failed {
            code: code.into(),
            detail: detail.into(),
            retry_in: Some(retry_in),
        }
    }

    /// A fault of ours: logged in full, told to nobody, tried again in case it depends on the moment.
    pub(super) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = %chain(error), "a step failed by a fault of the service");
        Self::for_now("internal", "The service failed.", Duration::from_secs(1))
    }

    /// A step panicked.
    pub(super) fn panicked() -> Self {
        Self::for_now("internal", "The service failed.", Duration::from_secs(1))
    }
}

/// Runs what is left of a generation's chain.
pub(super) async fn run(worker: &Arc<Worker>, claim: &Claim) -> Result<(), StepError> {
    let clock = Clock { worker, claim };
    clock
        .time(
            Step::ExtractText,
            Box::pin(extract_text::run(worker, claim)),
        )
        .await?;
    let titles = clock
        .time(
            Step::WriteOutline,
            Box::pin(write_outline::run(worker, claim)),
        )
        .await?;
    let sections = u16::try_from(titles.len()).unwrap_or(u16::MAX);
    for number in 1..=sections {
        let write = Box::pin(write_sections::run(worker, claim, &titles, number));
        clock.time(Step::WriteSection(number), write).await?;
    }
    clock
        .time(
            Step::StorePdf,
            Box::pin(store_pdf::run(worker, claim, &titles)),
        )
        .await
}

struct Clock<'a> {
    worker: &'a Worker,
    claim: &'a Claim,
}

impl Clock<'_> {
    async fn time<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, StepError>>,
    ) -> Result<T, StepError> {
        let started = Instant::now();
        let span = spans::step(self.claim.id, step);
        let result = work.instrument(span.clone()).await;
        if let Err(StepError::Failed { code, .. }) = &result {
            spans::failed(&span, code);
        }
        let result = result?;
        self.worker
            .state
            .metrics
            .step(step.kind(), started.elapsed());
        Ok(result)
    }
}

/// The fence's answer as a step's.
fn held(held: bool) -> Result<(), StepError> {
    if held { Ok(()) } else { Err(StepError::Fenced) }
}

/// Announces a step to those who poll.
async fn announce(
    worker: &Worker,
    claim: &Claim,
    step: Step,
    sections: u16,
) -> Result<(), StepError> {
    let progress = step.progress(sections);
    held(
        worker
            .persist(|| db::steps::announce(&worker.state.lane, claim, step, progress))
            .await?,
    )
}

/// The output of a step that was done before.
async fn output(worker: &Worker, claim: &Claim, step: Step) -> Result<Option<String>, StepError> {
    worker
        .persist(|| db::steps::output(&worker.state.lane, claim.id, step))
        .await
}

/// The delay before the next attempt of something that failed for now.
fn attempt_delay(worker: &Worker) -> Duration {
    worker
        .state
        .config
        .backoff
        .delay(ATTEMPT_DELAY_FAILURES, crate::retry::jitter())
}
