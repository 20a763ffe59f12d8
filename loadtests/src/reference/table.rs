//! The comparison as a part of a report.

use crate::reference::comparison::{Comparison, Latencies, Measured, Throughput};
use crate::reference::service::Kind;
use crate::report::document::{Document, Table};
use crate::stats::Mean;

/// Adds both services side by side, what became of generations in flight, and what was not measured.
pub fn add(document: &mut Document, comparison: &Comparison) {
    let conditions = &comparison.conditions;
    document.heading("The proposal's stack beside this backend");
    document.paragraph(format!(
        "Same machine, same run: {} vCPU, {} MiB, GENERATION_WORKERS={}; {} batches of {} generations of 15 minutes, \
         {} times faster. CPU and memory count all processes of a service (memory: proportional set size); ± is \
         twice the standard error over the batches.",
        conditions.vcpu,
        conditions.memory_mib,
        conditions.workers,
        conditions.repetitions,
        conditions.generations,
        conditions.speedup
    ));
    if !comparison.services.is_empty() {
        document.table(costs(&comparison.services));
        document.table(fates(comparison));
        document.paragraph(
            "A wasted response is one that OpenAI was asked for, and would bill, beyond the five that each finished \
             generation needs: paid twice when the generation is repeated, paid for nothing when it is lost.",
        );
    }
    for (kind, reason) in &comparison.not_measured {
        document.paragraph(format!("{}: not measured, because {reason}.", kind.label()));
    }
}

fn costs(services: &[Measured]) -> Table {
    let mut table = Table::new(
        ["Figure"]
            .into_iter()
            .chain(services.iter().map(|one| one.kind.label())),
    );
    let rust = services.iter().find(|one| one.kind == Kind::Rust);
    let other = services.iter().find(|one| one.kind == Kind::FastApi);
    if rust.and(other).is_some() {
        table.header.push("Ratio".to_owned());
    }
    let mut row = |name: &str,
                   text: &dyn Fn(&Measured) -> String,
                   value: Option<&dyn Fn(&Measured) -> f64>| {
        let mut cells: Vec<String> = std::iter::once(name.to_owned())
            .chain(services.iter().map(text))
            .collect();
        if let (Some(rust), Some(other)) = (rust, other) {
            cells.push(value.map_or_else(String::new, |value| ratio(value(rust), value(other))));
        }
        table.rows.push(cells);
    };
    row(
        "CPU per generation, s",
        &|one| stated(one.cpu_s_per_generation, 3),
        Some(&|one| one.cpu_s_per_generation.value),
    );
    row(
        "memory idle, MiB",
        &|one| format!("{:.1}", one.memory_idle_mib),
        Some(&|one| one.memory_idle_mib),
    );
    row(
        "memory after the generations, MiB",
        &|one| format!("{:.1}", one.memory_used_mib),
        Some(&|one| one.memory_used_mib),
    );
    row(
        "memory per generation in flight, MiB",
        &|one| stated(one.memory_mib_per_generation, 2),
        Some(&|one| one.memory_mib_per_generation.value),
    );
    row(
        "of Postgres per generation, MiB",
        &|one| stated(one.postgres_mib_per_generation, 2),
        Some(&|one| one.postgres_mib_per_generation.value),
    );
    row(
        "both together, MiB",
        &|one| format!("{:.2}", in_flight_mib(one)),
        Some(&in_flight_mib),
    );
    row("processes", &|one| one.processes.to_string(), None);
    row(
        "CPU until ready, s",
        &|one| format!("{:.2}", one.start_cpu_s),
        Some(&|one| one.start_cpu_s),
    );
    row(
        "/health, answers per s (CPU ms)",
        &|one| throughput(one.health),
        Some(&|one| one.health.cpu_ms),
    );
    row(
        "poll, answers per s (CPU ms)",
        &|one| throughput(one.poll),
        Some(&|one| one.poll.cpu_ms),
    );
    row(
        "/health idle, p50 / p99 / max ms",
        &|one| latencies(one.health_idle),
        Some(&|one| one.health_idle.p99_ms),
    );
    row(
        "/health while rendering, p50 / p99 / max ms",
        &|one| latencies(one.health_rendering),
        Some(&|one| one.health_rendering.p99_ms),
    );
    row("PDF, pages", &|one| format!("{:.1}", one.pdf_pages), None);
    row(
        "PDF, KiB",
        &|one| format!("{:.0}", one.pdf_bytes / 1024.0),
        None,
    );
    table
}

fn fates(comparison: &Comparison) -> Table {
    let mut table = Table::new([
        "Event",
        "Service",
        "In flight",
        "Finished",
        "Lost",
        "Responses wasted",
        "Stop, real s",
        "Unanswered, real s",
    ]);
    let real = |compressed_s: Option<f64>| {
        compressed_s.map_or_else(String::new, |s| {
            format!("{:.0}", s * comparison.conditions.speedup)
        })
    };
    for service in &comparison.services {
        for fate in &service.fates {
            table.row([
                fate.event.label().to_owned(),
                service.kind.label().to_owned(),
                fate.in_flight.to_string(),
                fate.finished.to_string(),
                fate.lost.to_string(),
                fate.responses_wasted.to_string(),
                real(fate.stop_s),
                real(fate.unanswered_s),
            ]);
        }
    }
    table
}

/// What a generation in flight costs in memory, with its share of Postgres.
fn in_flight_mib(one: &Measured) -> f64 {
    one.memory_mib_per_generation.value + one.postgres_mib_per_generation.value
}

/// How many times the other's figure Rust's is; empty where a figure is too small to divide by.
fn ratio(rust: f64, other: f64) -> String {
    if rust > 0.0 && other > 0.0 {
        format!("{:.1}", other / rust)
    } else {
        String::new()
    }
}

fn stated(mean: Mean, decimals: usize) -> String {
    format!(
        "{:.decimals$} ± {:.decimals$}",
        mean.value,
        2.0 * mean.std_err
    )
}

fn throughput(throughput: Throughput) -> String {
    format!("{:.0} ({:.2})", throughput.per_s, throughput.cpu_ms)
}

fn latencies(latencies: Latencies) -> String {
    let Latencies {
        p50_ms,
        p99_ms,
        max_ms,
        errors,
    } = latencies;
    let text = format!("{p50_ms:.1} / {p99_ms:.1} / {max_ms:.0}");
    match errors {
        0 => text,
        errors => format!("{text}, {errors} unanswered"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_says_how_many_times_more_the_other_takes() {
        assert_eq!(ratio(0.05, 1.0), "20.0");
        assert_eq!(ratio(0.0, 1.0), "");
        assert_eq!(ratio(-0.1, 1.0), "");
    }
}
