//! The proposal-writing service: durable generations over Postgres, Redis, S3 and OpenAI.
//!
//! Modules in reading order. [`serve`] is the whole service on a listener that arrives bound.

pub mod cache;
pub mod config;
pub mod db;
pub mod domain;
pub mod error;
pub mod health;
pub mod limits;
pub mod metrics;
pub mod notifications;
pub mod openai;
pub mod pacing;
pub mod passwords;
pub mod pdf;
pub mod retry;
pub mod routes;
pub mod sessions;
pub mod state;
pub mod storage;
pub mod telemetry;
pub mod webhooks;
pub mod worker;

use std::net::SocketAddr;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use db::MIGRATOR;
pub use state::AppState;

use worker::Worker;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Answers requests.
    Api,
    /// Runs generations; answers only health, readiness and metrics.
    Worker,
    /// Both.
    All,
}

impl Role {
    /// Whether generations run here.
    pub fn works(self) -> bool {
        self != Self::Api
    }

    /// Whether the API is answered here.
    pub fn answers(self) -> bool {
        self != Self::Worker
    }
}

/// The server broke.
#[derive(Debug, thiserror::Error)]
#[error("serve on {address}")]
pub struct ServeError {
    address: String,
    #[source]
    source: std::io::Error,
}

/// Serves until `shutdown` is cancelled, then stops in order: readiness turns off, claiming stops,
/// workers give their leases back and requests that wait are answered, all at once; requests that
/// still come are served for `SHUTDOWN_DRAIN_MS`, so that a load balancer can learn of it; then the
/// listener closes. `SHUTDOWN_TIMEOUT_MS` bounds all of it.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    state: AppState,
    role: Role,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let address = listener
        .local_addr()
        .map_or_else(|error| error.to_string(), |address| address.to_string());
    tracing::info!(address, role = ?role, "listening");
    let worker = role
        .works()
        .then(|| Worker::new(state.clone(), shutdown.clone()));
    let listening = tokio::spawn(notifications::listen(state.clone(), worker.clone()));
    let worker = worker.map(|worker| tokio::spawn(worker::run(worker)));
    let outbox = webhooks::outbox::run(state.clone(), shutdown.clone());
    let outbox = role.works().then(|| tokio::spawn(outbox));
    let app = routes::router(state.clone(), role, shutdown.clone())
        .into_make_service_with_connect_info::<SocketAddr>();
    // Small answers leave at once instead of waiting for the client's acknowledgement.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps Nagle's algorithm");
        }
    });
    let server =
        axum::serve(listener, app).with_graceful_shutdown(drained(state.clone(), shutdown.clone()));
    let finish = async {
        shutdown.cancelled().await;
        tokio::time::sleep(state.config.shutdown_timeout).await;
    };
    let served = tokio::select! {
        served = server.into_future() => served,
        () = finish => {
            tracing::warn!("requests were still open when the time to stop ran out");
            Ok(())
        }
    };
    // A broken listener must stop the worker too.
    shutdown.cancel();
    if let Some(worker) = worker
        && worker.await.is_err()
    {
        tracing::error!("the worker ended by a panic");
    }
    if let Some(outbox) = outbox
        && outbox.await.is_err()
    {
        tracing::error!("the outbox ended by a panic");
    }
    state.background.close();
    let rest = tokio::time::timeout(state.config.shutdown_timeout / 4, state.background.wait());
    if rest.await.is_err() {
        tracing::warn!("calls that nobody waits for were cut by the stop");
    }
    // Before the pool closes, which waits for the connection that listens.
    listening.abort();
    let _ = listening.await;
    state.pool.close().await;
    tracing::info!("stopped");
    served.map_err(|source| ServeError { address, source })
}

async fn drained(state: AppState, shutdown: CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(state.config.shutdown_drain).await;
}
