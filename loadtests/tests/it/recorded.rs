//! The published results: complete, in agreement with each other, and what the README says of them.

use std::path::Path;

use loadtests::calibrate::{Calibration, calibrate_along};
use loadtests::fidelity::{Fidelity, Metric, compare};
use loadtests::measurement::{Cell, Measurement};
use loadtests::reference::profile::Stack;
use loadtests::reference::promises::{Subject, promises};
use loadtests::reference::recorded;
use loadtests::reference::service::Kind;
use loadtests::stats::{fit_line, mean};
use serde::de::DeserializeOwned;
use simulator::scenario::WorkerModel;

/// Each has one cell in common: the proposal's workers on the proposal's vCPU.
const SPEEDUPS: [u32; 3] = [1, 20, 60];
const SHAPE: (u32, f64) = (6, 2.0);
/// What verdicts rest on.
const CALIBRATION: &str = include_str!("../../results/calibration.json");

fn read<T: DeserializeOwned>(what: &str, speedup: u32) -> T {
    let name = format!("results/{what}-{speedup}.json");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("read {name}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("read {name}: {error}"))
}

/// Generations per real hour of the cell that all speed-ups have measured.
fn capacity_per_real_hour(speedup: u32) -> f64 {
    let measurement: Measurement = read("measurement", speedup);
    assert!(measurement.complete, "a partial result is not published");
    let cells: Vec<_> = measurement
        .cells
        .iter()
        .filter(|cell| (cell.workers, cell.vcpu) == SHAPE)
        .collect();
    let valid = |cell: &&Cell| cell.is_valid();
    assert!(cells.iter().all(valid), "speed-up {speedup}");
    let rates: Vec<f64> = cells.iter().map(|cell| cell.throughput_per_hour).collect();
    mean(&rates).expect("the cell that is compared").value / measurement.load.speedup
}

#[test]
fn speedups_predict_the_same_capacity_within_three_percent() {
    let capacities = SPEEDUPS.map(capacity_per_real_hour);
    for capacity in capacities {
        let ratio = capacity / capacities[0];
        assert!((ratio - 1.0).abs() < 0.03, "{capacities:?}");
    }
}

#[test]
fn the_readme_says_what_was_recorded() {
    let readme = include_str!("../../README.md");
    for speedup in SPEEDUPS {
        let fidelity: Fidelity = read("fidelity", speedup);
        let worst = |metric| {
            let summary = fidelity.held_out.iter().find(|of| of.metric == metric);
            summary.map_or_else(String::new, |of| format!("{:.1}", of.worst * 100.0))
        };
        let row = format!(
            "| {speedup} | {} | {} | {} | {:.2} |",
            worst(Metric::ThroughputPerHour),
            worst(Metric::SojournP95S),
            worst(Metric::CpuUtilization),
            capacity_per_real_hour(speedup),
        );
        assert!(readme.contains(&row), "loadtests/README.md lacks {row}");
    }
}

#[test]
fn the_readme_says_what_was_compared() {
    let comparison = recorded::comparison();
    let promises = promises(comparison);
    let subjects: Vec<_> = promises.iter().map(|promise| promise.subject).collect();
    for subject in [
        Subject::Cpu(comparison.conditions.base()),
        Subject::InFlightMemory,
        Subject::IdleMemory,
    ] {
        assert!(
            subjects.contains(&subject),
            "both services were measured, with intervals, and nothing failed: {subjects:?}"
        );
    }
    let readme = include_str!("../../README.md");
    for promise in promises {
        let row = format!(
            "| {} | {} | 1/{} | {} |",
            promise.subject.label(),
            promise.shown(),
            promise.one_in,
            promise.standing().label(),
        );
        assert!(readme.contains(&row), "loadtests/README.md lacks {row}");
    }
    let reference = comparison.service(Kind::FastApi).expect("measured");
    // Recorded apart, on a quiet machine.
    let stack = Stack::proposed(comparison).expect("measured");
    for run in &reference.open {
        let workers = match run.worker_model {
            WorkerModel::Async => "async",
            WorkerModel::Sync => "sync",
        };
        let measured = run.measured(&comparison.conditions);
        let predicted = run.predicted(&stack, &comparison.conditions);
        let predicted = predicted.expect("a fleet that can be simulated");
        let rows = measured.rows().into_iter().zip(predicted.rows());
        for ((name, is, _, digits), (_, said, ..)) in rows {
            let error = (said / is - 1.0) * 100.0;
            let row =
                format!("| {workers} | {name} | {is:.digits$} | {said:.digits$} | {error:+.1} |");
            assert!(readme.contains(&row), "loadtests/README.md lacks {row}");
        }
    }
}

/// Transactions that the process commits per second whatever its load, and those of one generation: the line over the
/// time from one end to the next.
fn transactions_of_ticks_and_of_a_generation(measurement: &Measurement) -> (f64, f64) {
    let points: Vec<_> = measurement
        .cells
        .iter()
        .filter(|cell| cell.is_valid())
        .map(|cell| {
            let per_s = cell.throughput_per_hour / 3600.0;
            (1.0 / per_s, cell.db_transactions_per_generation)
        })
        .collect();
    let line = fit_line(&points).expect("cells of several rates");
    (line.slope.value, line.intercept.value)
}

#[test]
fn what_is_published_follows_from_what_was_measured() {
    let measurement: Measurement = read("measurement", 60);
    let real: Measurement = read("measurement", 1);
    let calibration = calibrate_along(&measurement, &[real]).expect("sound cells");
    let published: Calibration = serde_json::from_str(CALIBRATION).expect("the calibration");
    let (law, stated) = (
        calibration.cpu_law.expect("a law"),
        published.cpu_law.expect("a law"),
    );
    assert!(
        (law.exponent.value - stated.exponent.value).abs() < 1e-6,
        "{law:?} {stated:?}"
    );
    let fidelity = compare(&measurement, &calibration).expect("Fargate sells these");
    let published: Fidelity = read("fidelity", 60);
    assert_eq!(fidelity.held_out.len(), published.held_out.len());
    for (again, stated) in fidelity.held_out.iter().zip(&published.held_out) {
        assert_eq!(again.runs, stated.runs);
        assert!(
            (again.worst - stated.worst).abs() < 1e-6,
            "{again:?} {stated:?}"
        );
    }
    assert_eq!(
        published.keeps_its_promises(),
        Some(true),
        "{:?}",
        published.held_out
    );
}

/// The law is a reading of CPU times alone. Counting tells what ticks are at least, as far as a tick's transaction costs
/// what the mean operation of a generation does: what they commit in a second against those operations, which are
/// transactions and the polls on both sides. What else the law takes for ticks is the work of processes that have not yet
/// learned how long responses take.
#[test]
fn the_ticks_that_the_law_sees_in_cpu_time_hold_those_that_were_counted() {
    let measurement: Measurement = read("measurement", 60);
    let published: Calibration = serde_json::from_str(CALIBRATION).expect("the calibration");
    let law = published.cpu_law.expect("a law");
    let (ticks_per_s, transactions) = transactions_of_ticks_and_of_a_generation(&measurement);
    let load = &measurement.load;
    let client_polls = load.generation_s / load.client_poll_s;
    // How many are left out depends on how long a cell has learned.
    let openai_polls: Vec<f64> = measurement
        .cells
        .iter()
        .filter(|cell| cell.is_valid())
        .map(|cell| cell.openai_polls_per_generation)
        .collect();
    let openai_polls = mean(&openai_polls).expect("sound cells").value;
    let operations = transactions + client_polls + openai_polls;
    let counted_per_hour = ticks_per_s / operations / load.speedup * 3600.0;
    let fitted = law.ticks_in_generations_per_hour;
    assert!(
        (0.1..2.0).contains(&(counted_per_hour / fitted.value)),
        "counted {counted_per_hour}, fitted {fitted:?}"
    );
}

/// All were measured on one machine. The law is fitted to speed-ups 60 and 1; between them lies 20, which it never saw.
#[test]
fn the_law_foresees_a_speedup_that_it_was_not_fitted_to() {
    let calibration: Calibration = serde_json::from_str(CALIBRATION).expect("the calibration");
    for speedup in [1, 20] {
        let measurement: Measurement = read("measurement", speedup);
        assert_eq!(measurement.hardware.cpu_model, calibration.cpu_model);
        let cell = measurement.cells.first().expect("its only cell");
        let rate = cell.throughput_per_hour / 3600.0;
        let measured = cell.cpu_s_per_generation;
        let by_law = calibration.cpu_cores(rate, measurement.load.speedup) / rate;
        assert!(
            (by_law / measured - 1.0).abs() < 0.15,
            "speed-up {speedup}: measured {measured}, foreseen {by_law}"
        );
    }
    let real: Measurement = read("measurement", 1);
    let cell = &real.cells[0];
    let rate = cell.throughput_per_hour / 3600.0;
    let charged =
        calibration.cpu_cores(0.0, 1.0) + calibration.cpu_s_per_generation_at_most() * rate;
    assert!(
        charged > cell.cpu_s_per_generation * rate,
        "beside its ticks, no fleet is charged less than was measured in real time"
    );
}
