//! How well the simulator predicts what was measured: it is run on exactly the scenario of each cell,
//! with the same arrivals, and both sides are reduced by the same functions.
//!
//! The cost of a generation comes from the calibration cells alone. The error that is published is
//! that of the held-out cells, which the calibration never saw.

mod prediction;

use serde::{Deserialize, Serialize};
use simulator::scenario::InvalidScenario;

use crate::calibrate::Calibration;
use crate::histogram::Latencies;
use crate::measurement::{Experience, Load, Mark, Measurement, Role, SCHEMA_VERSION, Shape};
use crate::stats::{mean, median};

use prediction::predict;
pub(crate) use prediction::{seconds, tracks};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Generations per compressed hour.
    ThroughputPerHour,
    /// Median of accepted until started, in seconds.
    WaitP50S,
    /// 95 % quantile of accepted until started, in seconds.
    WaitP95S,
    /// Median of accepted until ended, in seconds.
    SojournP50S,
    /// 95 % quantile of accepted until ended, in seconds.
    SojournP95S,
    /// Busy share of the workers.
    WorkerUtilization,
    /// Used share of the vCPU.
    CpuUtilization,
}

impl Metric {
    /// All of them, in the order of tables.
    pub const ALL: [Metric; 7] = [
        Metric::ThroughputPerHour,
        Metric::WaitP50S,
        Metric::WaitP95S,
        Metric::SojournP50S,
        Metric::SojournP95S,
        Metric::WorkerUtilization,
        Metric::CpuUtilization,
    ];

    /// Its name in a table.
    pub fn label(self) -> &'static str {
        match self {
            Metric::ThroughputPerHour => "throughput",
            Metric::WaitP50S => "wait p50",
            Metric::WaitP95S => "wait p95",
            Metric::SojournP50S => "sojourn p50",
            Metric::SojournP95S => "sojourn p95",
            Metric::WorkerUtilization => "worker use",
            Metric::CpuUtilization => "CPU use",
        }
    }

    /// The greatest error of a held-out cell that the lab promises; `None` where it promises none.
    pub fn promised(self) -> Option<f64> {
        match self {
            Metric::ThroughputPerHour => Some(0.03),
            Metric::SojournP95S | Metric::CpuUtilization => Some(0.10),
            _ => None,
        }
    }
}

/// Repetitions of a cell below which the lab promises nothing: the CPU time of a single round of a few
/// generations differs by more than the promise from one round to the next.
pub const REPETITIONS_FOR_A_PROMISE: u32 = 3;

/// Runs of one shape below which the lab promises nothing of its CPU use: from one start of a process to the next
/// the CPU time of a generation differs by more than the promise (`loadtests/README.md`).
pub const PASSES_FOR_A_PROMISE_OF_CPU: usize = 2;

/// One figure, measured and predicted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Which figure.
    pub metric: Metric,
    /// As measured.
    pub measured: f64,
    /// As simulated.
    pub predicted: f64,
    /// `predicted / measured - 1`; for waits, which may be 0, the difference over the length of a
    /// generation.
    pub error: f64,
}

/// The load of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadKind {
    /// Always more users than workers.
    Saturated,
    /// Poisson arrivals.
    Open,
}

/// One run, measured and predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compared {
    /// What ran.
    pub shape: Shape,
    /// Under which load.
    pub load: LoadKind,
    /// Whether the calibration saw it.
    pub role: Role,
    /// What it must not be used for. A marked run is listed and not counted: it measured something else than
    /// the backend, or a regime that only compressed time has.
    pub marks: Vec<Mark>,
    /// Figure by figure.
    pub comparisons: Vec<Comparison>,
}

/// The errors of one figure over several runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorSummary {
    /// Which figure.
    pub metric: Metric,
    /// Shapes that were compared, each under one load; several runs of one are averaged.
    pub runs: usize,
    /// Mean of the absolute errors.
    pub mean_absolute: f64,
    /// The greatest absolute error.
    pub worst: f64,
    /// The greatest that is promised, where one is: nothing is of a run with fewer than
    /// [`REPETITIONS_FOR_A_PROMISE`], nor of CPU use in fewer than [`PASSES_FOR_A_PROMISE_OF_CPU`].
    pub promised: Option<f64>,
}

