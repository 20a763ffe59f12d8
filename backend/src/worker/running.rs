//! The generations that run in this process, and how to stop one of them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::domain::ids::GenerationId;

/// Which generations run here, by id.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<HashMap<GenerationId, Entry>>);

#[derive(Debug)]
struct Entry {
    attempt: i32,
    stop: CancellationToken,
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, HashMap<GenerationId, Entry>> {
        // Every operation leaves the map whole, so a panic elsewhere spoils nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an attempt. An older one of the same generation, whose lease this process lost without
    /// noticing yet, is stopped.
    pub(super) fn insert(&self, id: GenerationId, attempt: i32, stop: CancellationToken) {
        if let Some(older) = self.lock().insert(id, Entry { attempt, stop }) {
            older.stop.cancel();
        }
    }

    /// Removes an attempt, unless a newer one has taken its place.
    pub(super) fn remove(&self, id: GenerationId, attempt: i32) {
        let mut entries = self.lock();
        if entries
            .get(&id)
            .is_some_and(|entry| entry.attempt == attempt)
        {
            entries.remove(&id);
        }
    }

    /// Stops an attempt; `false` when it is not running any more.
    pub(super) fn stop(&self, id: GenerationId, attempt: i32) -> bool {
        let entries = self.lock();
        let found = entries.get(&id).filter(|entry| entry.attempt == attempt);
        found.inspect(|entry| entry.stop.cancel()).is_some()
    }

    /// Stops whatever attempt of a generation runs here.
    pub(super) fn stop_any(&self, id: GenerationId) {
        if let Some(entry) = self.lock().get(&id) {
            entry.stop.cancel();
        }
    }

    /// How many run.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Who runs.
    pub(super) fn snapshot(&self) -> Vec<(GenerationId, i32)> {
        self.lock()
            .iter()
            .map(|(id, entry)| (*id, entry.attempt))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_attempt_stops_the_older_and_outlives_its_removal() {
        let running = Running::default();
        let id = GenerationId::new();
        let (older, newer) = (CancellationToken::new(), CancellationToken::new());
        running.insert(id, 1, older.clone());
        running.insert(id, 2, newer.clone());
        assert!(older.is_cancelled() && !newer.is_cancelled());
        running.remove(id, 1);
        assert_eq!(running.snapshot(), [(id, 2)]);
        assert!(!running.stop(id, 1));
        assert!(running.stop(id, 2) && newer.is_cancelled());
    }
}
