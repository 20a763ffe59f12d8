//! How figures and sizings are put into words, the same in every report.

use std::collections::BTreeMap;

use simulator::plan::Evaluated;
use simulator::precision::is_lower_bound;
use simulator::replications::{Interval, Replications};
use simulator::scenario::{Arrivals, Fleet, GenerationLength, JobStore, Metric, Mode, Scenario};

use crate::simulation::over;

pub(crate) fn arrivals(scenario: &Scenario) -> String {
    match &scenario.workload.arrivals {
        Arrivals::Poisson { per_hour } => format!(
            "{per_hour} generations an hour (Poisson), for {}",
            span(scenario)
        ),
        Arrivals::Deterministic { per_hour } => format!(
            "{per_hour} generations an hour (evenly), for {}",
            span(scenario)
        ),
        Arrivals::Daily { per_hour, hourly } => format!(
            "{:.0} generations an hour on average, {:.0} in the busiest (daily profile), for {}",
            scenario.workload.arrivals.mean_per_hour(),
            per_hour * hourly.iter().copied().fold(0.0, f64::max),
            span(scenario)
        ),
        Arrivals::Users { users, .. } => format!(
            "{:.1} generations an hour on average of {} users (daily profile), for {}",
            scenario.workload.arrivals.mean_per_hour(),
            users.mid,
            span(scenario)
        ),
        Arrivals::Trace { at } => format!(
            "{} at given instants",
            crate::plural(at.len() as u64, "generation")
        ),
    }
}

/// How long arrivals come, and what of it no figure counts: with a day that begins at night as many more are done in an
/// hour than are asked on average.
fn span(scenario: &Scenario) -> String {
    if scenario.warmup == simulator::time::Duration::ZERO {
        scenario.horizon.to_string()
    } else {
        format!(
            "{}, the first {} of it counted for losses only",
            scenario.horizon, scenario.warmup
        )
    }
}

/// How long a generation takes: its mean, and the bounds where there are any.
pub(super) fn generation_length(scenario: &Scenario) -> String {
    let length = &scenario.workload.generation;
    let minutes = |seconds: f64| {
        let text = format!("{:.1}", seconds / 60.0);
        text.trim_end_matches(".0").to_owned()
    };
    let mean = minutes(length.mean().as_secs_f64());
    match length {
        GenerationLength::Deterministic { .. } => format!("{mean} minutes"),
        GenerationLength::Uniform { min, max } => format!(
            "{} to {} minutes, {mean} on average",
            minutes(min.as_secs_f64()),
            minutes(max.as_secs_f64()),
        ),
        _ => format!("{mean} minutes on average"),
    }
}

pub(crate) fn slo(scenario: &Scenario) -> String {
    let slo = &scenario.slo;
    let mut clauses = Vec::new();
    if let Some(wait) = slo.wait_p95 {
        clauses.push(format!("95 % must start within {wait}"));
    }
    if let Some(lost) = slo.lost_max {
        clauses.push(match lost {
            0 => "none may be lost".to_owned(),
            some => format!("at most {some} may be lost"),
        });
    }
    if let Some(least) = slo.throughput_per_hour_min {
        clauses.push(format!("at least {least} must be done an hour"));
    }
    if let Some(budget) = slo.budget_usd_month {
        clauses.push(format!("at most ${budget} a month"));
    }
    if clauses.is_empty() {
        "no SLO".to_owned()
    } else {
        clauses.join(", ")
    }
}

pub(super) fn candidate_in_words(candidate: &Evaluated) -> String {
    let wait = candidate
        .wait_p95_s
        .map_or_else(String::new, |wait| format!(", wait p95 {}", seconds(wait)));
    format!(
        "{}: ${} a month{wait}",
        fleet_in_words(&candidate.fleet),
        candidate.cost_usd_month,
    )
}

pub(super) fn fleet_in_words(fleet: &Fleet) -> String {
    format!(
        "{} of {} vCPU and {} GiB with {}, autoscaling {}",
        tasks_in_words(fleet),
        fleet.vcpu,
        fleet.memory_gib,
        crate::plural(fleet.workers.into(), "worker"),
        autoscaling(fleet),
    )
}

