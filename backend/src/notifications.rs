//! Hears what Postgres notifies: one listening connection per process, for its worker and for the
//! requests that wait for a generation to change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::db::generations::{CHANGED_CHANNEL, CHANNEL, QUEUED, WEBHOOK};
use crate::domain::ids::GenerationId;
use crate::retry::jitter;
use crate::state::AppState;
use crate::telemetry::chain;
use crate::worker::Worker;

/// A connection that was silent for so long is asked whether it is alive: a fail-over can leave a
/// listener on a host that is gone, which would never tell.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// How long it may take to say so.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Who waits for which generation, in this process.
#[derive(Debug, Clone, Default)]
pub struct Watchers(Arc<Mutex<HashMap<GenerationId, watch::Sender<()>>>>);

/// One who waits; forgotten when dropped.
#[derive(Debug)]
pub struct Watch {
    id: GenerationId,
    receiver: watch::Receiver<()>,
    watchers: Watchers,
}

impl Watchers {
    fn lock(&self) -> MutexGuard<'_, HashMap<GenerationId, watch::Sender<()>>> {
        // Every operation leaves the map whole, so a panic elsewhere spoils nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to watch. What changes from here on is not missed, so the state is read after this.
    pub fn watch(&self, id: GenerationId) -> Watch {
        let receiver = self
            .lock()
            .entry(id)
            .or_insert_with(|| watch::Sender::new(()))
            .subscribe();
        Watch {
            id,
            receiver,
            watchers: self.clone(),
        }
    }

    fn changed(&self, id: GenerationId) {
        if let Some(sender) = self.lock().get(&id) {
            sender.send_replace(());
        }
    }

    fn all_may_have_changed(&self) {
        for sender in self.lock().values() {
            sender.send_replace(());
        }
    }
}

impl Watch {
    /// Returns once the generation may have changed since the last return.
    pub async fn changed(&mut self) {
        // The sender lives as long as this receiver: only the last watcher's drop removes it.
        let _ = self.receiver.changed().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut entries = self.watchers.lock();
        let last = entries
            .get(&self.id)
            .is_some_and(|sender| sender.receiver_count() <= 1);
        if last {
            entries.remove(&self.id);
        }
    }
}

/// Listens for ever. What is missed while the connection is down is made up for after it: everybody
/// who waits is woken and looks.
pub(crate) async fn listen(state: AppState, worker: Option<Arc<Worker>>) {
    let mut failures = 0;
    loop {
        match PgListener::connect_with(&state.pool).await {
            Ok(mut listener) => {
                // The pool closes only after this task has ended.
                listener.ignore_pool_close_event(true);
                match hear(&state, worker.as_deref(), &mut listener).await {
                    Ok(()) => failures = 0,
                    Err(error) => {
                        tracing::warn!(error = %chain(&error), "notifications interrupted");
                    }
                }
            }
            Err(error) => tracing::debug!(error = %chain(&error), "notifications not to be had"),
        }
        failures += 1;
        sleep(state.config.backoff.delay(failures, jitter())).await;
    }
}

/// Returns when the connection is lost.
async fn hear(
    state: &AppState,
    worker: Option<&Worker>,
    listener: &mut PgListener,
) -> Result<(), sqlx::Error> {
    listener.listen_all([CHANNEL, CHANGED_CHANNEL]).await?;
    // What happened before the listening began was notified to nobody.
    if let Some(worker) = worker {
        worker.look_for_work();
    }
    state.watchers.all_may_have_changed();
    state.webhooks.look();
    loop {
        let notification = match timeout(SILENCE_MAX, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => notification,
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let asked = sqlx::query("SELECT 1").execute(&mut *listener);
                match timeout(ALIVE_TIMEOUT, asked).await {
                    Ok(answer) => answer.map(drop)?,
                    Err(_) => return Err(sqlx::Error::PoolTimedOut),
                }
                continue;
            }
        };
        let payload = notification.payload();
        let id = payload.parse::<Uuid>().map(GenerationId);
        match (notification.channel(), id, worker) {
            (CHANGED_CHANNEL, Ok(id), _) => state.watchers.changed(id),
            (CHANNEL, Ok(id), Some(worker)) => worker.stop_cancelled(id),
            (CHANNEL, Err(_), Some(worker)) if payload == QUEUED => worker.look_for_work(),
            (CHANNEL, Err(_), Some(_)) if payload == WEBHOOK => state.webhooks.look(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_between_watching_and_waiting_is_not_missed() {
        let watchers = Watchers::default();
        let id = GenerationId::new();
        let mut first = watchers.watch(id);
        let mut second = watchers.watch(id);
        let mut other = watchers.watch(GenerationId::new());
        watchers.changed(id);
        first.changed().await;
        second.changed().await;
        assert!(
            timeout(Duration::from_millis(20), other.changed())
                .await
                .is_err()
        );
        assert!(
            timeout(Duration::from_millis(20), first.changed())
                .await
                .is_err()
        );
        watchers.all_may_have_changed();
        other.changed().await;
    }

    #[test]
    fn who_waits_no_more_is_forgotten() {
        let watchers = Watchers::default();
        let id = GenerationId::new();
        let (first, second) = (watchers.watch(id), watchers.watch(id));
        drop(first);
        assert_eq!(watchers.lock().len(), 1);
        drop(second);
        assert!(watchers.lock().is_empty());
    }
}
