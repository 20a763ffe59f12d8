//! From a measurement to the cost of one generation: what the simulator needs to know of the backend.

use serde::{Deserialize, Serialize};

use crate::measurement::{Cell, Mark, Measurement};
use crate::stats::{Mean, fit_line, mean, ratio};

/// The cost of one generation, each figure with its standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Commit whose backend was measured.
    pub commit: String,
    /// CPU model it was measured on: a vCPU of another machine may be faster or slower.
    pub cpu_model: String,
    /// Length of the generation that was measured, in seconds.
    pub generation_s: f64,
    /// Factor by which its waits were divided.
    pub speedup: f64,
    /// CPU seconds of the backend, its child processes included.
    pub cpu_s_per_generation: Mean,
    /// CPU that the backend uses whatever its load, in cores of real time: its ticks are compressed
    /// like every wait, so the measured share is divided by the speed-up.
    pub cpu_background_cores: Mean,
    /// Resident memory of a backend without generations, in MiB.
    pub memory_base_mib: Mean,
    /// Resident memory that each generation in flight adds, in KiB.
    pub memory_per_generation_kib: Mean,
    /// Time that Postgres spends executing, in milliseconds.
    pub db_ms_per_generation: Mean,
    /// Transactions that Postgres commits.
    pub db_transactions_per_generation: Mean,
    /// Time of a generation that no wait explains, in milliseconds.
    pub overhead_ms: Mean,
}

/// Why a measurement says nothing about the cost of a generation.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalibrateError {
    /// The run ended before its last cell.
    #[error("calibrate from a run that ended early: run the grid to its end")]
    Partial,
    /// No cell is usable.
    #[error(
        "calibrate: {cells} cells, but in none did the backend alone set the pace; measure with a lower --speedup or on an idle machine"
    )]
    NoUsableCell {
        /// Cells of the run.
        cells: usize,
    },
}

/// Computes the cost of one generation.
///
/// Only cells whose machine and generations were sound count; CPU time at saturation is CPU time all
/// the same. CPU and memory come from lines, over the throughput and over the workers: what a backend
/// takes without any generation is no cost of a generation. Database time is weighed by generations.
///
/// # Errors
/// When the run is partial or no cell is usable.
pub fn calibrate(measurement: &Measurement) -> Result<Calibration, CalibrateError> {
    if !measurement.complete {
        return Err(CalibrateError::Partial);
    }
    let usable: Vec<&Cell> = measurement
        .cells
        .iter()
        .filter(|cell| is_usable(cell))
        .collect();
    let per_generation = |value: fn(&Cell) -> f64| {
        let pairs: Vec<_> = usable
            .iter()
            .map(|cell| {
                let generations = cell.throughput_per_hour / 3600.0 * cell.window_s;
                (generations, value(cell) * generations)
            })
            .collect();
        ratio(&pairs).ok_or(CalibrateError::NoUsableCell {
            cells: measurement.cells.len(),
        })
    };
    let (memory_base_mib, memory_per_generation_kib) = memory(&usable);
    let (cpu_s_per_generation, cpu_background_cores) = cpu(
        &usable,
        measurement.load.speedup,
        per_generation(|cell| cell.cpu_s_per_generation)?,
    );
    Ok(Calibration {
        commit: measurement.hardware.commit.clone(),
        cpu_model: measurement.hardware.cpu_model.clone(),
        generation_s: measurement.load.generation_s,
        speedup: measurement.load.speedup,
        cpu_s_per_generation,
        cpu_background_cores,
        memory_base_mib,
        memory_per_generation_kib,
        db_ms_per_generation: per_generation(|cell| cell.db_ms_per_generation)?,
        db_transactions_per_generation: per_generation(|cell| cell.db_transactions_per_generation)?,
        overhead_ms: per_generation(|cell| cell.overhead_ms)?,
    })
}

fn is_usable(cell: &Cell) -> bool {
    !cell
        .marks
        .iter()
        .any(|mark| matches!(mark, Mark::HostSaturated | Mark::Failures))
}

/// CPU of one generation, and that of the process itself, by the line of CPU use over throughput.
/// Without three cells there is no line, and all CPU counts as the generations'.
fn cpu(cells: &[&Cell], speedup: f64, all: Mean) -> (Mean, Mean) {
    let points: Vec<_> = cells
        .iter()
        .map(|cell| {
            let per_s = cell.throughput_per_hour / 3600.0;
            (per_s, cell.cpu_s_per_generation * per_s)
        })
        .collect();
    match fit_line(&points) {
        Some(line) if line.slope.value > 0.0 => {
            let background = Mean {
                value: (line.intercept.value / speedup).max(0.0),
                std_err: line.intercept.std_err / speedup,
                n: line.intercept.n,
            };
            (line.slope, background)
        }
        _ => (
            all,
            Mean {
                value: 0.0,
                std_err: 0.0,
                n: all.n,
            },
        ),
    }
}

