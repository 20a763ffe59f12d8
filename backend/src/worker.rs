//! Runs generations: claims them by lease, keeps the leases alive, gives them back on a stop.
//!
//! A generation in progress is one sleeping task. It holds no database connection and no
//! document while OpenAI writes, so thousands of them wait in one process.

pub mod steps;

mod response_times;
mod running;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::db::DbError;
use crate::db::leases::{self, AfterFailure, Ask, Claim, Failure};
use crate::db::workers::{self, Beat};
use crate::domain::ids::{GenerationId, WorkerId};
use crate::retry::jitter;
use crate::state::AppState;
use crate::telemetry::{chain, spans};
use crate::worker::response_times::ResponseTimes;
use crate::worker::running::Running;
use crate::worker::steps::StepError;

/// Claims of one statement; more would keep rows locked longer than a claim should.
const CLAIM_BATCH: usize = 64;

/// The worker of one process.
#[derive(Debug)]
pub struct Worker {
    state: AppState,
    id: WorkerId,
    running: Running,
    /// How long OpenAI's responses take.
    response_times: ResponseTimes,
    /// New work or a free slot; a permit is kept when nobody waits, so no wake-up is missed.
    wake: Notify,
    /// Every task that must end, or be given time to end, before the leases go back.
    tasks: TaskTracker,
    /// Nothing new is begun from here on.
    stopping: CancellationToken,
    /// The time to stop is over: whoever still tries gives up.
    gone: CancellationToken,
    /// Renderings at a time: as many as there are cores.
    rendering: Semaphore,
}

/// Runs until the worker's stop is asked for, then gives all leases back and returns: in well under
/// the stop's time.
pub async fn run(worker: Arc<Worker>) {
    tracing::info!(worker_id = %worker.id, slots = worker.state.config.worker.slots, "worker started");
    let heartbeat = tokio::spawn(beat(Arc::clone(&worker)));
    claim_while_running(&worker).await;
    stop(&worker).await;
    heartbeat.abort();
}

impl Worker {
    /// A worker that stops when `shutdown` is cancelled; it does nothing before [`run`].
    pub fn new(state: AppState, shutdown: CancellationToken) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Arc::new(Self {
            running: Running::default(),
            response_times: ResponseTimes::default(),
            id: WorkerId::new(),
            wake: Notify::new(),
            tasks: TaskTracker::new(),
            stopping: shutdown,
            gone: CancellationToken::new(),
            rendering: Semaphore::new(cores),
            state,
        })
    }

    /// There may be work to claim.
    pub(crate) fn look_for_work(&self) {
        self.wake.notify_one();
    }

    /// A generation was cancelled: whatever attempt of it runs here ends.
    pub(crate) fn stop_cancelled(&self, id: GenerationId) {
        self.running.stop_any(id);
    }

    /// Runs a database operation until the database answers. A generation in progress outlives any
    /// outage this way; its fence decides afterwards whether it is still its own.
    async fn persist<T, F, Answer>(&self, operation: F) -> Result<T, StepError>
    where
        F: Fn() -> Answer,
        Answer: Future<Output = Result<T, DbError>>,
    {
        let mut failures = 0;
        loop {
            match operation().await {
                Ok(value) => return Ok(value),
                Err(DbError::Failed(error)) => {
                    return Err(StepError::internal(&DbError::Failed(error)));
                }
                Err(error) => {
                    failures += 1;
                    // One line per outage and task is enough.
                    if failures == 1 {
                        tracing::warn!(error = %chain(&error), "waiting for the database");
                    }
                }
            }
            let delay = self.state.config.backoff.delay(failures, jitter());
            tokio::select! {
                () = self.gone.cancelled() => return Err(StepError::Fenced),
                () = sleep(delay) => {}
            }
        }
    }

    fn free_slots(&self) -> usize {
        self.state
            .config
            .worker
            .slots
            .get()
            .saturating_sub(self.running.count())
    }

    fn attempts_max(&self) -> i32 {
        i32::try_from(self.state.config.worker.attempts_max).unwrap_or(i32::MAX)
    }

    fn slots_changed(&self) {
        self.state.metrics.slots_busy(self.running.count());
        self.wake.notify_one();
    }
}

