//! One response of OpenAI, asked for once: intent, create, remember, poll, finish.
//!
//! The order of writes is what makes a crash cheap:
//! 1. the intent is stored (`creating`), by the statement that also reads what to ask with,
//! 2. the response is created; the answer brings its id at once, for it runs in the background,
//! 3. the id is stored (`waiting`) before the first poll,
//! 4. the output and its tokens are stored (`done`) in one statement.
//!
//! Whoever picks the generation up after a crash re-attaches by the id and pays nothing again.
//! What remains possible: a crash between 2 and 3 (one round trip) leaves a response that nobody
//! knows, and a second one is asked for. The API has neither idempotency keys nor a listing by
//! metadata, so this cannot be closed from here; it is counted (`openai_creates_uncertain`), and
//! `metadata` names generation and step for whoever reconciles the bill.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tracing::Instrument;

use crate::db;
use crate::db::leases::Claim;
use crate::db::steps::{Bill, Material, TakenUp};
use crate::domain::generation::Step;
use crate::openai::{OpenAiError, Polled, Prompt, Usage};
use crate::retry::jitter;
use crate::routes::generations::cancel_upstream;
use crate::telemetry::chain;
use crate::worker::Worker;
use crate::worker::response_times::pause;
use crate::worker::steps::{StepError, attempt_delay, held};

/// Responses that may expire in one attempt before it counts as failed.
const REPLACEMENTS_MAX: u32 = 3;

/// A step that one response answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    /// Which step.
    pub(super) step: Step,
    /// Sections of the proposal, for the progress.
    pub(super) sections: u16,
}

/// How a response ended.
enum End {
    Completed { text: String, usage: Usage },
    Bad { reason: String, usage: Usage },
    Expired,
    TooLate,
}

/// A response that is waited for, or what the step had ended in before.
enum Taken {
    Done(String),
    Asked {
        response_id: String,
        schedule: Schedule,
    },
}

/// Gets the step's output: as it was stored before, or from OpenAI. `accept` turns the answer
/// into what is stored, or refuses it.
pub(super) async fn run(
    worker: &Arc<Worker>,
    claim: &Claim,
    question: Question,
    prompt: impl Fn(Material) -> Prompt + Clone + Send + 'static,
    accept: impl Fn(&str) -> Option<String> + Send,
) -> Result<String, StepError> {
    let step = question.step;
    let lane = &worker.state.lane;
    for _ in 0..REPLACEMENTS_MAX {
        let (response_id, schedule) = match take_up(worker, claim, question, prompt.clone()).await?
        {
            Taken::Done(output) => return Ok(output),
            Taken::Asked {
                response_id,
                schedule,
            } => (response_id, schedule),
        };
        match poll_until_end(worker, claim, step, &response_id, schedule).await? {
            End::Completed { text, usage } => {
                if let Some(output) = accept(&text) {
                    let bill = bill(worker, usage);
                    let finish = || db::steps::finish(lane, claim, step, &output, bill);
                    held(worker.persist(finish).await?)?;
                    count(worker, bill);
                    return Ok(output);
                }
                discard(worker, claim, step, &response_id, usage).await?;
                let detail = "OpenAI's answer was not usable.";
                return Err(StepError::for_now(
                    "openai_unusable_answer",
                    detail,
                    attempt_delay(worker),
                ));
            }
            End::Bad { reason, usage } => {
                discard(worker, claim, step, &response_id, usage).await?;
                return Err(bad_end(worker, &reason));
            }
            End::Expired => {
                discard(worker, claim, step, &response_id, Usage::default()).await?;
            }
            End::TooLate => {
                discard(worker, claim, step, &response_id, Usage::default()).await?;
                worker
                    .tasks
                    .spawn(cancel_upstream(worker.state.clone(), claim.id, response_id));
                let detail = "OpenAI did not answer within the time of a step.";
                return Err(StepError::for_now(
                    "openai_timeout",
                    detail,
                    attempt_delay(worker),
                ));
            }
        }
    }
    let detail = "OpenAI lost the response again and again.";
    Err(StepError::for_now(
        "openai_expired",
        detail,
        attempt_delay(worker),
    ))
}

