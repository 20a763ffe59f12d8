//! The main job: measure, calibrate, simulate, judge. Every arrow but the first is a pure function.

use std::path::{Path, PathBuf};

use harness::Stack;
use serde::Serialize;
use simulator::plan::{Evaluated, Plan, PlanRequest};
use simulator::scenario::{InvalidScenario, Mode, Profile};

use crate::backend_process::{self, BackendError};
use crate::calibrate::{CalibrateError, Calibration, calibrate};
use crate::cpu_score;
use crate::fidelity::{self, Fidelity};
use crate::hardware::Hardware;
use crate::judgement::{Judgement, judge, plan};
use crate::measurement::{
    Cell, Load, Mark, Measurement, OpenRun, Plan as ArrivalPlan, Role, SCHEMA_VERSION, Shape, Shard,
};
use crate::progress::Progress;
use crate::requirements::Requirements;
use crate::run::{OpenSpec, RunError, Runner};
use crate::stats::count_as_f64;
use crate::terraform::Sizing;

/// Share of the expected time after which no cell is repeated more often than it must be: an unsettled
/// machine costs a longer run, but not one without end.
const REPEAT_SHARE: f64 = 0.75;
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
    /// Memory of each, in GiB; `None` gives each vCPU the least that Fargate sells with it.
    pub memories_gib: Option<Vec<f64>>,
    /// The load.
    pub load: Load,
    /// Generations that each cell measures at least, on top of what its statistics need.
    pub generations_min: Option<u32>,
    /// Whether the cells are measured saturated.
    pub saturated: bool,
    /// Runs under Poisson arrivals.
    pub open: Option<OpenGrid>,
    /// The backend's binary; cargo builds it when there is none.
    pub backend: Option<PathBuf>,
}

/// Which shapes run under Poisson arrivals, and under how many.
#[derive(Clone, Debug)]
pub struct OpenGrid {
    /// Arrivals per hour of real time; `None` keeps [`OPEN_UTILIZATION`] of the workers busy.
    pub rate_per_hour: Option<f64>,
    /// Length of the schedule, in generations.
    pub generations_long: f64,
    /// Whether every shape runs so, or only the one in the middle of the grid.
    pub every_shape: bool,
    /// The part of the schedule that this process sends.
    pub shard: Shard,
}

/// Share of the workers that open arrivals keep busy when nobody says otherwise: enough for a queue to
/// form now and then, and not to grow for ever.
const OPEN_UTILIZATION: f64 = 0.8;
/// The start of an open schedule that is not judged, in generations: until then no generation ends.
const OPEN_WARMUP_GENERATIONS: f64 = 1.0;

impl Grid {
    /// The grid of the main job: the proposal's 6 workers and 2 vCPU among smaller and larger ones,
    /// and the proposal once more under Poisson arrivals.
    pub fn standard() -> Self {
        Self {
            workers: vec![1, 6, 24],
            vcpus: vec![0.25, 2.0],
            memories_gib: None,
            load: load(150.0, 3, 5),
            generations_min: None,
            saturated: true,
            open: Some(OpenGrid {
                rate_per_hour: None,
                generations_long: 6.0,
                every_shape: false,
                shard: Shard { index: 1, of: 1 },
            }),
            backend: None,
        }
    }

    /// The grid of a smoke run: the proposal's workers and twice as many, one repetition each.
    pub fn quick() -> Self {
        Self {
            workers: vec![6, 12],
            vcpus: vec![1.0],
            load: load(130.0, 1, 1),
            open: None,
            ..Self::standard()
        }
    }

    /// Every combination, in the order in which it is measured.
    ///
    /// # Errors
    /// When Fargate does not sell a memory with a vCPU.
    pub fn shapes(&self) -> Result<Vec<Shape>, PipelineError> {
        let mut shapes = Vec::new();
        for vcpu in &self.vcpus {
            let least = [least_memory_gib(*vcpu)];
            for memory_gib in self.memories_gib.as_deref().unwrap_or(&least) {
                if let Some(sold) = simulator::prices::fargate_memories_gib(*vcpu)
                    && !sold.iter().any(|sold| sold.total_cmp(memory_gib).is_eq())
                {
                    return Err(PipelineError::Memory {
                        vcpu: *vcpu,
                        memory_gib: *memory_gib,
                        sold: sold
                            .iter()
                            .map(f64::to_string)
                            .collect::<Vec<_>>()
                            .join(", "),
                    });
                }
                shapes.extend(self.workers.iter().map(|workers| Shape {
                    workers: *workers,
                    vcpu: *vcpu,
                    memory_mib: gib_as_mib(*memory_gib),
                }));
            }
        }
        Ok(shapes)
    }

