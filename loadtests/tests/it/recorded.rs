//! The published results: complete, in agreement with each other, and what the README says of them.

use std::path::Path;

use loadtests::fidelity::{Fidelity, Metric};
use loadtests::measurement::Measurement;
use serde::de::DeserializeOwned;

/// Each has one cell in common: the proposal's workers on the proposal's vCPU.
const SPEEDUPS: [u32; 3] = [1, 20, 60];
const SHAPE: (u32, f64) = (6, 2.0);

fn recorded<T: DeserializeOwned>(what: &str, speedup: u32) -> T {
    let name = format!("results/{what}-{speedup}.json");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("read {name}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("read {name}: {error}"))
}

/// Generations per real hour of the cell that all speed-ups have measured.
fn capacity_per_real_hour(speedup: u32) -> f64 {
    let measurement: Measurement = recorded("measurement", speedup);
    assert!(measurement.complete, "a partial result is not published");
    let cell = measurement
        .cells
        .iter()
        .find(|cell| (cell.workers, cell.vcpu) == SHAPE)
        .expect("the cell that is compared");
    assert!(cell.is_valid(), "{:?} at speed-up {speedup}", cell.marks);
    cell.throughput_per_hour / measurement.load.speedup
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
        let fidelity: Fidelity = recorded("fidelity", speedup);
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