/// The one place that claims: one query per wake-up, however many slots are free. Between wake-ups it looks now and then
/// whether one was missed, which costs less than a claim; without a free slot there is nothing to look for, and the next
/// one wakes it.
async fn claim_while_running(worker: &Arc<Worker>) {
    let config = &worker.state.config.worker;
    let mut failures = 0;
    let mut woken = true;
    while !worker.stopping.is_cancelled() {
        let mut pause = config.claim_interval;
        match claim(worker, woken).await {
            Ok(more_may_wait) => {
                failures = 0;
                woken = more_may_wait;
                if more_may_wait {
                    continue;
                }
                if worker.free_slots() == 0 {
                    pause = Duration::MAX;
                }
            }
            Err(error) => {
                failures += 1;
                if failures == 1 {
                    tracing::warn!(error = %chain(&error), "cannot claim work");
                }
                pause = worker.state.config.backoff.delay(failures, jitter());
            }
        }
        woken = tokio::select! {
            () = worker.stopping.cancelled() => false,
            () = worker.wake.notified() => true,
            () = sleep(pause) => false,
        };
    }
}

/// Fills the free slots, and says whether more may wait. A worker that nobody has woken looks first.
async fn claim(worker: &Arc<Worker>, woken: bool) -> Result<bool, DbError> {
    let config = &worker.state.config;
    let limit = worker.free_slots().min(CLAIM_BATCH);
    if limit == 0 || !(woken || leases::anything_waits(&worker.state.lane).await?) {
        return Ok(false);
    }
    let ask = Ask {
        limit: i64::try_from(limit).unwrap_or(i64::MAX),
        lease: config.worker.lease,
        per_user_max: config.allowance.running_max.get().into(),
    };
    let claims = leases::claim(&worker.state.pool, worker.id, ask).await?;
    let more_may_wait = claims.len() == limit;
    for claim in claims {
        start(worker, claim);
    }
    Ok(more_may_wait)
}

fn start(worker: &Arc<Worker>, claim: Claim) {
    let waited = (claim.claimed_at - claim.created_at)
        .to_std()
        .unwrap_or_default();
    if !claim.resumed {
        worker.state.metrics.waited(waited);
    }
    tracing::info!(
        generation_id = %claim.id, attempt = claim.attempt, waited_ms = waited.as_millis(), "generation claimed"
    );
    let stop = worker.stopping.child_token();
    worker.running.insert(claim.id, claim.attempt, stop.clone());
    worker.state.metrics.slots_busy(worker.running.count());
    let for_task = Arc::clone(worker);
    worker.tasks.spawn(async move {
        attempt(&for_task, &claim, stop).await;
        for_task.running.remove(claim.id, claim.attempt);
        for_task.slots_changed();
    });
}

/// One attempt: all steps, or the reason why not. Ends at once when `stop` is cancelled.
async fn attempt(worker: &Arc<Worker>, claim: &Claim, stop: CancellationToken) {
    let span = spans::attempt(claim.id, claim.attempt);
    let work = async {
        // A step that panics is a failed attempt like any other: the cap ends what panics every time.
        let result = AssertUnwindSafe(steps::run(worker, claim).instrument(span.clone()))
            .catch_unwind()
            .await;
        match result.unwrap_or_else(|_| Err(StepError::panicked())) {
            Ok(()) => "succeeded",
            Err(StepError::Fenced) => "fenced",
            Err(StepError::Failed {
                code,
                detail,
                retry_in,
            }) => {
                let failure = Failure {
                    code: &code,
                    detail: &detail,
                    retry_in,
                };
                fail(worker, claim, &failure).await
            }
        }
    };
    let outcome = tokio::select! {
        biased;
        () = stop.cancelled() => "stopped",
        outcome = work => outcome,
    };
    worker.state.metrics.attempt_ended(outcome);
    spans::ended(&span, outcome);
    tracing::info!(generation_id = %claim.id, attempt = claim.attempt, outcome, "attempt ended");
}

