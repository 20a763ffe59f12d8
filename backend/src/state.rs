//! Everything a request or a worker needs, built once from the configuration.

use std::sync::Arc;

use sqlx::postgres::PgPool;
use tokio_util::task::TaskTracker;

use crate::cache;
use crate::config::Config;
use crate::db::{self, lane::Lane};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::notifications::Watchers;
use crate::openai::OpenAi;
use crate::pacing::Pacing;
use crate::passwords::Passwords;
use crate::pdf::extract::Extractor;
use crate::sessions::Sessions;
use crate::storage::Storage;
use crate::webhooks::Webhooks;

/// Shared by all requests and workers of the process; clones are cheap.
#[derive(Debug, Clone)]
pub struct AppState(Arc<Parts>);

/// The parts, by name.
#[derive(Debug)]
pub struct Parts {
    /// The configuration.
    pub config: Config,
    /// Connections to Postgres for transactions.
    pub pool: PgPool,
    /// Connections to Postgres for everything else.
    pub lane: Lane,
    /// Requests that wait for a generation to change.
    pub watchers: Watchers,
    /// The queue's pace, for those who poll.
    pub pacing: Pacing,
    /// Sessions in Redis or in process.
    pub sessions: Sessions,
    /// Rate limits in Redis or in process.
    pub limits: Limits,
    /// Password hashing.
    pub passwords: Passwords,
    /// S3.
    pub storage: Storage,
    /// OpenAI.
    pub openai: OpenAi,
    /// Deliveries of webhooks.
    pub webhooks: Webhooks,
    /// The child processes that read PDFs.
    pub extractor: Extractor,
    /// Metrics.
    pub metrics: Metrics,
    /// Calls that no request waits for, but an orderly stop does.
    pub background: TaskTracker,
}

/// A part could not be built from the configuration.
#[derive(Debug, thiserror::Error)]
#[error("set up {part}")]
pub struct SetupError {
    part: &'static str,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl AppState {
    /// Builds everything. Nothing is connected to yet: dependencies that are away now may come later.
    ///
    /// # Errors
    /// When a part refuses its configuration.
    pub async fn new(config: Config) -> Result<Self, SetupError> {
        let failed = |part| move |source| SetupError { part, source };
        let cache = config.sessions.redis_url.as_deref().map(cache::connection);
        let cache = cache
            .transpose()
            .map_err(|error| failed("the connection to Redis")(error.into()))?;
        let parts = Parts {
            pool: db::pool(&config.database),
            lane: db::lane(&config.database),
            watchers: Watchers::default(),
            pacing: Pacing::default(),
            sessions: Sessions::new(&config.sessions, cache.clone()),
            limits: Limits::new(config.limits.clone(), cache),
            passwords: Passwords::new(config.passwords)
                .map_err(|error| failed("password hashing")(error.into()))?,
            storage: Storage::new(&config.storage).await,
            openai: OpenAi::new(&config.openai).map_err(failed("the OpenAI client"))?,
            webhooks: Webhooks::new(&config.webhooks),
            extractor: Extractor::new(&config.documents),
            metrics: Metrics::new(config.worker.slots.get()),
            background: TaskTracker::new(),
            config,
        };
        Ok(Self(Arc::new(parts)))
    }
}

impl std::ops::Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