/// How well the simulator predicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fidelity {
    /// [`SCHEMA_VERSION`] at the time of writing.
    pub schema_version: u32,
    /// Commit that was measured.
    pub commit: String,
    /// CPU model of the machine.
    pub cpu_model: String,
    /// Factor by which waits were divided.
    pub speedup: f64,
    /// Run by run.
    pub runs: Vec<Compared>,
    /// The published errors: of sound held-out runs; empty when none was held out.
    pub held_out: Vec<ErrorSummary>,
    /// The errors on the runs that the calibration saw, for comparison.
    pub calibration: Vec<ErrorSummary>,
}

impl Fidelity {
    /// Whether every promise is kept; `None` when nothing was promised.
    pub fn keeps_its_promises(&self) -> Option<bool> {
        let promised = || {
            self.held_out
                .iter()
                .filter_map(|summary| Some((summary.worst, summary.promised?)))
        };
        promised().next()?;
        Some(promised().all(|(worst, promised)| worst <= promised))
    }
}

/// Compares every run of a measurement with its simulation, but for those on a vCPU or a memory that
/// Fargate does not sell.
///
/// # Errors
/// When a run cannot be simulated.
pub fn compare(
    measurement: &Measurement,
    calibration: &Calibration,
) -> Result<Fidelity, InvalidScenario> {
    let load = &measurement.load;
    let mut runs = Vec::new();
    for cell in measurement
        .cells
        .iter()
        .filter(|cell| is_sold(cell.shape()))
    {
        let predicted = predict(
            calibration,
            load,
            cell.shape(),
            &cell.experience,
            Some(usize::try_from(cell.generations).unwrap_or(usize::MAX)),
        )?;
        let measured = Figures::of(
            &cell.experience,
            cell.throughput_per_hour,
            cell.cpu_utilization,
        );
        runs.push(Compared {
            shape: cell.shape(),
            load: LoadKind::Saturated,
            role: cell.role,
            marks: cell.marks.clone(),
            comparisons: comparisons(&measured, &predicted, load),
        });
    }
    for run in &measurement.open_runs {
        let (Some(shape), Some(cpu_utilization)) = (run.shape, run.cpu_utilization) else {
            continue;
        };
        if !is_sold(shape) {
            continue;
        }
        let predicted = predict(calibration, load, shape, &run.experience, None)?;
        let measured = Figures::of(&run.experience, run.throughput_per_hour, cpu_utilization);
        runs.push(Compared {
            shape,
            load: LoadKind::Open,
            role: Role::HeldOut,
            marks: run.marks.clone(),
            comparisons: comparisons(&measured, &predicted, load),
        });
    }
    Ok(Fidelity {
        schema_version: SCHEMA_VERSION,
        commit: measurement.hardware.commit.clone(),
        cpu_model: measurement.hardware.cpu_model.clone(),
        speedup: load.speedup,
        held_out: summaries(&runs, Role::HeldOut, load.repetitions_min),
        calibration: summaries(&runs, Role::Calibration, load.repetitions_min),
        runs,
    })
}

/// Whether Fargate sells this vCPU with this memory: the simulator knows no other tasks.
fn is_sold(shape: Shape) -> bool {
    let memory_gib = crate::stats::count_u64_as_f64(shape.memory_mib) / 1024.0;
    simulator::prices::fargate_memories_gib(shape.vcpu)
        .is_some_and(|sold| sold.iter().any(|sold| sold.total_cmp(&memory_gib).is_eq()))
}

fn summaries(runs: &[Compared], role: Role, repetitions: u32) -> Vec<ErrorSummary> {
    let sound = |run: &&Compared| run.role == role && run.marks.is_empty();
    Metric::ALL
        .into_iter()
        .filter_map(|metric| {
            let error = |run: &Compared| {
                let mut comparisons = run.comparisons.iter();
                comparisons
                    .find(|comparison| comparison.metric == metric)
                    .map(|comparison| comparison.error)
            };
            // Passes over one shape are one figure, the middle one: a promise is of what a shape does, and a single start
            // of its processes differs from the next by more than the simulator from both. A neighbour of a shared
            // machine can make one pass twice as dear, which is not an error of the simulator.
            let mut shapes: Vec<((Shape, LoadKind), Vec<f64>)> = Vec::new();
            for run in runs.iter().filter(sound) {
                let key = (run.shape, run.load);
                let Some(error) = error(run) else { continue };
                match shapes.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, errors)) => errors.push(error),
                    None => shapes.push((key, vec![error])),
                }
            }
            let in_passes = shapes
                .iter()
                .all(|(_, errors)| errors.len() >= PASSES_FOR_A_PROMISE_OF_CPU);
            let errors: Vec<f64> = shapes
                .iter()
                .filter_map(|(_, errors)| Some(median(errors)?.abs()))
                .collect();
            Some(ErrorSummary {
                metric,
                runs: errors.len(),
                mean_absolute: mean(&errors)?.value,
                worst: errors.iter().copied().fold(0.0, f64::max),
                promised: metric
                    .promised()
                    .filter(|_| repetitions >= REPETITIONS_FOR_A_PROMISE)
                    .filter(|_| metric != Metric::CpuUtilization || in_passes),
            })
        })
        .collect()
}

