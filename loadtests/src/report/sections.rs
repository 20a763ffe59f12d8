//! The words and tables of the main job's report, and of the measured grid, the calibration and the
//! plan, which their own commands print too.

mod cost_lines;
mod fidelity;
mod gate;
mod outcome;
mod plan;
mod simulation;

use simulator::outcome::Outcome;
use simulator::plan::{Evaluated, Plan};
use simulator::prices::seed_table;
use simulator::replications::Replications;
use simulator::slo::Failure;

use super::document::{Block, Document, Table, Tile};
use super::figures::Figure;
use super::wording::{
    arrivals, autoscaling, bottleneck, candidate_in_words, fargate_usd, first, interval, losses,
    percent, seconds, significant, slo, spare, tasks,
};
use crate::calibrate::Calibration;
use crate::judgement::Judgement;
use crate::measurement::{Cell, Measurement, VcpuLimit};
use crate::pipeline::Results;
use crate::stats::Mean;

pub use fidelity::fidelity;
pub use gate::gate;
pub use outcome::{outcome, replicated};
pub use plan::searched_plan;
pub use simulation::{platforms, simulation};

/// Sizings that a plan shows when nobody says otherwise.
const PLAN_ROWS: usize = 5;

/// The report of the main job, with its figures.
pub fn results(results: &Results, figures: &[Figure]) -> Document {
    let mut document = Document {
        title: format!("Does {} hold?", results.sizing_file.display()),
        blocks: vec![],
    };
    document.blocks.push(Block::Tiles(tiles(results)));
    verdicts(&mut document, results);
    document.heading("What one task carries");
    document.figure(figures, "capacity");
    document.figure(figures, "cost-per-thousand");
    document.heading("What the fleet does: simulated");
    document.figure(figures, "day");
    document.figure(figures, "waits");
    document.figure(figures, "losses");
    fleets(&mut document, results);
    document.heading("What it costs");
    document.figure(figures, "cost-waterfall");
    costs(&mut document, results);
    document.figure(figures, "cost-against-capacity");
    document.heading("The cheapest sizings that hold");
    plan(&mut document, &results.plan, PLAN_ROWS);
    document.heading("What one task does: measured");
    measurement(&mut document, &results.measurement);
    document.figure(figures, "measured-against-predicted");
    document.heading("What one generation costs: calibrated");
    calibration(&mut document, &results.calibration);
    document.heading("How well the simulator predicts what was measured");
    fidelity(&mut document, &results.fidelity);
    document.heading("How to get these numbers again");
    provenance(&mut document, results);
    document
}

/// The four numbers to read first.
fn tiles(results: &Results) -> Vec<Tile> {
    let asked = results.queued.scenario.workload.arrivals.mean_per_hour();
    let (proposed, queued) = (&results.proposed, &results.queued);
    let stated = seed_table().total().as_usd();
    let fleet = &queued.scenario.fleet;
    let mut tiles = vec![
        Tile {
            number: format!(
                "{:.1} of {asked:.0}",
                proposed.replications.throughput_per_hour.mean
            ),
            says: "generations an hour get an answer as proposed, each request held open"
                .to_owned(),
            pass: Some(proposed.verdict.pass),
        },
        Tile {
            number: format!(
                "{:.1} of {asked:.0}",
                queued.replications.throughput_per_hour.mean
            ),
            says: format!(
                "with the same tasks and a queue; one in twenty waits {}",
                seconds(queued.replications.wait_p95_s)
            ),
            pass: Some(queued.verdict.pass),
        },
    ];
    if let Ok(cost) = simulator::cost::monthly(fleet, fleet.tasks.desired.into()) {
        tiles.push(Tile {
            number: format!("${}", cost.total()),
            says: format!("a month for the list that the review adds up to ${stated:.0}"),
            pass: None,
        });
    }
    tiles.extend(results.cheapest().map(|cheapest| Tile {
        number: format!("${}", cheapest.cost_usd_month),
        says: format!(
            "a month holds the same load: {}",
            crate::plural(cheapest.fleet.workers.into(), "worker")
                + &format!(
                    " on {} vCPU, {} GiB",
                    cheapest.fleet.vcpu, cheapest.fleet.memory_gib
                )
        ),
        pass: Some(true),
    }));
    tiles
}

