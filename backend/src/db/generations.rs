//! Generations as their users see them: created, looked at, listed, cancelled.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::db::DbError;
use crate::db::spending::{self, Budget, Day};
use crate::domain::generation::{Request, Status};
use crate::domain::ids::{DocumentId, GenerationId, UserId};
use crate::domain::pace::Pace;

/// The channel on which workers are told of new work and of cancellations.
pub const CHANNEL: &str = "generations";
/// The payload that tells of new work. A payload that is an id tells of a cancelled generation.
pub const QUEUED: &str = "queued";
/// The payload that tells of a webhook to deliver.
pub const WEBHOOK: &str = "webhook";
/// The channel on which a trigger tells which generation has changed: the payload is its id.
pub const CHANGED_CHANNEL: &str = "generation_changed";

/// What a user may know of a generation.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct GenerationRow {
    /// Its id.
    pub id: GenerationId,
    /// Title of the proposal.
    pub title: String,
    /// Where it stands.
    pub status: Status,
    /// 0 to 100.
    pub progress: i16,
    /// The step that runs or ran last.
    pub step: Option<String>,
    /// How often it was claimed.
    pub attempt: i32,
    /// Why it failed: a stable code.
    pub error_code: Option<String>,
    /// The same in words.
    pub error_detail: Option<String>,
    /// Pages of the PDF.
    pub page_count: Option<i32>,
    /// Tokens read by OpenAI.
    pub input_tokens: i64,
    /// Tokens written by OpenAI.
    pub output_tokens: i64,
    /// What they cost.
    pub cost_usd_micros: i64,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// When it was first claimed.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// What became of a request for a generation.
#[derive(Debug)]
pub enum Creation {
    /// It is accepted, now or under the same idempotency key before.
    Accepted(Box<GenerationRow>),
    /// A document is not there or another user's.
    UnknownDocument,
    /// The idempotency key was used for something else.
    KeyReused,
    /// The user's budget of the day has no room for it.
    BudgetExhausted(Day),
}

/// What became of a wish to cancel.
#[derive(Debug)]
pub enum Cancellation {
    /// It is cancelled, now or before; these responses may still run at OpenAI.
    Cancelled(Vec<String>),
    /// It has ended otherwise.
    Ended(Status),
    /// There is none, or it is another user's.
    NotFound,
}

/// Numbers for the metrics.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct QueueNumbers {
    /// Generations that wait for a worker.
    pub queued: i64,
    /// Generations that a worker holds.
    pub running: i64,
    /// Age of the oldest one that waits, 0 without any.
    pub oldest_queued_s: f64,
    /// Live worker processes.
    pub tasks: i64,
}

