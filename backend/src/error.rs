//! The one total match from what can go wrong to what a client is told (RFC 9457).

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::db::DbError;
use crate::domain::account::AccountError;
use crate::domain::generation::RequestError;
use crate::limits::Verdict;
use crate::passwords::PasswordError;
use crate::sessions::SessionError;
use crate::storage::StorageError;
use crate::telemetry::chain;
use crate::webhooks::TargetError;

/// What clients are told to wait when a dependency is gone.
const UNAVAILABLE_RETRY_AFTER: Duration = Duration::from_secs(2);

/// Every way a request can end without success.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The request cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// No valid session comes with the request.
    #[error("a valid session is needed, as a bearer token or a cookie")]
    Unauthenticated,
    /// Unknown user or wrong password: deliberately the same.
    #[error("email or password is wrong")]
    Credentials,
    /// The session came in a cookie, the request from somewhere else.
    #[error("a request with the session's cookie must come from a page of this origin: {0}")]
    CrossOrigin(&'static str),
    /// A rate limit is used up.
    #[error("the limit {limit} allows {requests} requests in {window_s} s")]
    TooMany {
        /// Which one.
        limit: &'static str,
        /// What it allows.
        requests: u32,
        /// In which time, rounded up.
        window_s: u64,
        /// When one more is allowed.
        wait: Duration,
    },
    /// Not there, or another user's.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The route exists, the method does not.
    #[error("the method is not allowed here")]
    MethodNotAllowed,
    /// The client took too long.
    #[error("the request took too long")]
    Timeout,
    /// The state of the resource forbids it.
    #[error("{0}")]
    Conflict(String),
    /// The user's budget of the day has no room for another generation.
    #[error(
        "today's generations cost or will cost {committed_usd_micros} millionths of a dollar, and another one \
         would exceed the {per_day_usd_micros} that a user may spend in a day (UTC)"
    )]
    BudgetExhausted {
        /// Spent and expected.
        committed_usd_micros: i64,
        /// The cap.
        per_day_usd_micros: i64,
        /// Until the next day.
        ends_in_s: i64,
    },
    /// A body beyond its limit.
    #[error("the body exceeds {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// A body of the wrong kind.
    #[error("{0}")]
    Unsupported(String),
    /// Readable, but breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// A PDF that cannot be read.
    #[error("the document cannot be read: {detail}")]
    Unreadable {
        /// The kind of problem.
        name: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// A dependency does not answer.
    #[error("{dependency} does not answer")]
    Unavailable {
        /// Which one, as clients may know it.
        dependency: &'static str,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A fault of ours.
    #[error("an internal fault")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A problem on its way out. It travels as a response extension until the outermost middleware,
/// which alone knows the request's id, writes the body.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
}

/// Why a request failed (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// What kind of problem it is, for programs.
    #[serde(rename = "type")]
    #[schema(example = "urn:allegiant:problem:not-found")]
    kind: &'a str,
    /// The same for people.
    title: &'a str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong with this request.
    detail: &'a str,
    /// Names the request in the service's logs.
    request_id: &'a str,
}

impl Problem {
    /// Writes the problem into the response it came with.
    pub fn write(&self, request_id: &str, response: Response) -> Response {
        let (mut parts, _) = response.into_parts();
        let body = serde_json::to_vec(&ProblemBody {
            kind: &self.kind,
            title: self.title,
            status: self.status,
            detail: &self.detail,
            request_id,
        })
        .expect("strings and numbers always serialize");
        let content_type = HeaderValue::from_static("application/problem+json");
        parts.headers.insert(header::CONTENT_TYPE, content_type);
        parts.headers.remove(header::CONTENT_LENGTH);
        Response::from_parts(parts, body.into())
    }
}

