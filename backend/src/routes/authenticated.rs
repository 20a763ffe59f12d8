//! Who sends a request: one lookup in the session store, which also counts it against the session's limit.

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use crate::domain::ids::UserId;
use crate::error::ApiError;
use crate::routes::cookie;
use crate::routes::limited::Verdicts;
use crate::sessions::SessionKey;
use crate::state::AppState;

/// A request with a valid session.
#[derive(Debug, Clone, Copy)]
pub struct Authenticated {
    /// Whose session it is.
    pub user: UserId,
    /// The session.
    pub session: SessionKey,
}

impl FromRequestParts<AppState> for Authenticated {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        // A middleware may have asked before the handler.
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(*known);
        }
        let config = &state.config.sessions;
        let session = match parts.headers.get(AUTHORIZATION) {
            Some(header) => header
                .to_str()
                .ok()
                .and_then(bearer_token)
                .ok_or(ApiError::Unauthenticated)?,
            None => {
                let token = cookie::token(config, &parts.headers);
                let token = token.ok_or(ApiError::Unauthenticated)?;
                cookie::check_origin(config, &parts.method, &parts.uri, &parts.headers)?;
                token
            }
        };
        let session = SessionKey::of(session);
        let found = state.sessions.find(session, &state.limits).await?;
        let (user, verdict) = found.ok_or(ApiError::Unauthenticated)?;
        let verdicts: Verdicts = parts.extensions.get().cloned().unwrap_or_default();
        verdicts.hear(state, verdict.as_slice())?;
        let sender = Self { user, session };
        parts.extensions.insert(sender);
        Ok(sender)
    }
}

/// The token of a bearer header; the scheme's case does not matter (RFC 9110, 11.1).
fn bearer_token(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_header_carries_a_token() {
        assert_eq!(bearer_token("Bearer abc"), Some("abc"));
        assert_eq!(bearer_token("bearer  abc "), Some("abc"));
        for header in ["", "Bearer", "Bearer ", "Basic abc", "abc"] {
            assert_eq!(bearer_token(header), None, "{header:?}");
        }
    }
}
