//! The events of a generation: written by a trigger with every change a user can see, read here.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::db::DbError;
use crate::domain::generation::Status;
use crate::domain::ids::GenerationId;

/// A change as its user saw it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct EventRow {
    /// Counts from 1, without gaps.
    pub sequence: i32,
    /// Where the generation stood.
    pub status: Status,
    /// The step that ran.
    pub step: Option<String>,
    /// 0 to 100.
    pub progress: i16,
    /// How often it had been claimed.
    pub attempt: i32,
    /// When.
    pub occurred_at: DateTime<Utc>,
}

/// A generation's events after `sequence`, in order.
///
/// # Errors
/// When the database does not answer.
pub async fn after(
    db: impl PgExecutor<'_>,
    id: GenerationId,
    sequence: i32,
) -> Result<Vec<EventRow>, DbError> {
    let sql = "SELECT sequence, status, step, progress, attempt, occurred_at FROM generation_events
               WHERE generation_id = $1 AND sequence > $2 ORDER BY sequence";
    Ok(sqlx::query_as(sql)
        .bind(id)
        .bind(sequence)
        .fetch_all(db)
        .await?)
}