    /// What each shape of [`Grid::shapes`] is measured for: like the squares of a chessboard, so that both
    /// colours see every worker count and every vCPU of a grid that has two of each.
    pub fn role(&self, index: usize) -> Role {
        let (row, column) = (index / self.workers.len(), index % self.workers.len());
        if (row + column) % 2 == 0 {
            Role::Calibration
        } else {
            Role::HeldOut
        }
    }

    /// The open runs of the grid.
    ///
    /// # Errors
    /// As [`Grid::shapes`].
    pub fn open_specs(&self) -> Result<Vec<OpenSpec>, PipelineError> {
        let Some(open) = &self.open else {
            return Ok(Vec::new());
        };
        let mut shapes = self.shapes()?;
        if !open.every_shape {
            // The middle worker count on the most vCPU: on the standard grid the proposal.
            let last_row = shapes.len() - self.workers.len();
            shapes = vec![shapes[last_row + self.workers.len() / 2]];
        }
        Ok(shapes
            .into_iter()
            .map(|shape| OpenSpec {
                shape,
                plan: open.plan(&self.load, shape.workers),
                shard: open.shard,
            })
            .collect())
    }

    /// Seconds that the grid should take.
    pub fn expected_s(&self) -> f64 {
        let shapes =
            self.workers.len() * self.vcpus.len() * self.memories_gib.as_ref().map_or(1, Vec::len);
        let cells = if self.saturated { shapes } else { 0 };
        let opens = match &self.open {
            None => 0,
            Some(open) if open.every_shape => shapes,
            Some(_) => 1,
        };
        count_as_f64(cells) * self.cell_expected_s() + count_as_f64(opens) * self.open_expected_s()
    }

    fn cell_expected_s(&self) -> f64 {
        f64::from(1 + self.load.repetitions_min) * self.load.compressed_generation_ms() / 1000.0
            + CELL_OVERHEAD_S
    }

    fn open_expected_s(&self) -> f64 {
        let generations = self.open.as_ref().map_or(0.0, |open| open.generations_long);
        generations * self.load.compressed_generation_ms() / 1000.0 + CELL_OVERHEAD_S
    }
}

impl OpenGrid {
    /// The schedule for so many workers.
    pub fn plan(&self, load: &Load, workers: u32) -> ArrivalPlan {
        let generation_s = load.compressed_generation_ms() / 1000.0;
        let by_workers = f64::from(workers) * 3600.0 / load.generation_s;
        ArrivalPlan {
            rate_per_hour: self.rate_per_hour.unwrap_or(by_workers * OPEN_UTILIZATION),
            length_s: self.generations_long * generation_s,
            warmup_s: OPEN_WARMUP_GENERATIONS * generation_s,
            seed: load.seed,
        }
    }
}

fn load(speedup: f64, repetitions_min: u32, repetitions_max: u32) -> Load {
    Load {
        generation_s: GENERATION_S,
        calls_per_generation: CALLS_PER_GENERATION,
        speedup,
        client_poll_s: POLL_S,
        openai_poll_s: POLL_S,
        repetitions_min,
        repetitions_max,
        seed: 42,
    }
}

/// The smallest memory that Fargate gives to so many vCPU, or what one GiB per half vCPU comes to.
fn least_memory_gib(vcpu: f64) -> f64 {
    simulator::prices::fargate_memories_gib(vcpu)
        .and_then(|memories| memories.first().copied())
        .unwrap_or((vcpu * 2.0).max(0.5))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "memories are positive and far below 2^53 MiB"
)]
fn gib_as_mib(gib: f64) -> u64 {
    (gib * 1024.0).round() as u64
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
    /// A result could not be written while the run went on: the disk is full, for instance.
    #[error("keep what has been measured so far")]
    Keep(#[source] std::io::Error),
    /// Fargate does not sell this memory with this vCPU.
    #[error(
        "measure {vcpu} vCPU with {memory_gib} GiB: Fargate does not sell that; with {vcpu} vCPU it sells \
         {sold} GiB"
    )]
    Memory {
        /// The vCPU.
        vcpu: f64,
        /// What was asked for.
        memory_gib: f64,
        /// What there is.
        sold: String,
    },
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
    /// How well the simulator predicts what was measured.
    pub fidelity: Fidelity,
    /// What a vCPU of the deployment is taken for.
    pub vcpu: VcpuFactor,
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

