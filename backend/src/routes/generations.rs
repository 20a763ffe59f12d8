//! Generations: asked for, polled, listed, cancelled, downloaded.

pub(super) mod events;
mod waiting;

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::db::generations::{Cancellation, Creation, GenerationRow};
use crate::db::spending::Budget;
use crate::db::{self, DbError};
use crate::domain::generation::{Request, Status};
use crate::domain::ids::{GenerationId, UserId};
use crate::error::{ApiError, JsonBody, PathId, QueryOf};
use crate::pacing::poll_delay;
use crate::retry::jitter;
use crate::routes::authenticated::Authenticated;
use crate::routes::operations::Stopping;
use crate::routes::paging::{Page, PageQuery};
use crate::state::AppState;
use crate::telemetry::{chain, spans};
use crate::webhooks;

pub use events::ProgressBody;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// Longest key.
const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;
/// Tries to cancel a response upstream; after them it runs to its end unread.
const CANCEL_TRIES: u32 = 5;

/// A generation as told to its user.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Generation)]
pub struct GenerationBody {
    id: GenerationId,
    title: String,
    status: Status,
    progress: i16,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    step: Option<String>,
    attempt: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<ErrorBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    page_count: Option<i32>,
    tokens: TokensBody,
    cost_usd_micros: i64,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GenerationError)]
struct ErrorBody {
    code: String,
    detail: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tokens)]
struct TokensBody {
    input: i64,
    output: i64,
}

impl From<GenerationRow> for GenerationBody {
    fn from(row: GenerationRow) -> Self {
        Self {
            id: row.id,
            title: row.title,
            status: row.status,
            progress: row.progress,
            step: row.step,
            attempt: row.attempt,
            error: row.error_code.map(|code| ErrorBody {
                code,
                detail: row.error_detail,
            }),
            page_count: row.page_count,
            tokens: TokensBody {
                input: row.input_tokens,
                output: row.output_tokens,
            },
            cost_usd_micros: row.cost_usd_micros,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        }
    }
}

/// Tells a poller when to come back: whole seconds for everybody, milliseconds for who reads them.
fn answer(state: &AppState, code: StatusCode, row: GenerationRow) -> Response {
    let delay = (!row.status.is_final()).then(|| poll_delay(state, &row));
    let mut response = (code, Json(GenerationBody::from(row))).into_response();
    if let Some(delay) = delay {
        let (seconds, milliseconds) = poll_headers(delay);
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
        response.headers_mut().insert(RETRY_AFTER_MS, milliseconds);
    }
    response
}

fn poll_headers(after: Duration) -> (HeaderValue, HeaderValue) {
    let milliseconds = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    (
        HeaderValue::from(milliseconds.div_ceil(1000)),
        HeaderValue::from(milliseconds),
    )
}

/// `POST /generations`: 202 once it is durable. With `Prefer: wait=N` 200 when it has ended within
/// N seconds, whatever its end.
///
/// # Errors
/// 422 when the request breaks a rule, names an unknown document or reuses an idempotency key; 429
/// when the user's budget of the day has no room for it.
#[utoipa::path(
    post, path = "/generations", tag = "generations", operation_id = "createGeneration",
    summary = "Ask for a proposal",
    description = "The answer comes once the request is durable; the proposal takes minutes. A repeated request with \
                   the same `Idempotency-Key` gets the first one's generation. `Prefer: wait=N` holds the answer until \
                   the generation has ended, at most N seconds.",
    request_body = Request,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the request, so that it can be repeated.",
            min_length = 1, max_length = 255, pattern = "^[!-~]+$", nullable = false),
           ("Prefer" = Option<String>, Header, description = "`wait=N` holds the answer for at most N seconds.",
            nullable = false)),
    responses(
        (status = 200, description = "It has ended within the time that `Prefer` named.", body = GenerationBody,
         headers(("Preference-Applied" = String, description = "The preference that was honoured."),
                 ("Location" = String, description = "Where it is."))),
        (status = 202, description = "It waits for a worker.", body = GenerationBody,
         headers(("Location" = String, description = "Where to ask for it."),
                 ("Retry-After" = u64, description = "Seconds until it is worth asking."))),
    ),
)]
pub(super) async fn create(
    State(state): State<AppState>,
    Extension(stopping): Extension<Stopping>,
    sender: Authenticated,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Request>,
) -> Result<Response, ApiError> {
    let request = body.validated()?;
    if let Some(url) = &request.webhook_url {
        webhooks::target(url, state.config.webhooks.allow_private)?;
    }
    let key = idempotency_key(&headers)?;
    let canonical =
        serde_json::to_vec(&request).map_err(|error| ApiError::Internal(Box::new(error)))?;
    let digest = hex::encode(Sha256::digest(&canonical));
    let mut tx = state.pool.begin().await.map_err(DbError::from)?;
    let key = key.map(|key| (key, digest.as_str()));
    if request.webhook_url.is_some() {
        let fresh: [u8; webhooks::SECRET_BYTES] = rand::random();
        db::webhooks::secret(&mut tx, sender.user, &fresh).await?;
    }
    let budget = budget(&state);
    let created = db::generations::create(&mut tx, sender.user, &request, key, budget).await?;
    tx.commit().await.map_err(DbError::from)?;
    match created {
        Creation::Accepted(row) => {
            spans::about(row.id);
            let location = format!("/api/v1/generations/{}", row.id);
            let mut response = match waiting::preferred(&headers) {
                None => answer(&state, StatusCode::ACCEPTED, *row),
                Some(preferred) => {
                    let granted = waiting::granted(preferred, state.config.http.request_timeout);
                    waited(&state, &stopping, sender.user, *row, granted).await?
                }
            };
            let location = HeaderValue::from_str(&location)
                .map_err(|error| ApiError::Internal(Box::new(error)))?;
            response.headers_mut().insert(header::LOCATION, location);
            Ok(response)
        }
        Creation::BudgetExhausted(day) => Err(ApiError::BudgetExhausted {
            committed_usd_micros: day.committed_usd_micros,
            per_day_usd_micros: budget.map_or(0, |budget| budget.per_day_usd_micros),
            ends_in_s: day.ends_in_s,
        }),
        Creation::UnknownDocument => Err(ApiError::Invalid(
            "document_ids names a document that is not there".to_owned(),
        )),
        Creation::KeyReused => Err(ApiError::Invalid(
            "the Idempotency-Key was used for a different request".to_owned(),
        )),
    }
}

