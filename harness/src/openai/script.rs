//! What the scripted OpenAI does: how long, what it says, what goes wrong and when.
//!
//! Every duration of a script is in **real** milliseconds and is divided by its speed-up, so the same
//! script plays in compressed time by changing one number.

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::random::{Purpose, Stream};
use super::rate_limit::RateLimits;

/// Nothing that is scripted lasts longer: "for ever", for whoever waits.
pub(super) const FOREVER: Duration = Duration::from_hours(365 * 24);

/// OpenAI keeps stored responses "at least 30 days" (`store` in the official client's types).
const RETENTION_MS: f64 = 30.0 * 86_400_000.0;

/// A play for [`super::OpenAiState`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Script {
    /// How long a response takes from its creation to its end.
    pub latency: Latency,
    /// Factor by which every duration of the script is divided.
    pub speedup: f64,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// How tokens are counted.
    pub tokens: Tokens,
    /// What responses say.
    pub outputs: Outputs,
    /// Exceptions from `latency` and `outputs`; the first that fits a create applies.
    pub overrides: Vec<Override>,
    /// What goes wrong; the first rule that fits a call applies, the others do not.
    pub faults: Vec<Fault>,
    /// Limits per minute; none when absent.
    pub rate_limits: Option<RateLimits>,
    /// How long an ended response can be retrieved, in real milliseconds.
    pub retention_ms: f64,
}

impl Default for Script {
    /// Responses of three minutes (a fifth of a 15-minute generation), nothing goes wrong.
    fn default() -> Self {
        Self {
            latency: Latency::Fixed { ms: 180_000.0 },
            speedup: 1.0,
            seed: 1,
            tokens: Tokens::Counted,
            outputs: Outputs::default(),
            overrides: Vec::new(),
            faults: Vec::new(),
            rate_limits: None,
            retention_ms: RETENTION_MS,
        }
    }
}

/// How long responses take, in real milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Latency {
    /// Always the same.
    Fixed {
        /// Real milliseconds.
        ms: f64,
    },
    /// Anything between two bounds, equally likely.
    Uniform {
        /// Real milliseconds.
        min_ms: f64,
        /// Real milliseconds.
        max_ms: f64,
    },
    /// `median_ms * exp(sigma * N(0, 1))`.
    LogNormal {
        /// Real milliseconds.
        median_ms: f64,
        /// Standard deviation of the logarithm; no unit.
        sigma: f64,
    },
    /// Measured durations in real milliseconds, one after the other and then from the start again.
    Trace(Vec<f64>),
}

/// How the tokens of a response are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Tokens {
    /// Four characters are a token (OpenAI's own rule of thumb for English).
    Counted,
    /// The same for each response, whatever it says.
    Fixed {
        /// Input tokens.
        input: u64,
        /// Output tokens.
        output: u64,
    },
}

/// What responses say. A call is taken for an outline when its metadata's `step` or else its prompt
/// says so, and for a section otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outputs {
    /// The text of every outline; `None` writes as many section titles as the prompt asks for.
    pub outline: Option<String>,
    /// The text of every section; `None` writes Markdown with a heading, a table and a list.
    pub section: Option<String>,
    /// Section titles in an outline whose prompt names no number.
    pub sections: u32,
    /// Words of prose in a section.
    pub section_words: u32,
}

impl Default for Outputs {
    /// Four sections of about one and a half pages each.
    fn default() -> Self {
        Self {
            outline: None,
            section: None,
            sections: 4,
            section_words: 700,
        }
    }
}

/// An exception for some creates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Which ones.
    pub which: Which,
    /// Their latency, when it differs.
    #[serde(default)]
    pub latency: Option<Latency>,
    /// Their text, when it differs.
    #[serde(default)]
    pub text: Option<String>,
}

/// Which creates an [`Override`] is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// The n-th create call since the script was set, from 1.
    Nth(u64),
    /// Those whose `metadata.step` is this.
    Step(String),
}

/// A call of the Responses API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// `POST /responses`, or `POST /chat/completions`.
    Create,
    /// `GET /responses/{id}`.
    Poll,
    /// `POST /responses/{id}/cancel`.
    Cancel,
}

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// On which call.
    pub on: Call,
    /// On which of them; all calls of the kind count, from 1, since the script was set.
    pub when: When,
    /// What happens.
    pub action: Action,
}

