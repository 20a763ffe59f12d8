//! What this process knows of the queue's pace: a little old, so that a poll never waits for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::Utc;

use crate::db;
use crate::db::generations::GenerationRow;
use crate::domain::generation::Status;
use crate::domain::pace::{LONGEST, Pace, Standing, come_back_after};
use crate::state::AppState;
use crate::telemetry::chain;

/// No sooner is the database asked again, however fast the pollers are.
const REFRESH_MIN: Duration = Duration::from_millis(200);

/// The pace as it was last read.
#[derive(Debug, Default)]
pub struct Pacing(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    pace: Option<Pace>,
    asked_at: Option<Instant>,
}

impl Pacing {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known, for a poll of a generation that waits or runs; `true` when it is old and nobody
    /// asks already. Of what runs only the mean time of a run is needed, which changes slowly.
    fn look(&self, status: Status, shortest: Duration) -> (Option<Pace>, bool) {
        let mut known = self.lock();
        let has_run_time = known.pace.is_some_and(|pace| pace.run.is_some());
        let life = match status {
            Status::Running if has_run_time => shortest * LONGEST,
            _ => shortest,
        };
        let old = known
            .asked_at
            .is_none_or(|asked| asked.elapsed() > life.max(REFRESH_MIN));
        if old {
            known.asked_at = Some(Instant::now());
        }
        (known.pace, old)
    }
}

/// When whoever polls this generation should come back.
pub fn poll_delay(state: &AppState, row: &GenerationRow) -> Duration {
    let shortest = state.config.http.poll_retry_after;
    let (pace, old) = state.pacing.look(row.status, shortest);
    if old {
        tokio::spawn(refresh(state.clone()));
    }
    let standing = Standing {
        status: row.status,
        progress: row.progress,
        age: (Utc::now() - row.created_at).to_std().unwrap_or_default(),
    };
    come_back_after(shortest, standing, pace)
}

async fn refresh(state: AppState) {
    match db::generations::pace(&state.lane).await {
        Ok(pace) => state.pacing.lock().pace = Some(pace),
        Err(error) => tracing::debug!(error = %chain(&error), "the queue's pace is not known"),
    }
}
