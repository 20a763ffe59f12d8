//! The state machine behind both fronts: time and requests in, replies out.
//!
//! It reads no clock and does no I/O. A response is decided completely when it is created (its end,
//! its tokens, the seed of its text), so nothing has to be kept but a small record: texts are written
//! again from the seed whenever they are asked for, which is what bounds the memory.

mod creation;
mod journal;
mod record;
mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::journal::Journal;
use self::record::{Ending, Record};
use self::store::Store;
use super::rate_limit::{Limiter, Refusal, reset_text};
use super::script::{Action, Call, FOREVER, Script, ScriptError};
use super::stream;
use super::wire::ApiError;

pub use self::journal::{Created, Fate};
pub use self::store::RESPONSES_MAX;

/// Where chat completions are created. They count as creates.
const CHAT_PATH: &str = "/v1/chat/completions";

/// What a 429 of a [`Action::RateLimited`] names as the limit when the script sets none.
const REQUESTS_PER_MINUTE_NAMED: u64 = 500;

/// An HTTP request, as far as the scripted OpenAI looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// The path with its `/v1`, without a query.
    pub path: &'a str,
    /// The query without its `?`.
    pub query: Option<&'a str>,
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// An HTTP answer, and how long to hold it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `application/json`, or that of an event stream.
    pub content_type: &'static str,
    /// Headers beside the content's type.
    pub headers: Vec<(&'static str, String)>,
    /// JSON, or what a fault made of it.
    pub body: Vec<u8>,
    /// Time from the request to this answer.
    pub delay: Duration,
}

/// What OpenAI would put on the bill.
///
/// Completed and incomplete responses cost all their tokens, failed ones nothing. For cancelled ones
/// nothing is published; the input and the part of the output that was due by then are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Billing {
    /// Creates that were accepted.
    pub responses_created: u64,
    /// Of these, ended `completed`.
    pub responses_completed: u64,
    /// Of these, ended `incomplete`.
    pub responses_incomplete: u64,
    /// Of these, ended `failed`.
    pub responses_failed: u64,
    /// Of these, cancelled.
    pub responses_cancelled: u64,
    /// Input tokens of the ended ones.
    pub input_tokens: u64,
    /// Output tokens of the ended ones.
    pub output_tokens: u64,
}

/// What clients did, and how late they noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallStats {
    /// Create calls received, whatever they were answered.
    pub creates: u64,
    /// Retrieve calls received.
    pub polls: u64,
    /// Cancel calls received.
    pub cancels: u64,
    /// Calls that a fault rule struck.
    pub faults: u64,
    /// Creates refused by the rate limits of the script.
    pub rate_limited: u64,
    /// Sum over the responses seen ended of the time from the end to the first answer that showed
    /// it, in compressed milliseconds.
    pub completion_lag_ms_total: f64,
    /// Responses whose end (other than by cancelling) a client was told.
    pub completions_seen: u64,
    /// Sum over the same responses of their duration, in compressed milliseconds.
    pub scripted_latency_ms_total: f64,
}

/// A scripted OpenAI. See the module's text.
#[derive(Debug)]
pub struct OpenAiState {
    script: Script,
    limiter: Option<Limiter>,
    /// The latest instant that was passed in: time never goes back.
    now: Duration,
    /// Fixed for life, so that a new script cannot repeat an id.
    id_seed: u64,
    next_ordinal: u64,
    store: Store,
    /// Requests of any kind, for their ids.
    requests: u64,
    /// Creates, polls and cancels since the script was set: what fault rules count.
    numbers: [u64; 3],
    stats: CallStats,
    billing: Billing,
    journal: Journal,
}

impl OpenAiState {
    /// A fresh OpenAI that plays `script`.
    ///
    /// # Errors
    /// When the script cannot be played.
    pub fn new(script: Script) -> Result<Self, ScriptError> {
        script.validate()?;
        let mut state = Self {
            id_seed: script.seed,
            script,
            limiter: None,
            now: Duration::ZERO,
            next_ordinal: 0,
            store: Store::default(),
            requests: 0,
            numbers: [0; 3],
            stats: CallStats::default(),
            billing: Billing::default(),
            journal: Journal::default(),
        };
        state.refill_limits();
        Ok(state)
    }

    /// Goes on with another script. Responses that exist keep what they were given; fault rules and
    /// rate limits start afresh; counters and the bill go on.
    ///
    /// # Errors
    /// When the script cannot be played; the old one stays.
    pub fn set_script(&mut self, script: Script) -> Result<(), ScriptError> {
        script.validate()?;
        self.script = script;
        self.numbers = [0; 3];
        self.refill_limits();
        Ok(())
    }

