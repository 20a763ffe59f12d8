//! What the review's figures would have to be, on either stack, under the load that it states.

use std::path::Path;

use serde::Serialize;
use simulator::capacity::{Resource, bottleneck, capacity_per_hour};
use simulator::prices::{fargate_memories_gib, fargate_pairs};
use simulator::scenario::{Autoscaling, Fleet, Mode, Scenario, Tasks};

use crate::calibrate::Calibration;
use crate::judgement::judge;
use crate::reference::comparison::Comparison;
use crate::reference::fate::Event;
use crate::reference::pricing::PricingError;
use crate::reference::profile::Stack;
use crate::reference::service::Kind;
use crate::requirements::Requirements;
use crate::stages::PROPOSAL;
use crate::stats::count_as_f64;
use crate::terraform::parse_sizing;

/// The load and the promise that the proposal is judged by.
const SLO: &str = include_str!("../../slo.toml");
/// Tasks of the proposal that are on.
const TASKS: u32 = 2;
/// The most workers of a task that are tried.
const WORKERS_MAX: u32 = 16;
/// The share of its CPU at which the proposal adds a task.
const CPU_TARGET: f64 = 0.7;
/// Seeds of each candidate.
const REPLICATIONS: u32 = 3;

/// What one stack needs where the review states a figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Needs {
    /// CPU seconds that a generation is charged, with the polls of its client and its PDF.
    pub cpu_s_per_generation: f64,
    /// Generations that one worker runs at a time: a slot one, a process as many as its pool has connections.
    pub generations_per_worker: u32,
    /// The fewest workers of each of two tasks that keep the promise.
    pub workers: Option<u32>,
    /// Workers of each of two tasks of which all that follows is: six, or as many as it needs.
    pub workers_simulated: u32,
    /// The least vCPU of each that keeps it.
    pub vcpu: Option<f64>,
    /// Memory of a task with its share of the generations in flight, in MiB.
    pub memory_mib: f64,
    /// Used share of 2 vCPU in each of two tasks.
    pub cpu_share: f64,
    /// Generations an hour at which two tasks would use 70 % of their CPU, as charged here.
    pub per_hour_at_target: f64,
    /// The most generations an hour that all but the CPU lets two tasks run.
    pub per_hour_max: f64,
    /// What ends there.
    pub limited_by: Resource,
    /// Share of their CPU that two tasks would use there.
    pub cpu_share_max: f64,
    /// Seconds for which a worker answers nobody, since it renders a PDF or by what `/health` has shown; of several
    /// workers the others answer meanwhile.
    pub silent_s_max: f64,
    /// Of the generations in flight at a SIGTERM, those that were lost, and how many there were.
    pub lost_on_stop: Option<(u32, u32)>,
}

/// The needs of either stack.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BothNeeds {
    /// Generations an hour that are asked for.
    pub asked_per_hour: f64,
    /// This backend.
    pub rust: Needs,
    /// The reference as proposed.
    pub fastapi: Needs,
}

/// Finds out what both need; `None` where the comparison lacks one.
///
/// # Errors
/// When a candidate cannot be simulated.
pub fn needs(
    comparison: &Comparison,
    calibration: &Calibration,
) -> Result<Option<BothNeeds>, PricingError> {
    let Some(stack) = Stack::proposed(comparison) else {
        return Ok(None);
    };
    let proposal = parse_sizing(Path::new("proposal.tfvars"), PROPOSAL)?;
    let requirements = Requirements::parse(Path::new("loadtests/slo.toml"), SLO)?;
    let fleet = Fleet {
        tasks: Tasks::fixed(TASKS),
        autoscaling: Autoscaling::none(),
        ..proposal.fleet(Mode::Queue)
    };
    let profile = crate::vcpu_factor::profile(calibration);
    let mut base = requirements.scenario(fleet, profile)?;
    base.slo.budget_usd_month = None;
    let on_stack = |workers: u32| {
        let mut scenario = base.clone();
        scenario.fleet.workers = workers;
        scenario.fleet = stack.on(scenario.fleet);
        scenario.profile = stack.profile(workers);
        scenario
    };
    let on_rust = |workers: u32| {
        let mut scenario = base.clone();
        scenario.fleet.workers = workers;
        scenario
    };
    Ok(Some(BothNeeds {
        asked_per_hour: base.workload.arrivals.mean_per_hour(),
        rust: of(comparison, Kind::Rust, on_rust)?,
        fastapi: of(comparison, Kind::FastApi, on_stack)?,
    }))
}

