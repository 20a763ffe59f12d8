//! The outermost middleware: request id, deadline, metrics, log line, and the body of every problem.

use std::any::Any;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;
use uuid::Uuid;

use crate::error::{ApiError, Problem};
use crate::metrics::RequestLabels;
use crate::routes::limited::Verdicts;
use crate::state::AppState;
use crate::telemetry::spans;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Surrounds a request.
pub(super) async fn observe(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = request_id(&request);
    let method = method_label(request.method());
    let route = request.extensions_mut().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    let span = spans::request(method, route, request.headers());
    let route = route.unwrap_or("none");
    let upload = method == "POST" && route == "/api/v1/documents";
    let limits = &state.config.http;
    let deadline = if upload {
        limits.upload_timeout
    } else {
        limits.request_timeout
    };
    let verdicts = Verdicts::default();
    request.extensions_mut().insert(verdicts.clone());
    let answering = next.run(request).instrument(span.clone());
    let mut response = match tokio::time::timeout(deadline, answering).await {
        Ok(response) => response,
        Err(_) => ApiError::Timeout.into_response(),
    };
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = problem.write(&id, response);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    verdicts.write(response.headers_mut());
    // What is told about somebody's documents is for nobody's cache.
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    let (status, took) = (response.status(), started.elapsed());
    spans::answered(&span, status.as_u16(), &id);
    state.metrics.request(
        &RequestLabels {
            method,
            route: route.to_owned(),
            status: status.as_u16(),
        },
        took,
    );
    if status.is_server_error() {
        tracing::warn!(
            request_id = id,
            method,
            route,
            status = status.as_u16(),
            "request failed"
        );
    } else {
        tracing::debug!(
            request_id = id,
            method,
            route,
            status = status.as_u16(),
            took_us = took.as_micros(),
            "request"
        );
    }
    response
}

/// What a client or load balancer sent, when it is short and plain; else a new one.
fn request_id(request: &Request) -> String {
    let sent = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    let plain = |id: &&str| {
        (1..=64).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.=".contains(&byte))
    };
    sent.filter(plain)
        .map_or_else(|| Uuid::now_v7().simple().to_string(), str::to_owned)
}

/// Methods are the client's to choose, labels are not.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

/// A handler's panic is our fault, not the connection's end.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the layer hands over what was thrown"
)]
pub(super) fn panicked(thrown: Box<dyn Any + Send>) -> Response {
    let text = thrown.downcast_ref::<String>().cloned();
    let text = text.or_else(|| thrown.downcast_ref::<&str>().map(ToString::to_string));
    let source = std::io::Error::other(text.unwrap_or_else(|| "a panic without words".to_owned()));
    ApiError::Internal(Box::new(source)).into_response()
}
