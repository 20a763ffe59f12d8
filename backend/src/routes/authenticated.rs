//! Who sends a request: one lookup in the session store.

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use crate::domain::ids::UserId;
use crate::error::ApiError;
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
        let session = parts
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(bearer_token)
            .map(SessionKey::of)
            .ok_or(ApiError::Unauthenticated)?;
        let user = state
            .sessions
            .find(session)
            .await?
            .ok_or(ApiError::Unauthenticated)?;
        Ok(Self { user, session })
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
