//! The words and tables of each report.

use simulator::cost::{Cost, LineItem};
use simulator::outcome::Outcome;
use simulator::plan::{Evaluated, Plan};
use simulator::prices::seed_table;
use simulator::replications::Replications;
use simulator::scenario::Scenario;
use simulator::slo::Failure;

use super::document::{Block, Document, Table};
use super::plots::{self, PricedWait};
use super::wording::{
    arrivals, autoscaling, bottleneck, candidate_in_words, fargate_usd, first, interval, losses,
    percent, seconds, significant, slo, spare, tasks,
};
use crate::calibrate::Calibration;
use crate::gate::{Candidate, GateResult};
use crate::judgement::Judgement;
use crate::measurement::{Cell, Measurement, VcpuLimit};
use crate::pipeline::Results;
use crate::stats::Mean;

/// Sizings that a plan shows when nobody says otherwise.
const PLAN_ROWS: usize = 5;

/// The report of the main job.
pub fn results(results: &Results) -> Document {
    let mut document = Document {
        title: format!("Does {} hold?", results.sizing_file.display()),
        blocks: vec![],
    };
    verdicts(&mut document, results);
    document.heading("What one task does: measured");
    measurement(&mut document, &results.measurement);
    document.heading("What one generation costs: calibrated");
    calibration(&mut document, &results.calibration);
    document.heading("What the fleet does: simulated");
    fleets(&mut document, results);
    document.heading("What it costs");
    costs(&mut document, results);
    document.heading("The cheapest sizings that hold");
    plan(&mut document, &results.plan, PLAN_ROWS);
    document.blocks.extend(cost_figure(results));
    document.heading("How to get these numbers again");
    provenance(&mut document, results);
    document
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
    ]);
    for cell in &measurement.cells {
        table.row(cell_row(cell));
    }
    document.table(table);
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
    if let Some(svg) = plots::agreement(measurement) {
        let alternative = "Measured against expected throughput of every cell; the diagonal is perfect agreement.";
        document.blocks.push(Block::Figure {
            svg,
            alternative: alternative.to_owned(),
        });
    }
}