fn budget(state: &AppState) -> Option<Budget> {
    let allowance = &state.config.allowance;
    allowance.per_day_usd_micros.map(|per_day| Budget {
        per_day_usd_micros: per_day,
        estimate_usd_micros: allowance.estimate_usd_micros,
    })
}

/// The answer to a request that preferred to wait.
async fn waited(
    state: &AppState,
    stopping: &Stopping,
    user: UserId,
    row: GenerationRow,
    granted: Duration,
) -> Result<Response, ApiError> {
    let row = waiting::until_ended(state, &stopping.0, user, row, granted).await?;
    let code = if row.status.is_final() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let mut response = answer(state, code, row);
    if let Some(applied) = waiting::applied(granted) {
        response
            .headers_mut()
            .insert(waiting::PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let key = value.to_str().map(str::trim).unwrap_or_default();
    if (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len()) {
        Ok(Some(key))
    } else {
        Err(ApiError::Malformed(
            "Idempotency-Key must have 1 to 255 visible ASCII characters".to_owned(),
        ))
    }
}

/// `GET /generations/{id}`: one lookup of the session, one of the row.
///
/// # Errors
/// 404 when it is not the user's.
#[utoipa::path(
    get, path = "/generations/{id}", tag = "generations", operation_id = "showGeneration",
    summary = "Show how far a generation is", description = "",
    params(("id" = GenerationId, Path, description = "The generation.")),
    responses(
        (status = 200, description = "Where it stands.", body = GenerationBody,
         headers(("Retry-After" = u64, description = "Seconds until it is worth asking again; absent once it has ended."))),
    ),
)]
pub(super) async fn show(
    State(state): State<AppState>,
    sender: Authenticated,
    PathId(id): PathId<GenerationId>,
) -> Result<Response, ApiError> {
    let row = state.lane.generation(id, sender.user).await?;
    row.map(|row| answer(&state, StatusCode::OK, row))
        .ok_or(ApiError::NotFound("generation"))
}

/// `GET /generations`.
///
/// # Errors
/// 401 without a session.
#[utoipa::path(
    get, path = "/generations", tag = "generations", operation_id = "listGenerations",
    summary = "List generations, newest first", description = "",
    params(PageQuery<GenerationId>),
    responses((status = 200, description = "A page of them.", body = Page<GenerationBody, GenerationId>)),
)]
pub(super) async fn list(
    State(state): State<AppState>,
    sender: Authenticated,
    QueryOf(query): QueryOf<PageQuery<GenerationId>>,
) -> Result<Json<Page<GenerationBody, GenerationId>>, ApiError> {
    let rows = db::generations::list(&state.lane, sender.user, query.before, query.limit()).await?;
    let items = rows.into_iter().map(GenerationBody::from).collect();
    Ok(Json(Page::new(
        items,
        query.limit(),
        |item: &GenerationBody| item.id,
    )))
}