/// Starts the stack and measures every cell of the grid; `keep` is handed what there is after each
/// cell, and at the end with the reason when it came early, so that nothing measured is lost.
///
/// # Errors
/// When the stack, the backend or a cell fails, or `keep` does.
pub async fn measure(
    workspace: &Path,
    grid: &Grid,
    progress: &Progress,
    mut keep: impl FnMut(&Measurement) -> std::io::Result<()>,
) -> Result<Measurement, PipelineError> {
    let mut measurement = Measurement::begin(Hardware::unknown(), grid.load.clone());
    // Whatever an earlier run has left here is no result of this one.
    keep(&measurement).map_err(PipelineError::Keep)?;
    let measured = measure_into(&mut measurement, workspace, grid, progress, &mut keep).await;
    match &measured {
        Ok(()) => measurement.complete = true,
        Err(error) => measurement.incomplete_because = Some(backend_process::chain(error)),
    }
    let kept = keep(&measurement).map_err(PipelineError::Keep);
    measured?;
    kept?;
    Ok(measurement)
}

async fn measure_into(
    measurement: &mut Measurement,
    workspace: &Path,
    grid: &Grid,
    progress: &Progress,
    keep: &mut impl FnMut(&Measurement) -> std::io::Result<()>,
) -> Result<(), PipelineError> {
    let (shapes, open_specs) = (grid.shapes()?, grid.open_specs()?);
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
    measurement.hardware = Hardware::of_stack(&stack, workspace).await;
    let runner = Runner::new(
        &stack,
        &binary,
        grid.load.clone(),
        grid.generations_min,
        std::time::Duration::from_secs_f64(grid.expected_s() * REPEAT_SHARE),
    )?;
    let mut done_s = 0.0;
    let began = std::time::Instant::now();
    let shapes = if grid.saturated { shapes } else { Vec::new() };
    for (index, shape) in shapes.iter().enumerate() {
        let what = format!("cell {}/{}: {}", index + 1, shapes.len(), in_words(shape));
        progress.say(&what);
        let tell = |share| progress.at(done_s + share * grid.cell_expected_s());
        let mut cell: Cell = runner.cell(*shape, grid.role(index), tell).await?;
        if cell.marks.contains(&Mark::HostSaturated)
            && began.elapsed().as_secs_f64() < done_s + grid.cell_expected_s() * 2.0
        {
            // Another program had the machine for a while: once more may find it idle, while the run is on time.
            progress.say("the machine was busy with something else: measuring the cell again");
            cell = runner.cell(*shape, grid.role(index), tell).await?;
        }
        measurement.cells.push(cell);
        keep(measurement).map_err(PipelineError::Keep)?;
        done_s += grid.cell_expected_s();
    }
    for spec in open_specs {
        progress.say(&format!(
            "Poisson arrivals, {:.1} an hour: {}",
            spec.plan.rate_per_hour,
            in_words(&spec.shape)
        ));
        let tell = |share| progress.at(done_s + share * grid.open_expected_s());
        let run: OpenRun = runner.open_run(spec, tell).await?;
        measurement.open_runs.push(run);
        keep(measurement).map_err(PipelineError::Keep)?;
        done_s += grid.open_expected_s();
    }
    stack.stop().await.map_err(PipelineError::Stack)
}

fn in_words(shape: &Shape) -> String {
    let workers = crate::plural(u64::from(shape.workers), "worker");
    format!("{workers}, {} vCPU, {} MiB", shape.vcpu, shape.memory_mib)
}

/// What a vCPU of the deployment is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct VcpuFactor {
    /// CPU time on the deployment over CPU time on the machine that was measured.
    pub factor: f64,
    /// Score of the machine that was measured.
    pub calibrated_score: Option<f64>,
    /// Score of the deployment, when somebody took it.
    pub deployment_score: Option<f64>,
}

impl VcpuFactor {
    /// From the calibration, and the score that `sizing cpu-score` printed on the deployment.
    pub fn new(calibration: &Calibration, deployment_score: Option<f64>) -> Self {
        Self {
            factor: cpu_score::factor(calibration.cpu_score, deployment_score),
            calibrated_score: calibration.cpu_score,
            deployment_score,
        }
    }

    /// What is assumed, in a sentence.
    pub fn statement(&self, cpu_model: &str) -> String {
        match (self.calibrated_score, self.deployment_score) {
            (Some(calibrated), Some(deployment)) => format!(
                "vCPU factor {:.2}: CPU times were measured on {cpu_model}, score {calibrated:.0}; the \
                 deployment's vCPU has score {deployment:.0}.",
                self.factor
            ),
            (_, Some(deployment)) => format!(
                "vCPU factor {:.2}: the deployment's vCPU has score {deployment:.0}, but the calibration has \
                 none to compare it with; measure again.",
                self.factor
            ),
            (_, None) => format!(
                "vCPU factor {:.2}, assumed: a vCPU of the deployment counts as a core of {cpu_model}. \
                 `sizing cpu-score` on the deployment, then --vcpu-score, replaces the assumption.",
                self.factor
            ),
        }
    }
}

/// The profile that the simulator runs with, a vCPU being a core of the machine that was measured.
pub fn profile(calibration: &Calibration) -> Profile {
    profile_on(calibration, VcpuFactor::new(calibration, None))
}