fn cell_row(cell: &Cell) -> [String; 11] {
    [
        cell.vcpu.to_string(),
        cell.workers.to_string(),
        format!("{:.0}", cell.throughput_per_hour),
        format!("{:.0}", cell.throughput_per_hour_std_err),
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
            significant(mean.std_err),
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

fn cost_table(after: &Cost, before: Option<&Cost>) -> Table {
    let mut table = match before {
        Some(_) => Table::new(["USD/month", "before", "after"]),
        None => Table {
            header: vec!["line".into(), "USD/month".into()],
            rows: vec![],
        },
    };
    let mut row = |what: String, cost: String, was: Option<String>| {
        let mut cells = vec![what];
        cells.extend(was);
        cells.push(cost);
        table.rows.push(cells);
    };
    for (line, cost) in after.lines() {
        let was = before.map(|before| before.get(line).to_string());
        row(line_name(line), cost.to_string(), was);
    }
    row(
        "total".into(),
        after.total().to_string(),
        before.map(|before| before.total().to_string()),
    );
    table
}

fn line_name(line: LineItem) -> String {
    line.to_string().replace('_', " ")
}

/// The sizings that hold, and the commonest reasons why the others do not.
pub fn plan(document: &mut Document, plan: &Plan, rows: usize) {
    let mut table = Table::new([
        "USD/month",
        "vCPU",
        "GiB",
        "workers",
        "tasks",
        "autoscaling",
        "wait p95 s",
        "gen/h",
    ]);
    for candidate in plan.accepted.iter().take(rows) {
        let fleet = &candidate.fleet;
        table.row([
            candidate.cost_usd_month.to_string(),
            fleet.vcpu.to_string(),
            fleet.memory_gib.to_string(),
            fleet.workers.to_string(),
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
        "{} of {} candidates hold. Why the others do not: {}.",
        plan.accepted.len(),
        plan.accepted.len() + plan.rejected.len(),
        reasons(&plan.rejected),
    ));
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

fn cost_figure(results: &Results) -> Option<Block> {
    let limit_s = results.queued.scenario.slo.wait_p95?.as_secs_f64();
    let mut points: Vec<_> = results
        .plan
        .accepted
        .iter()
        .chain(&results.plan.rejected)
        .filter_map(|candidate| {
            Some(PricedWait {
                cost_usd_month: candidate.cost_usd_month.as_usd(),
                wait_p95_s: candidate.wait_p95_s?.mean,
                proposed: false,
            })
        })
        .collect();
    points.push(PricedWait {
        cost_usd_month: results.queued.replications.cost_usd_month.mean,
        wait_p95_s: results.queued.replications.wait_p95_s.mean,
        proposed: true,
    });
    let svg = plots::cost_against_wait(&points, limit_s)?;
    let alternative =
        "Monthly cost against wait p95 of every simulated candidate; the proposal is the triangle.";
    Some(Block::Figure {
        svg,
        alternative: alternative.to_owned(),
    })
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
        "{}\ncargo sizing simulate --scenario target/sizing/proposed.toml   # the sizing as proposed\n\
         cargo sizing simulate --scenario target/sizing/queued.toml     # the same tasks with this backend",
        results.command
    )));
}

/// The report of one simulation.
pub fn outcome(scenario: &Scenario, outcome: &Outcome) -> Document {
    let mut document = Document {
        title: format!("{} simulated with seed {}", outcome.horizon, outcome.seed),
        blocks: vec![],
    };
    document.paragraph(format!("{}; {}.", arrivals(scenario), slo(scenario)));
    let verdict = simulator::slo::judge(outcome, &scenario.slo);
    let failures: Vec<_> = verdict.failures.iter().map(Failure::to_string).collect();
    let text = if failures.is_empty() {
        "the SLO is met.".to_owned()
    } else {
        failures.join("; ")
    };
    document.blocks.push(Block::Verdict {
        pass: verdict.pass,
        text,
    });
    let mut table = Table::new(["", "mean", "p50", "p95", "p99", "max"]);
    for (name, of) in [
        ("wait, s", &outcome.wait_s),
        ("sojourn, s", &outcome.sojourn_s),
    ] {
        let cells = [of.mean, of.p50, of.p95, of.p99, of.max].map(|value| format!("{value:.1}"));
        let [mean, p50, p95, p99, max] = cells;
        table.row([name.to_owned(), mean, p50, p95, p99, max]);
    }
    document.table(table);
    let mut table = Table::new(["", "value"]);
    let rows = [
        (
            "completed per hour",
            format!("{:.2}", outcome.throughput_per_hour),
        ),
        (
            "probability of a wait",
            format!("{:.4}", outcome.probability_of_wait),
        ),
        (
            "submitted / completed / in flight",
            format!(
                "{} / {} / {}",
                outcome.submitted, outcome.completed, outcome.in_flight_at_end
            ),
        ),
        ("lost", losses(outcome)),
        ("worker use", percent(outcome.worker_utilization)),
        ("CPU use", percent(outcome.cpu_utilization)),
        ("tasks, mean", format!("{:.2}", outcome.tasks_mean)),
        (
            "scale-outs / scale-ins",
            format!("{} / {}", outcome.scale_out_count, outcome.scale_in_count),
        ),
        ("bottleneck", outcome.bottleneck.to_string()),
        ("events", outcome.events.to_string()),
        (
            "events per second",
            outcome
                .events_per_second
                .map_or_else(String::new, |rate| format!("{rate:.0}")),
        ),
    ];
    for (name, value) in rows {
        table.row([name.to_owned(), value]);
    }
    document.table(table);
    document.table(cost_table(&outcome.cost_usd_month, None));
    document
}

/// The report of the gate.
pub fn gate(result: &GateResult) -> Document {
    let mut document = Document {
        title: format!("Sizing gate: {}", result.after.file.display()),
        blocks: vec![],
    };
    let scenario = &result.after.judgement.scenario;
    document.paragraph(format!("Asked: {}; {}.", arrivals(scenario), slo(scenario)));
    document.blocks.push(verdict("", &result.after.judgement));
    let mut table = match &result.before {
        Some(before) => Table {
            header: vec![
                String::new(),
                before.file.display().to_string(),
                result.after.file.display().to_string(),
            ],
            rows: vec![],
        },
        None => Table {
            header: vec![String::new(), result.after.file.display().to_string()],
            rows: vec![],
        },
    };
    let candidates: Vec<&Candidate> = result.before.iter().chain([&result.after]).collect();
    let mut row = |what: &str, value: &dyn Fn(&Candidate) -> String| {
        let mut cells = vec![what.to_owned()];
        cells.extend(candidates.iter().map(|candidate| value(candidate)));
        table.rows.push(cells);
    };
    row("verdict", &|c| {
        if c.judgement.verdict.pass {
            "pass".into()
        } else {
            "FAIL".into()
        }
    });
    row("task", &|c| {
        format!("{} vCPU, {} GiB", c.sizing.vcpu(), c.sizing.memory_gib())
    });
    row("workers per task", &|c| {
        c.sizing.generation_workers.to_string()
    });
    row("tasks", &|c| tasks(&c.judgement.scenario.fleet));
    row("autoscaling", &|c| autoscaling(&c.judgement.scenario.fleet));
    row("capacity, generations/h", &|c| {
        first(&c.judgement.replications, |outcome| {
            outcome
                .capacity_per_hour
                .get(&outcome.bottleneck)
                .map_or_else(String::new, |rate| format!("{rate:.1}"))
        })
    });
    row("bottleneck", &|c| bottleneck(&c.judgement.replications));
    row("wait p95", &|c| {
        seconds(c.judgement.replications.wait_p95_s)
    });
    row("lost", &|c| first(&c.judgement.replications, losses));
    row("USD/month", &|c| {
        interval(c.judgement.replications.cost_usd_month, 2)
    });
    document.table(table);
    let cost = |candidate: &Candidate| {
        candidate
            .judgement
            .replications
            .outcomes
            .first()
            .map(|outcome| outcome.cost_usd_month.clone())
    };
    if let Some(after) = cost(&result.after) {
        let before = result.before.as_ref().and_then(cost);
        document.table(cost_table(&after, before.as_ref()));
    }
    document
}
