//! The comparison as a part of a report.

use crate::measurement::VcpuLimit;
use crate::reduce::CPU_UTILIZATION_MAX;
use crate::reference::cells::CellCosts;
use crate::reference::comparison::{Comparison, Measured};
use crate::reference::costs::Costs;
use crate::reference::fate::{HEALTH_EVERY, HEALTH_TIMEOUT, STOP_TIMEOUT_S};
use crate::reference::open;
use crate::reference::probe::{Latencies, Throughput};
use crate::reference::promises::{Standing, part, polled_alike, promises, shown};
use crate::reference::service::{Kind, POLL_S, SELDOM_POLL_S};
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
    open::table::add(document, comparison);
    contract(document, comparison);
    for (kind, reason) in &comparison.not_measured {
        let what = match comparison.service(*kind) {
            None => "not measured",
            Some(_) => "measured in part",
        };
        document.paragraph(format!("{}: {what}, because {reason}.", kind.label()));
    }
    let hardware = &comparison.hardware;
    document.paragraph(format!(
        "Measured on {}, {} cores; provider {}; commit {}, or an earlier one where parts were recorded one by one.",
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
        let tuned = promise.tuned.map_or_else(String::new, |share| {
            format!(
                " Of what it takes tuned, {}; of that nothing is promised.",
                shown(share)
            )
        });
        let text = format!(
            "{}: Rust takes {} of what FastAPI takes as proposed; promised is at most 1/{}: {}.{tuned}",
            promise.subject.label(),
            promise.shown(),
            promise.one_in,
            promise.standing().label()
        );
        document.blocks.push(match promise.standing() {
            Standing::Undecided => Block::Open(text),
            standing => Block::Verdict {
                pass: standing == Standing::Kept,
                text,
            },
        });
    }
    let conditions = &comparison.conditions;
    document.paragraph(format!(
        "CPU: {} in each cell, all generations of a batch begun at once and polled as often as their service asks. \
         The backend has a slot for each, the reference a connection to Postgres. Beyond OpenAI is what the calls of OpenAI, \
         {:.1} s together, do not explain of a generation; it holds work, which does not shrink with the speed-up. A cell \
         is cpu-bound above {:.0} % of its vCPU: generations waited for CPU, as in real time {} times as many would.",
        match conditions.repetitions {
            1 => "1 batch".to_owned(),
            more => format!("{more} to {} batches", conditions.repetitions_max()),
        },
        conditions.generation().as_secs_f64(),
        CPU_UTILIZATION_MAX * 100.0,
        conditions.speedup,
    ));
    if let Some(found) = polled_alike(comparison) {
        document.paragraph(format!(
            "Rust tells its clients when to come back, FastAPI always says {POLL_S} s. With clients that poll both alike, {}: \
             every {POLL_S} s Rust takes {} of FastAPI's CPU, every {SELDOM_POLL_S} s, as Rust says on average, {}. Of that \
             nothing is promised.",
            conditions.base().label(),
            shown(found.often),
            shown(found.seldom),
        ));
    }
    document.table(cells_table(comparison, &measured));
    document.paragraph(format!(
        "The rest was measured once, with {}. Memory: {}, idle and between {} and {} generations in flight, which \
         stand still in their first call of OpenAI; of a page that several processes share each counts its part (PSS), of \
         the Postgres processes those of the service's connections. ± is half of the 95 % interval.",
        conditions.base().label(),
        crate::plural(conditions.rounds.into(), "start"),
        conditions.in_flight_few(),
        conditions.in_flight_many(),
    ));
    document.table(costs_table(&measured));
}

