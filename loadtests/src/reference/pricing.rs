//! The cheapest Fargate sizing that holds each stage of the review, for either stack.
//!
//! Both are asked for the same: the stage's own load and promise (`slo/STAGE.toml`) without its budget, its database,
//! gateways and storage; tasks that are always on. Nothing is deployed, and no task dies: what then becomes of the
//! generations in flight is counted apart ([`crate::reference::fate`]).

use std::path::Path;

use serde::Serialize;
use simulator::cost::LineItem;
use simulator::plan::{Evaluated, PlanRequest};
use simulator::prices::{fargate_pairs, price_book};
use simulator::scenario::{Autoscaling, CacheMode, Fleet, InvalidScenario, Mode, Scenario, Tasks};

use crate::calibrate::Calibration;
use crate::judgement::cheapest;
use crate::reference::comparison::Comparison;
use crate::reference::profile::Stack;
use crate::requirements::{Requirements, RequirementsError};
use crate::stages::{STAGE_SLOS, STAGES};
use crate::terraform::{TerraformError, parse_sizing};

/// Classes that a stage may need more connections than its own for.
const DB_CLASSES: [&str; 4] = [
    "db.t4g.micro",
    "db.t4g.small",
    "db.t4g.medium",
    "db.t4g.large",
];
/// Slots of one task of the backend that are tried.
const SLOTS: [u32; 5] = [12, 24, 64, 128, 256];
/// Worker processes of one task of the reference that are tried.
const PROCESSES: [u32; 5] = [1, 2, 4, 6, 8];
/// Tasks that are tried.
const TASKS_MAX: u32 = 3;
/// The largest task that is tried, in vCPU.
const VCPU_MAX: f64 = 1.0;
/// Its largest memory, in GiB.
const MEMORY_GIB_MAX: f64 = 4.0;
/// Seeds of each candidate.
const REPLICATIONS: u32 = 3;

