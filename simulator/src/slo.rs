//! What a fleet is held to, and whether an outcome holds it. A missed promise is data, not an error.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::histogram::QUANTILE_ERROR_MAX;
use crate::outcome::Outcome;
use crate::prices::MicroUsd;
use crate::replications::Replications;
use crate::time::Duration;

/// Share of the generations that may never start where 95 % are to start in time.
const NEVER_STARTED_MAX: f64 = 0.05;

/// A promise. What is not stated is not promised.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// 95 % of the generations start within this time. Who is lost in the queue counts with the time until then; where
    /// losses are promised nothing about, no more than 5 % may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_p95: Option<Duration>,
    /// At most so many generations are lost in one run, whatever the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_max: Option<u64>,
    /// The whole monthly bill, in dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_usd_month: Option<MicroUsd>,
    /// At least so many generations finish per hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throughput_per_hour_min: Option<f64>,
}

/// Whether a promise is held, and by what it is missed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Whether there is no failure.
    pub pass: bool,
    /// Every promise missed.
    pub failures: Vec<Failure>,
}

/// One missed promise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The promise's key, such as `wait_p95` (in seconds); `generations` when nothing was measured,
    /// `never_started` when too few started for a wait to be promised,
    /// `capacity_per_hour` when a formula alone refused the fleet, `shared_cache` when its tasks would not
    /// share sessions; or a rule of the caller's, such as `vcpu_quota`, `database_connections` and `worker_memory`.
    pub key: String,
    /// What was promised.
    pub limit: f64,
    /// What came.
    pub actual: f64,
}

/// Seconds as a person says them: minutes when there are many.
fn in_words(seconds: f64) -> String {
    if seconds < 120.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{:.1} min", seconds / 60.0)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { key, limit, actual } = self;
        match key.as_str() {
            "wait_p95" => {
                let (actual, limit) = (in_words(*actual), in_words(*limit));
                write!(f, "wait p95 {actual}, at most {limit} promised")
            }
            "never_started" => write!(
                f,
                "{:.1} % of the generations are lost before they start, which are not 95 % that start in time",
                actual * 100.0
            ),
            "lost_max" => write!(
                f,
                "{actual:.0} generations lost in the worst run, at most {limit:.0} promised"
            ),
            "budget_usd_month" => write!(f, "${actual:.2} a month, at most ${limit:.2} promised"),
            "throughput_per_hour_min" => {
                write!(
                    f,
                    "{actual:.1} generations per hour, at least {limit:.1} promised"
                )
            }
            "generations" => f.write_str("no generation arrived after the warm-up"),
            "capacity_per_hour" if *actual <= 0.0 => f.write_str(
                "the memory of a task does not hold one generation beside the idle service",
            ),
            "capacity_per_hour" => {
                // As many digits as it takes to tell them apart.
                let [carried, come] = (1..=3)
                    .map(|digits| [actual, limit].map(|rate| format!("{rate:.digits$}")))
                    .find(|[carried, come]| carried != come)
                    .unwrap_or_else(|| [actual, limit].map(f64::to_string));
                write!(
                    f,
                    "carries at most {carried} of the {come} generations that come in an hour"
                )
            }
            "shared_cache" => {
                write!(
                    f,
                    "up to {actual:.0} tasks, but sessions in a cache that only one task sees"
                )
            }
            "vcpu_quota" => write!(
                f,
                "{actual} vCPU may run at once, the account may run {limit}"
            ),
            "database_connections" => write!(
                f,
                "{actual:.0} database connections may be opened, {limit:.0} are allowed"
            ),
            "worker_memory" if *limit < 1.0 => {
                f.write_str("the memory of a task does not hold one worker")
            }
            "worker_memory" => write!(
                f,
                "{actual:.0} workers in a task whose memory holds {limit:.0}"
            ),
            "alb_idle_timeout" => write!(f, "a request of {limit:.0} s is cut after {actual:.0} s"),
            "deregistration_delay" => write!(
                f,
                "a request may take {limit:.0} s, a deregistered task answers for {actual:.0} s"
            ),
            "stop_timeout" => write!(
                f,
                "a task needs {limit:.0} s to stop in order, and is killed after {actual:.0} s"
            ),
            other => write!(f, "{other} is {actual}, the limit {limit}"),
        }
    }
}

/// The figures that a promise is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) arrivals_measured: f64,
    pub(crate) wait_p95_s: f64,
    pub(crate) never_started: f64,
    pub(crate) lost: f64,
    pub(crate) cost_usd_month: f64,
    pub(crate) throughput_per_hour: f64,
}

/// Holds one run against a promise.
pub fn judge(outcome: &Outcome, slo: &Slo) -> Verdict {
    verdict(
        &Figures {
            arrivals_measured: outcome.wait_s.count as f64,
            wait_p95_s: outcome.wait_s.p95,
            never_started: outcome.never_started as f64,
            lost: outcome.lost_total() as f64,
            cost_usd_month: outcome.cost_usd_month.total().as_usd(),
            throughput_per_hour: outcome.throughput_per_hour,
        },
        slo,
    )
}

/// Holds several runs against a promise: the mean of each figure, but the worst run's losses.
pub fn judge_replications(replications: &Replications, slo: &Slo) -> Verdict {
    let runs = &replications.outcomes;
    verdict(
        &Figures {
            arrivals_measured: runs.iter().map(|run| run.wait_s.count as f64).sum(),
            wait_p95_s: replications.wait_p95_s.mean,
            never_started: runs.iter().map(|run| run.never_started as f64).sum(),
            lost: runs
                .iter()
                .map(|run| run.lost_total() as f64)
                .fold(0.0, f64::max),
            cost_usd_month: replications.cost_usd_month.mean,
            throughput_per_hour: replications.throughput_per_hour.mean,
        },
        slo,
    )
}

/// Holds figures against a promise.
pub(crate) fn verdict(figures: &Figures, slo: &Slo) -> Verdict {
    let mut failures = Vec::new();
    let mut hold = |key: &str, held: bool, limit: f64, actual: f64| {
        if !held {
            failures.push(Failure {
                key: key.to_owned(),
                limit,
                actual,
            });
        }
    };
    // A promise about generations is not held by a run that saw none.
    hold(
        "generations",
        figures.arrivals_measured >= 1.0,
        1.0,
        figures.arrivals_measured,
    );
    if let Some(limit) = slo.wait_p95.map(Duration::as_secs_f64) {
        hold(
            "wait_p95",
            figures.wait_p95_s <= limit * (1.0 + QUANTILE_ERROR_MAX),
            limit,
            figures.wait_p95_s,
        );
        // A wait that ended in a loss is short, and no start.
        if slo.lost_max.is_none() {
            let share = figures.never_started / figures.arrivals_measured.max(1.0);
            hold(
                "never_started",
                share <= NEVER_STARTED_MAX,
                NEVER_STARTED_MAX,
                share,
            );
        }
    }
    if let Some(limit) = slo.lost_max.map(|lost| lost as f64) {
        hold("lost_max", figures.lost <= limit, limit, figures.lost);
    }
    if let Some(limit) = slo.budget_usd_month.map(MicroUsd::as_usd) {
        hold(
            "budget_usd_month",
            figures.cost_usd_month <= limit,
            limit,
            figures.cost_usd_month,
        );
    }
    if let Some(limit) = slo.throughput_per_hour_min {
        let actual = figures.throughput_per_hour;
        hold("throughput_per_hour_min", actual >= limit, limit, actual);
    }
    Verdict {
        pass: failures.is_empty(),
        failures,
    }
}