fn of(
    comparison: &Comparison,
    kind: Kind,
    with_workers: impl Fn(u32) -> Scenario,
) -> Result<Needs, PricingError> {
    let mut workers = None;
    for count in 1..=WORKERS_MAX {
        if judge(&with_workers(count), REPLICATIONS)?.verdict.pass {
            workers = Some(count);
            break;
        }
    }
    // As many as proposed, unless those are too few.
    let proposed = with_workers(
        workers
            .unwrap_or(WORKERS_MAX)
            .max(comparison.conditions.workers),
    );
    let judged = judge(&proposed, REPLICATIONS)?;
    let outcomes = &judged.replications.outcomes;
    let over = |figure: fn(&simulator::outcome::Outcome) -> f64| {
        outcomes.iter().map(figure).sum::<f64>() / count_as_f64(outcomes.len())
    };
    let cpu_share = over(|outcome| outcome.cpu_utilization);
    let memory_share = over(|outcome| outcome.memory_utilization);
    let asked = proposed.workload.arrivals.mean_per_hour();
    let mut limits = capacity_per_hour(&proposed, f64::from(TASKS));
    limits.remove(&Resource::Cpu);
    let limited_by = bottleneck(&limits);
    let per_hour_max = limits[&limited_by];
    let mut vcpu = None;
    for (size, _) in fargate_pairs() {
        if vcpu.is_some() {
            break;
        }
        let mut smaller = proposed.clone();
        smaller.fleet.vcpu = size;
        let Some(memory_gib) = fargate_memories_gib(size).and_then(|sold| sold.last().copied())
        else {
            continue;
        };
        // CPU is asked for: memory is not what it shall fail by.
        smaller.fleet.memory_gib = memory_gib;
        if judge(&smaller, REPLICATIONS)?.verdict.pass {
            vcpu = Some(size);
        }
    }
    let service = comparison.service(kind);
    let stop = service.and_then(|one| one.fates.iter().find(|fate| fate.event == Event::Sigterm));
    Ok(Needs {
        cpu_s_per_generation: charged_cpu_s(&proposed),
        generations_per_worker: proposed
            .fleet
            .async_workers()
            .map_or(1, |settings| settings.pool_connections_max),
        workers,
        workers_simulated: proposed.fleet.workers,
        vcpu,
        memory_mib: memory_share * proposed.fleet.memory_gib * 1024.0,
        cpu_share,
        per_hour_at_target: asked * CPU_TARGET / cpu_share,
        per_hour_max,
        limited_by,
        cpu_share_max: cpu_share * per_hour_max / asked,
        silent_s_max: comparison.base_cell(kind).map_or(0.0, |cell| {
            let rendering_s = cell.rendering_cpu_s.map_or(0.0, |mean| mean.value);
            rendering_s.max(cell.health.max_ms / 1000.0)
        }),
        lost_on_stop: stop.map(|fate| (fate.lost, fate.in_flight)),
    })
}

/// CPU seconds that a generation of this scenario is charged, with the polls of its client and its PDF.
fn charged_cpu_s(scenario: &Scenario) -> f64 {
    let Scenario {
        workload,
        profile,
        fleet,
        ..
    } = scenario;
    let polls = workload.generation.mean().as_secs_f64() / workload.poll_every.as_secs_f64();
    let pdf_cpu_s = fleet
        .async_workers()
        .map_or(0.0, |settings| settings.pdf_cpu_s);
    profile.cpu_s_per_generation + polls * profile.cpu_s_per_poll + pdf_cpu_s
}