impl Fault {
    /// A rule.
    pub fn new(on: Call, when: When, action: Action) -> Self {
        Self { on, when, action }
    }
}

/// On which calls of its kind a [`Fault`] strikes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// All.
    Always,
    /// The n-th.
    Nth(u64),
    /// The first n.
    First(u64),
    /// Every n-th: n, 2n, 3n.
    Every(u64),
    /// Each with this probability, drawn from the seed.
    Probability(f64),
}

/// What a [`Fault`] does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// 429 with `retry-after`, `retry-after-ms` and the rate-limit headers; nothing is created.
    RateLimited {
        /// Real milliseconds.
        retry_after_ms: f64,
    },
    /// 5xx; nothing is created, polled or cancelled.
    ServerError {
        /// 500 to 599.
        status: u16,
    },
    /// The call is carried out, its answer comes late.
    Stall {
        /// Real milliseconds.
        ms: f64,
    },
    /// The call is carried out, its answer is 200 with half a JSON document.
    Garbage,
    /// The response ends `incomplete`: on a create when its time has come, on a poll now.
    Incomplete {
        /// `max_output_tokens` or `content_filter`, for instance.
        reason: String,
    },
    /// The response ends `failed`: on a create when its time has come, on a poll now.
    Failed {
        /// `server_error` or `rate_limit_exceeded`, for instance.
        code: String,
    },
    /// The response is lost: it was created (and is paid), but 404 is all that is heard of it.
    Expired,
    /// The response stays `in_progress` until it is cancelled.
    NeverEnds,
}

