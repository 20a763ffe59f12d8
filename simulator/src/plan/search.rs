//! Finds out about candidates with as few runs as the verdict needs.
//!
//! Three savings, none of which changes a verdict:
//! - bounds: a fleet whose resources at full use carry less than what comes, or whose fewest tasks cost more than the
//!   budget, is refused without a run;
//! - kin: fleets that differ by their bill alone (gateways that no silent call passes, cache, instruction set, memory
//!   and CPU that never ran short) share their runs, because nothing that happens in them could differ;
//! - early refusal: a candidate is out as soon as the runs it still has ahead could not bring its means back within the
//!   promise, even if they waited not at all and cost no more than the fewest tasks.

use std::collections::BTreeMap;

use super::{Evaluated, PlanRequest};
use crate::capacity::{Resource, capacity_per_hour};
use crate::cost::{self, Metered};
use crate::model;
use crate::platform::Platform;
use crate::prices::MicroUsd;
use crate::replications::{Interval, at_replication};
use crate::scenario::{
    Architecture, Arrivals, CacheMode, Fleet, InvalidScenario, Metric, Profile, Scenario,
    UpstreamCall,
};
use crate::slo::{Failure, Figures, Slo, verdict};
use crate::trace::Sink;

/// Indices of the candidates that may share runs, in the order of their first member.
pub fn families(request: &PlanRequest, fleets: &[Fleet]) -> Vec<Vec<usize>> {
    let mut by_kin: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, fleet) in fleets.iter().enumerate() {
        let kin = format!("{:?}", kin(&request.base.profile, fleet));
        by_kin.entry(kin).or_default().push(index);
    }
    let mut families: Vec<Vec<usize>> = by_kin.into_values().collect();
    families.sort_unstable();
    families
}

/// The fleet without what changes nothing but its bill. Its CPU is left out as well, unless the fleet scales by it:
/// whether it ran short is seen from the runs.
fn kin(profile: &Profile, fleet: &Fleet) -> Fleet {
    let mut kin = fleet.clone();
    // Another platform may bill what was used.
    if fleet.platform != Platform::Fargate {
        return kin;
    }
    kin.cache_mode = CacheMode::default();
    kin.architecture = Architecture::default();
    kin.db_instance_class = String::new();
    // What the class is looked at for besides its price.
    let looks_at_connections =
        fleet.db_pool_connections.is_some() || fleet.async_workers().is_some();
    kin.db_connections_max = looks_at_connections.then(|| fleet.db_connections());
    kin.db_multi_az = false;
    kin.db_storage_gb = 0;
    if let Some(spot) = &mut kin.spot {
        spot.discount_percent = 0;
    }
    if fleet.upstream_call == UpstreamCall::Background || fleet.upstream_keep_alive {
        kin.nat_gateways = 0;
    }
    let scales_by = |metric| fleet.autoscaling.metrics.contains(&metric);
    if !scales_by(Metric::Cpu) {
        kin.vcpu = 0.0;
    }
    let free_kib = (fleet.memory_gib * 1024.0 - profile.memory_base_mib) * 1024.0;
    let holds_all = fleet.generations_per_task() * profile.memory_per_generation_kib <= free_kib;
    if holds_all && !scales_by(Metric::Memory) {
        kin.memory_gib = 0.0;
    }
    kin
}

/// The least that a candidate costs in a month; none where it is refused without a run.
///
/// # Errors
/// When the price book lacks something that the candidate names.
pub fn cost_floor(
    request: &PlanRequest,
    fleet: &Fleet,
) -> Result<Option<MicroUsd>, InvalidScenario> {
    let scenario = Scenario {
        fleet: fleet.clone(),
        ..request.base.clone()
    };
    let floor = cost::monthly(fleet, f64::from(fleet.tasks.min))?.total();
    Ok(refused_by_bounds(&scenario, floor)
        .is_empty()
        .then_some(floor))
}

/// Finds out about candidates of one family.
///
/// # Errors
/// When the base scenario or a candidate cannot be simulated.
pub fn evaluate_family(
    request: &PlanRequest,
    fleets: &[&Fleet],
) -> Result<Vec<Evaluated>, InvalidScenario> {
    // The largest CPU first: what it never asked for, a smaller one does not miss.
    let mut order: Vec<usize> = (0..fleets.len()).collect();
    order.sort_by(|one, other| fleets[*other].vcpu.total_cmp(&fleets[*one].vcpu));
    let mut shared: Vec<Runs> = Vec::new();
    let mut evaluated: Vec<(usize, Evaluated)> = Vec::with_capacity(fleets.len());
    for index in order {
        evaluated.push((index, evaluate_kin(request, fleets[index], &mut shared)?));
    }
    evaluated.sort_by_key(|(index, _)| *index);
    Ok(evaluated
        .into_iter()
        .map(|(_, candidate)| candidate)
        .collect())
}

