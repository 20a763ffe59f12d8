//! `GET /generations/{id}/events`: progress as server-sent events (WHATWG HTML, section 9.2).
//!
//! Events are rows, numbered per generation, so a stream that was cut resumes behind the
//! `Last-Event-ID` on any task. Nothing is held while nothing happens: a notification wakes the
//! stream, comments keep the connection alive.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::db::DbError;
use crate::db::events::EventRow;
use crate::db::{self};
use crate::domain::generation::Status;
use crate::domain::ids::{GenerationId, UserId};
use crate::error::{ApiError, PathId};
use crate::notifications::Watch;
use crate::retry::jitter;
use crate::routes::authenticated::Authenticated;
use crate::routes::generations::GenerationBody;
use crate::routes::operations::Stopping;
use crate::state::AppState;
use crate::telemetry::chain;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The data of a `progress` event.
#[derive(Debug, Serialize)]
pub struct ProgressBody {
    status: Status,
    progress: i16,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    attempt: i32,
    occurred_at: DateTime<Utc>,
}

/// One event of the stream, by its fields and not by the lines that carry them: that is what readers of
/// the document compare, and how later versions of OpenAPI describe a stream.
#[derive(Debug, ToSchema)]
#[expect(
    dead_code,
    reason = "only the document has it; the stream is written by axum"
)]
pub(in crate::routes) struct StreamEvent {
    /// What `data` holds.
    event: EventKind,
    /// What `Last-Event-ID` takes: the number of the event in its generation.
    id: String,
    /// JSON: of a `progress` event its status, progress, step, attempt and time; of the `end` the whole
    /// generation.
    data: String,
    /// Milliseconds to wait before reconnecting.
    #[schema(nullable = false)]
    retry: Option<u64>,
}

/// What an event tells.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(
    dead_code,
    reason = "only the document has it; the stream is written by axum"
)]
pub(in crate::routes) enum EventKind {
    /// A step has begun or ended.
    Progress,
    /// The generation has ended; nothing follows.
    End,
}

/// Streams `progress` events and, at the end, one `end` event with the whole generation.
///
/// # Errors
/// 404 when it is not the user's, 400 for a `Last-Event-ID` that this route never gave.
#[utoipa::path(
    get, path = "/generations/{id}/events", tag = "generations", operation_id = "followGeneration",
    summary = "Follow a generation",
    description = "Server-sent events: `progress` with each step, and one `end` with the whole generation. A broken \
                   stream goes on after the event that `Last-Event-ID` names.",
    params(("id" = GenerationId, Path, description = "The generation."),
           ("Last-Event-ID" = Option<i32>, Header, description = "The last event that was received.", minimum = 0,
            nullable = false)),
    responses(
        (status = 200, description = "The stream.", body = StreamEvent,
         content_type = "text/event-stream"),
        (status = 204, description = "It has ended, and every event was received."),
        (status = 400, description = "`Last-Event-ID` is none that this route gave."),
    ),
)]
pub(in crate::routes) async fn events(
    State(state): State<AppState>,
    Extension(stopping): Extension<Stopping>,
    sender: Authenticated,
    PathId(id): PathId<GenerationId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let after = last_event_id(&headers)?;
    // Before the first read, so that nothing falls in between.
    let watch = state.watchers.watch(id);
    let row = state.lane.generation(id, sender.user).await?;
    let row = row.ok_or(ApiError::NotFound("generation"))?;
    let mut tail = Tail {
        user: sender.user,
        id,
        sequence: after,
        ready: VecDeque::new(),
        ended: false,
        watch,
        stopping: stopping.0,
        state,
    };
    tail.read().await?;
    if row.status.is_final() && tail.ready.is_empty() {
        // Everything is told; this status ends the reconnecting of browsers.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let interval = tail.state.config.http.event_keep_alive;
    let stream = futures::stream::unfold(tail, Tail::next);
    let mut response = Sse::new(stream)
        .keep_alive(KeepAlive::new().interval(interval))
        .into_response();
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    Ok(response)
}

fn last_event_id(headers: &HeaderMap) -> Result<i32, ApiError> {
    let Some(value) = headers.get(LAST_EVENT_ID) else {
        return Ok(0);
    };
    let number = value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse().ok());
    number.filter(|number| *number >= 0).ok_or_else(|| {
        ApiError::Malformed("Last-Event-ID must be the id of an event of this stream".to_owned())
    })
}

/// The end of a generation's events, as far as it is known.
struct Tail {
    state: AppState,
    id: GenerationId,
    user: UserId,
    /// The last event that was read.
    sequence: i32,
    ready: VecDeque<Event>,
    /// The last event that there will ever be was read.
    ended: bool,
    watch: Watch,
    stopping: CancellationToken,
}

impl Tail {
    /// The next event; `None` after the last one, and when the process stops: the client comes back
    /// to another one and misses nothing.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        let mut failures = 0;
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((Ok(event), self));
            }
            if self.ended {
                return None;
            }
            let stopping = self.stopping.clone();
            let delay = self.state.config.backoff.delay(failures, jitter());
            tokio::select! {
                biased;
                () = stopping.cancelled() => return None,
                () = self.watch.changed(), if failures == 0 => {}
                () = sleep(delay), if failures > 0 => {}
            }
            match self.read().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    tracing::debug!(generation_id = %self.id, error = %chain(&error), "a stream waits for the database");
                }
            }
        }
    }

    /// Reads what is new.
    async fn read(&mut self) -> Result<(), DbError> {
        let rows = db::events::after(&self.state.lane, self.id, self.sequence).await?;
        for row in rows {
            let (sequence, first) = (row.sequence, self.sequence == 0);
            let event = if row.status.is_final() {
                let found = db::generations::find(&self.state.lane, self.id, self.user).await?;
                self.ended = true;
                // Without a row its user is gone, and with them whom the end would be told.
                found.and_then(|found| {
                    let body = GenerationBody::from(found);
                    Event::default().event("end").json_data(body).ok()
                })
            } else {
                Event::default()
                    .event("progress")
                    .json_data(ProgressBody::from(row))
                    .ok()
            };
            self.sequence = sequence;
            let retry = self.state.config.http.poll_retry_after;
            self.ready.extend(event.map(|event| {
                let event = event.id(sequence.to_string());
                if first { event.retry(retry) } else { event }
            }));
        }
        Ok(())
    }
}

impl From<EventRow> for ProgressBody {
    fn from(row: EventRow) -> Self {
        Self {
            status: row.status,
            progress: row.progress,
            step: row.step,
            attempt: row.attempt,
            occurred_at: row.occurred_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_that_was_given_resumes() {
        let id = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(LAST_EVENT_ID, HeaderValue::from_static(value));
            last_event_id(&headers).ok()
        };
        assert_eq!(last_event_id(&HeaderMap::new()).ok(), Some(0));
        assert_eq!(id("7"), Some(7));
        for bad in ["", "-1", "x", "99999999999"] {
            assert_eq!(id(bad), None, "{bad:?}");
        }
    }
}