/// What a reader should know of a fleet without a spare.
pub(crate) fn spare(fleet: &Fleet) -> String {
    if fleet.tasks.min > 1 {
        return String::new();
    }
    let dies_with_it = fleet.mode == Mode::Sync || fleet.job_store == JobStore::InProcess;
    let lost = if dies_with_it {
        "every generation that it runs is lost, and"
    } else {
        "nothing is lost, but"
    };
    format!(
        " A single task has no spare: when it dies, {lost} all wait until the next one has started (about {}).",
        fleet.start_delay
    )
}

pub(super) fn tasks_in_words(fleet: &Fleet) -> String {
    let tasks = &fleet.tasks;
    if tasks.min == tasks.max {
        crate::plural(tasks.max.into(), "task")
    } else {
        let starts = if tasks.desired == tasks.min {
            String::new()
        } else {
            format!(" (starts with {})", tasks.desired)
        };
        format!("{} to {} tasks{starts}", tasks.min, tasks.max)
    }
}

pub(super) fn tasks(fleet: &Fleet) -> String {
    let tasks = &fleet.tasks;
    if tasks.min == tasks.max {
        tasks.max.to_string()
    } else {
        format!(
            "{}-{} (starts with {})",
            tasks.min, tasks.max, tasks.desired
        )
    }
}

pub(super) fn autoscaling(fleet: &Fleet) -> String {
    let metrics: Vec<_> = fleet
        .autoscaling
        .metrics
        .iter()
        .map(|metric| match metric {
            Metric::Cpu => "cpu",
            Metric::Memory => "memory",
            Metric::QueueDepth => "queue depth",
            Metric::Requests => "requests per task",
        })
        .collect();
    if metrics.is_empty() {
        "none".to_owned()
    } else {
        metrics.join(" and ")
    }
}

pub(super) fn bottleneck(replications: &Replications) -> String {
    let first = replications.outcomes.first();
    first.map_or_else(String::new, |outcome| outcome.bottleneck.to_string())
}

/// The wait that one in twenty exceeds.
pub(super) fn wait_p95(replications: &Replications) -> String {
    let wait = seconds(replications.wait_p95_s);
    if is_lower_bound(&replications.outcomes, 95) {
        format!("at least {wait}")
    } else {
        wait
    }
}

pub(super) fn fargate_usd(replications: &Replications) -> f64 {
    over(replications, |run| run.cost_usd_month.fargate().as_usd()).mean
}

/// Losses by cause, each the mean over the runs.
pub(super) fn mean_losses(by_cause: &BTreeMap<String, Interval>) -> String {
    let words: Vec<_> = by_cause
        .iter()
        .map(|(cause, count)| format!("{} {cause}", interval(*count, 1)))
        .collect();
    if words.is_empty() {
        "0".to_owned()
    } else {
        words.join(", ")
    }
}

pub(super) fn interval(interval: Interval, digits: usize) -> String {
    if interval.half_width < 0.5 * 10_f64.powi(-i32::try_from(digits).unwrap_or(0)) {
        format!("{:.digits$}", interval.mean)
    } else {
        format!(
            "{:.digits$} ± {:.digits$}",
            interval.mean, interval.half_width
        )
    }
}

/// Seconds below two minutes, minutes above.
pub(super) fn seconds(value: Interval) -> String {
    if value.mean < 120.0 {
        format!("{} s", interval(value, 1))
    } else {
        let minutes = Interval {
            mean: value.mean / 60.0,
            half_width: value.half_width / 60.0,
            ..value
        };
        format!("{} min", interval(minutes, 1))
    }
}

/// A share in percent: one digit, or three where one would say nothing.
pub(super) fn percent(share: Interval) -> String {
    let value = Interval {
        mean: share.mean * 100.0,
        half_width: share.half_width * 100.0,
        ..share
    };
    let digits = if value.mean.abs() < 1.0 && value.mean.abs() > 1e-9 {
        3
    } else {
        1
    };
    format!("{} %", interval(value, digits))
}

/// A bound of a model: three significant digits, thousands apart. More would be false precision.
pub(super) fn about(value: f64) -> String {
    if value < 1000.0 {
        return significant(value);
    }
    let unit = 10_f64.powf(value.log10().floor() - 2.0);
    let digits = format!("{:.0}", (value / unit).round() * unit);
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three significant digits.
pub(super) fn significant(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.1 => 3,
        size if size >= 0.01 => 4,
        0.0 => 0,
        _ => 5,
    };
    format!("{value:.digits$}")
}
