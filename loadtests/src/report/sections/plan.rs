//! The cheapest sizings that hold: in the report of `sizing plan`, and shorter in that of the main job.

use simulator::plan::{Evaluated, Plan, PlanRequest};
use simulator::scenario::{Architecture, CacheMode, Fleet, Metric};
use simulator::slo::Failure;

use crate::report::document::{Document, Table};
use crate::report::wording::{arrivals, generation_length, slo, spare, tasks_in_words};

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
    document.paragraph(format!(
        "Asked: {}. Generations take {}; {}.",
        arrivals(base),
        generation_length(base),
        slo(base)
    ));
    if plan.accepted.is_empty() {
        document.paragraph("None.");
    } else {
        document.table(table(
            &plan.accepted,
            accepted,
            "ranked lower for",
            |candidate| {
                candidate
                    .tie
                    .map_or_else(String::new, |tie| tie.to_string())
            },
        ));
        document.paragraph(format!(
            "Sizings that differ by their workers alone share a row, whose figures are those of the first.{}",
            plan.accepted.first().map_or_else(String::new, |cheapest| spare(&cheapest.fleet)),
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
        "{} of {all} candidates hold. Why the others do not (some for several reasons): {}.",
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
    let mut table = Table::new(["USD/month", "sizing", "workers", "p95 s", last]);
    for (candidate, workers) in by_workers(candidates).into_iter().take(rows) {
        let wait = candidate
            .wait_p95_s
            .map_or_else(String::new, |wait| format!("{:.1}", wait.mean));
        table.row([
            candidate.cost_usd_month.to_string(),
            sizing(&candidate.fleet),
            workers,
            wait,
            why(candidate),
        ]);
    }
    table
}

/// `2 to 4 tasks of 0.25 vCPU and 0.5 GiB, queue 1, 1 NAT, elasticache`; the workers have a column.
fn sizing(fleet: &Fleet) -> String {
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
        "{} of {} vCPU and {} GiB{instructions}{}, {} NAT, {cache}",
        tasks_in_words(fleet),
        fleet.vcpu,
        fleet.memory_gib,
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

/// The sizings that hold, one row for those that differ by their workers alone, which cost nothing; and the
/// commonest reasons why the others do not.
pub(super) fn plan(document: &mut Document, plan: &Plan, rows: usize) {
    let mut table = Table::new([
        "USD/month",
        "sizing",
        "workers that hold",
        "wait p95 s",
        "gen/h",
    ]);
    for (candidate, workers) in by_workers(&plan.accepted).into_iter().take(rows) {
        let fleet = &candidate.fleet;
        table.row([
            candidate.cost_usd_month.to_string(),
            format!(
                "{} of {} vCPU, {} GiB{}",
                tasks_in_words(fleet),
                fleet.vcpu,
                fleet.memory_gib,
                policy(fleet)
            ),
            workers,
            candidate
                .wait_p95_s
                .map_or_else(String::new, |wait| format!("{:.1}", wait.mean)),
            candidate
                .throughput_per_hour
                .map_or_else(String::new, |rate| format!("{:.1}", rate.mean)),
        ]);
    }
    if plan.accepted.is_empty() {
        document.paragraph("None.");
    } else {
        document.table(table);
    }
    document.paragraph(format!(
        "{} of {} candidates hold; where several worker counts do, the figures of the row are those of the \
         first. Why the others do not (some for several reasons): {}. NAT gateways, cache, database and instruction set stay the \
         proposal's: `cargo sizing plan` varies the first two and the last as well, and finds cheaper ones.",
        plan.accepted.len(),
        plan.accepted.len() + plan.rejected.len(),
        reasons(&plan.rejected),
    ));
}

/// The first of each group of sizings that differ by their workers alone and fail, if they do, for the same
/// reasons; and the group's worker counts.
fn by_workers(candidates: &[Evaluated]) -> Vec<(&Evaluated, String)> {
    let mut groups: Vec<Vec<&Evaluated>> = Vec::new();
    for candidate in candidates {
        let same = |other: &Evaluated| {
            let mut fleet = other.fleet.clone();
            fleet.workers = candidate.fleet.workers;
            let reasons = |of: &Evaluated| -> Vec<String> {
                of.failures
                    .iter()
                    .map(|failure| failure.key.clone())
                    .collect()
            };
            fleet == candidate.fleet
                && other.cost_usd_month == candidate.cost_usd_month
                && reasons(other) == reasons(candidate)
        };
        match groups.iter_mut().find(|group| same(group[0])) {
            Some(group) => group.push(candidate),
            None => groups.push(vec![candidate]),
        }
    }
    groups
        .into_iter()
        .map(|group| {
            let mut workers: Vec<u32> = group.iter().map(|one| one.fleet.workers).collect();
            workers.sort_unstable();
            let workers: Vec<String> = workers.iter().map(u32::to_string).collect();
            (group[0], workers.join(", "))
        })
        .collect()
}

/// Each reason with the number of candidates that it refused, commonest first.
fn reasons(rejected: &[Evaluated]) -> String {
    let mut counts: Vec<(usize, &str)> = Vec::new();
    for failure in rejected.iter().flat_map(|candidate| &candidate.failures) {
        match counts.iter_mut().find(|(_, key)| *key == failure.key) {
            Some((count, _)) => *count += 1,
            None => counts.push((1, &failure.key)),
        }
    }
    counts.sort_by(|a, b| b.cmp(a));
    let words: Vec<_> = counts
        .iter()
        .map(|(count, key)| format!("{key} ({count})"))
        .collect();
    if words.is_empty() {
        "there are none".to_owned()
    } else {
        words.join(", ")
    }
}