/// Each cell with what every service did in it.
fn cells_table(comparison: &Comparison, measured: &[(Kind, &Costs)]) -> Table {
    let mut table = Table::new([
        "Cell",
        "Service",
        "CPU of a generation, s (batches)",
        "Rust takes of it",
        "of it reading, rendering, s",
        "Polls",
        "vCPU in use, %",
        "Beyond OpenAI, p50 / p95 s",
        "/health meanwhile, p50 / p99 / max ms",
        "Failed",
    ])
    .keyed_by(2);
    for cell in comparison.cells() {
        let of = |costs: &Costs| costs.cell(cell).cloned();
        let rust = comparison.costs(Kind::Rust).and_then(of);
        for (kind, costs) in measured {
            let Some(found) = of(costs) else { continue };
            let other = rust.as_ref().filter(|_| *kind != Kind::Rust);
            let share = other
                .and_then(|rust| quotient(rust.cpu_s_per_generation, found.cpu_s_per_generation));
            let heavy = [found.reading_cpu_s, found.rendering_cpu_s];
            table.row([
                cell.label(),
                kind.label().to_owned(),
                format!(
                    "{} ({})",
                    stated(found.cpu_s_per_generation, 3),
                    found.cpu_s_per_generation.n
                ),
                share.map_or_else(String::new, shown),
                match heavy {
                    [Some(reading), Some(rendering)] => {
                        format!("{:.3}, {:.3}", reading.value, rendering.value)
                    }
                    _ => String::new(),
                },
                format!("{:.0}", found.polls_per_generation),
                in_use(&found),
                found.pace.map_or_else(String::new, |pace| {
                    format!(
                        "{:.2} / {:.2}",
                        pace.beyond_openai_p50_s, pace.beyond_openai_p95_s
                    )
                }),
                latencies(found.health),
                match &found.failure {
                    None => format!("{} of {}", found.failed, found.asked),
                    Some(why) => format!("{} of {}: {why}", found.failed, found.asked),
                },
            ]);
        }
    }
    table
}

/// `71, cpu-bound`; `35, modelled` where nothing kept it to its vCPU.
fn in_use(found: &CellCosts) -> String {
    let Some(pace) = found.pace else {
        return String::new();
    };
    let mut text = format!("{:.0}", pace.cpu_utilization * 100.0);
    if found.is_cpu_bound() {
        text += ", cpu-bound";
    }
    if pace.vcpu_limit == VcpuLimit::Modelled {
        text += ", modelled";
    }
    text
}