/// Which ends are worth another attempt: those that the same prompt need not meet again.
fn bad_end(worker: &Worker, reason: &str) -> StepError {
    let code = format!("openai_{}", reason.replace(':', "_"));
    let detail = format!(
        "OpenAI ended a response without result ({}).",
        reason.replace(':', ": ")
    );
    match reason {
        "failed:server_error"
        | "failed:rate_limit_exceeded"
        | "failed:unknown"
        | "cancelled"
        | "incomplete:max_output_tokens"
        | "incomplete:unknown" => StepError::for_now(code, detail, attempt_delay(worker)),
        _ => StepError::for_good(code, detail),
    }
}

/// What a response costs at the prices of now.
fn bill(worker: &Worker, usage: Usage) -> Bill {
    let prices = worker.state.config.allowance.prices;
    Bill {
        usage,
        cost_usd_micros: prices.cost_usd_micros(usage),
    }
}

fn count(worker: &Worker, bill: Bill) {
    let metrics = &worker.state.metrics;
    metrics.tokens(bill.usage.input_tokens, bill.usage.output_tokens);
    metrics.spent(bill.cost_usd_micros);
}

async fn discard(
    worker: &Worker,
    claim: &Claim,
    step: Step,
    response_id: &str,
    usage: Usage,
) -> Result<(), StepError> {
    let (lane, bill) = (&worker.state.lane, bill(worker, usage));
    count(worker, bill);
    held(
        worker
            .persist(|| db::steps::discard_response(lane, claim, step, response_id, bill))
            .await?,
    )
}

/// Takes the step up in a task of its own: the attempt may be stopped at any moment, but an id
/// that is on its way must be stored, or the response would be paid twice.
async fn take_up(
    worker: &Arc<Worker>,
    claim: &Claim,
    question: Question,
    prompt: impl Fn(Material) -> Prompt + Send + 'static,
) -> Result<Taken, StepError> {
    let taking = find_or_create(Arc::clone(worker), claim.clone(), question, prompt);
    match worker.tasks.spawn(taking.in_current_span()).await {
        Ok(result) => result,
        Err(_) => Err(StepError::panicked()),
    }
}

async fn find_or_create(
    worker: Arc<Worker>,
    claim: Claim,
    question: Question,
    prompt: impl Fn(Material) -> Prompt + Send,
) -> Result<Taken, StepError> {
    let Question { step, sections } = question;
    let (lane, progress) = (&worker.state.lane, step.progress(sections));
    let taken_up = worker
        .persist(|| db::steps::take_up(lane, &claim, step, progress))
        .await?;
    match taken_up.ok_or(StepError::Fenced)? {
        TakenUp::Done { output } => Ok(Taken::Done(output)),
        TakenUp::Waiting {
            response_id,
            age_ms,
        } => {
            tracing::info!(generation_id = %claim.id, step = step.name(), response_id, "re-attached to a response");
            let schedule = Schedule::resumed(&worker, age_ms);
            Ok(Taken::Asked {
                response_id,
                schedule,
            })
        }
        TakenUp::Intended {
            material,
            uncertain,
        } => {
            let response_id = create(&worker, &claim, step, &prompt(material), uncertain).await?;
            let schedule = Schedule::fresh(&worker, step);
            Ok(Taken::Asked {
                response_id,
                schedule,
            })
        }
    }
}

/// Creates a response, whose intent is recorded, and remembers it.
async fn create(
    worker: &Worker,
    claim: &Claim,
    step: Step,
    prompt: &Prompt,
    mut uncertain: bool,
) -> Result<String, StepError> {
    let (lane, config) = (&worker.state.lane, &worker.state.config);
    let deadline = Instant::now() + config.openai.step_timeout;
    let mut failures = 0;
    loop {
        worker.state.metrics.openai_create(uncertain);
        let error = match worker
            .state
            .openai
            .create(prompt, claim.id, &step.name())
            .await
        {
            Ok(response_id) => {
                let remember = || db::steps::remember_response(lane, claim, step, &response_id);
                return match worker.persist(remember).await {
                    Ok(true) => Ok(response_id),
                    // Nobody else knows this response, so nobody else can stop it.
                    Ok(false) | Err(StepError::Fenced) => {
                        cancel_upstream(worker.state.clone(), claim.id, response_id).await;
                        Err(StepError::Fenced)
                    }
                    Err(error) => Err(error),
                };
            }
            Err(error) => error,
        };
        worker.state.metrics.upstream_error(error.kind());
        if !error.is_transient() {
            tracing::error!(generation_id = %claim.id, error = %chain(&error), "OpenAI refuses a call");
            return Err(refused(&error));
        }
        // An answer that never came or was cut may belong to a response that exists.
        uncertain = matches!(error, OpenAiError::Transport(_) | OpenAiError::Garbage(_));
        failures += 1;
        let delay = config
            .backoff
            .delay_after(failures, error.retry_after(), jitter());
        tracing::warn!(generation_id = %claim.id, failures, error = %chain(&error), "creating a response failed");
        if Instant::now() + delay > deadline {
            return Err(StepError::for_now(
                "openai_unavailable",
                "OpenAI did not accept a call.",
                delay,
            ));
        }
        tokio::select! {
            () = worker.stopping.cancelled() => return Err(StepError::Fenced),
            () = sleep(delay) => {}
        }
        held(
            worker
                .persist(|| db::steps::intend_again(lane, claim, step))
                .await?,
        )?;
    }
}