    /// Answers a request that arrives at `now`: the time since the Unix epoch, or since any other
    /// instant when nobody reads `created_at`. An earlier `now` than before counts as the same.
    pub fn handle(&mut self, now: Duration, request: &Request<'_>) -> Reply {
        self.advance(now);
        let mut reply = self
            .answer(request)
            .unwrap_or_else(|error| Reply::new(error.status, error.body()));
        self.requests += 1;
        reply
            .headers
            .push(("x-request-id", format!("req_{:032x}", self.requests)));
        reply
    }

    /// The bill as of `now`.
    pub fn billing(&mut self, now: Duration) -> Billing {
        self.advance(now);
        self.billing
    }

    /// What clients did so far.
    pub fn stats(&self) -> CallStats {
        self.stats
    }

    /// From now on every response that is created is kept a note of, for [`Self::journal`].
    pub fn keep_journal(&mut self) {
        self.journal.keep();
    }

    /// Every response created since [`Self::keep_journal`], in the order of creation.
    pub fn journal(&self) -> Vec<Created> {
        self.journal.entries()
    }

    /// Responses that are remembered; never more than [`RESPONSES_MAX`].
    pub fn remembered(&self) -> usize {
        self.store.len()
    }

    fn refill_limits(&mut self) {
        let minute = self.script.compressed(60_000.0);
        self.limiter = self
            .script
            .rate_limits
            .map(|limits| Limiter::new(limits, minute, self.now));
    }

    /// Ends what has ended by `now` and forgets what nobody can ask for any more.
    fn advance(&mut self, now: Duration) {
        self.now = self.now.max(now);
        while let Some((ended_at, key)) = self.store.pop_due(self.now) {
            if let Some(record) = self.store.get_mut(key) {
                record.end(ended_at);
                bill(&mut self.billing, record);
                let told = record.told;
                self.store.ended(key, ended_at, told);
            }
        }
        self.store.forget_older_than(
            self.now
                .saturating_sub(self.script.compressed(self.script.retention_ms)),
        );
    }

    fn answer(&mut self, request: &Request<'_>) -> Result<Reply, ApiError> {
        let bearer = request
            .authorization
            .and_then(|value| value.strip_prefix("Bearer "));
        let Some(api_key) = bearer.map(str::trim).filter(|key| !key.is_empty()) else {
            return Err(ApiError::unauthorized());
        };
        let no_such_url = || ApiError::no_such_url(request.method, request.path);
        let (call, id) = route(request.method, request.path).ok_or_else(no_such_url)?;
        let fault = self.fault_for(call);
        match fault {
            Some(Action::RateLimited { retry_after_ms }) => {
                let retry_after = self.script.compressed(retry_after_ms);
                let limits = self.script.rate_limits;
                let limit = limits.map_or(REQUESTS_PER_MINUTE_NAMED, |l| l.requests_per_minute);
                let refusal = Refusal {
                    kind: "requests",
                    limit,
                    retry_after,
                };
                return Ok(rate_limited(&refusal, self.limiter.as_ref()));
            }
            Some(Action::ServerError { status }) => {
                let message = "The server had an error while processing your request. Sorry about \
                               that!";
                return Err(ApiError::new(
                    status,
                    message.to_owned(),
                    "server_error",
                    None,
                ));
            }
            _ => {}
        }
        let mut reply = match call {
            Call::Create if request.path == CHAT_PATH => {
                self.chat(request.body, api_key, fault.as_ref())?
            }
            Call::Create => self.create(request.body, api_key, fault.as_ref())?,
            Call::Poll if query_value(request.query, "stream") == Some("true") => {
                let after = query_value(request.query, "starting_after");
                let after = after.and_then(|number| number.parse().ok());
                self.replay(id, after, fault.as_ref())?
            }
            Call::Poll => self.poll(id, fault.as_ref())?,
            Call::Cancel => self.cancel(id, fault.as_ref())?,
        };
        if let Some(Action::Garbage) = fault {
            reply.body.truncate(reply.body.len() / 2);
        }
        Ok(reply)
    }

