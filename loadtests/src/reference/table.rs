//! The comparison as a part of a report.

use crate::reference::comparison::{Comparison, Measured};
use crate::reference::costs::Costs;
use crate::reference::probe::{Latencies, Throughput};
use crate::reference::promises::{part, promises};
use crate::reference::service::Kind;
use crate::report::document::{Block, Document, Table};
use crate::stats::{Mean, quotient};

/// Adds both services side by side, part by part, and what was not measured.
pub fn add(document: &mut Document, comparison: &Comparison) {
    let conditions = &comparison.conditions;
    document.paragraph(format!(
        "Same machine, same run, one after the other: {} vCPU, {} MiB, GENERATION_WORKERS={}, generations of 15 minutes, {} \
         times faster.",
        conditions.vcpu, conditions.memory_mib, conditions.workers, conditions.speedup
    ));
    costs(document, comparison);
    fates(document, comparison);
    open(document, comparison);
    contract(document, comparison);
    for (kind, reason) in &comparison.not_measured {
        document.paragraph(format!("{}: not measured, because {reason}.", kind.label()));
    }
    let hardware = &comparison.hardware;
    document.paragraph(format!(
        "Measured on {}, {} cores; provider {}; commit {}.",
        hardware.cpu_model, hardware.cpu_cores, hardware.provider, hardware.commit
    ));
}

fn costs(document: &mut Document, comparison: &Comparison) {
    let measured: Vec<(Kind, &Costs)> = comparison
        .services
        .iter()
        .filter_map(|one| Some((one.kind, one.costs.as_ref()?)))
        .collect();
    if measured.is_empty() {
        return;
    }
    for promise in promises(comparison) {
        document.blocks.push(Block::Verdict {
            pass: promise.standing() == crate::reference::promises::Standing::Kept,
            text: format!(
                "{}: Rust takes {} of what FastAPI takes; promised is at most 1/{}: {}.",
                promise.what,
                promise.shown(),
                promise.one_in,
                promise.standing().label()
            ),
        });
    }
    let conditions = &comparison.conditions;
    document.paragraph(format!(
        "CPU: {} batches of {} generations, each polled as often as its service asks. Memory: {} starts, idle and between {} and {} generations in \
         flight, which stand still in their first call of OpenAI; of a page that several processes share each counts its \
         part (PSS), of the Postgres processes those of the service's connections. ± is half of the 95 % interval.",
        conditions.repetitions,
        conditions.generations,
        conditions.rounds,
        conditions.in_flight_few(),
        conditions.in_flight_many(),
    ));
    document.table(costs_table(&measured));
}

