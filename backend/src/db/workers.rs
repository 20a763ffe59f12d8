//! The live worker processes: what they hold, and how many there are.

use std::time::Duration;

use sqlx::PgExecutor;

use crate::db::{DbError, milliseconds};
use crate::domain::ids::{GenerationId, WorkerId};

/// A worker process, as it tells of itself.
#[derive(Debug, Clone, Copy)]
pub struct Beat {
    /// Which one.
    pub worker: WorkerId,
    /// Generations that it can run at a time.
    pub slots: i32,
    /// How long it counts as alive, and its leases last, without another beat.
    pub lease: Duration,
}

/// What a worker is told when it beats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Of what it knows to run, what it still holds.
    pub held: Vec<(GenerationId, i32)>,
    /// Whether leases have expired: [`leases::rescue_expired`](super::leases::rescue_expired) is to be called.
    pub leases_expired: bool,
    /// Whether webhooks are due that nobody is delivering.
    pub webhooks_due: bool,
}

/// Says that a worker lives, forgets those that have said so no more, renews the leases of what it knows to run, and
/// looks what else is to be done: one statement, since it is all that an idle worker sends.
///
/// Only the leases it knows of: a claim may be committed while the connection breaks that was to tell of it. Nobody
/// runs such a generation, so its lease must be left to expire.
///
/// # Errors
/// When the database does not do it.
pub async fn beat(
    db: impl PgExecutor<'_>,
    beat: Beat,
    running: &[(GenerationId, i32)],
) -> Result<Heard, DbError> {
    let (ids, attempts): (Vec<GenerationId>, Vec<i32>) = running.iter().copied().unzip();
    let sql = "WITH forgotten AS (
                   DELETE FROM worker_processes WHERE expires_at < now() AND id <> $1
               ), announced AS (
                   INSERT INTO worker_processes (id, slots, expires_at)
                   VALUES ($1, $2, now() + $3 * interval '1 millisecond')
                   ON CONFLICT (id) DO UPDATE SET slots = $2, expires_at = excluded.expires_at
               ), renewed AS (
                   UPDATE generations g SET leased_until = now() + $3 * interval '1 millisecond'
                   FROM unnest($4::uuid[], $5::int4[]) AS known (id, attempt)
                   WHERE g.id = known.id AND g.attempt = known.attempt
                         AND g.lease_owner = $1 AND g.status = 'running' RETURNING g.id, g.attempt
               )
               SELECT coalesce(array_agg(id), '{}'), coalesce(array_agg(attempt), '{}'),
                      EXISTS (SELECT FROM generations WHERE status = 'running' AND leased_until < now()),
                      EXISTS (SELECT FROM webhook_deliveries
                              WHERE due_at <= now() AND delivered_at IS NULL AND abandoned_at IS NULL)
               FROM renewed";
    let (ids, attempts, leases_expired, webhooks_due): (Vec<GenerationId>, Vec<i32>, bool, bool) =
        sqlx::query_as(sql)
            .bind(beat.worker)
            .bind(beat.slots)
            .bind(milliseconds(beat.lease))
            .bind(ids)
            .bind(attempts)
            .fetch_one(db)
            .await?;
    Ok(Heard {
        held: ids.into_iter().zip(attempts).collect(),
        leases_expired,
        webhooks_due,
    })
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
