//! The persisted steps of a generation. Every write is fenced and says whether the fence held.
//!
//! Each write locks the generation's row first, so a claim, a rescue or a cancellation and the
//! write happen one after the other and the fence cannot be passed by an old snapshot.

use sqlx::PgExecutor;

use crate::db::DbError;
use crate::db::leases::Claim;
use crate::domain::generation::Step;
use crate::domain::ids::GenerationId;
use crate::openai::Usage;

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
enum StepState {
    /// A response may exist that nobody knows the id of.
    Creating,
    /// The response is known by its id.
    Waiting,
    /// The response ended badly or expired.
    Discarded,
    /// The output is there.
    Done,
}

/// What prompts are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Material {
    /// Title of the proposal.
    pub title: String,
    /// What it should say.
    pub instructions: String,
    /// The text of the documents.
    pub documents: String,
}

/// How a step that OpenAI answers is found by whoever takes it up.
#[derive(Debug, Clone, PartialEq)]
pub enum TakenUp {
    /// It was done before.
    Done {
        /// What it ended in.
        output: String,
    },
    /// A response is on its way.
    Waiting {
        /// Which one.
        response_id: String,
        /// How long ago it was created.
        age_ms: f64,
    },
    /// A response has to be created, and the intent to do so is recorded.
    Intended {
        /// What to ask with.
        material: Material,
        /// Whether a response may exist already that nobody knows the id of.
        uncertain: bool,
    },
}

/// A step that is taken up, as the database tells it.
#[derive(sqlx::FromRow)]
struct TakenUpRow {
    state: Option<StepState>,
    response_id: Option<String>,
    response_age_ms: Option<f64>,
    output: Option<String>,
    title: String,
    instructions: String,
    documents: Option<String>,
}

/// What a proposal is rendered from.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Written {
    /// Its title.
    pub title: String,
    /// Its sections in Markdown, in order.
    pub sections: Vec<String>,
}

/// What a response used and what that costs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bill {
    /// Its tokens.
    pub usage: Usage,
    /// Their price.
    pub cost_usd_micros: i64,
}

/// The finished PDF.
#[derive(Debug)]
pub struct StoredPdf<'a> {
    /// Key in S3.
    pub key: &'a str,
    /// Size.
    pub size_bytes: i64,
    /// Pages.
    pub page_count: i32,
}

/// Takes a step up that OpenAI answers: announces it to those who poll, unless it is done, and
/// records the intent to create a response, unless there is one. One statement, so a generation
/// makes one round trip here and not one per question. `None` when fenced.
///
/// # Errors
/// When the database does not do it.
pub async fn take_up(
    db: impl PgExecutor<'_>,
    claim: &Claim,
    step: Step,
    progress: i16,
) -> Result<Option<TakenUp>, DbError> {
    let sql = "WITH found AS (
                   SELECT state, response_id, output,
                          (extract(epoch FROM now() - responded_at) * 1000)::float8 AS response_age_ms
                   FROM generation_steps WHERE generation_id = $1 AND ordinal = $3
               ), fenced AS (
                   UPDATE generations
                   SET step = CASE WHEN found.state = 'done' THEN step ELSE $4 END,
                       progress = CASE WHEN found.state = 'done' THEN progress ELSE greatest(progress, $5) END
                   FROM (SELECT 1) one LEFT JOIN found ON true
                   WHERE id = $1 AND attempt = $2 AND status = 'running'
                   RETURNING id, title, instructions
               ), intended AS (
                   INSERT INTO generation_steps (generation_id, ordinal, name, state, creates)
                   SELECT id, $3, $4, 'creating', 1 FROM fenced
                   WHERE NOT EXISTS (SELECT 1 FROM found WHERE state IN ('waiting', 'done'))
                   ON CONFLICT (generation_id, ordinal) DO UPDATE
                   SET state = 'creating', response_id = NULL, responded_at = NULL,
                       creates = generation_steps.creates + 1
                   RETURNING generation_id
               )
               SELECT found.state, found.response_id, found.response_age_ms, found.output,
                      fenced.title, fenced.instructions, read.output AS documents
               FROM fenced LEFT JOIN found ON true LEFT JOIN intended ON true
               LEFT JOIN generation_steps read
                   ON read.generation_id = intended.generation_id AND read.ordinal = $6";
    let query = sqlx::query_as(sql)
        .bind(claim.id)
        .bind(claim.attempt)
        .bind(step.ordinal())
        .bind(step.name())
        .bind(progress)
        .bind(Step::ExtractText.ordinal());
    let row: Option<TakenUpRow> = query.fetch_optional(db).await?;
    Ok(row.map(TakenUp::from))
}

