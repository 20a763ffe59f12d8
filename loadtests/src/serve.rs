//! `sizing serve`: the what-if page. One HTML page with a small script, one route that answers, on this machine only.

mod answer;
mod ask;
mod bounds;
mod copied;
mod page;
mod presets;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

pub use answer::{Answer, Cost, Estimate, Lab};
pub use ask::{Ask, AskError};
pub use copied::Copied;

/// Why the page is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port is not free, or not allowed.
    #[error(
        "listen on port {port} of 127.0.0.1: take another one with --port, or 0 for any free one"
    )]
    Listen {
        /// The port.
        port: u16,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The server ended by itself.
    #[error("serve the page")]
    Serve(#[source] std::io::Error),
}

/// Listens on this port of 127.0.0.1; 0 is any free one.
///
/// # Errors
/// When the port is taken.
pub async fn listen(port: u16) -> Result<TcpListener, ServeError> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .await
        .map_err(|source| ServeError::Listen { port, source })
}

/// Serves the page until `end`.
///
/// # Errors
/// When the server fails.
pub async fn serve(
    listener: TcpListener,
    lab: Lab,
    end: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    axum::serve(listener, routes(lab))
        .with_graceful_shutdown(end)
        .await
        .map_err(ServeError::Serve)
}

/// The page's two routes.
pub fn routes(lab: Lab) -> Router {
    Router::new()
        .route("/", get(show))
        .route("/answer", get(answered))
        .with_state(Arc::new(lab))
}

async fn show(State(lab): State<Arc<Lab>>) -> Response {
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:",
        ),
    ];
    (headers, Html(page::render(&lab))).into_response()
}

async fn answered(
    State(lab): State<Arc<Lab>>,
    Query(fields): Query<Vec<(String, String)>>,
) -> Response {
    // A day of simulation computes for a while: not on a thread that answers others.
    let result = tokio::task::spawn_blocking(move || lab.answer(&Ask::from_fields(fields)?)).await;
    match result {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(error)) => (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