/// A mean with its interval: name, figure, digits.
type Stated = (&'static str, fn(&Costs) -> Mean, usize);
/// Another row: name, text, and the figure of which Rust's part is told.
type Plain = (
    &'static str,
    fn(&Costs) -> String,
    Option<fn(&Costs) -> f64>,
);

const MEANS: [Stated; 6] = [
    ("CPU of a generation, s", |one| one.cpu_s_per_generation, 3),
    ("memory idle, MiB", |one| one.memory_idle_mib, 1),
    (
        "memory of a generation in flight, MiB",
        |one| one.memory_mib_per_generation,
        3,
    ),
    (
        "of Postgres for it, MiB",
        |one| one.postgres_mib_per_generation,
        3,
    ),
    (
        "both together, MiB",
        |one| one.in_flight_mib_per_generation,
        3,
    ),
    ("CPU until ready, s", |one| one.start_cpu_s, 2),
];

const PLAIN: [Plain; 11] = [
    (
        "of its CPU: reading PDFs, s",
        |one| told(one.reading_cpu_s),
        None,
    ),
    (
        "of its CPU: rendering its PDF, s",
        |one| told(one.rendering_cpu_s),
        None,
    ),
    (
        "polls of a generation",
        |one| format!("{:.0}", one.polls_per_generation),
        None,
    ),
    (
        "memory after the generations, MiB",
        |one| format!("{:.1}", one.memory_used_mib),
        Some(|one| one.memory_used_mib),
    ),
    ("processes", |one| one.processes.to_string(), None),
    (
        "in flight at most, of those asked for",
        |one| format!("{} of {}", one.in_flight_max, one.in_flight_asked),
        None,
    ),
    (
        "/health, answers per s (CPU ms)",
        |one| throughput(one.health),
        Some(|one| one.health.cpu_ms),
    ),
    (
        "poll, answers per s (CPU ms)",
        |one| throughput(one.poll),
        Some(|one| one.poll.cpu_ms),
    ),
    (
        "/health idle, p50 / p99 / max ms",
        |one| latencies(one.health_idle),
        Some(|one| one.health_idle.p99_ms),
    ),
    (
        "/health while rendering, p50 / p99 / max ms",
        |one| latencies(one.health_rendering),
        Some(|one| one.health_rendering.p99_ms),
    ),
    (
        "PDF, pages and KiB",
        |one| format!("{:.1}, {:.0}", one.pdf_pages, one.pdf_bytes / 1024.0),
        None,
    ),
];

fn costs_table(measured: &[(Kind, &Costs)]) -> Table {
    let names = measured.iter().map(|(kind, _)| kind.label());
    let mut table = Table::new(["Figure"].into_iter().chain(names));
    let of = |kind| {
        measured
            .iter()
            .find(|(one, _)| *one == kind)
            .map(|(_, costs)| *costs)
    };
    let pair = of(Kind::Rust).zip(of(Kind::FastApi));
    if pair.is_some() {
        table.header.push("Rust's part".to_owned());
    }
    let mut row =
        |name: &str, text: &dyn Fn(&Costs) -> String, share: &dyn Fn(&Costs, &Costs) -> String| {
            let mut cells = vec![name.to_owned()];
            cells.extend(measured.iter().map(|(_, costs)| text(costs)));
            cells.extend(pair.map(|(rust, other)| share(rust, other)));
            table.rows.push(cells);
        };
    for (name, figure, digits) in MEANS {
        row(name, &|one| stated(figure(one), digits), &|rust, other| {
            quotient(figure(rust), figure(other)).map_or_else(String::new, |share| {
                format!(
                    "{} ({} to {})",
                    part(share.value),
                    part(share.low),
                    part(share.high)
                )
            })
        });
    }
    for (name, text, figure) in PLAIN {
        row(name, &text, &|rust, other| {
            figure.map_or_else(String::new, |figure| part(figure(rust) / figure(other)))
        });
    }
    table
}

fn fates(document: &mut Document, comparison: &Comparison) {
    if comparison.services.iter().all(|one| one.fates.is_empty()) {
        return;
    }
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
    document.table(table);
    document.paragraph(
        "A wasted response is one that OpenAI was asked for, and would bill, beyond the five that each finished \
         generation needs: paid twice when the generation is repeated, paid for nothing when it is lost.",
    );
}

fn open(document: &mut Document, comparison: &Comparison) {
    let mut table = Table::new([
        "Service",
        "Figure",
        "Measured",
        "Simulated",
        "Error, %",
        "Promised, %",
    ])
    .keyed_by(2);
    for (service, run, costs) in comparison
        .services
        .iter()
        .filter_map(|one| Some((one, one.open.as_ref()?, one.costs.as_ref()?)))
    {
        let measured = run.measured(comparison.conditions.vcpu);
        let Ok(predicted) = run.predicted(costs, &comparison.conditions) else {
            continue;
        };
        for ((name, is, promised, digits), (_, said, ..)) in
            measured.rows().into_iter().zip(predicted.rows())
        {
            table.row([
                service.kind.label().to_owned(),
                name.to_owned(),
                format!("{is:.digits$}"),
                format!("{said:.digits$}"),
                format!("{:+.1}", (said / is - 1.0) * 100.0),
                promised.map_or_else(String::new, |most| format!("{:.0}", most * 100.0)),
            ]);
        }
    }
    if table.rows.is_empty() {
        return;
    }
    document.paragraph(
        "Poisson arrivals, and what the simulator says of the same arrivals: async workers of what a generation was found \
         to cost in the batches, of which this run is none. Times are compressed.",
    );
    document.table(table);
}

fn contract(document: &mut Document, comparison: &Comparison) {
    for service in comparison
        .services
        .iter()
        .filter(|one| !one.contract.is_empty())
    {
        let differences: Vec<_> = service
            .contract
            .iter()
            .filter_map(|checked| Some((&checked.rule, checked.found.as_ref()?)))
            .collect();
        let all = service.contract.len();
        document.paragraph(format!(
            "{} keeps {} of {all} rules of the HTTP contract{}",
            service.kind.label(),
            all - differences.len(),
            if differences.is_empty() {
                "."
            } else {
                "; it differs in:"
            }
        ));
        if differences.is_empty() {
            continue;
        }
        let mut table = Table::new(["Rule", "Found"]);
        for (rule, found) in differences {
            table.row([rule.clone(), found.clone()]);
        }
        document.table(table);
    }
}

/// The rules that a service breaks.
pub fn differences(measured: &Measured) -> Vec<&str> {
    let broken = measured
        .contract
        .iter()
        .filter(|checked| checked.found.is_some());
    broken.map(|checked| checked.rule.as_str()).collect()
}

fn stated(mean: Mean, digits: usize) -> String {
    match mean.ci95() {
        Some(half) => format!("{:.digits$} ± {half:.digits$}", mean.value),
        None => format!("{:.digits$}", mean.value),
    }
}

fn told(mean: Option<Mean>) -> String {
    mean.map_or_else(String::new, |mean| stated(mean, 3))
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
