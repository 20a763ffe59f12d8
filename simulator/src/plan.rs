//! The search for the cheapest fleet that holds the promise.
//!
//! Every candidate sees the same arrivals and the same lengths (common random numbers: the seed is the base's, and the
//! streams do not depend on the fleet), so that two candidates differ by their fleets alone. A rejected candidate keeps
//! its reasons. Two bounds spare a simulation, and say so: a fleet whose resources at full use carry less than what
//! comes, and a fleet whose fewest tasks cost more than the budget.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::capacity::{Resource, capacity_per_hour};
use crate::cost;
use crate::prices::{MicroUsd, fargate_pairs};
use crate::replications::{Interval, replicate};
use crate::scenario::{
    Architecture, Arrivals, Autoscaling, CacheMode, Fleet, InvalidScenario, Metric, Scenario, Tasks,
};
use crate::slo::{Failure, judge_replications};

/// What to search: the base scenario, and the values that its fleet may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// Workload, profile, promise, seed, and everything of the fleet that is not an axis.
    pub base: Scenario,
    /// Task sizes as (vCPU, GiB).
    pub pairs: Vec<(f64, f64)>,
    /// Workers per task.
    pub workers: Vec<u32>,
    /// Task counts.
    pub tasks: Vec<Tasks>,
    /// Ways to scale; only those without a metric go with a fixed count, only those with one go with a range.
    pub autoscaling: Vec<Autoscaling>,
    /// NAT gateways.
    pub nat_gateways: Vec<u32>,
    /// Cache modes.
    pub cache_modes: Vec<CacheMode>,
    /// Instruction sets.
    pub architectures: Vec<Architecture>,
    /// Runs per candidate, at consecutive seeds.
    pub replications: u32,
}

impl PlanRequest {
    /// The default grid: the Fargate sizes up to 4 vCPU, 1 to 128 workers, 1 to 4 tasks fixed or scaled, and the base
    /// itself. Of the memories of a size it takes the smallest and its doublings: memory that does not limit changes
    /// the bill alone. NAT gateways, cache and instruction set stay the base's.
    pub fn around(base: Scenario) -> PlanRequest {
        let mut workers = vec![1, 2, 4, 6, 8, 12, 16, 24, 32, 64, 128, base.fleet.workers];
        workers.sort_unstable();
        workers.dedup();
        let mut tasks: Vec<Tasks> = (1..=4).map(Tasks::fixed).collect();
        tasks.extend([
            Tasks {
                min: 1,
                desired: 1,
                max: 3,
            },
            Tasks {
                min: 2,
                desired: 2,
                max: 4,
            },
        ]);
        if !tasks.contains(&base.fleet.tasks) {
            tasks.push(base.fleet.tasks);
        }
        let mut autoscaling = vec![
            Autoscaling::none(),
            Autoscaling::on(vec![Metric::Cpu]),
            Autoscaling::on(vec![Metric::QueueDepth]),
        ];
        if !autoscaling.contains(&base.fleet.autoscaling) {
            autoscaling.push(base.fleet.autoscaling.clone());
        }
        let mut pairs: Vec<(f64, f64)> = Vec::new();
        for (vcpu, memory_gib) in fargate_pairs().into_iter().filter(|(vcpu, _)| *vcpu <= 4.0) {
            let doubles = |&(size, memory): &(f64, f64)| size < vcpu || memory_gib >= 2.0 * memory;
            if pairs.last().is_none_or(doubles) {
                pairs.push((vcpu, memory_gib));
            }
        }
        let own = (base.fleet.vcpu, base.fleet.memory_gib);
        if !pairs.contains(&own) {
            pairs.push(own);
        }
        PlanRequest {
            pairs,
            workers,
            tasks,
            autoscaling,
            nat_gateways: vec![base.fleet.nat_gateways],
            cache_modes: vec![base.fleet.cache_mode],
            architectures: vec![base.fleet.architecture],
            replications: 3,
            base,
        }
    }
}

/// Candidates in order of merit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Those that hold the promise, cheapest first; at equal cost the shorter wait, then fewer tasks, then fewer workers.
    pub accepted: Vec<Evaluated>,
    /// Those that do not, cheapest first.
    pub rejected: Vec<Evaluated>,
}

/// A candidate and what was found out about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluated {
    /// The candidate.
    pub fleet: Fleet,
    /// Its monthly bill: metered when it was simulated, else that of its fewest tasks.
    pub cost_usd_month: MicroUsd,
    /// 95 % quantile of the wait in seconds, when it was simulated.
    pub wait_p95_s: Option<Interval>,
    /// Generations completed per hour, when it was simulated.
    pub throughput_per_hour: Option<Interval>,
    /// Generations lost per run, when it was simulated.
    pub lost: Option<Interval>,
    /// Why it is rejected; empty when it is accepted.
    pub failures: Vec<Failure>,
    /// Whether it was simulated; else a bound alone refused it.
    pub simulated: bool,
}