impl From<TakenUpRow> for TakenUp {
    fn from(row: TakenUpRow) -> Self {
        match (row.state, row.response_id) {
            (Some(StepState::Done), _) => Self::Done {
                output: row.output.unwrap_or_default(),
            },
            (Some(StepState::Waiting), Some(response_id)) => Self::Waiting {
                response_id,
                age_ms: row.response_age_ms.unwrap_or(0.0),
            },
            (state, _) => Self::Intended {
                material: Material {
                    title: row.title,
                    instructions: row.instructions,
                    documents: row.documents.unwrap_or_default(),
                },
                uncertain: state == Some(StepState::Creating),
            },
        }
    }
}

/// The title and what the first `sections` sections say, those that are done.
///
/// # Errors
/// When the database does not answer.
pub async fn written(
    db: impl PgExecutor<'_>,
    id: GenerationId,
    sections: u16,
) -> Result<Written, DbError> {
    let sql = "SELECT title, ARRAY(
                   SELECT coalesce(output, '') FROM generation_steps
                   WHERE generation_id = $1 AND ordinal BETWEEN $2 AND $3 AND state = 'done' ORDER BY ordinal
               ) AS sections
               FROM generations WHERE id = $1";
    Ok(sqlx::query_as(sql)
        .bind(id)
        .bind(Step::WriteSection(1).ordinal())
        .bind(Step::WriteSection(sections).ordinal())
        .fetch_one(db)
        .await?)
}

/// The output of a finished step.
///
/// # Errors
/// When the database does not answer.
pub async fn output(
    db: impl PgExecutor<'_>,
    id: GenerationId,
    step: Step,
) -> Result<Option<String>, DbError> {
    let sql = "SELECT output FROM generation_steps WHERE generation_id = $1 AND ordinal = $2 AND state = 'done'";
    let output: Option<Option<String>> = sqlx::query_scalar(sql)
        .bind(id)
        .bind(step.ordinal())
        .fetch_optional(db)
        .await?;
    Ok(output.flatten())
}

/// Says what the worker does now, for those who poll. `false` when fenced.
///
/// # Errors
/// When the database does not do it.
pub async fn announce(
    db: impl PgExecutor<'_>,
    claim: &Claim,
    step: Step,
    progress: i16,
) -> Result<bool, DbError> {
    let sql = "UPDATE generations SET step = $3, progress = greatest(progress, $4)
               WHERE id = $1 AND attempt = $2 AND status = 'running'";
    let query = sqlx::query(sql)
        .bind(claim.id)
        .bind(claim.attempt)
        .bind(step.name())
        .bind(progress);
    Ok(query.execute(db).await?.rows_affected() == 1)
}

/// Records that a response is asked for once more, after a call that failed. `false` when fenced.
///
/// # Errors
/// When the database does not do it.
pub async fn intend_again(
    db: impl PgExecutor<'_>,
    claim: &Claim,
    step: Step,
) -> Result<bool, DbError> {
    let sql = "WITH fenced AS (
                   SELECT id FROM generations
                   WHERE id = $1 AND attempt = $2 AND status = 'running' FOR NO KEY UPDATE
               )
               UPDATE generation_steps s SET creates = creates + 1
               FROM fenced WHERE s.generation_id = fenced.id AND s.ordinal = $3";
    let query = sqlx::query(sql)
        .bind(claim.id)
        .bind(claim.attempt)
        .bind(step.ordinal());
    Ok(query.execute(db).await?.rows_affected() == 1)
}

/// Remembers the response that was created: before its first poll. `false` when fenced.
///
/// # Errors
/// When the database does not do it.
pub async fn remember_response(
    db: impl PgExecutor<'_>,
    claim: &Claim,
    step: Step,
    response_id: &str,
) -> Result<bool, DbError> {
    let sql = "WITH fenced AS (
                   SELECT id FROM generations
                   WHERE id = $1 AND attempt = $2 AND status = 'running' FOR NO KEY UPDATE
               )
               UPDATE generation_steps s SET state = 'waiting', response_id = $4, responded_at = now()
               FROM fenced WHERE s.generation_id = fenced.id AND s.ordinal = $3";
    let query = sqlx::query(sql)
        .bind(claim.id)
        .bind(claim.attempt)
        .bind(step.ordinal())
        .bind(response_id);
    Ok(query.execute(db).await?.rows_affected() == 1)
}

