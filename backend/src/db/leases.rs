//! Leases: how generations pass from one worker process to the next without two holding one.
//!
//! A claim counts the attempt, and that number is the fence: every later write of the claimer
//! matches `attempt = N AND status = 'running'` and finds no row once anybody else has claimed,
//! rescued or cancelled the generation.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use sqlx::postgres::PgPool;

use crate::db::generations::{CHANNEL, QUEUED};
use crate::db::{DbError, milliseconds};
use crate::domain::ids::{GenerationId, WorkerId};

/// The advisory lock of claims: any number that nothing else in this database locks.
const CLAIM_LOCK: i64 = 0x636c_6169_6d73;

/// A claimed generation.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Claim {
    /// Which one.
    pub id: GenerationId,
    /// The fence.
    pub attempt: i32,
    /// How long it had waited since it was accepted.
    pub created_at: DateTime<Utc>,
    /// When this claim was made, by the database's clock.
    pub claimed_at: DateTime<Utc>,
    /// Whether it ran before.
    pub resumed: bool,
}

/// How an attempt ended that did not succeed.
#[derive(Debug, Clone)]
pub struct Failure<'a> {
    /// A stable code for programs.
    pub code: &'a str,
    /// A sentence for people; no internals.
    pub detail: &'a str,
    /// When it may be tried again; `None` means never.
    pub retry_in: Option<Duration>,
}

/// What became of a generation whose attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// It waits for its next attempt.
    Queued,
    /// It has failed for good.
    Failed,
    /// Somebody else holds it, or it was cancelled: nothing was written.
    Fenced,
}

/// What a claim asks for.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// At most so many generations.
    pub limit: i64,
    /// How long the leases last without heartbeat.
    pub lease: Duration,
    /// At most so many of one user run at a time, in all tasks.
    pub per_user_max: i64,
}

/// Whether anything waits that may be claimed: a glance, where [`claim`] takes a lock and four round trips.
///
/// # Errors
/// When the database does not answer.
pub async fn anything_waits(db: impl PgExecutor<'_>) -> Result<bool, DbError> {
    let sql =
        "SELECT EXISTS (SELECT FROM generations WHERE status = 'queued' AND available_at <= now())";
    Ok(sqlx::query_scalar(sql).fetch_one(db).await?)
}

/// Claims generations that wait, in fair turns: a user's next one takes its turn behind everybody's
/// who has fewer running, and only then age decides. So a hundred of one user do not keep the first
/// of another waiting.
///
/// Claims of all processes happen one after the other, under an advisory lock: each sees what runs,
/// so neither turns nor the limit per user are miscounted. The lock lasts for one statement.
///
/// # Errors
/// When the database does not do it.
pub async fn claim(pool: &PgPool, worker: WorkerId, ask: Ask) -> Result<Vec<Claim>, DbError> {
    let mut tx = pool.begin().await?;
    // A statement of its own: the next one's snapshot must be younger than the lock.
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(CLAIM_LOCK)
        .execute(&mut *tx)
        .await?;
    let claims = claim_in_turns(&mut *tx, worker, ask).await?;
    tx.commit().await?;
    Ok(claims)
}

/// Users with something in the queue are found by leaps along the index, not by reading the queue.
async fn claim_in_turns(
    db: impl PgExecutor<'_>,
    worker: WorkerId,
    ask: Ask,
) -> Result<Vec<Claim>, DbError> {
    let sql = "WITH RECURSIVE waiting (user_id) AS (
                   (SELECT user_id FROM generations WHERE status = 'queued' ORDER BY user_id LIMIT 1)
                   UNION ALL
                   SELECT (SELECT g.user_id FROM generations g
                           WHERE g.status = 'queued' AND g.user_id > w.user_id ORDER BY g.user_id LIMIT 1)
                   FROM waiting w WHERE w.user_id IS NOT NULL
               ), turns AS (
                   SELECT next.id FROM waiting w
                   CROSS JOIN LATERAL (
                       SELECT count(*) AS running FROM generations
                       WHERE status = 'running' AND user_id = w.user_id
                   ) now_running
                   CROSS JOIN LATERAL (
                       SELECT id, created_at, row_number() OVER (ORDER BY created_at, id) AS place FROM generations
                       WHERE status = 'queued' AND user_id = w.user_id AND available_at <= now()
                       ORDER BY created_at, id LIMIT greatest(0, least($2, $4 - running))
                   ) next
                   ORDER BY running + next.place, next.created_at, next.id LIMIT $2
               ), picked AS (
                   SELECT g.id FROM generations g JOIN turns USING (id)
                   WHERE g.status = 'queued' FOR UPDATE OF g SKIP LOCKED
               )
               UPDATE generations g
               SET status = 'running', attempt = g.attempt + 1, lease_owner = $1,
                   leased_until = now() + $3 * interval '1 millisecond',
                   started_at = coalesce(g.started_at, now()), error_code = NULL, error_detail = NULL
               FROM picked WHERE g.id = picked.id
               RETURNING g.id, g.attempt, g.created_at, now() AS claimed_at, g.attempt > 1 AS resumed";
    let query = sqlx::query_as(sql)
        .bind(worker)
        .bind(ask.limit)
        .bind(milliseconds(ask.lease))
        .bind(ask.per_user_max);
    Ok(query.fetch_all(db).await?)
}

