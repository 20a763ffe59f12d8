//! The main job: measure, calibrate, simulate, judge. Every arrow but the first is a pure function.

use std::path::{Path, PathBuf};

use harness::Stack;
use serde::Serialize;
use simulator::plan::{Evaluated, Plan, PlanRequest};
use simulator::scenario::{InvalidScenario, Mode, Profile};

use crate::backend_process::{self, BackendError};
use crate::calibrate::{CalibrateError, Calibration, calibrate};
use crate::hardware::Hardware;
use crate::judgement::{Judgement, judge, plan};
use crate::measurement::{Cell, Load, Mark, Measurement, SCHEMA_VERSION};
use crate::progress::Progress;
use crate::requirements::Requirements;
use crate::run::{CellSpec, RunError, Runner};
use crate::terraform::Sizing;

/// Seconds, next to its load, that a cell takes: a sandbox, a start, a stop.
const CELL_OVERHEAD_S: f64 = 1.5;
/// Length of the generation under test: the upper end of the review's "10-15 minutos", and its
/// 900 s time-out.
const GENERATION_S: f64 = 900.0;
/// The outline and four sections: the backend's default.
const CALLS_PER_GENERATION: u32 = 5;
/// The backend's defaults for `POLL_RETRY_AFTER_MS` and `OPENAI_POLL_INTERVAL_MS`, in seconds.
const POLL_S: f64 = 5.0;

/// The grid to measure and the load that each of its cells carries.
#[derive(Clone, Debug)]
pub struct Grid {
    /// Worker counts.
    pub workers: Vec<u32>,
    /// vCPU counts.
    pub vcpus: Vec<f64>,
    /// The load.
    pub load: Load,
    /// Generations that each cell measures at least, on top of what its statistics need.
    pub generations_min: Option<u32>,
    /// The backend's binary; cargo builds it when there is none.
    pub backend: Option<PathBuf>,
}

impl Grid {
    /// The grid of the main job: the proposal's 6 workers and 2 vCPU among smaller and larger ones.
    pub fn standard() -> Self {
        Self {
            workers: vec![1, 6, 24],
            vcpus: vec![0.25, 2.0],
            load: load(100.0, 1.5),
            generations_min: None,
            backend: None,
        }
    }

    /// The grid of a smoke run: the proposal's workers and twice as many.
    pub fn quick() -> Self {
        Self {
            workers: vec![6, 12],
            vcpus: vec![1.0],
            load: load(130.0, 1.0),
            generations_min: None,
            backend: None,
        }
    }

    /// Every pair, in the order in which it is measured.
    pub fn cells(&self) -> Vec<CellSpec> {
        let pairs = self.vcpus.iter().flat_map(|vcpu| {
            self.workers.iter().map(|workers| CellSpec {
                workers: *workers,
                vcpu: *vcpu,
                memory_mib: memory_mib(*vcpu),
            })
        });
        pairs.collect()
    }

    /// Seconds that the grid should take.
    pub fn expected_s(&self) -> f64 {
        crate::stats::count_as_f64(self.workers.len() * self.vcpus.len()) * self.cell_expected_s()
    }

    fn cell_expected_s(&self) -> f64 {
        (1.25 + self.load.cycles) * self.load.compressed_generation_ms() / 1000.0 + CELL_OVERHEAD_S
    }
}

fn load(speedup: f64, cycles: f64) -> Load {
    Load {
        generation_s: GENERATION_S,
        calls_per_generation: CALLS_PER_GENERATION,
        speedup,
        client_poll_s: POLL_S,
        openai_poll_s: POLL_S,
        cycles,
        seed: 42,
    }
}

/// The smallest memory that Fargate gives to so many vCPU, or what one GiB per half vCPU comes to.
fn memory_mib(vcpu: f64) -> u64 {
    let gib = simulator::prices::fargate_memories_gib(vcpu)
        .and_then(|memories| memories.first().copied())
        .unwrap_or((vcpu * 2.0).max(0.5));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "Fargate's memories are positive and far below 2^53 MiB"
    )]
    let mib = (gib * 1024.0).round() as u64;
    mib
}

/// Why the main job ended without a verdict.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The stack could not be started.
    #[error("start the stack")]
    Stack(#[source] harness::StackError),
    /// The backend could not be built.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A cell could not be measured.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The measurement says nothing.
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    /// The sizing cannot be simulated.
    #[error("simulate the sizing")]
    Scenario(#[from] InvalidScenario),
    /// The speed-up would leave the bounds within which a compressed run is valid.
    #[error(
        "measure with --speedup {speedup}: {overhead_ms:.0} ms of every generation do not shrink, \
         which would be {share_percent:.1} % of its compressed {compressed_ms:.0} ms (at most 1 % is \
         allowed); the largest speedup that holds is {speedup_max:.0}"
    )]
    Speedup {
        /// What was asked for.
        speedup: f64,
        /// Time that does not shrink, from the committed calibration.
        overhead_ms: f64,
        /// Its share of the compressed generation.
        share_percent: f64,
        /// Length of the compressed generation.
        compressed_ms: f64,
        /// The largest speed-up that keeps the bound.
        speedup_max: f64,
    },
}

/// Everything that the main job found out; `results.json` is this, to the letter.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// Raised whenever a field changes its meaning.
    pub schema_version: u32,
    /// The command that reproduces the file.
    pub command: String,
    /// What was measured, and on what.
    pub measurement: Measurement,
    /// The cost of one generation.
    pub calibration: Calibration,
    /// The file that was judged.
    pub sizing_file: PathBuf,
    /// The sizing in it.
    pub sizing: Sizing,
    /// The sizing as proposed: each request stays open for its whole generation.
    pub proposed: Judgement,
    /// The same sizing with this backend, whose requests are answered at once.
    pub queued: Judgement,
    /// The sizings that hold, cheapest first, and those that do not, with their reasons.
    pub plan: Plan,
}

