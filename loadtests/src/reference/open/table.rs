//! The arrivals as a part of a report: what was measured, beside what the simulator says.

use crate::reference::comparison::Comparison;
use crate::reference::open::{Figures, label};
use crate::reference::profile::Stack;
use crate::reference::service::Kind;
use crate::report::document::{Document, Table};

/// Adds every run beside what the simulator says of it.
pub(in crate::reference) fn add(document: &mut Document, comparison: &Comparison) {
    let mut table = Table::new([
        "Service",
        "Figure",
        "Measured",
        "Simulated",
        "Error, %",
        "Promised, %",
    ])
    .keyed_by(2);
    let mut paces = vec![];
    let runs = comparison
        .services
        .iter()
        .flat_map(|one| one.open.iter().map(move |run| (one.kind, run)));
    for (kind, run) in runs {
        let measured = run.measured(&comparison.conditions);
        // The simulator has the reference's workers as proposed; the others stand beside it.
        let stack = Stack::proposed(comparison).filter(|_| kind == Kind::FastApi);
        let predicted = stack.and_then(|stack| run.predicted(&stack, &comparison.conditions).ok());
        paces.extend(stack.map(|stack| format!("{:.2}", run.pace(&stack))));
        let said = predicted.map(Figures::rows);
        for (row, (name, is, promised, digits)) in measured.rows().into_iter().enumerate() {
            let said = said.map(|said| said[row].1);
            table.row([
                label(run.worker_model, kind),
                name.to_owned(),
                format!("{is:.digits$}"),
                said.map_or_else(String::new, |said| format!("{said:.digits$}")),
                said.map_or_else(String::new, |said| {
                    format!("{:+.1}", (said / is - 1.0) * 100.0)
                }),
                said.and(promised)
                    .map_or_else(String::new, |most| format!("{:.0}", most * 100.0)),
            ]);
        }
    }
    if table.rows.is_empty() {
        return;
    }
    document.paragraph(format!(
        "Poisson arrivals, and what the simulator says of the same arrivals at FastAPI as proposed: workers of what a \
         generation was found to cost in the batches, of which these runs are none. Its workers are async, and clients poll; \
         or sync, each with one request that it holds to the end of its generation, which counts from when it was sent. \
         Times are compressed.{}",
        match paces.is_empty() {
            true => String::new(),
            false => format!(
                " CPU time is as dear as in the run itself, by what a PDF took of it: {} of that in the batches.",
                paces.join(" and ")
            ),
        }
    ));
    document.table(table);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::open::{self, OpenRun};
    use crate::reference::recorded;
    use crate::report::document::Block;

    #[test]
    fn both_kinds_of_workers_stand_beside_what_is_simulated_of_each() {
        let run = |worker_model| OpenRun {
            worker_model,
            rate_per_hour: 24.0,
            arrived_s: vec![0.0, 4.0],
            sojourn_s: vec![10.0, 10.0],
            worker: vec![0, 1],
            polls: 320,
            cpu_s: 2.0,
            rendering_cpu_s: 0.5,
        };
        let mut comparison = recorded::comparison().clone();
        for service in &mut comparison.services {
            service.open = open::worker_models(service.kind)
                .iter()
                .map(|model| run(*model))
                .collect();
        }
        let mut document = Document::default();
        add(&mut document, &comparison);
        let rows = document.blocks.iter().find_map(|block| match block {
            Block::Table(table) => Some(&table.rows),
            _ => None,
        });
        let rows = rows.expect("a table");
        let services: Vec<_> = rows.iter().step_by(5).map(|row| &*row[0]).collect();
        assert_eq!(
            services,
            [
                "Rust",
                "FastAPI, as proposed",
                "FastAPI, as proposed, sync workers",
                "FastAPI, tuned"
            ]
        );
        let simulated: Vec<_> = rows
            .iter()
            .step_by(5)
            .map(|row| !row[3].is_empty())
            .collect();
        assert_eq!(simulated, [false, true, true, false], "{rows:?}");
    }
}
