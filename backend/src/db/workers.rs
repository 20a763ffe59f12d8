//! The live worker processes, for the numbers that need to know how many there are.

use std::time::Duration;

use sqlx::PgExecutor;

use crate::db::{DbError, milliseconds};
use crate::domain::ids::WorkerId;

/// Says that a worker lives, for so long, and forgets those that have said so no more.
///
/// # Errors
/// When the database does not do it.
pub async fn announce(
    db: impl PgExecutor<'_>,
    worker: WorkerId,
    slots: i32,
    life: Duration,
) -> Result<(), DbError> {
    let sql =
        "WITH forgotten AS (DELETE FROM worker_processes WHERE expires_at < now() AND id <> $1)
               INSERT INTO worker_processes (id, slots, expires_at)
               VALUES ($1, $2, now() + $3 * interval '1 millisecond')
               ON CONFLICT (id) DO UPDATE SET slots = $2, expires_at = excluded.expires_at";
    let query = sqlx::query(sql).bind(worker).bind(slots);
    query.bind(milliseconds(life)).execute(db).await?;
    Ok(())
}

/// Says that a worker is going.
///
/// # Errors
/// When the database does not do it.
pub async fn withdraw(db: impl PgExecutor<'_>, worker: WorkerId) -> Result<(), DbError> {
    sqlx::query("DELETE FROM worker_processes WHERE id = $1")
        .bind(worker)
        .execute(db)
        .await?;
    Ok(())
}
