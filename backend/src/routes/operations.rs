//! What load balancers and Prometheus ask.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::db;
use crate::metrics::CONTENT_TYPE;
use crate::state::AppState;
use crate::telemetry::chain;

/// A dependency that needs longer than this is not ready.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Cancelled once the process stops; the load balancer learns it from readiness.
#[derive(Debug, Clone)]
pub struct Stopping(pub CancellationToken);

#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes an answer that is a constant")]
struct Health {
    #[schema(example = "ok")]
    status: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Readiness {
    /// `ready`, `stopping` or `unavailable`.
    #[schema(example = "ready")]
    status: &'static str,
    database: bool,
    sessions: bool,
    storage: bool,
}

/// `GET /health`: the process runs. Asks no dependency, so an outage of one restarts nothing.
#[utoipa::path(
    get, path = "/health", tag = "operations", operation_id = "health", security(()),
    summary = "Tell whether the process runs", description = "Asks no dependency.",
    responses((status = 200, description = "It runs.", body = Health)),
)]
pub(super) async fn health() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/json")],
        r#"{"status":"ok"}"#,
    )
}

/// `GET /ready`: whether requests should be sent here.
#[utoipa::path(
    get, path = "/ready", tag = "operations", operation_id = "ready", security(()),
    summary = "Tell whether requests should be sent here", description = "",
    responses(
        (status = 200, description = "They should.", body = Readiness),
        (status = 503, description = "They should not: a dependency does not answer, or the process stops.",
         body = Readiness),
    ),
)]
pub(super) async fn ready(
    State(state): State<AppState>,
    Extension(stopping): Extension<Stopping>,
) -> Response {
    let (database, sessions, storage) = tokio::join!(
        check("database", db::ping(&state.lane)),
        check("sessions", state.sessions.ping()),
        check("storage", state.storage.ping()),
    );
    let stopping = stopping.0.is_cancelled();
    let ready = database && sessions && storage && !stopping;
    let status = match (ready, stopping) {
        (true, _) => "ready",
        (false, true) => "stopping",
        (false, false) => "unavailable",
    };
    let code = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        code,
        Json(Readiness {
            status,
            database,
            sessions,
            storage,
        }),
    )
        .into_response()
}

async fn check<E: std::error::Error + 'static>(
    dependency: &'static str,
    answer: impl Future<Output = Result<(), E>>,
) -> bool {
    match tokio::time::timeout(CHECK_TIMEOUT, answer).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::warn!(dependency, error = %chain(&error), "not ready");
            false
        }
        Err(_) => {
            tracing::warn!(dependency, "not ready: no answer in time");
            false
        }
    }
}

/// `GET /metrics`. Without the database the process's own numbers are still told.
#[utoipa::path(
    get, path = "/metrics", tag = "operations", operation_id = "metrics", security(()),
    summary = "Prometheus metrics", description = "",
    responses((status = 200, description = "Metrics of this process and of the queue.", body = String,
               content_type = "application/openmetrics-text")),
)]
pub(super) async fn metrics(State(state): State<AppState>) -> impl IntoResponse {
    let asked =
        tokio::time::timeout(CHECK_TIMEOUT, db::generations::queue_numbers(&state.lane)).await;
    let numbers = match asked {
        Ok(Ok(numbers)) => Some(numbers),
        Ok(Err(error)) => {
            tracing::warn!(error = %chain(&error), "the queue's numbers are missing from the metrics");
            None
        }
        Err(_) => None,
    };
    (
        [(header::CONTENT_TYPE, CONTENT_TYPE)],
        state.metrics.render(numbers),
    )
}
