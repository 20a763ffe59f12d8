//! From a measurement to the cost of one generation: what the simulator needs to know of the backend.

use serde::{Deserialize, Serialize};

use crate::cpu_law::{CpuLaw, Point};
use crate::measurement::{Cell, Load, Mark, Measurement, Role};
use crate::stats::{Mean, fit_line, fit_line_weighted, mean, ratio};
use crate::usl::{self, ScalabilityLaw};

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
    /// CPU seconds of the backend, its child processes included, if every generation cost the same: the straight
    /// line over the rate, which `cpu_law` refines.
    pub cpu_s_per_generation: Mean,
    /// CPU that the backend uses whatever its load, in cores of real time: its ticks are compressed
    /// like every wait, so the measured share is divided by the speed-up.
    pub cpu_background_cores: Mean,
    /// How that cost falls with the rate of generations. Absent where it cannot be told from a constant one, and in
    /// files that are older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_law: Option<CpuLaw>,
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
    /// What that time grows by when the vCPU is one of so many parts of a core, in milliseconds per
    /// part beyond the first: the same CPU work takes longer on a share. Absent in files of version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overhead_ms_per_part: Option<Mean>,
    /// Delay until the polls of OpenAI saw its responses, of one generation in compressed milliseconds.
    /// Absent in files of version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll_lag_ms: Option<Mean>,
    /// Time of a worker between two generations, in compressed milliseconds. Absent in files of version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_gap_ms: Option<Mean>,
    /// Whether workers slow each other down, per vCPU with enough worker counts.
    #[serde(default)]
    pub scalability: Vec<Scalability>,
    /// What `sizing cpu-score` says of the machine that was measured. Absent in files of version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_score: Option<f64>,
}

/// The scalability law at one vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scalability {
    /// The vCPU.
    pub vcpu: f64,
    /// The law, in generations per compressed hour.
    pub law: ScalabilityLaw,
}

impl Calibration {
    /// The most workers whose throughput was measured; `None` when too few counts were to tell a law.
    pub fn workers_max(&self) -> Option<f64> {
        let laws = self.scalability.iter().map(|entry| entry.law.workers_max);
        laws.reduce(f64::max)
    }

    /// How long a generation occupies its worker at this speed-up on this vCPU, in seconds.
    pub fn compressed_length_s(&self, load: &Load, vcpu: f64) -> f64 {
        let or_zero = |mean: Option<Mean>| mean.map_or(0.0, |mean| mean.value);
        // Both shrink like every wait, from the speed-up at which they were measured.
        let waits_ms = or_zero(self.poll_lag_ms) * self.speedup / load.speedup;
        let fixed_ms = self.overhead_ms.value
            + or_zero(self.overhead_ms_per_part) * (parts(vcpu) - 1.0)
            + or_zero(self.idle_gap_ms);
        (load.compressed_generation_ms() + waits_ms + fixed_ms) / 1000.0
    }
}