    /// Counts a call and finds the rule that strikes it.
    fn fault_for(&mut self, call: Call) -> Option<Action> {
        let (number, total) = match call {
            Call::Create => (&mut self.numbers[0], &mut self.stats.creates),
            Call::Poll => (&mut self.numbers[1], &mut self.stats.polls),
            Call::Cancel => (&mut self.numbers[2], &mut self.stats.cancels),
        };
        *number += 1;
        *total += 1;
        let (number, seed) = (*number, self.script.seed);
        let fault = (0_u64..)
            .zip(&self.script.faults)
            .find(|(index, fault)| fault.on == call && fault.strikes(seed, *index, number))
            .map(|(_, fault)| fault.action.clone());
        self.stats.faults += u64::from(fault.is_some());
        fault
    }

    fn stall(&self, fault: Option<&Action>) -> Duration {
        match fault {
            Some(Action::Stall { ms }) => self.script.compressed(*ms),
            _ => Duration::ZERO,
        }
    }

    /// The events of a response, held back until it has ended.
    fn replay(
        &mut self,
        id: &str,
        starting_after: Option<u64>,
        fault: Option<&Action>,
    ) -> Result<Reply, ApiError> {
        let mut reply = self.poll(id, fault)?;
        let key = record::key_of(id).ok_or_else(|| ApiError::no_such_response(id))?;
        let now = self.now;
        if let Some(record) = self.store.get_mut(key)
            && record.ended_at.is_none()
        {
            let wait = record
                .ends_at
                .map_or(FOREVER, |ends_at| ends_at.saturating_sub(now));
            let mut at_end = record.clone();
            at_end.end(now.saturating_add(wait));
            let first = !std::mem::replace(&mut record.told, true);
            let latency = now.saturating_add(wait).saturating_sub(at_end.created_at);
            reply.body = at_end.body(now.saturating_add(wait));
            reply.delay = reply.delay.saturating_add(wait).min(FOREVER);
            if first && at_end.ends_at.is_some() {
                self.count_seen(&at_end, Duration::ZERO, latency);
            }
        }
        reply.stream(stream::events(&reply.body, starting_after));
        Ok(reply)
    }

    fn poll(&mut self, id: &str, fault: Option<&Action>) -> Result<Reply, ApiError> {
        let key = record::key_of(id).filter(|key| self.store.visible(*key));
        let key = key.ok_or_else(|| ApiError::no_such_response(id))?;
        let (now, stall) = (self.now, self.stall(fault));
        match fault {
            Some(Action::Expired) => {
                self.lose(key);
                return Err(ApiError::no_such_response(id));
            }
            // A blocking create has told its client the end in advance: that stands.
            _ if self.store.get_mut(key).is_some_and(|record| record.told) => {}
            Some(Action::NeverEnds) => self.store.never_ends(key),
            Some(Action::Incomplete { reason }) => {
                self.end_early(key, Ending::Incomplete(reason.as_str().into()));
            }
            Some(Action::Failed { code }) => {
                self.end_early(key, Ending::Failed(code.as_str().into()));
            }
            _ => {}
        }
        let record = self
            .store
            .get_mut(key)
            .ok_or_else(|| ApiError::no_such_response(id))?;
        let mut reply = Reply::new(200, record.body(now));
        reply.delay = stall;
        let shown = !matches!(fault, Some(Action::Garbage));
        if let Some(ended_at) = record.ended_at.filter(|_| shown && !record.told) {
            record.told = true;
            let record = record.clone();
            let latency = ended_at.saturating_sub(record.created_at);
            self.count_seen(
                &record,
                now.saturating_add(stall).saturating_sub(ended_at),
                latency,
            );
            self.store.told(key, ended_at);
        }
        Ok(reply)
    }

    fn cancel(&mut self, id: &str, fault: Option<&Action>) -> Result<Reply, ApiError> {
        let key = record::key_of(id).filter(|key| self.store.visible(*key));
        let key = key.ok_or_else(|| ApiError::no_such_response(id))?;
        if let Some(Action::Expired) = fault {
            self.lose(key);
            return Err(ApiError::no_such_response(id));
        }
        let record = self
            .store
            .get_mut(key)
            .ok_or_else(|| ApiError::no_such_response(id))?;
        if !record.echo.background {
            return Err(ApiError::not_cancellable());
        }
        // Cancelling twice, or too late, shows the response as it is (OpenAI's background guide).
        if record.ended_at.is_none() {
            record.told = true;
            self.end_early(key, Ending::Cancelled);
        }
        let record = self
            .store
            .get_mut(key)
            .ok_or_else(|| ApiError::no_such_response(id))?;
        let mut reply = Reply::new(200, record.body(self.now));
        reply.delay = self.stall(fault);
        Ok(reply)
    }

