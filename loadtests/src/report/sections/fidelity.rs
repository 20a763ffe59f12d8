//! How well the simulator predicts, and whether workers slow each other down.

use crate::calibrate::Calibration;
use crate::fidelity::{Compared, Fidelity, LoadKind, Metric};
use crate::measurement::{Measurement, OpenRun, Role};
use crate::report::document::{Document, Table};

/// That CPU use is not promised, where it is not.
fn of_cpu(fidelity: &Fidelity) -> &'static str {
    let unpromised = fidelity
        .held_out
        .iter()
        .any(|summary| summary.metric == Metric::CpuUtilization && summary.promised.is_none());
    if unpromised {
        " CPU use is promised of two passes over a grid only: from one start of a process to the next it differs by \
         more."
    } else {
        ""
    }
}

/// Whether a shape ran more than once under the same load.
fn has_passes(fidelity: &Fidelity) -> bool {
    let runs = &fidelity.runs;
    runs.iter().enumerate().any(|(index, run)| {
        runs[..index]
            .iter()
            .any(|other| other.shape == run.shape && other.load == run.load)
    })
}

/// The published errors, then run by run.
pub fn fidelity(document: &mut Document, fidelity: &Fidelity) {
    document.paragraph(format!(
        "Each run was simulated with its own arrivals; the cost of a generation comes from the calibration \
         cells only; marked runs are listed and not counted. Errors are predicted over measured, less 1; of waits, the difference over the length \
         of a generation.{} {}",
        if has_passes(fidelity) {
            " Of several passes over one shape the table has the middle error (of two their mean), and the list every run."
        } else {
            ""
        },
        match fidelity.keeps_its_promises() {
            Some(true) => format!("Every promise for held-out runs is kept.{}", of_cpu(fidelity)),
            Some(false) => format!(
                "Promises for held-out runs are broken: {}.{}",
                broken(fidelity),
                of_cpu(fidelity)
            ),
            None => "Nothing is promised: no sound run was held out, or the cells have fewer than three \
                     repetitions."
                .to_owned(),
        }
    ));
    let mut table = Table::new(["held-out error", "runs", "mean %", "worst %", "promised %"]);
    for summary in &fidelity.held_out {
        table.row([
            summary.metric.label().to_owned(),
            summary.runs.to_string(),
            format!("{:.1}", summary.mean_absolute * 100.0),
            format!("{:.1}", summary.worst * 100.0),
            summary
                .promised
                .map_or_else(String::new, |promised| format!("{:.0}", promised * 100.0)),
        ]);
    }
    if !fidelity.held_out.is_empty() {
        document.table(table);
    }
    let mut table = Table::new([
        "run",
        "vCPU",
        "workers",
        "role",
        "gen/h %",
        "wait p50 %",
        "wait p95 %",
        "sojourn p50 %",
        "sojourn p95 %",
        "worker use %",
        "CPU use %",
    ])
    .keyed_by(3);
    for run in &fidelity.runs {
        table.row(row(run));
    }
    document.table(table);
}

/// Each broken promise, with what came and what was promised.
fn broken(fidelity: &Fidelity) -> String {
    let broken: Vec<_> = fidelity
        .held_out
        .iter()
        .filter_map(|summary| {
            let promised = summary
                .promised
                .filter(|promised| summary.worst > *promised)?;
            Some(format!(
                "{}, worst {:.1} %, promised {:.0} %",
                summary.metric.label(),
                summary.worst * 100.0,
                promised * 100.0
            ))
        })
        .collect();
    broken.join("; ")
}

fn row(run: &Compared) -> [String; 11] {
    let error = |metric| {
        run.comparisons
            .iter()
            .find(|comparison| comparison.metric == metric)
            .map_or_else(String::new, |comparison| {
                format!("{:+.1}", comparison.error * 100.0)
            })
    };
    [
        match run.load {
            LoadKind::Saturated => "saturated",
            LoadKind::Open => "Poisson",
        }
        .to_owned(),
        run.shape.vcpu.to_string(),
        run.shape.workers.to_string(),
        std::iter::once(match run.role {
            Role::Calibration => "calibration",
            Role::HeldOut => "held out",
        })
        .chain(run.marks.iter().map(|mark| mark.label()))
        .collect::<Vec<_>>()
        .join(", "),
        error(Metric::ThroughputPerHour),
        error(Metric::WaitP50S),
        error(Metric::WaitP95S),
        error(Metric::SojournP50S),
        error(Metric::SojournP95S),
        error(Metric::WorkerUtilization),
        error(Metric::CpuUtilization),
    ]
}