fn verdicts(document: &mut Document, results: &Results) {
    let scenario = &results.queued.scenario;
    document.paragraph(format!(
        "Asked: {}. Generations take {:.1} minutes on average; {}.",
        arrivals(scenario),
        scenario.workload.generation.mean().as_secs_f64() / 60.0,
        slo(scenario),
    ));
    document.blocks.push(verdict(
        "As proposed (each request stays open): ",
        &results.proposed,
    ));
    document.blocks.push(verdict(
        "The same tasks with this backend (queued): ",
        &results.queued,
    ));
    document.blocks.push(match results.cheapest() {
        Some(cheapest) => Block::Verdict {
            pass: true,
            text: format!(
                "Cheapest sizing that holds: {}.{}",
                candidate_in_words(cheapest),
                spare(cheapest)
            ),
        },
        None => Block::Verdict {
            pass: false,
            text: "No sizing in the search holds; the table of the plan says why.".to_owned(),
        },
    });
}

fn verdict(prefix: &str, judgement: &Judgement) -> Block {
    let replications = &judgement.replications;
    let reasons: Vec<_> = judgement
        .verdict
        .failures
        .iter()
        .map(Failure::to_string)
        .collect();
    let mut text = format!(
        "{prefix}{} generations/h done, wait p95 {}, bottleneck {}, Fargate ${:.2} a month, all of it ${}.",
        interval(replications.throughput_per_hour, 1),
        seconds(replications.wait_p95_s),
        bottleneck(replications),
        fargate_usd(replications),
        interval(replications.cost_usd_month, 2),
    );
    if !reasons.is_empty() {
        text.push_str(&format!(" Misses: {}.", reasons.join("; ")));
    }
    Block::Verdict {
        pass: judgement.verdict.pass,
        text,
    }
}

/// The grid: one row per cell.
pub fn measurement(document: &mut Document, measurement: &Measurement) {
    let load = &measurement.load;
    document.paragraph(format!(
        "Real generations of {:.0} s at speed-up {}: {:.1} s each, so 1 h here is {} h of the clock. \
         Formula is min(workers / generation, vCPU / CPU per generation); extra is the time of a \
         generation that no wait explains.",
        load.generation_s,
        load.speedup,
        load.compressed_generation_ms() / 1000.0,
        load.speedup,
    ));
    let mut table = Table::new([
        "vCPU",
        "workers",
        "gen/h",
        "± se",
        "formula",
        "ratio",
        "CPU s/gen",
        "CPU %",
        "RSS MiB",
        "extra ms",
        "marks",
    ])
    .keyed_by(2);
    for cell in &measurement.cells {
        table.row(cell_row(cell));
    }
    if !measurement.cells.is_empty() {
        document.table(table);
    }
    fidelity::services(document, measurement);
    fidelity::open_runs(document, measurement);
    if measurement
        .cells
        .iter()
        .any(|cell| cell.vcpu_limit == VcpuLimit::Modelled)
    {
        document.paragraph(
            "The vCPU axis is modelled: this machine let no limit be set (no Docker engine in use, no \
             right to make a control group), so each cell had the whole machine and its vCPU only \
             divides the measured CPU time.",
        );
    }
    for cell in measurement.cells.iter().filter(|cell| !cell.is_valid()) {
        document.paragraph(format!(
            "Marked, not averaged in as capacity: {} at {} vCPU ({}); the largest speed-up that keeps \
             the bounds there is {:.0}.",
            crate::plural(cell.workers.into(), "worker"),
            cell.vcpu,
            cell.marks.iter().map(|mark| mark.label()).collect::<Vec<_>>().join(", "),
            cell.speedup_max,
        ));
    }
}