/// Forgets a response that ended badly or expired, so that nobody re-attaches to it, and books
/// what it cost: once, also when the statement is repeated. `false` when fenced.
///
/// # Errors
/// When the database does not do it.
pub async fn discard_response(
    db: impl PgExecutor<'_>,
    claim: &Claim,
    step: Step,
    response_id: &str,
    bill: Bill,
) -> Result<bool, DbError> {
    let sql = "WITH fenced AS (
                   SELECT id FROM generations
                   WHERE id = $1 AND attempt = $2 AND status = 'running' FOR UPDATE
               ), discarded AS (
                   UPDATE generation_steps s
                   SET state = 'discarded', response_id = NULL, responded_at = NULL,
                       input_tokens = s.input_tokens + $5, output_tokens = s.output_tokens + $6,
                       cost_usd_micros = s.cost_usd_micros + $7
                   FROM fenced WHERE s.generation_id = fenced.id AND s.ordinal = $3 AND s.response_id = $4
                   RETURNING s.generation_id
               ), booked AS (
                   UPDATE generations g SET input_tokens = g.input_tokens + $5, output_tokens = g.output_tokens + $6,
                       cost_usd_micros = g.cost_usd_micros + $7
                   FROM discarded WHERE g.id = discarded.generation_id RETURNING g.user_id
               ), spent AS (
                   INSERT INTO user_spending (user_id, day, cost_usd_micros)
                   SELECT user_id, (now() AT TIME ZONE 'utc')::date, $7 FROM booked WHERE $7 > 0
                   ON CONFLICT (user_id, day) DO UPDATE
                   SET cost_usd_micros = user_spending.cost_usd_micros + excluded.cost_usd_micros
               )
               SELECT EXISTS (SELECT 1 FROM fenced)";
    let query = sqlx::query_scalar(sql)
        .bind(claim.id)
        .bind(claim.attempt)
        .bind(step.ordinal());
    let query = query
        .bind(response_id)
        .bind(bill.usage.input_tokens)
        .bind(bill.usage.output_tokens)
        .bind(bill.cost_usd_micros);
    Ok(query.fetch_one(db).await?)
}

/// Finishes a step with its output and books its tokens in the step and in the generation: once,
/// also when the statement is repeated. `false` when fenced.
///
/// # Errors
/// When the database does not do it.
pub async fn finish(
    db: impl PgExecutor<'_>,
    claim: &Claim,
    step: Step,
    output: &str,
    bill: Bill,
) -> Result<bool, DbError> {
    let sql = "WITH fenced AS (
                   SELECT id FROM generations
                   WHERE id = $1 AND attempt = $2 AND status = 'running' FOR UPDATE
               ), written AS (
                   INSERT INTO generation_steps
                       (generation_id, ordinal, name, state, output, input_tokens, output_tokens,
                        cost_usd_micros, finished_at)
                   SELECT id, $3, $4, 'done', $5, $6, $7, $8, now() FROM fenced
                   ON CONFLICT (generation_id, ordinal) DO UPDATE
                   SET state = 'done', output = $5, finished_at = now(),
                       input_tokens = generation_steps.input_tokens + $6,
                       output_tokens = generation_steps.output_tokens + $7,
                       cost_usd_micros = generation_steps.cost_usd_micros + $8
                   WHERE generation_steps.state <> 'done'
                   RETURNING generation_id
               ), booked AS (
                   UPDATE generations g SET input_tokens = g.input_tokens + $6, output_tokens = g.output_tokens + $7,
                       cost_usd_micros = g.cost_usd_micros + $8
                   FROM written WHERE g.id = written.generation_id RETURNING g.user_id
               ), spent AS (
                   INSERT INTO user_spending (user_id, day, cost_usd_micros)
                   SELECT user_id, (now() AT TIME ZONE 'utc')::date, $8 FROM booked WHERE $8 > 0
                   ON CONFLICT (user_id, day) DO UPDATE
                   SET cost_usd_micros = user_spending.cost_usd_micros + excluded.cost_usd_micros
               )
               SELECT EXISTS (SELECT 1 FROM fenced)";
    let query = sqlx::query_scalar(sql)
        .bind(claim.id)
        .bind(claim.attempt)
        .bind(step.ordinal())
        .bind(step.name())
        .bind(output)
        .bind(bill.usage.input_tokens)
        .bind(bill.usage.output_tokens)
        .bind(bill.cost_usd_micros);
    Ok(query.fetch_one(db).await?)
}

/// Ends the generation with its PDF, which is stored already. One statement, so it ends once.
/// `false` when fenced.
///
/// # Errors
/// When the database does not do it.
pub async fn succeed(
    db: impl PgExecutor<'_>,
    claim: &Claim,
    pdf: &StoredPdf<'_>,
) -> Result<bool, DbError> {
    let sql = "WITH fenced AS (
                   UPDATE generations
                   SET status = 'succeeded', progress = 100, step = NULL, pdf_key = $3, pdf_size_bytes = $4,
                       page_count = $5, finished_at = now(), lease_owner = NULL, leased_until = NULL
                   WHERE id = $1 AND attempt = $2 AND status = 'running' RETURNING id
               )
               INSERT INTO generation_steps (generation_id, ordinal, name, state, output, finished_at)
               SELECT id, $6, $7, 'done', $3, now() FROM fenced
               ON CONFLICT (generation_id, ordinal) DO UPDATE SET state = 'done', finished_at = now()";
    let step = Step::StorePdf;
    let query = sqlx::query(sql)
        .bind(claim.id)
        .bind(claim.attempt)
        .bind(pdf.key)
        .bind(pdf.size_bytes)
        .bind(pdf.page_count)
        .bind(step.ordinal())
        .bind(step.name());
    Ok(query.execute(db).await?.rows_affected() == 1)
}