fn evaluate_kin(
    request: &PlanRequest,
    fleet: &Fleet,
    shared: &mut Vec<Runs>,
) -> Result<Evaluated, InvalidScenario> {
    let scenario = Scenario {
        fleet: fleet.clone(),
        ..request.base.clone()
    };
    let floor = cost::monthly(fleet, f64::from(fleet.tasks.min))?.total();
    let failures = refused_by_bounds(&scenario, floor);
    if !failures.is_empty() {
        return Ok(Evaluated::refused(fleet, floor, failures));
    }
    scenario.validate()?;
    let suits = |runs: &Runs| {
        runs.demand_peak_vcpu <= fleet.vcpu * (1.0 - 1e-9)
            || runs.scenario.fleet.vcpu.to_bits() == fleet.vcpu.to_bits()
    };
    if let Some(runs) = shared.iter_mut().find(|runs| suits(runs)) {
        let before = runs.figures.len();
        let found = runs.judge(request, fleet, floor)?;
        // More runs may have asked for more than this candidate has.
        if suits(runs) {
            return Ok(found.after(runs.figures.len() - before));
        }
    }
    let mut own = Runs::new(scenario);
    let found = own.judge(request, fleet, floor)?;
    let made = own.figures.len();
    shared.push(own);
    Ok(found.after(made))
}

/// What a run says of every fleet of its family.
#[derive(Clone, Copy, Debug)]
struct RunFigures {
    arrivals_measured: f64,
    wait_p95_s: f64,
    never_started: f64,
    lost: f64,
    throughput_per_hour: f64,
    metered: Metered,
}

/// Runs of one scenario at consecutive seeds, made when they are first asked for.
struct Runs {
    scenario: Scenario,
    figures: Vec<RunFigures>,
    demand_peak_vcpu: f64,
}

impl Runs {
    fn new(scenario: Scenario) -> Runs {
        Runs {
            scenario,
            figures: Vec::new(),
            demand_peak_vcpu: 0.0,
        }
    }

    fn get(&mut self, index: u32) -> Result<RunFigures, InvalidScenario> {
        let known = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(figures) = self.figures.get(known) {
            return Ok(*figures);
        }
        let run = model::run(&at_replication(&self.scenario, index), Sink::default())?;
        let figures = RunFigures {
            arrivals_measured: run.outcome.wait_s.count as f64,
            wait_p95_s: run.outcome.wait_s.p95,
            never_started: run.outcome.never_started as f64,
            lost: run.outcome.lost_total() as f64,
            throughput_per_hour: run.outcome.throughput_per_hour,
            metered: run.metered,
        };
        self.figures.push(figures);
        self.demand_peak_vcpu = self.demand_peak_vcpu.max(run.demand_peak_vcpu);
        Ok(figures)
    }

    /// Judges a fleet of the family by as many runs as it takes.
    fn judge(
        &mut self,
        request: &PlanRequest,
        fleet: &Fleet,
        floor: MicroUsd,
    ) -> Result<Evaluated, InvalidScenario> {
        let slo = &request.base.slo;
        let mut seen = Seen::default();
        for index in 0..request.replications {
            let run = self.get(index)?;
            let bill = cost::bill(fleet, &request.base.bill, &run.metered)?.total();
            seen.add(run, bill.as_usd());
            let ahead = request.replications - index - 1;
            if request.early_refusal && ahead > 0 && seen.is_hopeless(ahead, floor, slo) {
                break;
            }
        }
        Ok(seen.evaluated(fleet, slo))
    }
}

/// The runs that a candidate was judged by so far.
#[derive(Debug, Default)]
struct Seen {
    runs: Vec<RunFigures>,
    bills_usd: Vec<f64>,
}

impl Seen {
    fn add(&mut self, run: RunFigures, bill_usd: f64) {
        self.runs.push(run);
        self.bills_usd.push(bill_usd);
    }

    fn over(&self, figure: fn(&RunFigures) -> f64) -> Vec<f64> {
        self.runs.iter().map(figure).collect()
    }