/// A mean with its interval: name, figure, digits.
type Stated = (&'static str, fn(&Costs) -> Mean, usize);
/// Another row: name, text, and the figure of which Rust's part is told.
type Plain = (
    &'static str,
    fn(&Costs) -> String,
    Option<fn(&Costs) -> f64>,
);

const MEANS: [Stated; 5] = [
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

const PLAIN: [Plain; 8] = [
    (
        "CPU while idle, % of a core",
        |one| {
            let percent = |mean: Mean| Mean {
                value: mean.value * 100.0,
                std_err: mean.std_err * 100.0,
                ..mean
            };
            one.idle_cores
                .map_or_else(String::new, |mean| stated(percent(mean), 2))
        },
        // Nothing that can be told from nothing has a part of anything.
        Some(|one| {
            let told = one.idle_cores;
            let told = told.filter(|mean| mean.ci95().is_none_or(|half| half < mean.value));
            told.map_or(f64::NAN, |mean| mean.value)
        }),
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
        "poll of a running one, answers per s (CPU ms)",
        |one| throughput(one.poll),
        Some(|one| one.poll.cpu_ms),
    ),
    (
        "/health idle, p50 / p99 / max ms",
        |one| latencies(one.health_idle),
        Some(|one| one.health_idle.p99_ms),
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
        let found = measured.iter().find(|(one, _)| *one == kind);
        found.map(|(_, costs)| *costs)
    };
    let mut pairs = vec![];
    for kind in [Kind::FastApi, Kind::FastApiTuned] {
        if let Some(pair) = of(Kind::Rust).zip(of(kind)) {
            pairs.push(pair);
            table
                .header
                .push(format!("Rust's part of {}", kind.label()));
        }
    }
    let mut row =
        |name: &str, text: &dyn Fn(&Costs) -> String, share: &dyn Fn(&Costs, &Costs) -> String| {
            let mut cells = vec![name.to_owned()];
            cells.extend(measured.iter().map(|(_, costs)| text(costs)));
            cells.extend(pairs.iter().map(|(rust, other)| share(rust, other)));
            table.rows.push(cells);
        };
    for (name, figure, digits) in MEANS {
        row(name, &|one| stated(figure(one), digits), &|rust, other| {
            quotient(figure(rust), figure(other)).map_or_else(String::new, shown)
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
        "Of them paid twice",
        "Stop as measured, s",
        "/health silent as measured, s",
    ])
    .keyed_by(2);
    let seconds = |measured: Option<f64>| measured.map_or_else(String::new, |s| format!("{s:.2}"));
    for service in &comparison.services {
        for fate in &service.fates {
            table.row([
                fate.event.label().to_owned(),
                service.kind.label().to_owned(),
                fate.in_flight.to_string(),
                fate.finished.to_string(),
                fate.lost.to_string(),
                fate.responses_wasted.to_string(),
                fate.responses_repeated
                    .map_or_else(String::new, |twice| twice.to_string()),
                match fate.killed {
                    Some(true) => seconds(fate.stop_s) + ", killed",
                    Some(false) | None => seconds(fate.stop_s),
                },
                seconds(fate.unanswered_s),
            ]);
        }
    }
    document.table(table);
    let conditions = &comparison.conditions;
    document.paragraph(format!(
        "Each event was seen once, with {} in flight. A wasted response is one that OpenAI was asked for, and would bill, \
         beyond the five that each finished generation needs: paid twice where a step of a generation was asked for again, \
         else paid for nothing, for a generation of which nobody was told. Where a request is held open and cut, its client \
         asks again once, a whole generation later, with the same idempotency key, which the reference does not know.",
        crate::plural(conditions.generations.into(), "generation"),
    ));
    document.paragraph(format!(
        "The seconds are those of the clock: generations run {} times faster, and so does the time until SIGKILL, {:.1} s \
         here; what processes take to start and to end is what it is, so neither column is to be multiplied, and one that \
         was killed may need no more than 30 s. /health was \
         asked {} ms after each answer and given up after {} s; silent is the longest wait for an answer, however often it \
         was asked for.",
        conditions.speedup,
        conditions.compressed(STOP_TIMEOUT_S).as_secs_f64(),
        HEALTH_EVERY.as_millis(),
        HEALTH_TIMEOUT.as_secs(),
    ));
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
    use crate::reference::fate::{Event, Fate};
    use crate::reference::recorded;
    use crate::report::markdown;

    fn told(comparison: &Comparison) -> Document {
        let mut document = Document {
            title: String::new(),
            blocks: vec![],
        };
        add(&mut document, comparison);
        document
    }

    fn tables(document: &Document) -> impl Iterator<Item = &Table> {
        document.blocks.iter().filter_map(|block| match block {
            Block::Table(table) => Some(table),
            _ => None,
        })
    }

    #[test]
    fn a_table_that_is_cut_still_says_which_service_a_row_is_of() {
        let document = told(recorded::comparison());
        let mut told = 0;
        for table in tables(&document) {
            let service = table.header.iter().position(|name| name == "Service");
            if let Some(column) = service {
                assert!(column < table.key_columns, "{:?}", table.header);
                told += 1;
            }
        }
        assert!(told >= 2, "cells and events at least");
    }

    #[test]
    fn seconds_of_an_event_are_those_of_the_clock() {
        let mut comparison = recorded::comparison().clone();
        comparison.services.truncate(1);
        comparison.services[0].fates = vec![Fate {
            event: Event::Sigterm,
            in_flight: 6,
            finished: 0,
            lost: 6,
            responses_wasted: 9,
            responses_repeated: None,
            stop_s: Some(0.41),
            killed: Some(true),
            unanswered_s: Some(3.5),
        }];
        let document = told(&comparison);
        let events = tables(&document).find(|table| table.header[0] == "Event");
        let row = &events.expect("one").rows[0];
        assert_eq!(row[5..], ["9", "", "0.41, killed", "3.50"]);
    }

    #[test]
    fn a_service_of_which_a_part_is_missing_says_so_beside_the_others() {
        let mut comparison = recorded::comparison().clone();
        let reason = "the part costs failed".to_owned();
        comparison.not_measured = vec![(Kind::FastApi, reason)];
        let said = |comparison: &Comparison, text: &str| {
            let is = |block: &Block| matches!(block, Block::Paragraph(said) if said == text);
            told(comparison).blocks.iter().any(is)
        };
        assert!(said(
            &comparison,
            "FastAPI, as proposed: measured in part, because the part costs failed."
        ));
        comparison.services.retain(|one| one.kind == Kind::Rust);
        assert!(said(
            &comparison,
            "FastAPI, as proposed: not measured, because the part costs failed."
        ));
    }

    #[test]
    fn a_promise_that_is_not_told_apart_is_neither_kept_nor_failed() {
        let mut comparison = recorded::comparison().clone();
        for service in &mut comparison.services {
            let costs = service.costs.as_mut().expect("measured");
            // A twentieth, give or take a half.
            let (value, std_err) = match service.kind {
                Kind::Rust => (50.0, 5.0),
                _ => (1000.0, 1.0),
            };
            costs.memory_idle_mib = Mean {
                value,
                std_err,
                n: 3,
            };
        }
        let mut document = Document::default();
        add(&mut document, &comparison);
        let text = markdown::render(&document);
        assert!(text.contains("**OPEN** idle memory: "), "{text}");
    }
}
