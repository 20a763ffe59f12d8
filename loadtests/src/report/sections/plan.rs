//! The report of `sizing plan`.

use simulator::plan::{Evaluated, Plan, PlanRequest};
use simulator::scenario::{Architecture, CacheMode, Fleet, Metric, Tasks};
use simulator::slo::Failure;

use super::reasons;
use crate::report::document::{Document, Table};
use crate::report::wording::{arrivals, slo};

/// The cheapest sizings that hold, the cheapest that do not with their reasons, and what the search took.
pub fn searched_plan(
    plan: &Plan,
    request: &PlanRequest,
    accepted: usize,
    rejected: usize,
    elapsed_s: f64,
) -> Document {
    let mut document = Document {
        title: "Cheapest sizings that hold".into(),
        blocks: vec![],
    };
    let base = &request.base;
    document.paragraph(format!("Asked: {}; {}.", arrivals(base), slo(base)));
    if plan.accepted.is_empty() {
        document.paragraph("None.");
    } else {
        document.table(table(
            &plan.accepted,
            accepted,
            "behind the one above by",
            |candidate| {
                candidate
                    .tie
                    .map_or_else(String::new, |tie| tie.to_string())
            },
        ));
    }
    if rejected > 0 && !plan.rejected.is_empty() {
        document.heading("Cheapest sizings that do not hold");
        document.table(table(&plan.rejected, rejected, "because", |candidate| {
            let failures: Vec<_> = candidate.failures.iter().map(Failure::to_string).collect();
            failures.join("; ")
        }));
    }
    let all = plan.accepted.len() + plan.rejected.len();
    let of = |what: fn(&Evaluated) -> bool| {
        plan.accepted
            .iter()
            .chain(&plan.rejected)
            .filter(|candidate| what(candidate))
            .count()
    };
    let runs: usize = plan
        .accepted
        .iter()
        .chain(&plan.rejected)
        .map(|one| one.runs_made)
        .sum();
    document.paragraph(format!(
        "{} of {all} candidates hold. Why the others do not: {}.",
        plan.accepted.len(),
        reasons(&plan.rejected),
    ));
    document.paragraph(format!(
        "Of {all} candidates at {} seeds each, {} were refused by a bound, {} share the runs of one that differs by \
         its bill alone, and the rest took {runs} runs: {elapsed_s:.1} s.",
        request.replications,
        of(|candidate| !candidate.simulated),
        of(|candidate| candidate.simulated && candidate.runs_made == 0),
    ));
    document
}

fn table(
    candidates: &[Evaluated],
    rows: usize,
    last: &str,
    why: impl Fn(&Evaluated) -> String,
) -> Table {
    let mut table = Table::new(["USD/month", "sizing", "p95 s", last]);
    for candidate in candidates.iter().take(rows) {
        let wait = candidate
            .wait_p95_s
            .map_or_else(String::new, |wait| format!("{:.1}", wait.mean));
        table.row([
            candidate.cost_usd_month.to_string(),
            sizing(&candidate.fleet),
            wait,
            why(candidate),
        ]);
    }
    table
}

/// `tasks 2-4 x 0.25 vCPU 0.5 GiB, 24 workers, queue 1, 1 NAT, elasticache`.
fn sizing(fleet: &Fleet) -> String {
    let tasks = match fleet.tasks {
        Tasks { min, max, .. } if min == max => max.to_string(),
        Tasks { min, max, .. } => format!("{min}-{max}"),
    };
    let cache = match fleet.cache_mode {
        CacheMode::Elasticache => "elasticache",
        CacheMode::Sidecar => "cache in a sidecar",
        CacheMode::None => "no cache",
    };
    let instructions = match fleet.architecture {
        Architecture::X86 => "",
        Architecture::Arm => ", ARM",
    };
    format!(
        "tasks {tasks} x {} vCPU {} GiB{instructions}, {}{}, {} NAT, {cache}",
        fleet.vcpu,
        fleet.memory_gib,
        crate::plural(fleet.workers.into(), "worker"),
        policy(fleet),
        fleet.nat_gateways,
    )
}

/// Metrics with their targets, each after a comma.
fn policy(fleet: &Fleet) -> String {
    let autoscaling = &fleet.autoscaling;
    let words: Vec<_> = autoscaling
        .metrics
        .iter()
        .map(|metric| match metric {
            Metric::Cpu => format!("cpu {} %", autoscaling.cpu_target_percent),
            Metric::Memory => format!("memory {} %", autoscaling.memory_target_percent),
            Metric::QueueDepth => format!("queue {}", autoscaling.queue_depth_per_task_target),
            Metric::Requests => format!("requests {}", autoscaling.requests_per_task_target),
        })
        .collect();
    words.iter().map(|word| format!(", {word}")).collect()
}
