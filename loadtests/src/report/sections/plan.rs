//! The cheapest sizings that hold: in the report of `sizing plan`, and shorter in that of the main job.

use simulator::plan::{Evaluated, Plan, PlanRequest};
use simulator::scenario::{Architecture, Autoscaling, CacheMode, Fleet, Metric, Tasks};
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
    document.paragraph(searched(request));
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
        "{} of {all} candidates hold. Why the others do not (some for several reasons; findings of \
         terraform/findings.tf by their names, with every setting at its default but what is given here): {}.",
        plan.accepted.len(),
        reasons(&plan.rejected),
    ));
    document.paragraph(format!(
        "Of {all} candidates at {} seeds each, {} were refused by a bound or a finding, {} share the runs of one that differs by \
         its bill alone, and the rest took {runs} runs: {elapsed_s:.1} s.",
        request.replications,
        of(|candidate| !candidate.simulated),
        of(|candidate| candidate.simulated && candidate.runs_made == 0),
    ));
    document
}

/// The values that were combined, as the options of `sizing plan` take them.
fn searched(request: &PlanRequest) -> String {
    fn list<T>(values: &[T], word: impl Fn(&T) -> String) -> String {
        let words: Vec<String> = values.iter().map(word).collect();
        words.join(", ")
    }
    format!(
        "Searched: task sizes (vCPU x GiB) {}; workers {}; tasks {}; autoscaling {} (none \
         goes with a fixed count, the others with a range); NAT gateways {}; cache {}; instructions {}. All else is as it was given.",
        list(&request.pairs, |(vcpu, memory_gib)| format!(
            "{vcpu}x{memory_gib}"
        )),
        list(&request.workers, u32::to_string),
        list(&request.tasks, task_range),
        list(&request.autoscaling, |autoscaling| targets(autoscaling)
            .join(" with ")),
        list(&request.nat_gateways, u32::to_string),
        list(&request.cache_modes, |mode| cache(*mode).to_owned()),
        list(&request.architectures, |architecture| match architecture {
            Architecture::X86 => "x86".to_owned(),
            Architecture::Arm => "arm".to_owned(),
        }),
    )
}

fn table(
    candidates: &[Evaluated],
    rows: usize,
    last: &str,
    why: impl Fn(&Evaluated) -> String,
) -> Table {
    let mut table = Table::new(["USD/month", "sizing", "workers", "wait p95 s", last]);
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
    let cache = cache(fleet.cache_mode);
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

/// `2`, `1-3`, or `1-3 from 2` where it does not start with the fewest.
fn task_range(tasks: &Tasks) -> String {
    if tasks.min == tasks.max {
        return tasks.max.to_string();
    }
    let from = if tasks.desired == tasks.min {
        String::new()
    } else {
        format!(" from {}", tasks.desired)
    };
    format!("{}-{}{from}", tasks.min, tasks.max)
}

fn cache(mode: CacheMode) -> &'static str {
    match mode {
        CacheMode::Elasticache => "elasticache",
        CacheMode::Sidecar => "cache in a sidecar",
        CacheMode::None => "no cache",
    }
}

/// Metrics with their targets, each after a comma.
fn policy(fleet: &Fleet) -> String {
    if fleet.autoscaling.metrics.is_empty() {
        return String::new();
    }
    format!(", {}", targets(&fleet.autoscaling).join(", "))
}

/// `none`, or each metric with its target.
fn targets(autoscaling: &Autoscaling) -> Vec<String> {
    if autoscaling.metrics.is_empty() {
        return vec!["none".to_owned()];
    }
    autoscaling
        .metrics
        .iter()
        .map(|metric| match metric {
            Metric::Cpu => format!("cpu {} %", autoscaling.cpu_target_percent),
            Metric::Memory => format!("memory {} %", autoscaling.memory_target_percent),
            Metric::QueueDepth => format!("queue {}", autoscaling.queue_depth_per_task_target),
            Metric::Requests => format!("requests {}", autoscaling.requests_per_task_target),
        })
        .collect()
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

/// The one with the fewest workers of each group of sizings that differ by their workers alone and fail, if they do, for the same
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
        .map(|mut group| {
            group.sort_by_key(|one| one.fleet.workers);
            let workers: Vec<String> = group
                .iter()
                .map(|one| one.fleet.workers.to_string())
                .collect();
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
