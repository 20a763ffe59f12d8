//! Registration, login, logout, and who one is.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::db;
use crate::domain::account::{Email, Password};
use crate::domain::ids::UserId;
use crate::error::{ApiError, JsonBody};
use crate::routes::authenticated::Authenticated;
use crate::state::AppState;

/// What registration and login take. Without `Debug`: it holds a password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_debug_implementations, reason = "it holds a password")]
pub struct CredentialsBody {
    email: String,
    password: String,
}

/// A user as told to themselves.
#[derive(Debug, Serialize)]
pub struct UserBody {
    id: UserId,
    email: Email,
}

/// A fresh session.
#[derive(Debug, Serialize)]
pub struct SessionBody {
    user: UserBody,
    token: String,
    expires_in_s: u64,
}

/// `POST /auth/register`.
///
/// # Errors
/// 409 when the address is taken, 422 when address or password break a rule.
pub async fn register(
    State(state): State<AppState>,
    JsonBody(body): JsonBody<CredentialsBody>,
) -> Result<(StatusCode, Json<SessionBody>), ApiError> {
    let email = Email::parse(&body.email)?;
    let hash = state
        .passwords
        .hash(Password::parse(body.password)?)
        .await?;
    let user = UserId::new();
    if !db::users::insert(&state.pool, user, &email, &hash).await? {
        return Err(ApiError::Conflict(
            "the email address is registered already".to_owned(),
        ));
    }
    Ok((
        StatusCode::CREATED,
        Json(session(&state, user, email).await?),
    ))
}

/// `POST /auth/login`.
///
/// # Errors
/// 401 for an unknown address as for a wrong password.
pub async fn login(
    State(state): State<AppState>,
    JsonBody(body): JsonBody<CredentialsBody>,
) -> Result<Json<SessionBody>, ApiError> {
    let email = Email::parse(&body.email)?;
    let password = Password::parse(body.password).map_err(|_| ApiError::Credentials)?;
    let (user, hash) = db::users::find_by_email(&state.pool, &email).await?.unzip();
    let matches = state.passwords.verify(password, hash).await?;
    match user {
        Some(user) if matches => Ok(Json(session(&state, user, email).await?)),
        _ => Err(ApiError::Credentials),
    }
}

/// `POST /auth/logout`: the token is worth nothing from here on.
///
/// # Errors
/// 401 without a session.
pub async fn logout(
    State(state): State<AppState>,
    sender: Authenticated,
) -> Result<StatusCode, ApiError> {
    state.sessions.close(sender.session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /auth/me`.
///
/// # Errors
/// 401 without a session, or when the account is gone.
pub async fn me(
    State(state): State<AppState>,
    sender: Authenticated,
) -> Result<Json<UserBody>, ApiError> {
    let email = db::users::email_of(&state.pool, sender.user)
        .await?
        .ok_or(ApiError::Unauthenticated)?;
    Ok(Json(UserBody {
        id: sender.user,
        email,
    }))
}

async fn session(state: &AppState, user: UserId, email: Email) -> Result<SessionBody, ApiError> {
    let token = state.sessions.open(user).await?.reveal();
    let expires_in_s = state.config.sessions.ttl.as_secs();
    Ok(SessionBody {
        user: UserBody { id: user, email },
        token,
        expires_in_s,
    })
}