/// Accepts a generation, in the caller's transaction. The notification leaves with its commit.
///
/// With an idempotency key (and the digest of the request) a repetition finds the first one's
/// generation; two at once are put in order by the key's unique index.
///
/// # Errors
/// When the database does not do it.
pub async fn create(
    tx: &mut PgConnection,
    user: UserId,
    request: &Request,
    key: Option<(&str, &str)>,
    budget: Option<Budget>,
) -> Result<Creation, DbError> {
    let id = GenerationId::new();
    let lock = "SELECT id FROM documents WHERE user_id = $1 AND id = ANY($2) FOR KEY SHARE";
    let documents: Vec<DocumentId> = sqlx::query_scalar(lock)
        .bind(user)
        .bind(&request.document_ids)
        .fetch_all(&mut *tx)
        .await?;
    // The key comes first: a repetition answers as before, even when a document is gone since.
    if let Some(row) = repeated(tx, user, key).await? {
        return Ok(row);
    }
    if documents.len() != request.document_ids.len() {
        return Ok(Creation::UnknownDocument);
    }
    if let Some(budget) = budget {
        let day = spending::day(tx, user, budget).await?;
        if day.committed_usd_micros + budget.estimate_usd_micros > budget.per_day_usd_micros {
            return Ok(Creation::BudgetExhausted(day));
        }
    }
    let insert = "INSERT INTO generations (id, user_id, title, instructions, webhook_url) VALUES ($1, $2, $3, $4, $5)";
    sqlx::query(insert)
        .bind(id)
        .bind(user)
        .bind(&request.title)
        .bind(&request.instructions)
        .bind(&request.webhook_url)
        .execute(&mut *tx)
        .await?;
    if let Some((key, digest)) = key {
        let claim = "INSERT INTO idempotency_keys (user_id, key, request_sha256, generation_id)
                     VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        let claimed = sqlx::query(claim)
            .bind(user)
            .bind(key)
            .bind(digest)
            .bind(id)
            .execute(&mut *tx)
            .await?;
        if claimed.rows_affected() == 0 {
            // Another request with the key committed in between: take back ours, answer with its.
            sqlx::query("DELETE FROM generations WHERE id = $1")
                .bind(id)
                .execute(&mut *tx)
                .await?;
            let row = repeated(tx, user, Some((key, digest))).await?;
            return row.ok_or_else(|| DbError::Unavailable(sqlx::Error::RowNotFound));
        }
    }
    let attach = "WITH attached AS (
                      INSERT INTO generation_documents (generation_id, document_id, ordinal)
                      SELECT $1, document_id, ordinal FROM unnest($2::uuid[]) WITH ORDINALITY AS d (document_id, ordinal)
                  )
                  SELECT pg_notify($3, $4)";
    let attach = sqlx::query(attach)
        .bind(id)
        .bind(&request.document_ids)
        .bind(CHANNEL)
        .bind(QUEUED);
    attach.execute(&mut *tx).await?;
    let row = find(&mut *tx, id, user).await?;
    row.map(|row| Creation::Accepted(Box::new(row)))
        .ok_or_else(|| DbError::Failed(sqlx::Error::RowNotFound))
}

async fn repeated(
    tx: &mut PgConnection,
    user: UserId,
    key: Option<(&str, &str)>,
) -> Result<Option<Creation>, DbError> {
    let Some((key, digest)) = key else {
        return Ok(None);
    };
    let sql = "SELECT request_sha256, generation_id FROM idempotency_keys WHERE user_id = $1 AND key = $2";
    let known: Option<(String, GenerationId)> = sqlx::query_as(sql)
        .bind(user)
        .bind(key)
        .fetch_optional(&mut *tx)
        .await?;
    let Some((known_digest, id)) = known else {
        return Ok(None);
    };
    if known_digest != digest {
        return Ok(Some(Creation::KeyReused));
    }
    Ok(find(tx, id, user)
        .await?
        .map(|row| Creation::Accepted(Box::new(row))))
}

/// A user's generation: what every poll asks for.
///
/// # Errors
/// When the database does not answer.
pub async fn find(
    db: impl PgExecutor<'_>,
    id: GenerationId,
    user: UserId,
) -> Result<Option<GenerationRow>, DbError> {
    let sql =
        "SELECT id, title, status, progress, step, attempt, error_code, error_detail, page_count,
                      input_tokens, output_tokens, cost_usd_micros, created_at, started_at, finished_at
               FROM generations WHERE id = $1 AND user_id = $2";
    Ok(sqlx::query_as(sql)
        .bind(id)
        .bind(user)
        .fetch_optional(db)
        .await?)
}

/// A user's generations, newest first, older than `before`.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    db: impl PgExecutor<'_>,
    user: UserId,
    before: Option<GenerationId>,
    limit: i64,
) -> Result<Vec<GenerationRow>, DbError> {
    let sql =
        "SELECT id, title, status, progress, step, attempt, error_code, error_detail, page_count,
                      input_tokens, output_tokens, cost_usd_micros, created_at, started_at, finished_at
               FROM generations WHERE user_id = $1 AND ($2::uuid IS NULL OR id < $2)
               ORDER BY id DESC LIMIT $3";
    Ok(sqlx::query_as(sql)
        .bind(user)
        .bind(before)
        .bind(limit)
        .fetch_all(db)
        .await?)
}