    fn lost_max(&self) -> f64 {
        self.runs.iter().map(|run| run.lost).fold(0.0, f64::max)
    }

    /// Whether the promise is missed whatever the runs ahead show. The worst run counts for the losses, means for the
    /// rest; no run waits less than not at all, and none costs less than the fewest tasks.
    fn is_hopeless(&self, ahead: u32, floor: MicroUsd, slo: &Slo) -> bool {
        let total = self.runs.len() as f64 + f64::from(ahead);
        let sum = |values: &[f64]| values.iter().sum::<f64>();
        let best = Figures {
            arrivals_measured: f64::INFINITY,
            wait_p95_s: sum(&self.over(|run| run.wait_p95_s)) / total,
            // Of however many that are still to come.
            never_started: 0.0,
            lost: self.lost_max(),
            cost_usd_month: (sum(&self.bills_usd) + f64::from(ahead) * floor.as_usd()) / total,
            throughput_per_hour: f64::INFINITY,
        };
        !verdict(&best, slo).pass
    }

    fn evaluated(self, fleet: &Fleet, slo: &Slo) -> Evaluated {
        let wait_p95_s = Interval::of(&self.over(|run| run.wait_p95_s));
        let throughput_per_hour = Interval::of(&self.over(|run| run.throughput_per_hour));
        let cost_usd_month = Interval::of(&self.bills_usd);
        let figures = Figures {
            arrivals_measured: self.over(|run| run.arrivals_measured).iter().sum(),
            wait_p95_s: wait_p95_s.mean,
            never_started: self.over(|run| run.never_started).iter().sum(),
            lost: self.lost_max(),
            cost_usd_month: cost_usd_month.mean,
            throughput_per_hour: throughput_per_hour.mean,
        };
        Evaluated {
            fleet: fleet.clone(),
            cost_usd_month: MicroUsd::from_usd(cost_usd_month.mean),
            wait_p95_s: Some(wait_p95_s),
            throughput_per_hour: Some(throughput_per_hour),
            lost: Some(Interval::of(&self.over(|run| run.lost))),
            failures: verdict(&figures, slo).failures,
            simulated: true,
            runs_made: 0,
            tie: None,
        }
    }
}

/// The reasons to reject a candidate without simulating it.
fn refused_by_bounds(scenario: &Scenario, cost_floor: MicroUsd) -> Vec<Failure> {
    let Scenario {
        workload,
        profile,
        fleet,
        slo,
        ..
    } = scenario;
    let mut failures = Vec::new();
    let mut refuse = |key: &str, limit: f64, actual: f64| {
        failures.push(Failure {
            key: key.to_owned(),
            limit,
            actual,
        });
    };
    let offered = workload.arrivals.mean_per_hour();
    let tasks = f64::from(fleet.tasks.max);
    let carried = if profile.memory_base_mib >= fleet.memory_gib * 1024.0 {
        0.0
    } else {
        full_capacity_per_hour(scenario, tasks)
    };
    // A trace may be a short burst that a queue absorbs; a stationary load is not absorbed.
    let stationary = !matches!(workload.arrivals, Arrivals::Trace { .. });
    if carried <= 0.0 || (stationary && offered >= carried) {
        refuse("capacity_per_hour", offered, carried);
    }
    if let Some(budget) = slo.budget_usd_month
        && cost_floor > budget
    {
        refuse("budget_usd_month", budget.as_usd(), cost_floor.as_usd());
    }
    // Sessions and limits live in the cache, and a sidecar or a process is no cache for its neighbours.
    if fleet.cache_mode != CacheMode::Elasticache && fleet.tasks.max > 1 {
        refuse("shared_cache", 1.0, tasks);
    }
    failures
}

/// What workers, memory and the whole vCPU would carry. The capacity formula counts on the CPU up to its target only,
/// but a fleet above it still works.
fn full_capacity_per_hour(scenario: &Scenario, tasks: f64) -> f64 {
    let target = scenario.fleet.autoscaling.cpu_target_percent / 100.0;
    capacity_per_hour(scenario, tasks)
        .into_iter()
        .filter_map(|(resource, capacity)| match resource {
            Resource::Workers
            | Resource::Memory
            | Resource::DbConnections
            | Resource::UpstreamRequests
            | Resource::UpstreamTokens => Some(capacity),
            Resource::Cpu => Some(capacity / target),
            // What the load balancer cuts is simulated, and shows as losses.
            Resource::AlbIdleTimeout => None,
        })
        .fold(f64::INFINITY, f64::min)
}
