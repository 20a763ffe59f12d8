//! Registration, login, logout, and who one is.

use axum::Json;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::db;
use crate::domain::account::{Email, Password};
use crate::domain::ids::UserId;
use crate::error::{ApiError, JsonBody};
use crate::limits::{Limit, Subject};
use crate::routes::authenticated::Authenticated;
use crate::routes::cookie;
use crate::routes::limited::Limited;
use crate::state::AppState;

/// What registration and login take. Without `Debug`: it holds a password.
#[derive(Deserialize, ToSchema)]
#[schema(as = Credentials)]
#[serde(deny_unknown_fields)]
#[expect(missing_debug_implementations, reason = "it holds a password")]
pub struct CredentialsBody {
    /// An address like `ana@example.com`; case does not matter.
    #[schema(format = Email, max_length = 254, example = "ana@example.com")]
    email: String,
    /// 8 to 256 bytes of anything.
    #[schema(format = Password, min_length = 8, max_length = 256, example = "correct horse battery")]
    password: String,
    /// Whether the session's token comes in a cookie that scripts cannot read, instead of in the answer.
    #[serde(default)]
    cookie: bool,
}

/// A user as told to themselves.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub struct UserBody {
    id: UserId,
    email: Email,
}

/// A fresh session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub struct SessionBody {
    user: UserBody,
    /// The bearer token, told only now; absent when it is in the cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token: Option<String>,
    /// Seconds without use after which the session ends.
    expires_in_s: u64,
}

/// `POST /auth/register`.
///
/// # Errors
/// 409 when the address is taken, 422 when address or password break a rule.
#[utoipa::path(
    post, path = "/auth/register", tag = "accounts", operation_id = "register", security(()),
    summary = "Register an account and log in", description = "",
    request_body = CredentialsBody,
    responses(
        (status = 201, description = "The account and its first session.", body = SessionBody,
         headers(("Set-Cookie" = String, description = "The session, when a cookie was asked for."))),
        (status = 409, description = "The email address is registered already."),
    ),
)]
pub(super) async fn register(
    State(state): State<AppState>,
    limited: Limited,
    JsonBody(body): JsonBody<CredentialsBody>,
) -> Result<Response, ApiError> {
    let email = Email::parse(&body.email)?;
    let password = Password::parse(body.password)?;
    let asked = [
        (Limit::RegisterAddress, limited.address()),
        (Limit::RegisterAccount, Subject::of(email.as_str())),
    ];
    limited.take(&state, &asked).await?;
    let hash = state.passwords.hash(password).await?;
    let user = UserId::new();
    if !db::users::insert(&state.lane, user, &email, &hash).await? {
        return Err(ApiError::Conflict(
            "the email address is registered already".to_owned(),
        ));
    }
    session(&state, StatusCode::CREATED, user, email, body.cookie).await
}

/// `POST /auth/login`.
///
/// # Errors
/// 401 for an unknown address as for a wrong password.
#[utoipa::path(
    post, path = "/auth/login", tag = "accounts", operation_id = "login", security(()),
    summary = "Log in", description = "An unknown address and a wrong password get the same answer in the same time.",
    request_body = CredentialsBody,
    responses(
        (status = 200, description = "A fresh session.", body = SessionBody,
         headers(("Set-Cookie" = String, description = "The session, when a cookie was asked for."))),
        (status = 401, description = "Email or password is wrong.",
         headers(("WWW-Authenticate" = String, description = "`Bearer`."))),
    ),
)]
pub(super) async fn login(
    State(state): State<AppState>,
    limited: Limited,
    JsonBody(body): JsonBody<CredentialsBody>,
) -> Result<Response, ApiError> {
    let email = Email::parse(&body.email)?;
    let asked = [
        (Limit::LoginAddress, limited.address()),
        (Limit::LoginAccount, Subject::of(email.as_str())),
    ];
    limited.take(&state, &asked).await?;
    let password = Password::parse(body.password).map_err(|_| ApiError::Credentials)?;
    let (user, hash) = db::users::find_by_email(&state.lane, &email).await?.unzip();
    let matches = state.passwords.verify(password, hash).await?;
    match user {
        Some(user) if matches => session(&state, StatusCode::OK, user, email, body.cookie).await,
        _ => Err(ApiError::Credentials),
    }
}

/// `POST /auth/logout`: the token is worth nothing from here on.
///
/// # Errors
/// 401 without a session.
#[utoipa::path(
    post, path = "/auth/logout", tag = "accounts", operation_id = "logout",
    summary = "End the session", description = "",
    responses(
        (status = 204, description = "The token is worth nothing from here on.",
         headers(("Set-Cookie" = String, description = "Takes the cookie back, when the session came in one."))),
    ),
)]
pub(super) async fn logout(
    State(state): State<AppState>,
    sender: Authenticated,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    state.sessions.close(sender.session).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    let config = &state.config.sessions;
    if cookie::token(config, &headers).is_some() {
        let cleared = cookie::clear(config)?;
        response.headers_mut().insert(SET_COOKIE, cleared);
    }
    Ok(response)
}

/// `GET /auth/me`.
///
/// # Errors
/// 401 without a session, or when the account is gone.
#[utoipa::path(
    get, path = "/auth/me", tag = "accounts", operation_id = "me",
    summary = "Show the account of the session", description = "",
    responses((status = 200, description = "The account.", body = UserBody)),
)]
pub(super) async fn me(
    State(state): State<AppState>,
    sender: Authenticated,
) -> Result<Json<UserBody>, ApiError> {
    let email = db::users::email_of(&state.lane, sender.user)
        .await?
        .ok_or(ApiError::Unauthenticated)?;
    Ok(Json(UserBody {
        id: sender.user,
        email,
    }))
}

async fn session(
    state: &AppState,
    status: StatusCode,
    user: UserId,
    email: Email,
    in_cookie: bool,
) -> Result<Response, ApiError> {
    let config = &state.config.sessions;
    let token = state.sessions.open(user).await?.reveal();
    let cookie = in_cookie.then(|| cookie::set(config, &token)).transpose()?;
    let body = SessionBody {
        user: UserBody { id: user, email },
        token: (!in_cookie).then_some(token),
        expires_in_s: config.ttl.as_secs(),
    };
    let mut response = (status, Json(body)).into_response();
    if let Some(cookie) = cookie {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(response)
}