/// Every combination of the axes that makes sense.
pub fn candidates(request: &PlanRequest) -> Vec<Fleet> {
    let mut found = Vec::new();
    for &(vcpu, memory_gib) in &request.pairs {
        for &workers in &request.workers {
            for &tasks in &request.tasks {
                for autoscaling in &request.autoscaling {
                    // Nothing scales a fixed count, and a range that nothing scales is the fixed count it starts with.
                    if autoscaling.metrics.is_empty() != (tasks.min == tasks.max) {
                        continue;
                    }
                    let sized = Fleet {
                        vcpu,
                        memory_gib,
                        workers,
                        tasks,
                        autoscaling: autoscaling.clone(),
                        ..request.base.fleet.clone()
                    };
                    found.extend(surroundings(request, &sized));
                }
            }
        }
    }
    found
}

fn surroundings<'a>(
    request: &'a PlanRequest,
    sized: &'a Fleet,
) -> impl Iterator<Item = Fleet> + 'a {
    request.nat_gateways.iter().flat_map(move |&nat_gateways| {
        request.cache_modes.iter().flat_map(move |&cache_mode| {
            request
                .architectures
                .iter()
                .map(move |&architecture| Fleet {
                    nat_gateways,
                    cache_mode,
                    architecture,
                    ..sized.clone()
                })
        })
    })
}

/// Finds out about one candidate. Candidates are independent of each other, so the caller may do so in parallel.
///
/// # Errors
/// When the base scenario or the candidate cannot be simulated.
pub fn evaluate(request: &PlanRequest, fleet: &Fleet) -> Result<Evaluated, InvalidScenario> {
    let scenario = Scenario {
        fleet: fleet.clone(),
        ..request.base.clone()
    };
    let floor = cost::monthly(fleet, f64::from(fleet.tasks.min))?.total();
    let failures = refused_by_bounds(&scenario, floor);
    if !failures.is_empty() {
        return Ok(Evaluated {
            fleet: scenario.fleet,
            cost_usd_month: floor,
            wait_p95_s: None,
            throughput_per_hour: None,
            lost: None,
            failures,
            simulated: false,
        });
    }
    let runs = replicate(&scenario, request.replications)?;
    let verdict = judge_replications(&runs, &scenario.slo);
    Ok(Evaluated {
        fleet: scenario.fleet,
        cost_usd_month: MicroUsd::from_usd(runs.cost_usd_month.mean),
        wait_p95_s: Some(runs.wait_p95_s),
        throughput_per_hour: Some(runs.throughput_per_hour),
        lost: Some(runs.lost),
        failures: verdict.failures,
        simulated: true,
    })
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
        refuse("tasks_without_shared_cache", 1.0, tasks);
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
            | Resource::UpstreamRequests => Some(capacity),
            Resource::Cpu => Some(capacity / target),
            // What the load balancer cuts is simulated, and shows as losses.
            Resource::AlbIdleTimeout => None,
        })
        .fold(f64::INFINITY, f64::min)
}

/// Puts evaluated candidates in order of merit.
pub fn rank(evaluated: Vec<Evaluated>) -> Plan {
    let (mut accepted, mut rejected): (Vec<Evaluated>, Vec<Evaluated>) = evaluated
        .into_iter()
        .partition(|candidate| candidate.failures.is_empty());
    accepted.sort_by(by_merit);
    rejected.sort_by(by_merit);
    Plan { accepted, rejected }
}

fn by_merit(one: &Evaluated, other: &Evaluated) -> Ordering {
    let wait = |candidate: &Evaluated| candidate.wait_p95_s.map_or(f64::INFINITY, |wait| wait.mean);
    one.cost_usd_month
        .cmp(&other.cost_usd_month)
        .then(wait(one).total_cmp(&wait(other)))
        .then(one.fleet.tasks.max.cmp(&other.fleet.tasks.max))
        .then(one.fleet.workers.cmp(&other.fleet.workers))
}

/// Searches all candidates, one after the other.
///
/// # Errors
/// When the base scenario or a candidate cannot be simulated.
pub fn plan(request: &PlanRequest) -> Result<Plan, InvalidScenario> {
    request.base.validate()?;
    let evaluated = candidates(request)
        .iter()
        .map(|fleet| evaluate(request, fleet))
        .collect::<Result<Vec<Evaluated>, InvalidScenario>>()?;
    Ok(rank(evaluated))
}
