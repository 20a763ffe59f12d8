//! The report of the gate: a sizing, and the one it replaces beside it.

use super::cost_lines::cost_table;
use super::verdict;
use crate::gate::{Candidate, GateResult};
use crate::report::document::{Document, Table};
use crate::report::wording::{
    arrivals, autoscaling, bottleneck, first, interval, losses, seconds, slo, tasks,
};

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
