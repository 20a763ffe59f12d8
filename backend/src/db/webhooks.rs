//! The outbox of webhooks and the secrets they are signed with.

use std::time::Duration;

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::db::{DbError, milliseconds};
use crate::domain::ids::{GenerationId, UserId};

/// A delivery that was claimed.
#[derive(Clone, sqlx::FromRow)]
pub struct DeliveryRow {
    /// The same in every attempt.
    pub id: Uuid,
    /// Whose end it tells.
    pub generation_id: GenerationId,
    /// Where to.
    pub url: String,
    /// The same in every attempt.
    pub payload: String,
    /// What it is signed with.
    pub secret: Vec<u8>,
    /// Attempts, this one included.
    pub attempts: i32,
}

// By hand, because a derived one would write the secret into a log.
impl std::fmt::Debug for DeliveryRow {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("DeliveryRow")
            .field("id", &self.id)
            .field("generation_id", &self.generation_id)
            .finish_non_exhaustive()
    }
}

/// The user's secret; `fresh` becomes it when there is none yet.
///
/// # Errors
/// When the database does not do it.
pub async fn secret(db: &mut PgConnection, user: UserId, fresh: &[u8]) -> Result<Vec<u8>, DbError> {
    sqlx::query(
        "INSERT INTO webhook_secrets (user_id, secret) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    )
    .bind(user)
    .bind(fresh)
    .execute(&mut *db)
    .await?;
    // A statement of its own, which sees what a request at the same time has committed.
    Ok(
        sqlx::query_scalar("SELECT secret FROM webhook_secrets WHERE user_id = $1")
            .bind(user)
            .fetch_one(db)
            .await?,
    )
}

/// Claims deliveries that are due. After `lease` another process may try them again.
///
/// # Errors
/// When the database does not do it.
pub async fn claim(
    db: impl PgExecutor<'_>,
    limit: i64,
    lease: Duration,
) -> Result<Vec<DeliveryRow>, DbError> {
    let sql = "WITH due AS (
                   SELECT id FROM webhook_deliveries
                   WHERE delivered_at IS NULL AND abandoned_at IS NULL AND due_at <= now()
                   ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
               )
               UPDATE webhook_deliveries d
               SET attempts = d.attempts + 1, due_at = now() + $2 * interval '1 millisecond'
               FROM due, generations g, webhook_secrets s
               WHERE d.id = due.id AND g.id = d.generation_id AND s.user_id = g.user_id
               RETURNING d.id, d.generation_id, g.webhook_url AS url, d.payload, s.secret, d.attempts";
    Ok(sqlx::query_as(sql)
        .bind(limit)
        .bind(milliseconds(lease))
        .fetch_all(db)
        .await?)
}

/// How long until the next delivery is due, those included that another process holds; `None` without any.
///
/// # Errors
/// When the database does not answer.
pub async fn due_in(db: impl PgExecutor<'_>) -> Result<Option<Duration>, DbError> {
    let sql = "SELECT extract(epoch FROM min(due_at) - clock_timestamp())::float8
               FROM webhook_deliveries WHERE delivered_at IS NULL AND abandoned_at IS NULL";
    let wait_s: Option<f64> = sqlx::query_scalar(sql).fetch_one(db).await?;
    Ok(wait_s.and_then(|wait_s| Duration::try_from_secs_f64(wait_s.max(0.0)).ok()))
}

/// Remembers that a delivery arrived.
///
/// # Errors
/// When the database does not do it.
pub async fn delivered(db: impl PgExecutor<'_>, id: Uuid) -> Result<(), DbError> {
    let sql = "UPDATE webhook_deliveries SET delivered_at = now(), last_failure = NULL
               WHERE id = $1 AND abandoned_at IS NULL";
    sqlx::query(sql).bind(id).execute(db).await?;
    Ok(())
}

/// Remembers that an attempt failed, and when the next one is due; `None` gives it up.
///
/// # Errors
/// When the database does not do it.
pub async fn failed(
    db: impl PgExecutor<'_>,
    delivery: &DeliveryRow,
    failure: &str,
    retry_in: Option<Duration>,
) -> Result<(), DbError> {
    // Fenced by the attempt: who was slower than its lease does not undo what the next one found.
    let sql = "UPDATE webhook_deliveries
               SET last_failure = $3, due_at = now() + coalesce($4::float8, 0) * interval '1 millisecond',
                   abandoned_at = CASE WHEN $4::float8 IS NULL THEN now() END
               WHERE id = $1 AND attempts = $2 AND delivered_at IS NULL";
    sqlx::query(sql)
        .bind(delivery.id)
        .bind(delivery.attempts)
        .bind(failure)
        .bind(retry_in.map(milliseconds))
        .execute(db)
        .await?;
    Ok(())
}
