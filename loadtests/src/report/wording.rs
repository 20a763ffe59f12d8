//! How figures and sizings are put into words, the same in every report.

use simulator::outcome::Outcome;
use simulator::plan::Evaluated;
use simulator::replications::{Interval, Replications};
use simulator::scenario::{Arrivals, Fleet, Metric, Scenario};

pub(super) fn arrivals(scenario: &Scenario) -> String {
    match &scenario.workload.arrivals {
        Arrivals::Poisson { per_hour } => format!(
            "{per_hour} generations an hour (Poisson), for {}",
            scenario.horizon
        ),
        Arrivals::Deterministic { per_hour } => format!(
            "{per_hour} generations an hour (evenly), for {}",
            scenario.horizon
        ),
        Arrivals::Daily { per_hour, hourly } => format!(
            "{:.0} generations an hour on average, {:.0} in the busiest (daily profile), for {}",
            scenario.workload.arrivals.mean_per_hour(),
            per_hour * hourly.iter().copied().fold(0.0, f64::max),
            scenario.horizon
        ),
        Arrivals::Users { users, .. } => format!(
            "{:.1} generations an hour on average of {} users (daily profile), for {}",
            scenario.workload.arrivals.mean_per_hour(),
            users.mid,
            scenario.horizon
        ),
        Arrivals::Trace { at } => format!(
            "{} at given instants",
            crate::plural(at.len() as u64, "generation")
        ),
    }
}

pub(super) fn slo(scenario: &Scenario) -> String {
    let slo = &scenario.slo;
    let mut clauses = Vec::new();
    if let Some(wait) = slo.wait_p95 {
        clauses.push(format!("95 % must wait at most {wait}"));
    }
    if let Some(lost) = slo.lost_max {
        clauses.push(format!("at most {lost} may be lost"));
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
    let fleet = &candidate.fleet;
    let wait = candidate
        .wait_p95_s
        .map_or_else(String::new, |wait| format!(", wait p95 {}", seconds(wait)));
    format!(
        "{} of {} vCPU and {} GiB with {}, autoscaling {}: ${} a month{wait}",
        tasks_in_words(fleet),
        fleet.vcpu,
        fleet.memory_gib,
        crate::plural(fleet.workers.into(), "worker"),
        autoscaling(fleet),
        candidate.cost_usd_month,
    )
}

/// What a reader should know of a fleet without a spare.
pub(super) fn spare(candidate: &Evaluated) -> String {
    let fleet = &candidate.fleet;
    if fleet.tasks.min > 1 {
        return String::new();
    }
    format!(
        " A single task has no spare: when it dies, nothing is lost, but all wait until the next one \
         has started (about {}).",
        fleet.start_delay
    )
}

pub(super) fn tasks_in_words(fleet: &Fleet) -> String {
    let tasks = &fleet.tasks;
    if tasks.min == tasks.max {
        crate::plural(tasks.max.into(), "task")
    } else {
        format!("{} to {} tasks", tasks.min, tasks.max)
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
    first(replications, |outcome| outcome.bottleneck.to_string())
}

pub(super) fn fargate_usd(replications: &Replications) -> f64 {
    let costs: Vec<_> = replications
        .outcomes
        .iter()
        .map(|outcome| outcome.cost_usd_month.fargate().as_usd())
        .collect();
    crate::stats::mean(&costs).map_or(0.0, |mean| mean.value)
}

pub(super) fn losses(outcome: &Outcome) -> String {
    let causes: Vec<_> = outcome
        .lost
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(cause, count)| format!("{count} {cause}"))
        .collect();
    if causes.is_empty() {
        "0".to_owned()
    } else {
        causes.join(", ")
    }
}

pub(super) fn first(replications: &Replications, value: impl Fn(&Outcome) -> String) -> String {
    replications
        .outcomes
        .first()
        .map_or_else(String::new, value)
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

/// One digit, or three where one would say nothing.
pub(super) fn percent(share: f64) -> String {
    let value = share * 100.0;
    if value.abs() < 1.0 && value.abs() > 1e-9 {
        format!("{value:.3} %")
    } else {
        format!("{value:.1} %")
    }
}

/// Three significant digits.
pub(super) fn significant(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.1 => 3,
        size if size >= 0.01 => 4,
        _ => 5,
    };
    format!("{value:.digits$}")
}