impl ApiError {
    fn status_and_title(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed(_) => (
                StatusCode::BAD_REQUEST,
                "malformed-request",
                "The request cannot be read",
            ),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated", "Not logged in"),
            Self::Credentials => (
                StatusCode::UNAUTHORIZED,
                "wrong-credentials",
                "Login failed",
            ),
            Self::CrossOrigin(_) => (StatusCode::FORBIDDEN, "cross-origin", "From another origin"),
            Self::TooMany { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-requests",
                "Too many requests",
            ),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Method not allowed",
            ),
            Self::Timeout => (
                StatusCode::REQUEST_TIMEOUT,
                "request-timeout",
                "The request took too long",
            ),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict", "Not in this state"),
            // 429 and not 402, which RFC 9110 keeps for later: it passes by itself, at a known time.
            Self::BudgetExhausted { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "budget-exhausted",
                "The budget of the day is used up",
            ),
            Self::TooLarge { .. } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The body is too large",
            ),
            Self::Unsupported(_) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "Not a supported kind of content",
            ),
            Self::Invalid(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid-request",
                "The request breaks a rule",
            ),
            Self::Unreadable { name, .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                name,
                "The document cannot be read",
            ),
            Self::Unavailable { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "dependency-unavailable",
                "Temporarily unavailable",
            ),
            Self::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "An internal fault",
            ),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match &self {
            Self::Internal(source) => {
                tracing::error!(error = %chain(source.as_ref()), "request failed")
            }
            Self::Unavailable { dependency, source } => {
                tracing::warn!(dependency, error = %chain(source.as_ref()), "dependency does not answer");
            }
            _ => {}
        }
        let (status, slug, title) = self.status_and_title();
        let mut response = status.into_response();
        let retry_after = match self {
            Self::Unavailable { .. } => Some(UNAVAILABLE_RETRY_AFTER),
            Self::TooMany { wait, .. } => Some(wait),
            _ => None,
        };
        if let Some(wait) = retry_after {
            let seconds = HeaderValue::from(whole_seconds(wait));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if let Self::BudgetExhausted { ends_in_s, .. } = self {
            let seconds = HeaderValue::from(ends_in_s.max(1));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(Problem {
            kind: format!("urn:allegiant:problem:{slug}"),
            title,
            status: status.as_u16(),
            detail: self.to_string(),
        });
        response
    }
}

/// Seconds, rounded up, as headers count them.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

impl From<&Verdict> for ApiError {
    fn from(verdict: &Verdict) -> Self {
        Self::TooMany {
            limit: verdict.limit.name(),
            requests: verdict.quota.requests,
            window_s: whole_seconds(verdict.quota.window),
            wait: verdict.wait,
        }
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Unavailable(_) => Self::Unavailable {
                dependency: "the database",
                source: Box::new(error),
            },
            DbError::Failed(_) => Self::Internal(Box::new(error)),
        }
    }
}

impl From<SessionError> for ApiError {
    fn from(error: SessionError) -> Self {
        Self::Unavailable {
            dependency: "the session store",
            source: Box::new(error),
        }
    }
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Missing { .. } => Self::NotFound("file"),
            StorageError::Unavailable { .. } => Self::Unavailable {
                dependency: "the file store",
                source: Box::new(error),
            },
            StorageError::Rejected { .. } => Self::Internal(Box::new(error)),
        }
    }
}

impl From<PasswordError> for ApiError {
    fn from(error: PasswordError) -> Self {
        Self::Internal(Box::new(error))
    }
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<TargetError> for ApiError {
    fn from(error: TargetError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge {
                limit_bytes: crate::routes::JSON_BODY_MAX_BYTES as u64,
            },
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                Self::Unsupported("the body must be application/json".to_owned())
            }
            StatusCode::UNPROCESSABLE_ENTITY => Self::Invalid(rejection.body_text()),
            _ => Self::Malformed(rejection.body_text()),
        }
    }
}

impl From<PathRejection> for ApiError {
    // An id that is no UUID names nothing that exists.
    fn from(_: PathRejection) -> Self {
        Self::NotFound("resource")
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::Malformed(rejection.body_text())
    }
}

/// A JSON body whose rejection is a problem.
#[derive(Debug, axum::extract::FromRequest)]
#[from_request(via(Json), rejection(ApiError))]
pub struct JsonBody<T>(pub T);

/// A path parameter whose rejection is a problem.
#[derive(Debug, axum::extract::FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub struct PathId<T>(pub T);

/// A query string whose rejection is a problem.
#[derive(Debug, axum::extract::FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub struct QueryOf<T>(pub T);