/// Into how many parts a core is cut when this vCPU is one of them; 1 for a whole core or more.
fn parts(vcpu: f64) -> f64 {
    1.0 / vcpu.min(1.0)
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
/// Only calibration cells whose machine and generations were sound count (held-out ones only when no
/// such cell is left: nothing is held out then); CPU time at saturation is CPU time all
/// the same. CPU and memory come from lines, over the throughput and over the workers: what a backend
/// takes without any generation is no cost of a generation. Database time is weighed by generations.
///
/// # Errors
/// When the run is partial or no cell is usable.
pub fn calibrate(measurement: &Measurement) -> Result<Calibration, CalibrateError> {
    calibrate_along(measurement, &[])
}

/// As [`calibrate`], with measurements of the same backend at other speed-ups, of which only the CPU law knows: rates of
/// real time are far below those of compressed time, and what a generation costs there is what a fleet is charged.
///
/// # Errors
/// As [`calibrate`].
pub fn calibrate_along(
    measurement: &Measurement,
    others: &[Measurement],
) -> Result<Calibration, CalibrateError> {
    if !measurement.complete || others.iter().any(|other| !other.complete) {
        return Err(CalibrateError::Partial);
    }
    let usable = usable(measurement);
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
    let (overhead_ms, overhead_ms_per_part) =
        overhead(&usable, per_generation(|cell| cell.overhead_ms)?);
    Ok(Calibration {
        commit: measurement.hardware.commit.clone(),
        cpu_model: measurement.hardware.cpu_model.clone(),
        generation_s: measurement.load.generation_s,
        speedup: measurement.load.speedup,
        cpu_s_per_generation,
        cpu_background_cores,
        cpu_law: CpuLaw::fit(&points(measurement, others), measurement.load.generation_s),
        memory_base_mib,
        memory_per_generation_kib,
        db_ms_per_generation: per_generation(|cell| cell.db_ms_per_generation)?,
        db_transactions_per_generation: per_generation(|cell| cell.db_transactions_per_generation)?,
        overhead_ms,
        overhead_ms_per_part,
        poll_lag_ms: Some(per_generation(|cell| cell.poll_lag_ms)?),
        idle_gap_ms: Some(per_generation(|cell| cell.idle_gap_ms)?),
        scalability: scalability(measurement),
        cpu_score: measurement.hardware.cpu_score,
    })
}

/// As [`calibrate`], of a grid that may be too small to tell how the CPU of a generation falls with the rate: then
/// that is taken from what was recorded of a larger one, and these cells settle the level.
///
/// # Errors
/// As [`calibrate`].
pub fn calibrate_beside(
    measurement: &Measurement,
    recorded: &Calibration,
) -> Result<Calibration, CalibrateError> {
    let mut calibration = calibrate(measurement)?;
    let points = points(measurement, &[]);
    if let Some(law) = recorded.cpu_law
        && !CpuLaw::can_be_told_from(&points)
    {
        calibration.cpu_law = law.at_level_of(&points);
    }
    Ok(calibration)
}

/// The cells that the cost of a generation is computed from.
fn usable(measurement: &Measurement) -> Vec<&Cell> {
    let sound = |role: Option<Role>| {
        measurement
            .cells
            .iter()
            .filter(move |cell| role.is_none_or(|role| cell.role == role) && is_usable(cell))
            .collect::<Vec<_>>()
    };
    let planned = sound(Some(Role::Calibration));
    if planned.is_empty() {
        sound(None)
    } else {
        planned
    }
}

/// Whether the calibration of this measurement rests on cells that were meant to be held out.
pub fn uses_held_out_cells(measurement: &Measurement) -> bool {
    usable(measurement)
        .iter()
        .any(|cell| cell.role == Role::HeldOut)
}

/// Overhead on a whole core, and what it grows by per further part that the core is cut into: by the
/// line over the parts, of the cells that were not CPU-bound. Without two different numbers of parts
/// among three cells all overhead counts as that of a whole core.
fn overhead(cells: &[&Cell], all: Mean) -> (Mean, Option<Mean>) {
    let points: Vec<_> = cells
        .iter()
        .filter(|cell| !cell.marks.contains(&Mark::CpuBound))
        .map(|cell| (parts(cell.vcpu) - 1.0, cell.overhead_ms))
        .collect();
    match fit_line(&points) {
        Some(line) if line.slope.value > 0.0 => (line.intercept, Some(line.slope)),
        _ => (all, None),
    }
}

/// The scalability law at each vCPU, from the repetitions of sound cells, whatever their role: it
/// describes what was measured and predicts nothing.
fn scalability(measurement: &Measurement) -> Vec<Scalability> {
    let mut vcpus: Vec<f64> = measurement.cells.iter().map(|cell| cell.vcpu).collect();
    vcpus.sort_by(f64::total_cmp);
    vcpus.dedup();
    vcpus
        .into_iter()
        .filter_map(|vcpu| {
            let points: Vec<_> = measurement
                .cells
                .iter()
                .filter(|cell| cell.vcpu.total_cmp(&vcpu).is_eq() && is_usable(cell))
                .flat_map(|cell| {
                    cell.repetitions
                        .iter()
                        .map(|one| (f64::from(cell.workers), one.throughput_per_hour))
                })
                .collect();
            let law = usl::fit(&points)?;
            Some(Scalability { vcpu, law })
        })
        .collect()
}

fn is_usable(cell: &Cell) -> bool {
    !cell.marks.iter().any(|mark| mark.spoils())
}

/// CPU of one generation, and that of the process itself, which a generation of a slow cell bears for
/// longer: the line of CPU time per generation over the time from one end to the next. Errors count by
/// their share, for the promise is of a share; else the busiest cell alone would draw the line. Without
/// three cells there is no line, and all CPU counts as the generations'.
fn cpu(cells: &[&Cell], speedup: f64, all: Mean) -> (Mean, Mean) {
    let points: Vec<_> = cells
        .iter()
        .map(|cell| (3600.0 / cell.throughput_per_hour, cell.cpu_s_per_generation))
        .collect();
    match fit_line_weighted(&points, |cpu_s| 1.0 / (cpu_s * cpu_s)) {
        Some(line) if line.intercept.value > 0.0 => {
            let background = Mean {
                value: (line.slope.value / speedup).max(0.0),
                std_err: line.slope.std_err / speedup,
                n: line.slope.n,
            };
            (line.intercept, background)
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

/// What the usable cells of all these say of the CPU of a generation.
fn points(measurement: &Measurement, others: &[Measurement]) -> Vec<Point> {
    let of_one = |measurement: &Measurement| -> Vec<Point> {
        let point = |cell: &Cell| Point {
            generations_per_s: cell.throughput_per_hour / 3600.0,
            cpu_s: cell.cpu_s_per_generation,
            speedup: measurement.load.speedup,
        };
        usable(measurement).into_iter().map(point).collect()
    };
    let all = [measurement].into_iter().chain(others);
    all.flat_map(of_one).collect()
}

/// Memory of the idle process and of each generation in flight, from the greatest memory of each
/// cell over its workers: the greatest, because memory that is exceeded once kills the task.
fn memory(cells: &[&Cell]) -> (Mean, Mean) {
    let points: Vec<_> = cells
        .iter()
        .map(|cell| (f64::from(cell.workers), kib(cell.memory_max_kib)))
        .collect();
    let Some(line) = fit_line(&points) else {
        return memory_within(cells);
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

/// The same without three cells: what a generation adds while the workers of a cell fill, and the rest
/// of its greatest memory as base. Where not even that is known all memory counts as base.
fn memory_within(cells: &[&Cell]) -> (Mean, Mean) {
    let none = Mean {
        value: 0.0,
        std_err: 0.0,
        n: cells.len(),
    };
    let slopes: Vec<Mean> = cells
        .iter()
        .filter_map(|cell| cell.memory_per_generation_kib)
        .collect();
    let values: Vec<_> = slopes.iter().map(|slope| slope.value.max(0.0)).collect();
    let slope = mean(&values).map_or(none, |over_cells| Mean {
        // Of one cell, the error of its line; of several, that of their mean.
        std_err: if slopes.len() == 1 {
            slopes[0].std_err
        } else {
            over_cells.std_err
        },
        ..over_cells
    });
    let bases: Vec<_> = cells
        .iter()
        .map(|cell| {
            let in_flight = f64::from(cell.workers) * slope.value;
            (kib(cell.memory_max_kib) - in_flight).max(0.0) / 1024.0
        })
        .collect();
    (mean(&bases).unwrap_or(none), slope)
}

fn kib(kib: u64) -> f64 {
    crate::stats::count_u64_as_f64(kib)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cgroup::CpuTime;
    use crate::hardware::Hardware;
    use crate::histogram::Latencies;
    use crate::measurement::{
        Experience, Observer, Repetition, SCHEMA_VERSION, ServiceUse, VcpuLimit,
    };

    /// A sound cell whose generations cost this much.
    pub(crate) fn cell(workers: u32, cpu_s: f64, memory_kib: u64) -> Cell {
        let throughput_per_hour = f64::from(workers) * 720.0;
        let repetition = Repetition {
            window_s: 5.0,
            throughput_per_hour,
            cpu_s_per_generation: cpu_s,
        };
        Cell {
            workers,
            vcpu: 1.0,
            memory_mib: 2048,
            vcpu_limit: VcpuLimit::Cgroup,
            role: Role::Calibration,
            generations: u64::from(workers) * 3,
            failures: 0,
            censored: 0,
            window_s: 10.0,
            throughput_per_hour,
            throughput_per_hour_std_err: 0.0,
            repetitions: vec![repetition; 2],
            throughput_ci95_share: Some(0.0),
            expected_per_hour: throughput_per_hour,
            cpu_s_per_generation: cpu_s,
            cpu_split_per_generation: CpuTime {
                user_s: cpu_s,
                system_s: 0.0,
            },
            cpu_utilization: 0.1,
            memory_idle_kib: 20_000,
            memory_mean_kib: memory_kib,
            memory_max_kib: memory_kib,
            memory_peak_kib: None,
            memory_per_generation_kib: None,
            db_ms_per_generation: 30.0,
            db_transactions_per_generation: 200.0,
            overhead_ms: 20.0,
            poll_lag_ms: 70.0,
            idle_gap_ms: 5.0,
            openai_polls_per_generation: 180.0,
            services: ServiceUse::default(),
            host_cpu_utilization: 0.3,
            load_generator_cpu: 0.1,
            observer: Observer::default(),
            experience: Experience {
                arrivals_s: vec![0.0],
                window_s: (5.0, 15.0),
                wait: Latencies::default(),
                sojourn: Latencies::default(),
                worker_utilization: 1.0,
            },
            marks: vec![],
            speedup_max: 400.0,
        }
    }

    /// A complete run of such cells.
    pub(crate) fn measurement(cells: Vec<Cell>) -> Measurement {
        Measurement {
            schema_version: SCHEMA_VERSION,
            hardware: Hardware::unknown(),
            load: Load {
                generation_s: 900.0,
                calls_per_generation: 5,
                speedup: 180.0,
                client_poll_s: 5.0,
                openai_poll_s: 5.0,
                repetitions_min: 3,
                repetitions_max: 2,
                seed: 1,
            },
            cells,
            open_runs: vec![],
            complete: true,
            incomplete_because: None,
        }
    }

    /// What three such cells cost.
    pub(crate) fn calibration() -> Calibration {
        let cells =
            [1, 6, 24].map(|workers| cell(workers, 0.05, 40 * 1024 + 200 * u64::from(workers)));
        calibrate(&measurement(cells.to_vec())).expect("three sound cells")
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

    #[test]
    fn held_out_cells_are_seen_only_when_nothing_else_is_left() {
        let mut held_out = cell(24, 0.50, 40_000);
        held_out.role = Role::HeldOut;
        let mut run = measurement(vec![cell(1, 0.05, 40_000), cell(6, 0.05, 40_000), held_out]);
        let got = calibrate(&run).expect("two sound cells");
        assert!((got.cpu_s_per_generation.value - 0.05).abs() < 1e-9);
        assert!(!uses_held_out_cells(&run));
        run.cells.drain(..2);
        let got = calibrate(&run).expect("one sound cell");
        assert!((got.cpu_s_per_generation.value - 0.50).abs() < 1e-9);
        assert!(uses_held_out_cells(&run));
    }

    #[test]
    fn a_share_of_a_core_lengthens_a_generation_by_what_was_measured() {
        let on = |workers, vcpu: f64, overhead_ms| {
            let mut cell = cell(workers, 0.05, 40_000);
            cell.vcpu = vcpu;
            cell.overhead_ms = overhead_ms;
            cell
        };
        // A quarter of a core is one of four parts: 30 ms more for each beyond the first.
        let run = measurement(vec![
            on(1, 0.25, 110.0),
            on(6, 2.0, 20.0),
            on(24, 1.0, 20.0),
        ]);
        let got = calibrate(&run).expect("three sound cells");
        assert!((got.overhead_ms.value - 20.0).abs() < 1e-9);
        let grown =
            got.compressed_length_s(&run.load, 0.5) - got.compressed_length_s(&run.load, 4.0);
        assert!((grown - 0.030).abs() < 1e-9, "{grown}");
        // 5 s, 20 ms, 70 ms of polling and 5 ms until the next one.
        assert!((got.compressed_length_s(&run.load, 1.0) - 5.095).abs() < 1e-9);
    }

    #[test]
    fn a_single_cell_has_its_own_memory_line() {
        let mut only = cell(10, 0.05, 50 * 1024);
        only.memory_per_generation_kib = Some(Mean {
            value: 1024.0,
            std_err: 100.0,
            n: 8,
        });
        let got = calibrate(&measurement(vec![only])).expect("a sound cell");
        assert!((got.memory_base_mib.value - 40.0).abs() < 1e-9);
        assert!((got.memory_per_generation_kib.value - 1024.0).abs() < 1e-9);
    }

    #[test]
    fn proportional_throughput_shows_neither_contention_nor_coherency() {
        let got = calibration();
        assert_eq!(got.scalability.len(), 1);
        assert!(
            got.scalability[0].law.statement().starts_with("neither"),
            "{got:?}"
        );
    }

    #[test]
    fn the_committed_file_is_read() {
        let text = include_str!("../results/calibration.json");
        let read: Calibration = serde_json::from_str(text).expect("the committed calibration");
        assert!(read.cpu_s_per_generation.value > 0.0);
    }
}
