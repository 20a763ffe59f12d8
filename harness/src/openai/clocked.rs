//! The state machine with a clock at its edge: what both fronts share.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::engine::{Billing, CallStats, Created, OpenAiState, Reply, Request};
use super::script::{Script, ScriptError};

/// A state machine that is told the time since the Unix epoch. The wall clock is read once; from
/// then on the monotonic clock counts, so that a corrected wall clock ends no response early.
#[derive(Debug)]
pub(super) struct Clocked {
    state: Mutex<OpenAiState>,
    epoch: Duration,
    started: Instant,
}

impl Clocked {
    pub(super) fn new(script: Script) -> Result<Self, ScriptError> {
        let state = Mutex::new(OpenAiState::new(script)?);
        let epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok(Self {
            state,
            epoch,
            started: Instant::now(),
        })
    }

    pub(super) fn handle(&self, request: &Request<'_>) -> Reply {
        // The instant is read under the lock, so that replies are as old as they say.
        let mut state = self.lock();
        let now = self.now();
        state.handle(now, request)
    }

    pub(super) fn billing(&self) -> Billing {
        let mut state = self.lock();
        let now = self.now();
        state.billing(now)
    }

    pub(super) fn stats(&self) -> CallStats {
        self.lock().stats()
    }

    pub(super) fn keep_journal(&self) {
        self.lock().keep_journal();
    }

    pub(super) fn journal(&self) -> Vec<Created> {
        self.lock().journal()
    }

    pub(super) fn set_script(&self, script: Script) -> Result<(), ScriptError> {
        self.lock().set_script(script)
    }

    fn now(&self) -> Duration {
        self.epoch.saturating_add(self.started.elapsed())
    }

    /// A handler that panicked has failed its own request; counters stay meaningful for the others.
    fn lock(&self) -> MutexGuard<'_, OpenAiState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
