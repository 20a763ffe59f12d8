//! Holds requests to the rate limits, and tells clients where they stand.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::error::{ApiError, whole_seconds};
use crate::limits::{Limit, Subject, Verdict};
use crate::routes::authenticated::Authenticated;
use crate::routes::client_address::ClientAddress;
use crate::state::AppState;
use crate::telemetry::chain;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What the limits said to a request. It travels as an extension, from whoever asks them to the
/// outermost middleware, which writes the headers whatever the answer is.
#[derive(Debug, Clone, Default)]
pub(super) struct Verdicts(Arc<Mutex<Vec<Verdict>>>);

impl Verdicts {
    /// Remembers verdicts and refuses the request when one of them does.
    ///
    /// # Errors
    /// [`ApiError::TooMany`] for the longest wait.
    pub(super) fn hear(&self, state: &AppState, verdicts: &[Verdict]) -> Result<(), ApiError> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(verdicts);
        let longest = verdicts.iter().max_by_key(|verdict| verdict.wait);
        match longest.filter(|verdict| !verdict.wait.is_zero()) {
            Some(refusal) => {
                state.metrics.rate_limited(refusal.limit.name());
                Err(refusal.into())
            }
            None => Ok(()),
        }
    }

    /// Writes `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10).
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let verdicts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if verdicts.is_empty() {
            return;
        }
        let (left, policy) = fields(&verdicts);
        for (name, text) in [(RATE_LIMIT, left), (RATE_LIMIT_POLICY, policy)] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
        }
    }
}

fn fields(verdicts: &[Verdict]) -> (String, String) {
    let (mut left, mut policy) = (String::new(), String::new());
    for verdict in verdicts {
        let comma = if left.is_empty() { "" } else { ", " };
        let name = verdict.limit.name();
        let reset_s = whole_seconds(verdict.whole_in);
        let window_s = whole_seconds(verdict.quota.window);
        let (remaining, requests) = (verdict.remaining, verdict.quota.requests);
        // Writing to a string cannot fail.
        let _ = write!(left, "{comma}\"{name}\";r={remaining};t={reset_s}");
        let _ = write!(policy, "{comma}\"{name}\";q={requests};w={window_s}");
    }
    (left, policy)
}

/// Asks limits on behalf of a handler.
pub(super) struct Limited {
    verdicts: Verdicts,
    address: ClientAddress,
}

impl FromRequestParts<AppState> for Limited {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &AppState,
    ) -> Result<Self, Self::Rejection> {
        Ok(Self {
            verdicts: parts.extensions.get().cloned().unwrap_or_default(),
            address: ClientAddress::from_request_parts(parts, state).await?,
        })
    }
}

impl Limited {
    /// Whom limits per address count.
    pub(super) fn address(&self) -> Subject {
        Subject::of(self.address.0.to_string())
    }

    /// Takes one request from each limit. Without Redis everything is allowed, and counted: who
    /// cannot be counted is better served than refused.
    ///
    /// # Errors
    /// [`ApiError::TooMany`].
    pub(super) async fn take(
        &self,
        state: &AppState,
        asked: &[(Limit, Subject)],
    ) -> Result<(), ApiError> {
        match state.limits.take(asked).await {
            Ok(verdicts) => self.verdicts.hear(state, &verdicts),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "rate limits are not enforced");
                state.metrics.rate_limits_unavailable();
                Ok(())
            }
        }
    }
}

/// Limits the generations one user asks for.
pub(super) async fn generations(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let sender = Authenticated::from_request_parts(&mut parts, &state).await?;
    let Ok(limited) = Limited::from_request_parts(&mut parts, &state).await;
    let user = Subject::of(sender.user.0);
    limited.take(&state, &[(Limit::Generations, user)]).await?;
    Ok(next.run(Request::from_parts(parts, body)).await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Quota;
    use std::time::Duration;

    #[test]
    fn headers_are_lists_of_what_is_left_and_of_what_is_allowed() {
        let verdict = |limit, remaining, whole_in_ms| Verdict {
            limit,
            quota: Quota {
                requests: 10,
                window: Duration::from_secs(60),
            },
            remaining,
            wait: Duration::ZERO,
            whole_in: Duration::from_millis(whole_in_ms),
        };
        let (left, policy) = fields(&[
            verdict(Limit::LoginAddress, 9, 6_000),
            verdict(Limit::LoginAccount, 0, 59_001),
        ]);
        assert_eq!(left, r#""login-address";r=9;t=6, "login-account";r=0;t=60"#);
        assert_eq!(
            policy,
            r#""login-address";q=10;w=60, "login-account";q=10;w=60"#
        );
    }
}