    /// From now on nobody who asks hears of a response.
    fn lose(&mut self, key: u64) {
        self.store.hide(key);
        self.journal.lost(key);
    }

    /// Ends a response now and otherwise than planned; one that has ended stays as it is.
    fn end_early(&mut self, key: u64, ending: Ending) {
        let now = self.now;
        if let Some(record) = self.store.get_mut(key)
            && record.ended_at.is_none()
        {
            self.journal.ended(key, &ending);
            record.cut_short(now, ending);
            bill(&mut self.billing, record);
            let (planned, told) = (record.ends_at, record.told);
            self.store.not_due(key, planned);
            self.store.ended(key, now, told);
        }
    }

    fn count_seen(&mut self, record: &Record, lag: Duration, latency: Duration) {
        if !matches!(record.ending, Ending::Cancelled) {
            self.stats.completions_seen += 1;
            self.stats.completion_lag_ms_total += lag.as_secs_f64() * 1000.0;
            self.stats.scripted_latency_ms_total += latency.as_secs_f64() * 1000.0;
        }
    }
}

impl Reply {
    fn new(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            content_type: "application/json",
            headers: Vec::new(),
            body,
            delay: Duration::ZERO,
        }
    }

    /// Becomes a stream of events.
    fn stream(&mut self, events: Vec<u8>) {
        self.content_type = stream::CONTENT_TYPE;
        self.body = events;
    }
}

/// A value of a query; nothing that is asked for here needs decoding.
fn query_value<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// The kind of a call, and the id it names.
fn route<'a>(method: &str, path: &'a str) -> Option<(Call, &'a str)> {
    if path == CHAT_PATH {
        return (method == "POST").then_some((Call::Create, ""));
    }
    let rest = path.strip_prefix("/v1/responses")?;
    let segments: Vec<&str> = rest
        .strip_prefix('/')
        .map_or(Vec::new(), |rest| rest.split('/').collect());
    match (method, segments.as_slice()) {
        ("POST", []) if rest.is_empty() => Some((Call::Create, "")),
        ("GET", [id]) if !id.is_empty() => Some((Call::Poll, id)),
        ("POST", [id, "cancel"]) if !id.is_empty() => Some((Call::Cancel, id)),
        _ => None,
    }
}

/// The kind of a call.
pub(super) fn call_of(method: &str, path: &str) -> Option<Call> {
    route(method, path).map(|(call, _)| call)
}

/// Puts an ended response on the bill.
fn bill(billing: &mut Billing, record: &Record) {
    match record.ending {
        Ending::Completed => billing.responses_completed += 1,
        Ending::Incomplete(_) => billing.responses_incomplete += 1,
        Ending::Cancelled => billing.responses_cancelled += 1,
        Ending::Failed(_) => {
            billing.responses_failed += 1;
            return;
        }
    }
    billing.input_tokens = billing.input_tokens.saturating_add(record.input_tokens);
    billing.output_tokens = billing.output_tokens.saturating_add(record.output_tokens);
}

/// The 429 of a rate limit, with the headers by which clients know when to come back.
fn rate_limited(refusal: &Refusal, limiter: Option<&Limiter>) -> Reply {
    let Refusal {
        kind,
        limit,
        retry_after,
    } = *refusal;
    let unit = if kind == "tokens" {
        "tokens per min (TPM)"
    } else {
        "requests per min (RPM)"
    };
    let reset = reset_text(retry_after);
    let message = format!(
        "Rate limit reached for the scripted organization on {unit}: Limit {limit}. Please try \
         again in {reset}."
    );
    let error = ApiError::new(429, message, kind, Some("rate_limit_exceeded"));
    let mut reply = Reply::new(429, error.body());
    match limiter {
        Some(limiter) => reply.headers.extend(limiter.headers()),
        None => reply.headers.extend([
            ("x-ratelimit-limit-requests", limit.to_string()),
            ("x-ratelimit-remaining-requests", "0".to_owned()),
            ("x-ratelimit-reset-requests", reset),
        ]),
    }
    let whole_s = retry_after.as_nanos().div_ceil(1_000_000_000);
    let whole_ms = retry_after.as_nanos().div_ceil(1_000_000);
    reply.headers.push(("retry-after", whole_s.to_string()));
    reply.headers.push(("retry-after-ms", whole_ms.to_string()));
    reply
}