/// The figures of one side.
#[derive(Clone, Debug)]
struct Figures {
    throughput_per_hour: f64,
    wait: Latencies,
    sojourn: Latencies,
    worker_utilization: f64,
    cpu_utilization: f64,
}

impl Figures {
    fn of(experience: &Experience, throughput_per_hour: f64, cpu_utilization: f64) -> Self {
        Self {
            throughput_per_hour,
            wait: experience.wait.clone(),
            sojourn: experience.sojourn.clone(),
            worker_utilization: experience.worker_utilization,
            cpu_utilization,
        }
    }

    /// `None` for a quantile of nothing.
    fn get(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::ThroughputPerHour => Some(self.throughput_per_hour),
            Metric::WaitP50S => self.wait.quantile_s(0.5),
            Metric::WaitP95S => self.wait.quantile_s(0.95),
            Metric::SojournP50S => self.sojourn.quantile_s(0.5),
            Metric::SojournP95S => self.sojourn.quantile_s(0.95),
            Metric::WorkerUtilization => Some(self.worker_utilization),
            Metric::CpuUtilization => Some(self.cpu_utilization),
        }
    }
}

fn comparisons(measured: &Figures, predicted: &Figures, load: &Load) -> Vec<Comparison> {
    let generation_s = load.compressed_generation_ms() / 1000.0;
    Metric::ALL
        .into_iter()
        .filter_map(|metric| {
            let (is, said) = (measured.get(metric)?, predicted.get(metric)?);
            let unit = match metric {
                Metric::WaitP50S | Metric::WaitP95S => generation_s,
                _ => is,
            };
            (unit > 0.0).then(|| Comparison {
                metric,
                measured: is,
                predicted: said,
                error: (said - is) / unit,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::tests::{calibration, cell, measurement};
    use crate::cpu_law::{CpuLaw, Point};
    use crate::observation::{Track, finishes, slot_cycle_s};

    /// A saturated cell whose slots take exactly what the calibration says, times `slowness`.
    fn exact(
        workers: u32,
        slowness: f64,
        calibration: &Calibration,
        load: &Load,
    ) -> crate::measurement::Cell {
        let mut cell = cell(workers, calibration.cpu_s_per_generation.value, 40_000);
        let length_s = calibration.compressed_length_s(load, cell.vcpu) * slowness;
        let users = workers + (workers / 4).max(2);
        let mut free = vec![0.0; usize::try_from(workers).expect("few")];
        // Slot by slot; each user comes back the moment its generation has ended.
        let mut arrivals: std::collections::VecDeque<f64> = (0..users)
            .map(|user| f64::from(user) * length_s / f64::from(users))
            .collect();
        // Five lengths, and whoever is not done by then is censored.
        let end_s = 5.0 * length_s;
        let mut tracks = Vec::new();
        while let Some(created_s) = arrivals.pop_front().filter(|at_s| *at_s < end_s) {
            free.sort_by(f64::total_cmp);
            let started_s = free[0].max(created_s);
            let finished_s = started_s + length_s;
            free[0] = finished_s;
            arrivals.push_back(finished_s);
            tracks.push(Track {
                created_s,
                started_s: (started_s < end_s).then_some(started_s),
                finished_s: (finished_s < end_s).then_some(finished_s),
            });
        }
        let finished = finishes(&tracks);
        let window = (finished[0], finished[finished.len() - 1]);
        cell.generations = u64::try_from(finished.len()).expect("few");
        cell.throughput_per_hour = f64::from(workers)
            / slot_cycle_s(&finished, workers).expect("five rounds").value
            * 3600.0;
        cell.experience = crate::reduce::experience(&tracks, workers, 0.0, window);
        cell.cpu_utilization =
            cell.throughput_per_hour / 3600.0 * calibration.cpu_s_per_generation.value / cell.vcpu;
        cell.role = Role::HeldOut;
        cell
    }

    fn compared(slowness: f64) -> Fidelity {
        let calibration = calibration();
        let mut measured = measurement(vec![]);
        measured.cells = [1, 6, 24]
            .map(|workers| exact(workers, slowness, &calibration, &measured.load))
            .to_vec();
        compare(&measured, &calibration).expect("Fargate sells these")
    }

    #[test]
    fn a_backend_that_behaves_as_calibrated_is_predicted() {
        let fidelity = compared(1.0);
        assert_eq!(fidelity.keeps_its_promises(), Some(true), "{fidelity:#?}");
        for summary in &fidelity.held_out {
            assert!(summary.worst < 0.03, "{summary:?}");
            assert_eq!(summary.runs, 3);
        }
        assert!(fidelity.calibration.is_empty());
    }

    #[test]
    fn passes_over_one_shape_are_one_figure() {
        let calibration = calibration();
        let mut measured = measurement(vec![]);
        measured.cells = [(6, 1.3), (24, 1.0), (6, 0.7)]
            .map(|(workers, cpu)| {
                let mut cell = exact(workers, 1.0, &calibration, &measured.load);
                cell.cpu_utilization *= cpu;
                cell
            })
            .to_vec();
        let fidelity = compare(&measured, &calibration).expect("Fargate sells these");
        assert_eq!(fidelity.runs.len(), 3);
        let mut summaries = fidelity.held_out.iter();
        let cpu = summaries
            .find(|summary| summary.metric == Metric::CpuUtilization)
            .expect("it was measured");
        // 1/1.3 and 1/0.7 are 23 % too low and 43 % too high: 10 % on average.
        assert_eq!((cpu.runs, cpu.promised), (2, None), "24 workers ran once");
        assert!((0.08..0.12).contains(&cpu.worst), "{cpu:?}");
    }

    #[test]
    fn cpu_use_that_is_a_power_of_the_rate_is_predicted_at_every_rate() {
        let mut calibration = calibration();
        let mut measured = measurement(vec![]);
        let load = measured.load.clone();
        let of_rate = |rate: f64| (rate, 0.11 * (rate + 0.04_f64).powf(0.85) / rate);
        let points = [0.065, 0.39, 1.55, 6.2]
            .map(of_rate)
            .map(|(generations_per_s, cpu_s)| Point {
                generations_per_s,
                cpu_s,
                speedup: load.speedup,
            });
        calibration.cpu_law = CpuLaw::fit(&points, load.generation_s);
        measured.cells = [1, 6, 24]
            .map(|workers| {
                let mut cell = exact(workers, 1.0, &calibration, &load);
                let rate = cell.throughput_per_hour / 3600.0;
                cell.cpu_utilization = rate * of_rate(rate).1 / cell.vcpu;
                cell
            })
            .to_vec();
        let fidelity = compare(&measured, &calibration).expect("Fargate sells these");
        let cpu = fidelity
            .held_out
            .iter()
            .find(|of| of.metric == Metric::CpuUtilization);
        assert!(cpu.expect("three cells").worst < 0.03, "{fidelity:#?}");
    }

    #[test]
    fn a_slower_backend_breaks_the_promise() {
        let fidelity = compared(1.2);
        assert_eq!(
            fidelity.keeps_its_promises(),
            Some(false),
            "{:?}",
            fidelity.held_out
        );
    }

    #[test]
    fn spoiled_cells_and_calibration_cells_are_not_published() {
        let calibration = calibration();
        let mut measured = measurement(vec![]);
        let mut spoiled = exact(6, 2.0, &calibration, &measured.load);
        spoiled.marks = vec![Mark::LoadGeneratorBound];
        let mut seen = exact(6, 1.0, &calibration, &measured.load);
        seen.role = Role::Calibration;
        measured.cells = vec![spoiled, seen];
        let fidelity = compare(&measured, &calibration).expect("Fargate sells these");
        assert_eq!(fidelity.keeps_its_promises(), None);
        assert!(fidelity.held_out.is_empty());
        assert_eq!(fidelity.calibration.len(), Metric::ALL.len());
        assert_eq!(fidelity.runs.len(), 2);
    }
}