/// Why a script cannot be played.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ScriptError {
    /// A duration is negative, not a number or infinite.
    #[error("use {name} = {ms} as a duration: it must be finite and not negative")]
    Duration {
        /// The field.
        name: &'static str,
        /// Its value, in milliseconds.
        ms: f64,
    },
    /// The speed-up is not a positive number.
    #[error("use {0} as speed-up: it must be a finite number above 0")]
    Speedup(f64),
    /// A latency without a value, or with bounds the wrong way round.
    #[error("use the latency {0}: it needs at least one value, and min_ms <= max_ms")]
    Latency(&'static str),
    /// A rule that can never strike.
    #[error("use fault rule {number}: {why}")]
    Fault {
        /// The rule's place in the list, from 1.
        number: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A limit of nothing lets nothing through.
    #[error("use a rate limit of 0 per minute: leave the limits out to have none")]
    RateLimit,
}

impl Script {
    /// Sets how long responses take.
    #[must_use]
    pub fn latency(mut self, latency: Latency) -> Self {
        self.latency = latency;
        self
    }

    /// Sets the factor by which every duration is divided.
    #[must_use]
    pub fn speedup(mut self, speedup: f64) -> Self {
        self.speedup = speedup;
        self
    }

    /// Sets the seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets how tokens are counted.
    #[must_use]
    pub fn tokens(mut self, tokens: Tokens) -> Self {
        self.tokens = tokens;
        self
    }

    /// Sets the text of every outline.
    #[must_use]
    pub fn outline(mut self, text: impl Into<String>) -> Self {
        self.outputs.outline = Some(text.into());
        self
    }

    /// Sets the text of every section.
    #[must_use]
    pub fn section(mut self, text: impl Into<String>) -> Self {
        self.outputs.section = Some(text.into());
        self
    }

    /// Sets how many words of prose a section has.
    #[must_use]
    pub fn section_words(mut self, words: u32) -> Self {
        self.outputs.section_words = words;
        self
    }

    /// Adds an exception for some creates.
    #[must_use]
    pub fn with_override(mut self, exception: Override) -> Self {
        self.overrides.push(exception);
        self
    }

    /// Adds a rule of what goes wrong.
    #[must_use]
    pub fn fault(mut self, on: Call, when: When, action: Action) -> Self {
        self.faults.push(Fault::new(on, when, action));
        self
    }

    /// Sets the limits per minute.
    #[must_use]
    pub fn rate_limits(mut self, limits: RateLimits) -> Self {
        self.rate_limits = Some(limits);
        self
    }

    /// Says whether the script can be played.
    ///
    /// # Errors
    /// The first thing that is wrong with it, see [`ScriptError`].
    pub fn validate(&self) -> Result<(), ScriptError> {
        if !(self.speedup.is_finite() && self.speedup > 0.0) {
            return Err(ScriptError::Speedup(self.speedup));
        }
        check_ms("retention_ms", self.retention_ms)?;
        self.latency.validate()?;
        for latency in self
            .overrides
            .iter()
            .filter_map(|exception| exception.latency.as_ref())
        {
            latency.validate()?;
        }
        if let Some(limits) = self.rate_limits
            && (limits.requests_per_minute == 0 || limits.tokens_per_minute == 0)
        {
            return Err(ScriptError::RateLimit);
        }
        for (index, fault) in self.faults.iter().enumerate() {
            fault.validate(index + 1)?;
        }
        Ok(())
    }

    /// A duration of the script as it passes on the clock.
    pub(super) fn compressed(&self, real_ms: f64) -> Duration {
        Duration::try_from_secs_f64(real_ms / 1000.0 / self.speedup)
            .map_or(FOREVER, |duration| duration.min(FOREVER))
    }
}

fn check_ms(name: &'static str, ms: f64) -> Result<(), ScriptError> {
    if ms.is_finite() && ms >= 0.0 {
        Ok(())
    } else {
        Err(ScriptError::Duration { name, ms })
    }
}

impl Latency {
    fn validate(&self) -> Result<(), ScriptError> {
        match self {
            Self::Fixed { ms } => check_ms("latency.ms", *ms),
            Self::Uniform { min_ms, max_ms } => {
                check_ms("latency.min_ms", *min_ms)?;
                check_ms("latency.max_ms", *max_ms)?;
                if min_ms > max_ms {
                    Err(ScriptError::Latency("uniform"))
                } else {
                    Ok(())
                }
            }
            Self::LogNormal { median_ms, sigma } => {
                check_ms("latency.median_ms", *median_ms)?;
                check_ms("latency.sigma", *sigma)
            }
            Self::Trace(trace) if trace.is_empty() => Err(ScriptError::Latency("trace")),
            Self::Trace(trace) => trace
                .iter()
                .try_for_each(|ms| check_ms("latency.trace", *ms)),
        }
    }

    /// Real milliseconds of response number `ordinal` (from 0).
    pub(super) fn draw_ms(&self, seed: u64, ordinal: u64) -> f64 {
        let mut stream = Stream::new(seed, Purpose::Latency, ordinal);
        match self {
            Self::Fixed { ms } => *ms,
            Self::Uniform { min_ms, max_ms } => min_ms + (max_ms - min_ms) * stream.unit(),
            Self::LogNormal { median_ms, sigma } => median_ms * (sigma * stream.normal()).exp(),
            Self::Trace(trace) => {
                let place = ordinal % u64::try_from(trace.len().max(1)).unwrap_or(1);
                usize::try_from(place)
                    .ok()
                    .and_then(|place| trace.get(place))
                    .copied()
                    .unwrap_or(0.0)
            }
        }
    }
}

impl Fault {
    fn validate(&self, number: usize) -> Result<(), ScriptError> {
        let wrong = |why| Err(ScriptError::Fault { number, why });
        match self.when {
            When::Nth(0) | When::First(0) | When::Every(0) => {
                return wrong("calls are counted from 1, so it never strikes");
            }
            When::Probability(p) if !(0.0..=1.0).contains(&p) => {
                return wrong("a probability lies between 0 and 1");
            }
            _ => {}
        }
        match &self.action {
            Action::RateLimited { retry_after_ms: ms } => check_ms("retry_after_ms", *ms),
            Action::Stall { ms } => check_ms("stall.ms", *ms),
            Action::ServerError { status } if !(500..=599).contains(status) => {
                wrong("the status of a server error lies between 500 and 599")
            }
            Action::Incomplete { .. } | Action::Failed { .. } | Action::NeverEnds
                if self.on == Call::Cancel =>
            {
                wrong("how a response ends is decided by a create or a poll, not by a cancel")
            }
            _ => Ok(()),
        }
    }

    /// Whether the rule, the `index`-th of its script, strikes call `number` (from 1) of its kind.
    pub(super) fn strikes(&self, seed: u64, index: u64, number: u64) -> bool {
        match self.when {
            When::Always => true,
            When::Nth(nth) => number == nth,
            When::First(count) => number <= count,
            When::Every(step) => step > 0 && number.is_multiple_of(step),
            When::Probability(p) => {
                let ordinal = number.wrapping_mul(1 << 16).wrapping_add(index);
                Stream::new(seed, Purpose::Fault, ordinal).unit() < p
            }
        }
    }
}