/// The profile that the simulator runs with, for a deployment whose vCPU is faster or slower.
pub fn profile_on(calibration: &Calibration, vcpu: VcpuFactor) -> Profile {
    Profile {
        cpu_s_per_generation: calibration.cpu_s_per_generation.value * vcpu.factor,
        memory_base_mib: calibration.memory_base_mib.value,
        memory_per_generation_kib: calibration.memory_per_generation_kib.value,
        // Clients' polls are part of the measured generation.
        cpu_s_per_poll: 0.0,
    }
}

/// From a measurement to the verdict: pure but for the use of all cores. `deployment_score` is what
/// `sizing cpu-score` printed on the deployment, if anybody ran it there.
///
/// # Errors
/// When the measurement says nothing or the sizing cannot be simulated.
pub fn conclude(
    command: String,
    measurement: Measurement,
    (sizing_file, sizing): (&Path, &Sizing),
    requirements: &Requirements,
    deployment_score: Option<f64>,
    replications: u32,
) -> Result<Results, PipelineError> {
    let calibration = calibrate(&measurement)?;
    let fidelity = fidelity::compare(&measurement, &calibration)?;
    let vcpu = VcpuFactor::new(&calibration, deployment_score);
    let in_mode = |mode| {
        let scenario = requirements.scenario(sizing.fleet(mode), profile_on(&calibration, vcpu))?;
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
        fidelity,
        vcpu,
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
        let mut fast = load(180.0, 3, 3);
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
        let shapes = Grid::standard().shapes().expect("Fargate sells these");
        assert_eq!(shapes[0].memory_mib, 512);
        assert_eq!(shapes[shapes.len() - 1].memory_mib, 4096);
        let grid = Grid {
            vcpus: vec![0.25],
            memories_gib: Some(vec![0.5, 2.0]),
            ..Grid::standard()
        };
        let shapes = grid.shapes().expect("Fargate sells these");
        assert_eq!(shapes.len(), 6);
        assert_eq!(shapes[3].memory_mib, 2048);
        let grid = Grid {
            memories_gib: Some(vec![8.0]),
            ..grid
        };
        let error = grid.shapes().expect_err("too much").to_string();
        assert!(error.ends_with("it sells 0.5, 1, 2 GiB"), "{error}");
    }

    #[test]
    fn half_the_cells_are_held_out_and_both_halves_see_every_axis() {
        let grid = Grid {
            workers: vec![1, 6, 24, 96],
            vcpus: vec![0.25, 0.5, 1.0, 2.0],
            ..Grid::standard()
        };
        let shapes = grid.shapes().expect("Fargate sells these");
        for role in [Role::Calibration, Role::HeldOut] {
            let of_role: Vec<_> = (0..shapes.len())
                .filter(|i| grid.role(*i) == role)
                .collect();
            assert_eq!(of_role.len(), 8);
            for workers in &grid.workers {
                assert!(of_role.iter().any(|i| shapes[*i].workers == *workers));
            }
            for vcpu in &grid.vcpus {
                assert!(
                    of_role
                        .iter()
                        .any(|i| shapes[*i].vcpu.total_cmp(vcpu).is_eq())
                );
            }
        }
    }

    #[test]
    fn the_open_run_of_the_standard_grid_is_the_proposal_at_eighty_per_cent() {
        let specs = Grid::standard().open_specs().expect("Fargate sells it");
        assert_eq!(specs.len(), 1);
        assert_eq!(specs[0].shape.workers, 6);
        // 6 workers do 24 generations of 15 minutes an hour.
        assert!((specs[0].plan.rate_per_hour - 19.2).abs() < 1e-9);
    }

    #[test]
    fn the_standard_grid_is_meant_to_take_less_than_four_minutes_and_the_quick_one_less_than_one() {
        assert!(
            Grid::standard().expected_s() < 230.0,
            "{}",
            Grid::standard().expected_s()
        );
        assert!(
            Grid::quick().expected_s() < 50.0,
            "{}",
            Grid::quick().expected_s()
        );
    }

    #[test]
    fn the_vcpu_factor_scales_cpu_time_and_says_what_it_assumes() {
        let mut calibration = crate::calibrate::tests::calibration();
        calibration.cpu_score = Some(100.0);
        let assumed = VcpuFactor::new(&calibration, None);
        assert!(assumed.statement("EPYC").contains("factor 1.00, assumed"));
        let measured = VcpuFactor::new(&calibration, Some(80.0));
        assert!(measured.statement("EPYC").contains("factor 1.25"));
        let ratio = profile_on(&calibration, measured).cpu_s_per_generation
            / profile(&calibration).cpu_s_per_generation;
        assert!((ratio - 1.25).abs() < 1e-12);
    }
}
