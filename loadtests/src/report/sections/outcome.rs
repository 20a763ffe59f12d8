//! The report of one simulation.

use simulator::outcome::Outcome;
use simulator::scenario::Scenario;
use simulator::slo::Failure;

use super::cost_lines::cost_table;
use crate::report::document::{Block, Document, Table};
use crate::report::wording::{arrivals, losses, percent, slo};

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