async fn fail(worker: &Arc<Worker>, claim: &Claim, failure: &Failure<'_>) -> &'static str {
    let written = worker
        .persist(|| leases::fail_attempt(&worker.state.lane, claim, failure, worker.attempts_max()))
        .await;
    tracing::warn!(
        generation_id = %claim.id, attempt = claim.attempt, code = failure.code, detail = failure.detail,
        retried = matches!(written, Ok(AfterFailure::Queued)), "attempt failed"
    );
    match written {
        Ok(AfterFailure::Failed) => "failed",
        Ok(AfterFailure::Queued) => {
            look_after(worker, failure.retry_in.unwrap_or_default());
            "retried"
        }
        Ok(AfterFailure::Fenced) | Err(_) => "fenced",
    }
}

/// Looks for work when a retry's delay is over, of which nobody is notified.
fn look_after(worker: &Arc<Worker>, delay: Duration) {
    let for_task = Arc::clone(worker);
    worker.tasks.spawn(async move {
        tokio::select! {
            () = for_task.stopping.cancelled() => {}
            () = sleep(delay) => for_task.look_for_work(),
        }
    });
}

/// Renews the leases of this process, stops what it has lost, and sees to what others have left.
async fn beat(worker: Arc<Worker>) {
    let config = &worker.state.config.worker;
    let mut ticks = interval(config.heartbeat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let told = Beat {
        worker: worker.id,
        slots: i32::try_from(config.slots.get()).unwrap_or(i32::MAX),
        lease: config.lease,
    };
    loop {
        ticks.tick().await;
        let before = worker.running.snapshot();
        match workers::beat(&worker.state.lane, told, &before).await {
            Ok(heard) => {
                for (id, attempt) in before {
                    if !heard.held.contains(&(id, attempt)) && worker.running.stop(id, attempt) {
                        worker.state.metrics.lease_lost();
                        tracing::warn!(generation_id = %id, attempt, "lease lost");
                    }
                }
                if heard.leases_expired {
                    rescue(&worker).await;
                }
                if heard.webhooks_due {
                    worker.state.webhooks.look();
                }
            }
            Err(error) if before.is_empty() => {
                tracing::debug!(error = %chain(&error), "the worker is not announced");
            }
            Err(error) => tracing::warn!(error = %chain(&error), "leases not renewed"),
        }
    }
}

async fn rescue(worker: &Worker) {
    match leases::rescue_expired(&worker.state.lane, worker.attempts_max()).await {
        Ok((0, 0)) => {}
        Ok((queued, failed)) => {
            worker.state.metrics.leases_rescued(queued);
            tracing::warn!(queued, failed, "leases of lost workers expired");
        }
        Err(error) => tracing::debug!(error = %chain(&error), "expired leases not looked for"),
    }
}

/// Waits for the calls that must not be cut (a response being created, its id being stored), then
/// gives every lease back in one statement. Waiting generations have ended with `stopping` already.
async fn stop(worker: &Worker) {
    let budget = worker.state.config.shutdown_timeout;
    worker.tasks.close();
    let all_ended = timeout(budget / 2, worker.tasks.wait()).await.is_ok();
    let released = timeout(budget / 2, async {
        let mut failures = 0;
        loop {
            match leases::release_all(&worker.state.lane, worker.id).await {
                Ok(released) => return released,
                Err(error) => {
                    failures += 1;
                    tracing::warn!(error = %chain(&error), "leases not given back yet");
                    sleep(
                        worker
                            .state
                            .config
                            .backoff
                            .delay(failures, jitter())
                            .min(Duration::from_millis(500)),
                    )
                    .await;
                }
            }
        }
    });
    match released.await {
        Ok(released) => {
            tracing::info!(released, all_ended, "worker stopped");
            // It would be forgotten by itself, later.
            if let Err(error) = workers::withdraw(&worker.state.lane, worker.id).await {
                tracing::debug!(error = %chain(&error), "the worker is not withdrawn");
            }
        }
        // They expire by themselves: later, but not lost.
        Err(_) => tracing::error!("worker stopped without giving its leases back"),
    }
    worker.gone.cancel();
}