/// What the services did for one generation in each cell, and how busy the load generator was.
pub(super) fn services(document: &mut Document, measurement: &Measurement) {
    let mut table = Table::new([
        "vCPU",
        "workers",
        "rep.",
        "± 95 % of gen/h",
        "user ms",
        "system ms",
        "Postgres ms",
        "Redis ms",
        "S3 ms",
        "connections",
        "transactions",
        "Redis commands",
        "KiB in",
        "KiB out",
        "OpenAI calls",
        "polls",
        "busiest thread %",
    ])
    .keyed_by(2);
    let ms = |cpu: Option<crate::cgroup::CpuTime>| {
        cpu.map_or_else(String::new, |cpu| format!("{:.1}", cpu.total_s() * 1000.0))
    };
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.0}"));
    for cell in &measurement.cells {
        let services = &cell.services;
        table.row([
            cell.vcpu.to_string(),
            cell.workers.to_string(),
            cell.repetitions.len().to_string(),
            cell.throughput_ci95_share
                .map_or_else(String::new, |share| format!("{:.1} %", share * 100.0)),
            format!("{:.1}", cell.cpu_split_per_generation.user_s * 1000.0),
            format!("{:.1}", cell.cpu_split_per_generation.system_s * 1000.0),
            ms(services.postgres_cpu_per_generation),
            ms(services.redis_cpu_per_generation),
            ms(services.s3_cpu_per_generation),
            services
                .db_connections_max
                .map_or_else(String::new, |count| count.to_string()),
            number(services.db_transactions_per_generation),
            number(services.redis_commands_per_generation),
            format!("{:.1}", services.client_bytes_in_per_generation / 1024.0),
            format!("{:.1}", services.client_bytes_out_per_generation / 1024.0),
            format!("{:.1}", services.openai_calls_per_generation),
            format!("{:.0}", services.openai_polls_per_generation),
            format!("{:.0}", cell.observer.busiest_thread_cores * 100.0),
        ]);
    }
    if measurement.cells.is_empty() {
        return;
    }
    document.paragraph(
        "What one generation takes of the services and of the network, and how busy the busiest thread of the \
         load generator was. A column is empty where this machine does not tell; a cell with a single \
         repetition has no interval.",
    );
    document.table(table);
}

/// Runs under Poisson arrivals.
pub(super) fn open_runs(document: &mut Document, measurement: &Measurement) {
    if measurement.open_runs.is_empty() {
        return;
    }
    document.paragraph(
        "Poisson arrivals on a planned schedule. Rates are per real hour, latency and wait are in compressed \
         seconds. Latency counts from the planned instant; late is what the load generator could not send in \
         time (its latency counts all the same); unfinished is what had not ended when the schedule did, and is in \
         no latency.",
    );
    let mut table = Table::new([
        "cell",
        "arrivals/h",
        "planned",
        "late",
        "done",
        "failed",
        "unfinished",
        "gen/h",
        "latency p50 s",
        "latency p95 s",
        "latency p99 s",
        "wait p95 s",
        "worker use %",
        "CPU %",
    ]);
    for run in &measurement.open_runs {
        table.row(open_row(run, measurement.load.speedup));
    }
    document.table(table);
}

fn open_row(run: &OpenRun, speedup: f64) -> [String; 14] {
    let cell = match (&run.shape, &run.target) {
        (Some(shape), _) => format!(
            "{} at {} vCPU",
            crate::plural(shape.workers.into(), "worker"),
            shape.vcpu
        ),
        (None, target) => target.clone().unwrap_or_default(),
    };
    let quantile = |latencies: &crate::histogram::Latencies, share| {
        latencies
            .quantile_s(share)
            .map_or_else(String::new, |s| format!("{s:.2}"))
    };
    [
        cell,
        format!("{:.1}", run.plan.rate_per_hour),
        run.planned.to_string(),
        run.dropped_arrivals.to_string(),
        run.completed.to_string(),
        run.failures.to_string(),
        run.censored.to_string(),
        format!("{:.1}", run.throughput_per_hour / speedup),
        quantile(&run.latency, 0.50),
        quantile(&run.latency, 0.95),
        quantile(&run.latency, 0.99),
        quantile(&run.experience.wait, 0.95),
        format!("{:.1}", run.experience.worker_utilization * 100.0),
        run.cpu_utilization
            .map_or_else(String::new, |share| format!("{:.1}", share * 100.0)),
    ]
}

/// Whether workers slow each other down.
pub(super) fn scalability(document: &mut Document, calibration: &Calibration) {
    for entry in &calibration.scalability {
        document.paragraph(format!(
            "Universal Scalability Law at {} vCPU, {} throughputs: {}.",
            entry.vcpu,
            entry.law.points,
            entry.law.statement()
        ));
    }
}