impl Results {
    /// The cheapest sizing that holds, if any does.
    pub fn cheapest(&self) -> Option<&Evaluated> {
        self.plan.accepted.first()
    }
}

/// Refuses a speed-up that the committed calibration shows to be too large.
///
/// # Errors
/// [`PipelineError::Speedup`] with the largest speed-up that would hold.
pub fn check_speedup(load: &Load, overhead_ms: f64) -> Result<(), PipelineError> {
    let compressed_ms = load.compressed_generation_ms();
    let share = overhead_ms / compressed_ms;
    if share < crate::reduce::OVERHEAD_SHARE_MAX {
        return Ok(());
    }
    Err(PipelineError::Speedup {
        speedup: load.speedup,
        overhead_ms,
        share_percent: share * 100.0,
        compressed_ms,
        speedup_max: (load.speedup * crate::reduce::OVERHEAD_SHARE_MAX / share).floor(),
    })
}

/// Starts the stack and measures every cell of the grid; `keep` is told of each cell at once, so
/// that an interrupted run keeps what it has.
///
/// # Errors
/// When the stack, the backend or a cell fails.
pub async fn measure(
    workspace: &Path,
    grid: &Grid,
    progress: &Progress,
    mut keep: impl FnMut(&Measurement),
) -> Result<Measurement, PipelineError> {
    let binary = match &grid.backend {
        Some(binary) => binary.clone(),
        None => {
            progress.say(&format!(
                "building the backend ({})",
                backend_process::BUILD_COMMAND
            ));
            backend_process::build(workspace).await?
        }
    };
    progress.say("starting Postgres, Redis and S3");
    let stack = Stack::start().await.map_err(PipelineError::Stack)?;
    progress.say(stack.provider_reason());
    let mut measurement = Measurement {
        schema_version: SCHEMA_VERSION,
        hardware: Hardware::read(&stack, workspace),
        load: grid.load.clone(),
        cells: Vec::new(),
        complete: false,
    };
    let runner = Runner::new(&stack, &binary, grid.load.clone(), grid.generations_min)?;
    let cells = grid.cells();
    for (index, spec) in cells.iter().enumerate() {
        let workers = crate::plural(u64::from(spec.workers), "worker");
        progress.say(&format!(
            "cell {}/{}: {workers}, {} vCPU",
            index + 1,
            cells.len(),
            spec.vcpu
        ));
        let done_s = crate::stats::count_as_f64(index) * grid.cell_expected_s();
        let tell = |share| progress.at(done_s + share * grid.cell_expected_s());
        let mut cell: Cell = runner.cell(*spec, tell).await?;
        if cell.marks.contains(&Mark::HostSaturated) {
            // Another program had the machine for a while: once more may find it idle.
            progress.say("the machine was busy with something else: measuring the cell again");
            cell = runner.cell(*spec, tell).await?;
        }
        measurement.cells.push(cell);
        keep(&measurement);
    }
    measurement.complete = true;
    keep(&measurement);
    stack.stop().await.map_err(PipelineError::Stack)?;
    Ok(measurement)
}

/// The profile that the simulator runs with.
pub fn profile(calibration: &Calibration) -> Profile {
    Profile {
        cpu_s_per_generation: calibration.cpu_s_per_generation.value,
        memory_base_mib: calibration.memory_base_mib.value,
        memory_per_generation_kib: calibration.memory_per_generation_kib.value,
        // Clients' polls are part of the measured generation.
        cpu_s_per_poll: 0.0,
    }
}

/// From a measurement to the verdict: pure but for the use of all cores.
///
/// # Errors
/// When the measurement says nothing or the sizing cannot be simulated.
pub fn conclude(
    command: String,
    measurement: Measurement,
    sizing_file: &Path,
    sizing: &Sizing,
    requirements: &Requirements,
    replications: u32,
) -> Result<Results, PipelineError> {
    let calibration = calibrate(&measurement)?;
    let in_mode = |mode| {
        let scenario = requirements.scenario(sizing.fleet(mode), profile(&calibration))?;
        judge(&scenario, replications)
    };
    let proposed = in_mode(Mode::Sync)?;
    let queued = in_mode(Mode::Queue)?;
    let request = PlanRequest {
        replications,
        ..PlanRequest::around(queued.scenario.clone())
    };
    let plan = plan(&request)?;
    Ok(Results {
        schema_version: SCHEMA_VERSION,
        command,
        measurement,
        calibration,
        sizing_file: sizing_file.to_owned(),
        sizing: sizing.clone(),
        proposed,
        queued,
        plan,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_large_a_speedup_is_refused_with_the_largest_that_holds() {
        let mut fast = load(180.0, 2.0);
        check_speedup(&fast, 20.0).expect("20 ms are 0.4 % of 5 s");
        fast.speedup = 900.0;
        let error = check_speedup(&fast, 20.0)
            .expect_err("20 ms are 2 % of 1 s")
            .to_string();
        assert!(
            error.ends_with("the largest speedup that holds is 450"),
            "{error}"
        );
    }

    #[test]
    fn grid_cells_use_memories_that_fargate_has() {
        let memories: Vec<_> = Grid::standard()
            .cells()
            .iter()
            .map(|cell| cell.memory_mib)
            .collect();
        assert_eq!(memories[0], 512);
        assert_eq!(memories[memories.len() - 1], 4096);
    }
}
