//! What is asked of the fleet: when generations arrive, how long they are, how their clients behave.

use serde::{Deserialize, Serialize};

use super::kinds::{ArrivalsTable, LengthTable};
use super::{Assumption, Mode, defaults};
use crate::time::Duration;

/// The generations that arrive, and how their clients behave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// When generations are submitted.
    pub arrivals: Arrivals,
    /// How long one generation takes when nothing slows it down.
    pub generation: GenerationLength,
    /// Gap between two status polls of one client, in queue mode. Default 2.5 s.
    #[serde(default = "defaults::poll_every")]
    pub poll_every: Duration,
    /// Persisted steps of a generation, equally long. A step that has begun at the AI provider goes on while
    /// no worker watches it. Default 5.
    #[serde(default = "defaults::steps_per_generation")]
    pub steps_per_generation: u32,
    /// Workers that one generation may lose to a crash before it counts as lost, in queue mode. Default 5.
    #[serde(default = "defaults::attempts_max")]
    pub attempts_max: u32,
    /// Tokens that the AI provider reads and writes for a generation, which its limit of tokens counts. Default 50,000.
    #[serde(
        default = "defaults::tokens_per_generation",
        skip_serializing_if = "defaults::are_usual_tokens"
    )]
    pub tokens_per_generation: u32,
    /// CPU-seconds of the database for one generation; without it, its CPU credits are not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_cpu_s_per_generation: Option<f64>,
    /// In sync mode, how long a client waits for its answer before it hangs up. Default: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_gives_up_after: Option<Duration>,
}

/// When generations are submitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", try_from = "ArrivalsTable")]
pub enum Arrivals {
    /// Independent of each other: exponential gaps.
    Poisson {
        /// Mean submissions per hour.
        per_hour: f64,
    },
    /// One after the other at equal gaps, the first after one gap.
    Deterministic {
        /// Submissions per hour.
        per_hour: f64,
    },
    /// Poisson with a rate that follows the hour of the day; the run starts at midnight.
    Daily {
        /// Submissions per hour where the multiplier is 1.
        per_hour: f64,
        /// 24 multipliers of the rate, one per hour of the day.
        hourly: Vec<f64>,
    },
    /// Poisson with a rate that follows the hour of the day, from what is assumed of the users; the run starts at
    /// midnight. A run takes the likeliest values, unless [`Scenario::at`] says which.
    Users {
        /// People who use the service.
        users: Assumption<f64>,
        /// Generations that one of them asks for in a day.
        generations_per_user_day: Assumption<f64>,
        /// How the day is spread over its hours: 24 weights, whatever their sum.
        hourly: Assumption<Vec<f64>>,
    },
    /// At these moments after the start, in ascending order.
    Trace {
        /// Moments of submission.
        at: Vec<Duration>,
    },
}

/// How long one generation takes when nothing slows it down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", try_from = "LengthTable")]
pub enum GenerationLength {
    /// Always the same.
    Deterministic {
        /// The length.
        length: Duration,
    },
    /// Memoryless.
    Exponential {
        /// The mean length.
        mean: Duration,
    },
    /// Equally likely between two bounds.
    Uniform {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// Skewed to the right, as times of work usually are.
    Lognormal {
        /// Half of the generations are shorter.
        median: Duration,
        /// 95 % of the generations are shorter.
        p95: Duration,
    },
    /// These, in order and over again.
    Trace {
        /// The lengths.
        lengths: Vec<Duration>,
    },
}

impl Workload {
    /// A workload whose clients poll as the default says.
    pub fn new(arrivals: Arrivals, generation: GenerationLength) -> Workload {
        Workload {
            arrivals,
            generation,
            poll_every: defaults::poll_every(),
            steps_per_generation: defaults::steps_per_generation(),
            attempts_max: defaults::attempts_max(),
            tokens_per_generation: defaults::tokens_per_generation(),
            db_cpu_s_per_generation: None,
            client_gives_up_after: None,
        }
    }

    /// The same load on a fleet of this mode: without what acts in the other mode alone.
    #[must_use]
    pub fn in_mode(mut self, mode: Mode) -> Workload {
        match mode {
            Mode::Queue => self.client_gives_up_after = None,
            Mode::Sync => self.attempts_max = defaults::attempts_max(),
        }
        self
    }
}

impl Arrivals {
    /// Mean submissions per hour over a day, or over the trace.
    pub fn mean_per_hour(&self) -> f64 {
        match self {
            Arrivals::Poisson { per_hour } | Arrivals::Deterministic { per_hour } => *per_hour,
            Arrivals::Daily { per_hour, hourly } => {
                per_hour * hourly.iter().sum::<f64>() / hourly.len().max(1) as f64
            }
            Arrivals::Users {
                users,
                generations_per_user_day,
                ..
            } => users.mid * generations_per_user_day.mid / 24.0,
            Arrivals::Trace { at } => match at.last() {
                Some(last) if !last.is_zero() => at.len() as f64 / last.as_hours_f64(),
                _ => 0.0,
            },
        }
    }
}

/// The 95 % quantile of the standard normal distribution (NIST/SEMATECH handbook, section 1.3.6.7.1).
const NORMAL_P95: f64 = 1.644_853_626_951_472_2;

impl GenerationLength {
    /// The mean length.
    pub fn mean(&self) -> Duration {
        match self {
            GenerationLength::Deterministic { length } => *length,
            GenerationLength::Exponential { mean } => *mean,
            GenerationLength::Uniform { min, max } => {
                Duration::from_nanos(min.as_nanos().midpoint(max.as_nanos()))
            }
            GenerationLength::Lognormal { median, p95 } => {
                // exp(mu + sigma^2 / 2) with mu = ln(median).
                let sigma = lognormal_sigma(*median, *p95);
                let nanos = median.as_nanos() as f64 * libm::exp(sigma * sigma / 2.0);
                Duration::from_nanos(crate::time::nanos_from_f64(nanos))
            }
            GenerationLength::Trace { lengths } => {
                let sum: u128 = lengths
                    .iter()
                    .map(|length| u128::from(length.as_nanos()))
                    .sum();
                let mean = sum / lengths.len().max(1) as u128;
                Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
            }
        }
    }

    /// The share of generations that are at most this long.
    pub fn share_within(&self, limit: Duration) -> f64 {
        let limit_s = limit.as_secs_f64();
        match self {
            GenerationLength::Deterministic { length } => f64::from(u8::from(*length <= limit)),
            GenerationLength::Exponential { mean } => {
                1.0 - libm::exp(-limit_s / mean.as_secs_f64())
            }
            GenerationLength::Uniform { min, max } => {
                if limit < *min {
                    0.0
                } else if limit >= *max {
                    1.0
                } else {
                    (limit_s - min.as_secs_f64()) / (max.as_secs_f64() - min.as_secs_f64())
                }
            }
            GenerationLength::Lognormal { median, p95 } => {
                let sigma = lognormal_sigma(*median, *p95);
                if sigma <= 0.0 {
                    return f64::from(u8::from(*median <= limit));
                }
                let z = libm::log(limit_s / median.as_secs_f64()) / sigma;
                0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
            }
            GenerationLength::Trace { lengths } => {
                let within = lengths.iter().filter(|length| **length <= limit).count();
                within as f64 / lengths.len().max(1) as f64
            }
        }
    }
}

/// The shape of a lognormal distribution with this median and this 95 % quantile.
pub(crate) fn lognormal_sigma(median: Duration, p95: Duration) -> f64 {
    libm::log(p95.as_secs_f64() / median.as_secs_f64()) / NORMAL_P95
}