/// `POST /generations/{id}/cancel`. The answer does not wait for OpenAI.
///
/// # Errors
/// 404 when it is not the user's, 409 when it has ended otherwise.
#[utoipa::path(
    post, path = "/generations/{id}/cancel", tag = "generations", operation_id = "cancelGeneration",
    summary = "Cancel a generation", description = "Calls to the language model are cancelled as well.",
    params(("id" = GenerationId, Path, description = "The generation.")),
    responses(
        (status = 200, description = "It is cancelled.", body = GenerationBody),
        (status = 409, description = "It has ended otherwise."),
    ),
)]
pub(super) async fn cancel(
    State(state): State<AppState>,
    sender: Authenticated,
    PathId(id): PathId<GenerationId>,
) -> Result<Response, ApiError> {
    let mut tx = state.pool.begin().await.map_err(DbError::from)?;
    let outcome = db::generations::cancel(&mut tx, id, sender.user).await?;
    tx.commit().await.map_err(DbError::from)?;
    match outcome {
        Cancellation::NotFound => return Err(ApiError::NotFound("generation")),
        Cancellation::Ended(_) => {
            return Err(ApiError::Conflict("the generation has ended".to_owned()));
        }
        Cancellation::Cancelled(responses) => {
            for response in responses {
                let cancel = cancel_upstream(state.clone(), id, response);
                state.background.spawn(cancel);
            }
        }
    }
    let row = db::generations::find(&state.lane, id, sender.user).await?;
    row.map(|row| answer(&state, StatusCode::OK, row))
        .ok_or(ApiError::NotFound("generation"))
}

/// Cancels a response at OpenAI, with a few tries: it only saves money, so nobody waits for it.
pub async fn cancel_upstream(state: AppState, generation: GenerationId, response_id: String) {
    for failures in 1..=CANCEL_TRIES {
        match state.openai.cancel(&response_id, generation).await {
            Ok(()) => return,
            Err(error) => {
                state.metrics.upstream_error(error.kind());
                if failures == CANCEL_TRIES {
                    tracing::warn!(response_id, error = %chain(&error), "a response runs on at OpenAI, unread");
                } else {
                    let delay =
                        state
                            .config
                            .backoff
                            .delay_after(failures, error.retry_after(), jitter());
                    tokio::time::sleep(delay).await;
                }
            }
        }
    }
}

/// `GET /generations/{id}/pdf`: 307 to a link that works for a while.
///
/// # Errors
/// 404 when it is not the user's, 409 while there is no PDF.
#[utoipa::path(
    get, path = "/generations/{id}/pdf", tag = "generations", operation_id = "downloadProposal",
    summary = "Download the proposal", description = "",
    params(("id" = GenerationId, Path, description = "The generation.")),
    responses(
        (status = 307, description = "To a link that works for a while.",
         headers(("Location" = String, description = "The link."))),
        (status = 409, description = "It has not ended yet, or ended without a PDF."),
    ),
)]
pub(super) async fn pdf(
    State(state): State<AppState>,
    sender: Authenticated,
    PathId(id): PathId<GenerationId>,
) -> Result<Redirect, ApiError> {
    let found = db::generations::pdf_of(&state.lane, id, sender.user).await?;
    match found.ok_or(ApiError::NotFound("generation"))? {
        (Status::Succeeded, title, Some(key)) => {
            let url = state
                .storage
                .presigned_url(&key, &format!("{title}.pdf"))
                .await?;
            Ok(Redirect::temporary(&url))
        }
        (status, ..) if status.is_final() => Err(ApiError::Conflict(
            "the generation ended without a PDF".to_owned(),
        )),
        _ => Err(ApiError::Conflict(
            "the generation has not ended yet".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pollers_are_told_whole_seconds_and_exact_milliseconds() {
        for (after_ms, seconds) in [(5_000, "5"), (83, "1"), (1_001, "2")] {
            let (whole, exact) = poll_headers(Duration::from_millis(after_ms));
            assert_eq!(whole, seconds);
            assert_eq!(exact, after_ms.to_string().as_str());
        }
    }

    #[test]
    fn an_idempotency_key_is_short_and_visible() {
        let headers = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(
                IDEMPOTENCY_KEY,
                HeaderValue::from_bytes(value.as_bytes()).expect("a header value"),
            );
            headers
        };
        assert_eq!(idempotency_key(&HeaderMap::new()).expect("optional"), None);
        assert_eq!(
            idempotency_key(&headers(" abc ")).expect("valid"),
            Some("abc")
        );
        for bad in ["", "  ", "\u{e9}", "x".repeat(256).as_str()] {
            assert!(idempotency_key(&headers(bad)).is_err(), "{bad:?}");
        }
    }
}
