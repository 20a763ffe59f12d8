//! The main job: measure, calibrate, simulate, judge. Every arrow but the first is a pure function.

use std::path::{Path, PathBuf};

use harness::Stack;
use serde::Serialize;
use simulator::plan::{Evaluated, Plan, PlanRequest};
use simulator::scenario::{InvalidScenario, Mode};

use crate::backend_process::{self, BackendError};
use crate::calibrate::{CalibrateError, Calibration, calibrate_beside};
use crate::fidelity::{self, Fidelity};
use crate::grid::{Grid, GridError, smaller_speedup};
use crate::hardware::Hardware;
use crate::judgement::{Judgement, judge, plan};
use crate::measurement::{Cell, Mark, Measurement, OpenRun, SCHEMA_VERSION, Shape};
use crate::progress::Progress;
use crate::reference::pricing::PricingError;
use crate::reference::recorded;
use crate::requirements::Requirements;
use crate::review::Stacks;
use crate::run::{RunError, Runner};
use crate::terraform::Sizing;
use crate::vcpu_factor::{VcpuFactor, profile_on};

/// Share of the expected time after which no cell is repeated more often than it must be: an unsettled
/// machine costs a longer run, but not one without end.
const REPEAT_SHARE: f64 = 0.75;
/// Why the main job ended without a verdict.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The stack could not be started.
    #[error("start the stack")]
    Stack(#[source] harness::StackError),
    /// The grid cannot be measured.
    #[error(transparent)]
    Grid(#[from] GridError),
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
    /// The sizing cannot be simulated.
    #[error("simulate the sizing")]
    Scenario(#[from] InvalidScenario),
    /// The proposal's own stack cannot be held against this one.
    #[error("hold both stacks against each other")]
    Stacks(#[from] PricingError),
}

/// Where the cost of one generation is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CalibratedFrom {
    /// The cells of this run.
    ThisRun,
    /// The committed calibration: in no cell of this run did the backend alone set the pace.
    Committed,
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
    /// Where that cost is from.
    pub calibrated_from: CalibratedFrom,
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
    /// The proposal's own stack beside this backend, where the recorded comparison has both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stacks: Option<Stacks>,
}

impl Results {
    /// The cheapest sizing that holds, if any does.
    pub fn cheapest(&self) -> Option<&Evaluated> {
        self.plan.accepted.first()
    }
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
    let measured = measure_into(&mut measurement, workspace, grid, progress, &mut keep).await;
    match &measured {
        Ok(()) => measurement.complete = true,
        Err(error) => measurement.incomplete_because = Some(backend_process::chain(error)),
    }
    // Of a run that measured nothing there is nothing to keep.
    let kept = if measurement.complete || measurement.found() > 0 {
        keep(&measurement).map_err(PipelineError::Keep)
    } else {
        Ok(())
    };
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
    let shapes = grid.shapes()?;
    // A wrong provider or an engine that does not answer is said before minutes go into a build.
    progress.say("starting Postgres, Redis and S3");
    let stack = Stack::start().await.map_err(PipelineError::Stack)?;
    progress.say(stack.provider_reason());
    let binary = match &grid.backend {
        Some(binary) => binary.clone(),
        None => {
            progress.say(&format!(
                "building the backend ({})",
                backend_process::build_command()
            ));
            backend_process::build(workspace).await?
        }
    };
    measurement.hardware = Hardware::of_stack(&stack, workspace).await;
    let mut grid = grid.clone();
    let mut runner = runner(&stack, &binary, &grid)?;
    let began = std::time::Instant::now();
    let (mut done_s, mut shapes) = (0.0, shapes.as_slice());
    if !grid.saturated {
        shapes = &[];
    }
    let mut index = 0;
    while let Some(shape) = shapes.get(index) {
        let what = format!("cell {}/{}: {}", index + 1, shapes.len(), in_words(shape));
        progress.say(&what);
        let expected_s = grid.cell_expected_s();
        let tell = move |share| progress.at(done_s + share * expected_s);
        let mut cell: Cell = runner.cell(*shape, grid.role(index), tell).await?;
        if index == 0 && grid.speedup_may_fall {
            // Once: a machine on which the smaller one does not hold either says so in its marks.
            grid.speedup_may_fall = false;
            if let Some(speedup) = smaller_speedup(&grid.load, cell.overhead_ms) {
                progress.say(&format!(
                    "{:.0} ms of a generation do not shrink on this machine: beginning anew at speed-up {speedup}, \
                     not {}",
                    cell.overhead_ms, grid.load.speedup
                ));
                grid.load.speedup = speedup;
                measurement.load = grid.load.clone();
                done_s = began.elapsed().as_secs_f64();
                progress.expect(done_s + grid.expected_s());
                runner = self::runner(&stack, &binary, &grid)?;
                continue;
            }
        }
        if cell.marks.contains(&Mark::HostSaturated)
            && began.elapsed().as_secs_f64() < done_s + expected_s * 2.0
        {
            // Another program had the machine for a while: once more may find it idle, while the run is on time.
            progress.say("the machine was busy with something else: measuring the cell again");
            cell = runner.cell(*shape, grid.role(index), tell).await?;
        }
        measurement.cells.push(cell);
        keep(measurement).map_err(PipelineError::Keep)?;
        done_s += expected_s;
        index += 1;
    }
    for spec in grid.open_specs()? {
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

fn runner<'a>(stack: &'a Stack, binary: &'a Path, grid: &Grid) -> Result<Runner<'a>, RunError> {
    Runner::new(
        stack,
        binary,
        grid.load.clone(),
        grid.generations_min,
        std::time::Duration::from_secs_f64(grid.expected_s() * REPEAT_SHARE),
    )
}

fn in_words(shape: &Shape) -> String {
    let workers = crate::plural(u64::from(shape.workers), "worker");
    format!("{workers}, {} vCPU, {} MiB", shape.vcpu, shape.memory_mib)
}

/// What a measurement is to answer.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The file of the sizing, for the report.
    pub sizing_file: &'a Path,
    /// The sizing to judge.
    pub sizing: &'a Sizing,
    /// What it must do.
    pub requirements: &'a Requirements,
    /// What `sizing cpu-score` printed on the deployment, if anybody ran it there.
    pub deployment_score: Option<f64>,
    /// Seeds of each simulation.
    pub replications: u32,
    /// The cost of a generation when the measurement tells none, and how it falls with the rate when the measurement
    /// is too small to tell: the committed one.
    pub committed: &'a Calibration,
}

/// From a measurement to the verdict: pure but for the use of all cores.
///
/// # Errors
/// When the measurement is partial or the sizing cannot be simulated.
pub fn conclude(
    command: String,
    measurement: Measurement,
    question: Question<'_>,
) -> Result<Results, PipelineError> {
    let Question {
        sizing_file,
        sizing,
        requirements,
        deployment_score,
        replications,
        committed,
    } = question;
    let (calibration, calibrated_from) = match calibrate_beside(&measurement, committed) {
        Err(CalibrateError::NoUsableCell { .. }) => (committed.clone(), CalibratedFrom::Committed),
        calibrated => (calibrated?, CalibratedFrom::ThisRun),
    };
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
        calibrated_from,
        fidelity,
        vcpu,
        sizing_file: sizing_file.to_owned(),
        sizing: sizing.clone(),
        proposed,
        queued,
        plan,
        stacks: Stacks::new(recorded::comparison(), committed)?,
    })
}
