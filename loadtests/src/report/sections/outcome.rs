//! The report of one simulation.

use simulator::outcome::Outcome;
use simulator::replications::Interval;
use simulator::scenario::Scenario;
use simulator::slo::{Failure, Slo};

use super::cost_lines::cost_table;
use crate::judgement::Judgement;
use crate::report::document::{Block, Document, Table};
use crate::report::wording::{arrivals, percent, slo};
use crate::stats::count_u64_as_f64;

/// The report of one fleet simulated with several seeds.
pub fn replicated(name: &str, judgement: &Judgement) -> Document {
    let runs = &judgement.replications;
    let mut document = Document {
        title: format!(
            "{name}: {} simulated with {} seeds from {} on",
            judgement.scenario.horizon,
            runs.outcomes.len(),
            judgement.scenario.seed
        ),
        blocks: vec![],
    };
    document.paragraph(format!(
        "{}; {}. A number is the mean over the seeds with its 95 % interval.",
        arrivals(&judgement.scenario),
        slo(&judgement.scenario)
    ));
    let over = |value: fn(&Outcome) -> f64| {
        Interval::of(&runs.outcomes.iter().map(value).collect::<Vec<_>>())
    };
    let mut table = Table::new(["", "mean", "± 95 %"]);
    let mut row = |what: &str, of: Interval, digits: usize| {
        table.row([
            what.to_owned(),
            format!("{:.digits$}", of.mean),
            format!("{:.digits$}", of.half_width),
        ]);
    };
    row("completed per hour", runs.throughput_per_hour, 2);
    row("wait, mean, s", runs.wait_mean_s, 1);
    row("wait, 95 %, s", runs.wait_p95_s, 1);
    row("wait, longest, s", over(|run| run.wait_s.max), 1);
    row("lost", runs.lost, 1);
    row("tasks, mean", runs.tasks_mean, 2);
    row(
        "scale-outs",
        over(|run| count_u64_as_f64(run.scale_out_count)),
        1,
    );
    row(
        "workers busy, %",
        over(|run| run.worker_utilization * 100.0),
        1,
    );
    row("CPU used, %", over(|run| run.cpu_utilization * 100.0), 3);
    row(
        "memory used, %",
        over(|run| run.memory_utilization * 100.0),
        2,
    );
    if runs.outcomes.iter().any(|run| run.unanswering_s.is_some()) {
        let minutes = over(|run| run.unanswering_s.unwrap_or(0.0) / 60.0);
        row("task-minutes without an answer", minutes, 1);
    }
    row("USD/month", runs.cost_usd_month, 2);
    document.table(table);
    document
}

/// A figure that only some runs have.
type Occasional = fn(&Outcome) -> Option<f64>;

/// What only some models count, by the name that the report gives it.
pub(super) const OCCASIONAL: [(&str, Occasional); 8] = [
    ("lost before they started", |run| some(run.never_started)),
    ("requeued", |run| some(run.requeued)),
    ("deployments over", |run| {
        run.deployments_completed.map(count_u64_as_f64)
    }),
    ("task-seconds without an answer", |run| run.unanswering_s),
    ("seconds without a free database connection", |run| {
        run.db_exhausted_s
    }),
    ("starts without a free connection", |run| {
        run.starts_refused.map(count_u64_as_f64)
    }),
    ("seconds with a full Redis", |run| run.redis_full_s),
    ("tasks replaced as unhealthy", |run| {
        run.unhealthy_replaced.map(count_u64_as_f64)
    }),
];

fn some(count: u64) -> Option<f64> {
    (count > 0).then(|| count_u64_as_f64(count))
}

/// The report of one simulation.
pub fn outcome(scenario: &Scenario, outcome: &Outcome) -> Document {
    let mut document = Document {
        title: format!("{} simulated with seed {}", outcome.horizon, outcome.seed),
        blocks: vec![],
    };
    document.paragraph(format!("{}; {}.", arrivals(scenario), slo(scenario)));
    // Where nothing is promised there is nothing to judge.
    if scenario.slo != Slo::default() {
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
    }
    let mut table = Table::new(["", "mean", "p50", "p95", "p99", "max"]);
    for (name, of) in [
        ("wait, s", &outcome.wait_s),
        ("sojourn, s", &outcome.sojourn_s),
    ] {
        let cells = [of.mean, of.p50, of.p95, of.p99, of.max].map(|value| match of.count {
            0 => "-".to_owned(),
            _ => format!("{value:.1}"),
        });
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
        (
            "worker use",
            percent(Interval::of(&[outcome.worker_utilization])),
        ),
        ("CPU use", percent(Interval::of(&[outcome.cpu_utilization]))),
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
    for (name, figure) in OCCASIONAL {
        if let Some(value) = figure(outcome) {
            table.row([name.to_owned(), format!("{value:.1}")]);
        }
    }
    document.table(table);
    document.table(cost_table(&outcome.cost_usd_month, None));
    document
}

/// Losses by cause.
fn losses(outcome: &Outcome) -> String {
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
