//! The spans of a trace: requests, attempts of generations, their steps, calls to OpenAI.
//!
//! Names and attributes are those of OpenTelemetry's semantic conventions for HTTP (version 1.23 and
//! later). All spans have one target that no log line has. Without an endpoint it is off, and a span
//! costs the look at one flag.

use axum::http::HeaderMap;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::field::Empty;
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::domain::generation::Step;
use crate::domain::ids::GenerationId;

/// The target of all spans.
pub(super) const TARGET: &str = "allegiant_trace";

/// A request to the service. `route` is the pattern that matched; a `traceparent` (W3C Trace Context)
/// in `headers` is continued.
pub(crate) fn request(method: &'static str, route: Option<&str>, headers: &HeaderMap) -> Span {
    let span = info_span!(
        target: TARGET,
        "request",
        otel.name = Empty,
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        allegiant.request_id = Empty,
        allegiant.generation_id = Empty,
    );
    if !span.is_disabled() {
        // Conventions: "{method} {route}", and the method alone when no route matched.
        match route {
            Some(route) => span.record("otel.name", format!("{method} {route}")),
            None => span.record("otel.name", method),
        };
        if headers.contains_key("traceparent") {
            let caller = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
            // It has just been made, so it can still be given a parent.
            let _ = span.set_parent(caller);
        }
    }
    span
}

/// Ends a request's span with its status. Only the server's own faults count as errors.
pub(crate) fn answered(span: &Span, status: u16, request_id: &str) {
    if span.is_disabled() {
        return;
    }
    span.record("http.response.status_code", i64::from(status));
    span.record("allegiant.request_id", request_id);
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

/// Says in the current request's span which generation it is about.
pub(crate) fn about(generation: GenerationId) {
    let span = Span::current();
    if !span.is_disabled() {
        span.record(
            "allegiant.generation_id",
            tracing::field::display(generation),
        );
    }
}

/// One attempt at a generation: the root of a trace, because whoever asked has gone long ago.
pub(crate) fn attempt(generation: GenerationId, attempt: i32) -> Span {
    info_span!(
        target: TARGET,
        parent: None,
        "generation",
        otel.status_code = Empty,
        allegiant.generation_id = %generation,
        allegiant.attempt = attempt,
        allegiant.outcome = Empty,
    )
}

/// Ends an attempt's span. What another attempt goes on with is no failure.
pub(crate) fn ended(span: &Span, outcome: &str) {
    if span.is_disabled() {
        return;
    }
    span.record("allegiant.outcome", outcome);
    if outcome == "failed" {
        span.record("otel.status_code", "ERROR");
    }
}

/// One step of an attempt.
pub(crate) fn step(generation: GenerationId, step: Step) -> Span {
    let span = info_span!(
        target: TARGET,
        "step",
        otel.name = Empty,
        otel.status_code = Empty,
        allegiant.generation_id = %generation,
        allegiant.step = Empty,
        error.type = Empty,
    );
    if !span.is_disabled() {
        span.record("otel.name", step.kind());
        span.record("allegiant.step", step.name());
    }
    span
}

/// One HTTP call to OpenAI. `template` is its path without ids.
pub(crate) fn openai_call(
    generation: GenerationId,
    method: &'static str,
    template: &'static str,
    host: &str,
) -> Span {
    let span = info_span!(
        target: TARGET,
        "openai",
        otel.name = Empty,
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = method,
        url.template = template,
        server.address = host,
        http.response.status_code = Empty,
        error.type = Empty,
        allegiant.generation_id = %generation,
    );
    if !span.is_disabled() {
        span.record("otel.name", format!("{method} {template}"));
    }
    span
}

/// Says in a call's span what status came back.
pub(crate) fn answered_by(span: &Span, status: u16) {
    if !span.is_disabled() {
        span.record("http.response.status_code", i64::from(status));
    }
}

/// Says in a span why it failed: `kind` is a word from a small set.
pub(crate) fn failed(span: &Span, kind: &str) {
    if !span.is_disabled() {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", kind);
    }
}