/// Where a generation's PDF is, once there is one, and what it is called.
///
/// # Errors
/// When the database does not answer.
pub async fn pdf_of(
    db: impl PgExecutor<'_>,
    id: GenerationId,
    user: UserId,
) -> Result<Option<(Status, String, Option<String>)>, DbError> {
    let sql = "SELECT status, title, pdf_key FROM generations WHERE id = $1 AND user_id = $2";
    Ok(sqlx::query_as(sql)
        .bind(id)
        .bind(user)
        .fetch_optional(db)
        .await?)
}

/// Cancels a generation that has not ended. The fence of every worker's write includes the status
/// `running`, so from the commit on no worker can write.
///
/// # Errors
/// When the database does not do it.
pub async fn cancel(
    tx: &mut PgConnection,
    id: GenerationId,
    user: UserId,
) -> Result<Cancellation, DbError> {
    let lock = "SELECT status FROM generations WHERE id = $1 AND user_id = $2 FOR UPDATE";
    let status: Option<Status> = sqlx::query_scalar(lock)
        .bind(id)
        .bind(user)
        .fetch_optional(&mut *tx)
        .await?;
    match status {
        None => return Ok(Cancellation::NotFound),
        Some(Status::Cancelled) => return Ok(Cancellation::Cancelled(Vec::new())),
        Some(status) if status.is_final() => return Ok(Cancellation::Ended(status)),
        Some(_) => {}
    }
    let update = "UPDATE generations
                  SET status = 'cancelled', finished_at = now(), lease_owner = NULL, leased_until = NULL,
                      error_code = NULL, error_detail = NULL
                  WHERE id = $1";
    sqlx::query(update).bind(id).execute(&mut *tx).await?;
    let waiting =
        "SELECT response_id FROM generation_steps WHERE generation_id = $1 AND state = 'waiting'";
    let responses = sqlx::query_scalar(waiting)
        .bind(id)
        .fetch_all(&mut *tx)
        .await?;
    sqlx::query("SELECT pg_notify($1, $2)")
        .bind(CHANNEL)
        .bind(id.to_string())
        .execute(&mut *tx)
        .await?;
    Ok(Cancellation::Cancelled(responses))
}

/// The numbers behind the queue metrics, from the two partial indexes.
///
/// # Errors
/// When the database does not answer.
pub async fn queue_numbers(db: impl PgExecutor<'_>) -> Result<QueueNumbers, DbError> {
    let sql = "SELECT (SELECT count(*) FROM generations WHERE status = 'queued') AS queued,
                      (SELECT count(*) FROM generations WHERE status = 'running') AS running,
                      coalesce((SELECT extract(epoch FROM now() - min(created_at)) FROM generations
                                WHERE status = 'queued'), 0)::float8 AS oldest_queued_s,
                      (SELECT count(*) FROM worker_processes WHERE expires_at > now()) AS tasks";
    Ok(sqlx::query_as(sql).fetch_one(db).await?)
}

/// How fast the queue is worked through: from the partial indexes and the latest 20 that succeeded.
///
/// # Errors
/// When the database does not answer.
pub async fn pace(db: impl PgExecutor<'_>) -> Result<Pace, DbError> {
    let sql = "SELECT (SELECT count(*) FROM generations WHERE status = 'queued')::int4,
                      (SELECT extract(epoch FROM now() - min(created_at)) FROM generations
                       WHERE status = 'queued')::float8,
                      (SELECT count(*) FROM generations WHERE status = 'running')::int4,
                      (SELECT coalesce(sum(slots), 0) FROM worker_processes WHERE expires_at > now())::int4,
                      (SELECT extract(epoch FROM avg(took)) FROM (
                           SELECT finished_at - started_at AS took FROM generations
                           WHERE status = 'succeeded' ORDER BY finished_at DESC LIMIT 20) latest)::float8";
    let (queued, oldest_s, running, slots, run_s): (i32, Option<f64>, i32, i32, Option<f64>) =
        sqlx::query_as(sql).fetch_one(db).await?;
    let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
    Ok(Pace {
        queued: queued.unsigned_abs(),
        oldest_queued: seconds(oldest_s.unwrap_or_default()),
        running: running.unsigned_abs(),
        slots: slots.unsigned_abs(),
        run: run_s.map(seconds),
    })
}