/// Why there is no price.
#[derive(Debug, thiserror::Error)]
pub enum PricingError {
    /// A stage cannot be simulated.
    #[error(transparent)]
    Invalid(#[from] InvalidScenario),
    /// A stage's SLO cannot be read.
    #[error(transparent)]
    Requirements(#[from] RequirementsError),
    /// A stage's sizing cannot be read.
    #[error(transparent)]
    Terraform(#[from] TerraformError),
}

/// One stage, priced for both stacks; a stack that no sizing of the search holds it with has none.
#[derive(Clone, Debug, Serialize)]
pub struct StagePrices {
    /// The stage's name in `terraform/environments`.
    pub stage: &'static str,
    /// Generations an hour in its busiest hour.
    pub peak_per_hour: f64,
    /// This backend.
    pub rust: Option<Priced>,
    /// The reference as proposed.
    pub fastapi: Option<Priced>,
}

/// The cheapest sizing that holds.
#[derive(Clone, Debug, Serialize)]
pub struct Priced {
    /// Tasks, always on.
    pub tasks: u32,
    /// vCPU of each.
    pub vcpu: f64,
    /// Memory of each, in GiB.
    pub memory_gib: f64,
    /// Slots, or worker processes, of each.
    pub workers: u32,
    /// The database's class.
    pub db_instance_class: String,
    /// Where its sessions live.
    pub cache_mode: CacheMode,
    /// Dollars a month, the whole bill.
    pub usd_month: f64,
    /// Of it, Fargate's.
    pub fargate_usd_month: f64,
    /// Of it, the database's: hours and storage.
    pub database_usd_month: f64,
    /// Of it, the managed cache's.
    pub cache_usd_month: f64,
}

/// Prices every stage: the backend as calibrated, the reference as compared.
///
/// # Errors
/// When a committed file cannot be read or a candidate cannot be simulated.
pub fn stages(
    comparison: &Comparison,
    calibration: &Calibration,
) -> Result<Vec<StagePrices>, PricingError> {
    let Some(stack) = Stack::proposed(comparison) else {
        return Ok(vec![]);
    };
    let profile = crate::vcpu_factor::profile(calibration);
    STAGES
        .into_iter()
        .zip(STAGE_SLOS)
        .map(|((stage, _, sizing), (file, slo))| {
            let fleet = parse_sizing(Path::new(stage), sizing)?.fleet(Mode::Queue);
            let requirements = Requirements::parse(Path::new(file), slo)?;
            let mut base = requirements.scenario(fleet, profile.clone())?;
            base.slo.budget_usd_month = None;
            base.fleet.autoscaling = Autoscaling::none();
            Ok(StagePrices {
                stage,
                peak_per_hour: peak_per_hour(&base),
                rust: rust(&base)?,
                fastapi: fastapi(&base, &stack)?,
            })
        })
        .collect()
}

fn peak_per_hour(base: &Scenario) -> f64 {
    match &base.workload.arrivals {
        simulator::scenario::Arrivals::Daily { per_hour, hourly } => {
            per_hour * hourly.iter().copied().fold(0.0, f64::max)
        }
        arrivals => arrivals.mean_per_hour(),
    }
}

fn rust(base: &Scenario) -> Result<Option<Priced>, PricingError> {
    let caches = [CacheMode::None, CacheMode::Sidecar, CacheMode::Elasticache];
    let found = cheapest(&request(base, &SLOTS, &caches), None)?;
    Ok(found.as_ref().map(priced))
}

/// The reference needs a Redis for its sessions, and a database that takes a connection for each generation.
fn fastapi(base: &Scenario, stack: &Stack) -> Result<Option<Priced>, PricingError> {
    let own = DB_CLASSES
        .iter()
        .position(|class| *class == base.fleet.db_instance_class);
    for class in &DB_CLASSES[own.unwrap_or(0)..] {
        let Some(connections) = price_book().rds_connections(class) else {
            continue;
        };
        let mut first: Option<Evaluated> = None;
        // Connections that are fewer than the generations in flight on average need no simulation.
        if f64::from(connections)
            < peak_per_hour(base) * base.workload.generation.mean().as_secs_f64() / 3600.0
        {
            continue;
        }
        // Each worker process has its memory, whether it works or not.
        for processes in PROCESSES {
            let mut of_processes = base.clone();
            of_processes.profile = stack.profile(processes);
            let fleet = Fleet {
                db_instance_class: (*class).to_owned(),
                workers: processes,
                ..base.fleet.clone()
            };
            of_processes.fleet = stack.on(fleet);
            let caches = [CacheMode::Sidecar, CacheMode::Elasticache];
            let below = first.as_ref().map(|found| found.cost_usd_month);
            let request = request(&of_processes, &[processes], &caches);
            first = cheapest(&request, below)?.or(first);
        }
        // A larger class costs more and changes nothing else.
        if let Some(found) = first {
            return Ok(Some(priced(&found)));
        }
    }
    Ok(None)
}

fn request(base: &Scenario, workers: &[u32], caches: &[CacheMode]) -> PlanRequest {
    PlanRequest {
        base: base.clone(),
        pairs: fargate_pairs()
            .into_iter()
            .filter(|(vcpu, memory_gib)| *vcpu <= VCPU_MAX && *memory_gib <= MEMORY_GIB_MAX)
            .collect(),
        workers: workers.to_vec(),
        tasks: (1..=TASKS_MAX).map(Tasks::fixed).collect(),
        autoscaling: vec![Autoscaling::none()],
        nat_gateways: vec![base.fleet.nat_gateways],
        cache_modes: caches.to_vec(),
        architectures: vec![base.fleet.architecture],
        replications: REPLICATIONS,
        early_refusal: true,
    }
}

fn priced(candidate: &Evaluated) -> Priced {
    let fleet = &candidate.fleet;
    let bill = simulator::cost::monthly(fleet, f64::from(fleet.tasks.desired));
    let of = |items: &[LineItem]| {
        bill.as_ref().map_or(f64::NAN, |cost| {
            items.iter().map(|item| cost.get(*item).as_usd()).sum()
        })
    };
    Priced {
        tasks: fleet.tasks.desired,
        vcpu: fleet.vcpu,
        memory_gib: fleet.memory_gib,
        workers: fleet.workers,
        db_instance_class: fleet.db_instance_class.clone(),
        cache_mode: fleet.cache_mode,
        usd_month: candidate.cost_usd_month.as_usd(),
        fargate_usd_month: of(&[LineItem::FargateVcpu, LineItem::FargateMemory]),
        database_usd_month: of(&[LineItem::RdsInstance, LineItem::RdsStorage]),
        cache_usd_month: of(&[LineItem::Elasticache]),
    }
}
