//! Delivers what is in the outbox, at least once: a claim is a lease, and only an answer ends it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::db::webhooks::{self, DeliveryRow};
use crate::retry::jitter;
use crate::state::AppState;
use crate::telemetry::chain;
use crate::webhooks::Attempt;

/// Deliveries under way at a time: slow receivers cost a little memory, not a queue.
const CONCURRENT_MAX: usize = 32;

/// No sooner is the outbox read again by itself: what is due already, another process is claiming.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(100);

/// Runs until `stopping`. Deliveries under way are waited for by the stop; one that is cut is due
/// again after its lease.
pub(crate) async fn run(state: AppState, stopping: CancellationToken) {
    let permits = Arc::new(Semaphore::new(CONCURRENT_MAX));
    let mut failures = 0;
    while !stopping.is_cancelled() {
        let free = i64::try_from(permits.available_permits()).unwrap_or(1);
        // The worker's heartbeat looks as well.
        let mut pause = Duration::MAX;
        if free > 0 {
            match webhooks::claim(&state.lane, free, 2 * state.config.webhooks.timeout).await {
                Ok(claimed) => {
                    failures = 0;
                    for delivery in claimed {
                        // As many were claimed as there were permits, and only this loop takes them.
                        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                            break;
                        };
                        let delivering = deliver(state.clone(), delivery, permit);
                        state.background.spawn(delivering);
                    }
                    pause = next_due(&state).await;
                }
                Err(error) => {
                    failures += 1;
                    tracing::debug!(error = %chain(&error), "the outbox is not read");
                    pause = state.config.backoff.delay(failures, jitter());
                }
            }
        }
        tokio::select! {
            () = stopping.cancelled() => {}
            () = state.webhooks.wake.notified() => {}
            () = sleep(pause) => {}
        }
    }
}

/// When the next delivery is due that nobody will be told of: a retry, or one whose process has died.
async fn next_due(state: &AppState) -> Duration {
    match webhooks::due_in(&state.lane).await {
        Ok(Some(wait)) => wait.max(LOOK_AGAIN_MIN),
        // When the outbox cannot be read, the next claim says so.
        Ok(None) | Err(_) => Duration::MAX,
    }
}

async fn deliver(state: AppState, delivery: DeliveryRow, permit: OwnedSemaphorePermit) {
    let config = &state.config.webhooks;
    let attempts = delivery.attempts.unsigned_abs();
    let outcome = state.webhooks.deliver(&delivery).await;
    let (kind, written) = match outcome {
        Attempt::Delivered => (
            "delivered",
            webhooks::delivered(&state.lane, delivery.id).await,
        ),
        Attempt::Failed {
            failure,
            retry_after,
        } if attempts < config.attempts_max.get() => {
            let delay = config.backoff.delay_after(attempts, retry_after, jitter());
            let delay = Some(delay.min(config.backoff.max.max(config.timeout)));
            let written = webhooks::failed(&state.lane, &delivery, &failure, delay).await;
            ("retried", written)
        }
        Attempt::Failed { failure, .. } | Attempt::Unwanted { failure } => {
            tracing::warn!(
                generation_id = %delivery.generation_id, webhook_id = %delivery.id, attempts, failure,
                "a webhook is given up"
            );
            let written = webhooks::failed(&state.lane, &delivery, &failure, None).await;
            ("abandoned", written)
        }
    };
    state.metrics.webhook(kind);
    if let Err(error) = written {
        // It is due again after its lease: delivered twice at worst, under the same id.
        tracing::warn!(webhook_id = %delivery.id, error = %chain(&error), "a webhook's outcome is not stored");
    }
    drop(permit);
    state.webhooks.look();
}
