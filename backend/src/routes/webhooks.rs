//! What a receiver of webhooks verifies them with.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::db::{self, DbError};
use crate::error::ApiError;
use crate::routes::authenticated::Authenticated;
use crate::state::AppState;
use crate::webhooks::{SECRET_BYTES, secret_text};

/// The user's signing secret.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = WebhookSecret)]
#[expect(
    missing_debug_implementations,
    reason = "a secret stays out of debug output"
)]
pub struct SecretBody {
    /// `whsec_` and base64, as Standard Webhooks' libraries take it.
    secret: String,
}

/// `GET /webhooks/secret`: made with the first request, and the same from then on.
///
/// # Errors
/// 401 without a session.
#[utoipa::path(
    get, path = "/webhooks/secret", tag = "generations", operation_id = "showWebhookSecret",
    summary = "Show the secret that webhooks are signed with",
    description = "Webhooks are signed as Standard Webhooks says.",
    responses((status = 200, description = "The secret.", body = SecretBody)),
)]
pub(super) async fn secret(
    State(state): State<AppState>,
    sender: Authenticated,
) -> Result<Json<SecretBody>, ApiError> {
    let mut connection = state.pool.acquire().await.map_err(DbError::from)?;
    let fresh: [u8; SECRET_BYTES] = rand::random();
    let secret = db::webhooks::secret(&mut connection, sender.user, &fresh).await?;
    Ok(Json(SecretBody {
        secret: secret_text(&secret),
    }))
}