/// Puts generations whose lease has expired back into the queue, or fails those that have used up
/// their attempts. Returns how many were queued and how many failed.
///
/// # Errors
/// When the database does not do it.
pub async fn rescue_expired(
    db: impl PgExecutor<'_>,
    attempts_max: i32,
) -> Result<(i64, i64), DbError> {
    let sql = "WITH expired AS (
                   SELECT id, attempt - attempts_released >= $1 AS spent FROM generations
                   WHERE status = 'running' AND leased_until < now() FOR UPDATE SKIP LOCKED
               ), rescued AS (
                   UPDATE generations g
                   SET status = CASE WHEN spent THEN 'failed' ELSE 'queued' END,
                       error_code = CASE WHEN spent THEN 'attempts_exhausted' END,
                       error_detail = CASE WHEN spent THEN
                           'Every attempt ended with the loss of its worker.' END,
                       finished_at = CASE WHEN spent THEN now() END,
                       lease_owner = NULL, leased_until = NULL, available_at = now()
                   FROM expired WHERE g.id = expired.id
                   RETURNING g.status
               ), counted AS (
                   SELECT count(*) FILTER (WHERE status = 'queued') AS queued,
                          count(*) FILTER (WHERE status = 'failed') AS failed FROM rescued
               )
               SELECT queued, failed, CASE WHEN queued > 0 THEN pg_notify($2, $3)::text END FROM counted";
    let (queued, failed, _): (i64, i64, Option<String>) = sqlx::query_as(sql)
        .bind(attempts_max)
        .bind(CHANNEL)
        .bind(QUEUED)
        .fetch_one(db)
        .await?;
    Ok((queued, failed))
}

/// Gives back everything a worker holds, for its orderly stop. The attempts are marked as released,
/// so they do not count against the cap, but the fence stays where it is.
///
/// # Errors
/// When the database does not do it.
pub async fn release_all(db: impl PgExecutor<'_>, worker: WorkerId) -> Result<i64, DbError> {
    let sql = "WITH released AS (
                   UPDATE generations
                   SET status = 'queued', attempts_released = attempts_released + 1,
                       lease_owner = NULL, leased_until = NULL, available_at = now()
                   WHERE lease_owner = $1 AND status = 'running' RETURNING id
               ), counted AS (SELECT count(*) AS released FROM released)
               SELECT released, CASE WHEN released > 0 THEN pg_notify($2, $3)::text END FROM counted";
    let (released, _): (i64, Option<String>) = sqlx::query_as(sql)
        .bind(worker)
        .bind(CHANNEL)
        .bind(QUEUED)
        .fetch_one(db)
        .await?;
    Ok(released)
}

/// Ends an attempt that failed: back into the queue, or for good when it may not be retried or
/// has used up its attempts.
///
/// # Errors
/// When the database does not do it.
pub async fn fail_attempt(
    db: impl PgExecutor<'_>,
    claim: &Claim,
    failure: &Failure<'_>,
    attempts_max: i32,
) -> Result<AfterFailure, DbError> {
    let sql = "WITH fenced AS (
                   SELECT id, $5::float8 IS NULL OR attempt - attempts_released >= $6 AS spent FROM generations
                   WHERE id = $1 AND attempt = $2 AND status = 'running' FOR UPDATE
               )
               UPDATE generations g
               SET status = CASE WHEN spent THEN 'failed' ELSE 'queued' END,
                   error_code = CASE WHEN spent THEN $3 END, error_detail = CASE WHEN spent THEN $4 END,
                   finished_at = CASE WHEN spent THEN now() END,
                   available_at = now() + coalesce($5::float8, 0) * interval '1 millisecond',
                   lease_owner = NULL, leased_until = NULL
               FROM fenced WHERE g.id = fenced.id
               RETURNING spent";
    let spent: Option<bool> = sqlx::query_scalar(sql)
        .bind(claim.id)
        .bind(claim.attempt)
        .bind(failure.code)
        .bind(failure.detail)
        .bind(failure.retry_in.map(milliseconds))
        .bind(attempts_max)
        .fetch_optional(db)
        .await?;
    Ok(match spent {
        None => AfterFailure::Fenced,
        Some(true) => AfterFailure::Failed,
        Some(false) => AfterFailure::Queued,
    })
}