/// Memory of the idle process and of each generation in flight, from the greatest memory of each
/// cell over its workers: the greatest, because memory that is exceeded once kills the task.
fn memory(cells: &[&Cell]) -> (Mean, Mean) {
    let points: Vec<_> = cells
        .iter()
        .map(|cell| (f64::from(cell.workers), kib(cell.memory_max_kib)))
        .collect();
    let Some(line) = fit_line(&points) else {
        // Without two worker counts there is no slope: all memory counts as base.
        let all: Vec<_> = points.iter().map(|(_, kib)| kib / 1024.0).collect();
        let none = Mean {
            value: 0.0,
            std_err: 0.0,
            n: all.len(),
        };
        return (mean(&all).unwrap_or(none), none);
    };
    let base = Mean {
        value: line.intercept.value / 1024.0,
        std_err: line.intercept.std_err / 1024.0,
        n: line.intercept.n,
    };
    // More generations never take less memory: a slope below zero is noise around zero.
    let slope = Mean {
        value: line.slope.value.max(0.0),
        ..line.slope
    };
    (base, slope)
}

fn kib(kib: u64) -> f64 {
    crate::stats::count_u64_as_f64(kib)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::Hardware;
    use crate::measurement::{Load, SCHEMA_VERSION, VcpuLimit};

    fn cell(workers: u32, cpu_s: f64, memory_kib: u64) -> Cell {
        Cell {
            workers,
            vcpu: 1.0,
            memory_mib: 2048,
            vcpu_limit: VcpuLimit::Cgroup,
            generations: u64::from(workers) * 3,
            failures: 0,
            censored: 0,
            window_s: 10.0,
            throughput_per_hour: f64::from(workers) * 720.0,
            throughput_per_hour_std_err: 0.0,
            expected_per_hour: f64::from(workers) * 720.0,
            cpu_s_per_generation: cpu_s,
            cpu_utilization: 0.1,
            memory_idle_kib: 20_000,
            memory_mean_kib: memory_kib,
            memory_max_kib: memory_kib,
            db_ms_per_generation: 30.0,
            db_transactions_per_generation: 200.0,
            overhead_ms: 20.0,
            poll_lag_ms: 70.0,
            openai_polls_per_generation: 180.0,
            host_cpu_utilization: 0.3,
            load_generator_cpu: 0.1,
            marks: vec![],
            speedup_max: 400.0,
        }
    }

    fn measurement(cells: Vec<Cell>) -> Measurement {
        Measurement {
            schema_version: SCHEMA_VERSION,
            hardware: Hardware {
                cpu_model: "test".into(),
                cpu_cores: 2,
                memory_mib: 1024,
                kernel: "test".into(),
                provider: "native".into(),
                postgres: "15".into(),
                redis: "6".into(),
                s3: "s3s".into(),
                commit: "0".into(),
            },
            load: Load {
                generation_s: 900.0,
                calls_per_generation: 5,
                speedup: 180.0,
                client_poll_s: 5.0,
                openai_poll_s: 5.0,
                cycles: 2.0,
                seed: 1,
            },
            cells,
            complete: true,
        }
    }

    #[test]
    fn known_costs_are_found_again() {
        let cells =
            [1, 6, 24].map(|workers| cell(workers, 0.05, 40 * 1024 + 200 * u64::from(workers)));
        let got = calibrate(&measurement(cells.to_vec())).expect("three sound cells");
        assert!((got.cpu_s_per_generation.value - 0.05).abs() < 1e-9);
        assert!((got.memory_base_mib.value - 40.0).abs() < 1e-6);
        assert!((got.memory_per_generation_kib.value - 200.0).abs() < 1e-6);
    }

    #[test]
    fn what_the_idle_backend_uses_is_no_cost_of_a_generation() {
        let cells = [1, 6, 24].map(|workers| {
            let mut cell = cell(workers, 0.0, 40_000);
            let per_s = cell.throughput_per_hour / 3600.0;
            // 0.05 s per generation and 0.036 cores of compressed ticks.
            cell.cpu_s_per_generation = 0.05 + 0.036 / per_s;
            cell
        });
        let got = calibrate(&measurement(cells.to_vec())).expect("three sound cells");
        assert!((got.cpu_s_per_generation.value - 0.05).abs() < 1e-9);
        assert!((got.cpu_background_cores.value - 0.036 / 180.0).abs() < 1e-9);
    }

    #[test]
    fn a_saturated_machine_says_nothing() {
        let mut spoiled = cell(6, 0.05, 40_000);
        spoiled.marks = vec![Mark::HostSaturated];
        let error = calibrate(&measurement(vec![spoiled])).expect_err("no sound cell");
        assert_eq!(error, CalibrateError::NoUsableCell { cells: 1 });
    }

    #[test]
    fn a_partial_run_is_never_used() {
        let mut partial = measurement(vec![cell(6, 0.05, 40_000)]);
        partial.complete = false;
        assert_eq!(calibrate(&partial), Err(CalibrateError::Partial));
    }
}