fn cell_row(cell: &Cell) -> [String; 11] {
    [
        cell.vcpu.to_string(),
        cell.workers.to_string(),
        format!("{:.0}", cell.throughput_per_hour),
        if cell.repetitions.len() < 2 {
            String::new()
        } else {
            format!("{:.0}", cell.throughput_per_hour_std_err)
        },
        format!("{:.0}", cell.expected_per_hour),
        format!("{:.3}", cell.agreement()),
        format!("{:.4}", cell.cpu_s_per_generation),
        format!("{:.1}", cell.cpu_utilization * 100.0),
        format!(
            "{:.0}",
            crate::stats::count_u64_as_f64(cell.memory_max_kib) / 1024.0
        ),
        format!("{:.1}", cell.overhead_ms),
        cell.marks
            .iter()
            .map(|mark| mark.label())
            .collect::<Vec<_>>()
            .join(", "),
    ]
}

/// The cost of one generation.
pub fn calibration(document: &mut Document, calibration: &Calibration) {
    let mut table = Table::new(["what one generation takes", "mean", "± se", "unit", "cells"]);
    let mut row = |what: &str, mean: Mean, unit: &str| {
        table.row([
            what.to_owned(),
            significant(mean.value),
            // One sample has no spread; a slope has one whatever the count of its cells.
            if mean.n < 2 && mean.std_err == 0.0 {
                String::new()
            } else {
                significant(mean.std_err)
            },
            unit.to_owned(),
            mean.n.to_string(),
        ]);
    };
    row(
        "CPU time of the backend",
        calibration.cpu_s_per_generation,
        "s",
    );
    row(
        "CPU of the idle backend",
        calibration.cpu_background_cores,
        "cores",
    );
    row(
        "memory while in flight",
        calibration.memory_per_generation_kib,
        "KiB",
    );
    row(
        "memory of the idle backend",
        calibration.memory_base_mib,
        "MiB",
    );
    row(
        "time Postgres executes",
        calibration.db_ms_per_generation,
        "ms",
    );
    row(
        "transactions",
        calibration.db_transactions_per_generation,
        "",
    );
    row("time that no wait explains", calibration.overhead_ms, "ms");
    document.table(table);
    fidelity::scalability(document, calibration);
}

fn fleets(document: &mut Document, results: &Results) {
    let mut table = Table::new(["", "as proposed (sync)", "this backend (queue)"]);
    let sides = [&results.proposed.replications, &results.queued.replications];
    let mut row = |what: &str, value: &dyn Fn(&Replications) -> String| {
        table.row([what.to_owned(), value(sides[0]), value(sides[1])]);
    };
    row("submitted in the run", &|r| {
        first(r, |outcome| outcome.submitted.to_string())
    });
    row("completed per hour", &|r| {
        interval(r.throughput_per_hour, 1)
    });
    row("lost", &|r| first(r, losses));
    row("wait mean", &|r| seconds(r.wait_mean_s));
    row("wait p95", &|r| seconds(r.wait_p95_s));
    row("tasks, mean", &|r| interval(r.tasks_mean, 2));
    row("scale-outs / scale-ins", &|r| {
        first(r, |outcome| {
            format!("{} / {}", outcome.scale_out_count, outcome.scale_in_count)
        })
    });
    row("worker use", &|r| {
        first(r, |outcome| percent(outcome.worker_utilization))
    });
    row("CPU use", &|r| {
        first(r, |outcome| percent(outcome.cpu_utilization))
    });
    row("bottleneck", &bottleneck);
    document.table(table);
    if let Some(outcome) = results.queued.replications.outcomes.first() {
        document.paragraph(explanation(outcome));
    }
}

/// What a reader of the table should not have to find out alone.
fn explanation(outcome: &Outcome) -> String {
    let capacity: Vec<_> = outcome
        .capacity_per_hour
        .iter()
        .map(|(resource, per_hour)| format!("{resource} {per_hour:.1}"))
        .collect();
    format!(
        "Capacity in generations per hour, by resource: {}. CPU use stays at {} even while {} of the \
         workers are busy, so an alarm on CPU says nothing about the queue.",
        capacity.join(", "),
        percent(outcome.cpu_utilization),
        percent(outcome.worker_utilization),
    )
}