fn refused(error: &OpenAiError) -> StepError {
    match error {
        OpenAiError::Rejected {
            code: Some(code), ..
        } => StepError::for_good(
            format!("openai_{code}"),
            format!("OpenAI refuses the call ({code})."),
        ),
        _ => StepError::for_good("openai_rejected", "OpenAI refuses the call."),
    }
}

/// When to poll first, and until when.
struct Schedule {
    /// By our clock.
    created: Instant,
    first: Instant,
    deadline: Instant,
}

impl Schedule {
    fn fresh(worker: &Worker, step: Step) -> Self {
        let (now, config) = (Instant::now(), &worker.state.config.openai);
        let quiet = worker.response_times.quiet(step.kind());
        Self {
            created: now,
            first: now + pause(Duration::ZERO, quiet, config.poll_interval),
            deadline: now + config.step_timeout,
        }
    }

    /// A response that was created by somebody else may have ended long ago: it is asked at once,
    /// at least once, and has what its creation left of the budget.
    fn resumed(worker: &Worker, age_ms: f64) -> Self {
        let (now, config) = (Instant::now(), &worker.state.config.openai);
        let age = Duration::try_from_secs_f64(age_ms / 1000.0).unwrap_or_default();
        Self {
            created: now.checked_sub(age).unwrap_or(now),
            first: now,
            deadline: now + config.step_timeout.saturating_sub(age),
        }
    }
}

/// Polls as seldom as [`pause`] says; a missed beat is not made up for.
async fn poll_until_end(
    worker: &Worker,
    claim: &Claim,
    step: Step,
    response_id: &str,
    schedule: Schedule,
) -> Result<End, StepError> {
    let config = &worker.state.config;
    let location = worker.state.openai.location(response_id);
    let quiet = worker.response_times.quiet(step.kind());
    let mut pending_for = Duration::ZERO;
    let mut next = schedule.first;
    let mut failures = 0;
    loop {
        sleep_until(next).await;
        let age = schedule.created.elapsed();
        // Boxed, so that a generation that sleeps does not carry the room of an HTTP call.
        match Box::pin(worker.state.openai.poll(&location, claim.id)).await {
            Ok(Polled::Pending) => {
                failures = 0;
                pending_for = age;
                let beat = next + pause(age, quiet, config.openai.poll_interval);
                next = beat.max(Instant::now()).min(schedule.deadline);
            }
            Ok(Polled::Completed { text, usage }) => {
                worker.response_times.ended(step.kind(), pending_for);
                return Ok(End::Completed { text, usage });
            }
            Ok(Polled::Ended { reason, usage }) => return Ok(End::Bad { reason, usage }),
            Err(OpenAiError::Missing) => {
                worker
                    .state
                    .metrics
                    .upstream_error(OpenAiError::Missing.kind());
                return Ok(End::Expired);
            }
            Err(error) if error.is_transient() => {
                failures += 1;
                worker.state.metrics.upstream_error(error.kind());
                if failures == 1 {
                    tracing::warn!(response_id, error = %chain(&error), "polling a response failed");
                }
                next = Instant::now()
                    + config
                        .backoff
                        .delay_after(failures, error.retry_after(), jitter());
            }
            Err(error) => {
                worker.state.metrics.upstream_error(error.kind());
                tracing::error!(response_id, error = %chain(&error), "OpenAI refuses a poll");
                return Err(refused(&error));
            }
        }
        if Instant::now() >= schedule.deadline {
            return Ok(End::TooLate);
        }
    }
}