/// The review's own table beside the same rows priced again, with its tasks always on.
fn costs(document: &mut Document, results: &Results) {
    let fleet = &results.queued.scenario.fleet;
    let Ok(cost) = simulator::cost::monthly(fleet, fleet.tasks.desired.into()) else {
        return;
    };
    let seed = seed_table();
    let mut table = Table::new([
        "row of the review",
        "its USD/month",
        "priced again",
        "difference",
        "why",
    ]);
    let mut priced_total = 0.0;
    for row in &seed.row {
        let stated = usd(row.usd_micros_month);
        let priced: f64 = row.lines.iter().map(|line| cost.get(*line).as_usd()).sum();
        priced_total += priced;
        table.row([
            row.item.clone(),
            format!("{stated:.2}"),
            format!("{priced:.2}"),
            format!("{:+.2}", priced - stated),
            row.note.clone(),
        ]);
    }
    let stated_total = seed.total().as_usd();
    table.row([
        "total".to_owned(),
        format!("{stated_total:.2}"),
        format!("{priced_total:.2}"),
        format!("{:+.2}", priced_total - stated_total),
        format!(
            "with {} always on",
            crate::plural(fleet.tasks.desired.into(), "task")
        ),
    ]);
    document.table(table);
}

fn usd(micros: u64) -> f64 {
    crate::stats::count_u64_as_f64(micros) / 1e6
}

/// The sizings that hold, one row for those that differ by their workers alone, which cost nothing; and the
/// commonest reasons why the others do not.
pub fn plan(document: &mut Document, plan: &Plan, rows: usize) {
    let mut table = Table::new([
        "USD/month",
        "vCPU",
        "GiB",
        "workers that hold",
        "tasks",
        "autoscaling",
        "wait p95 s",
        "gen/h",
    ]);
    for (candidate, workers) in by_workers(&plan.accepted).into_iter().take(rows) {
        let fleet = &candidate.fleet;
        table.row([
            candidate.cost_usd_month.to_string(),
            fleet.vcpu.to_string(),
            fleet.memory_gib.to_string(),
            workers,
            tasks(fleet),
            autoscaling(fleet),
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
         first. Why the others do not: {}.",
        plan.accepted.len(),
        plan.accepted.len() + plan.rejected.len(),
        reasons(&plan.rejected),
    ));
}

/// The first of each group of sizings that differ by their workers alone, and the group's worker counts.
fn by_workers(accepted: &[Evaluated]) -> Vec<(&Evaluated, String)> {
    let mut groups: Vec<Vec<&Evaluated>> = Vec::new();
    for candidate in accepted {
        let same = |other: &Evaluated| {
            let mut fleet = other.fleet.clone();
            fleet.workers = candidate.fleet.workers;
            fleet == candidate.fleet && other.cost_usd_month == candidate.cost_usd_month
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

fn provenance(document: &mut Document, results: &Results) {
    let hardware = &results.measurement.hardware;
    let load = &results.measurement.load;
    document.paragraph(format!(
        "Measured on {}, {} cores, {} MiB, Linux {}; provider {} with PostgreSQL {}, Redis {} and {}; \
         commit {}; seeds: scripted OpenAI {}, simulation from {} on.",
        hardware.cpu_model,
        hardware.cpu_cores,
        hardware.memory_mib,
        hardware.kernel,
        hardware.provider,
        hardware.postgres,
        hardware.redis,
        hardware.s3,
        hardware.commit,
        load.seed,
        results.queued.scenario.seed,
    ));
    document.blocks.push(Block::Code(format!(
        "HARNESS_PROVIDER={} {}\n# the sizing as proposed\n\
         cargo sizing simulate --scenario target/sizing/proposed.toml\n\
         # the same tasks with this backend\n\
         cargo sizing simulate --scenario target/sizing/queued.toml",
        hardware.provider, results.command
    )));
}
