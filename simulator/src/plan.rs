//! The search for the cheapest fleet that holds the promise.
//!
//! Every candidate sees the same arrivals and the same lengths (common random numbers: the seed is the base's, and the
//! streams do not depend on the fleet), so that two candidates differ by their fleets alone. A rejected candidate keeps
//! its reasons; one that costs as much as the one before it says what put it there. [`families`] says how runs are saved.

mod search;

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::prices::{MicroUsd, fargate_pairs};
use crate::replications::Interval;
use crate::scenario::{
    Architecture, Autoscaling, CacheMode, Fleet, InvalidScenario, Metric, Scenario, Tasks,
};
use crate::slo::Failure;

pub use search::{cost_floor, evaluate_family, families};

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
    /// Whether a candidate that its runs ahead cannot save is spared them. Verdicts are the same either way; the figures
    /// of a rejected candidate are over fewer runs.
    pub early_refusal: bool,
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
            early_refusal: true,
            base,
        }
    }

    /// Every axis: the grid of [`PlanRequest::around`] with the smallest memory of each size, several targets, 0 to 2
    /// NAT gateways, and a cache of its own where there is one task.
    pub fn wide(base: Scenario) -> PlanRequest {
        let mut request = PlanRequest::around(base);
        let own = (request.base.fleet.vcpu, request.base.fleet.memory_gib);
        let mut smallest: Vec<(f64, f64)> = Vec::new();
        for pair in std::mem::take(&mut request.pairs) {
            let known = smallest
                .iter()
                .any(|(vcpu, _)| (vcpu - pair.0).abs() < 1e-9);
            if !known || pair == own {
                smallest.push(pair);
            }
        }
        request.pairs = smallest;
        for (metric, target) in [
            (Metric::Cpu, 50.0),
            (Metric::QueueDepth, 0.5),
            (Metric::QueueDepth, 4.0),
        ] {
            let tracking = Autoscaling::tracking(metric, target);
            if !request.autoscaling.contains(&tracking) {
                request.autoscaling.push(tracking);
            }
        }
        for nat_gateways in 0..=2 {
            if !request.nat_gateways.contains(&nat_gateways) {
                request.nat_gateways.push(nat_gateways);
            }
        }
        for cache_mode in [CacheMode::Elasticache, CacheMode::Sidecar] {
            if !request.cache_modes.contains(&cache_mode) {
                request.cache_modes.push(cache_mode);
            }
        }
        request
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
    /// Runs made for it; none where those of a fleet that differs by its bill alone tell all. How many runs its figures
    /// are over, their `n` says: fewer than asked for, when it was hopeless before.
    pub runs_made: usize,
    /// What put it behind the candidate before it in its list, where both cost the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tie: Option<TieBreak>,
}

impl Evaluated {
    /// A candidate that was refused without a simulation, at the least that it costs a month.
    pub fn refused(fleet: &Fleet, cost_floor: MicroUsd, failures: Vec<Failure>) -> Evaluated {
        Evaluated {
            fleet: fleet.clone(),
            cost_usd_month: cost_floor,
            wait_p95_s: None,
            throughput_per_hour: None,
            lost: None,
            failures,
            simulated: false,
            runs_made: 0,
            tie: None,
        }
    }

    fn after(self, runs_made: usize) -> Evaluated {
        Evaluated { runs_made, ..self }
    }

    fn wait(&self) -> f64 {
        self.wait_p95_s.map_or(f64::INFINITY, |wait| wait.mean)
    }
}

/// What decides between candidates of the same cost, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TieBreak {
    /// The other one's generations start sooner.
    WaitP95,
    /// As soon, but the other one never has as many tasks.
    TasksMax,
    /// As many tasks, but the other one has fewer workers in each.
    Workers,
    /// Nothing that was looked at tells them apart: they stand in the order of the axes.
    Listing,
}

impl fmt::Display for TieBreak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TieBreak::WaitP95 => "same cost, longer wait",
            TieBreak::TasksMax => "same cost and wait, more tasks",
            TieBreak::Workers => "same cost and wait, more workers",
            TieBreak::Listing => "same cost, wait, tasks and workers",
        })
    }
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
                    // Describes the managed node.
                    redis: sized.redis.filter(|_| cache_mode == CacheMode::Elasticache),
                    architecture,
                    ..sized.clone()
                })
        })
    })
}

/// Finds out about one candidate. Candidates are independent of each other, so the caller may do so in parallel;
/// [`families`] and [`evaluate_family`] save runs.
///
/// # Errors
/// When the base scenario or the candidate cannot be simulated.
pub fn evaluate(request: &PlanRequest, fleet: &Fleet) -> Result<Evaluated, InvalidScenario> {
    let found = evaluate_family(request, &[fleet])?;
    Ok(found
        .into_iter()
        .next()
        .expect("one fleet asked about is one fleet found out about"))
}

/// Puts evaluated candidates in order of merit.
pub fn rank(evaluated: Vec<Evaluated>) -> Plan {
    let (mut accepted, mut rejected): (Vec<Evaluated>, Vec<Evaluated>) = evaluated
        .into_iter()
        .partition(|candidate| candidate.failures.is_empty());
    for list in [&mut accepted, &mut rejected] {
        list.sort_by(by_merit);
        for index in 1..list.len() {
            list[index].tie = tie_break(&list[index - 1], &list[index]);
        }
    }
    Plan { accepted, rejected }
}

/// Which of two that hold stands first: the cheaper, then the one that starts generations sooner, then the smaller.
pub fn by_merit(one: &Evaluated, other: &Evaluated) -> Ordering {
    one.cost_usd_month
        .cmp(&other.cost_usd_month)
        .then(one.wait().total_cmp(&other.wait()))
        .then(one.fleet.tasks.max.cmp(&other.fleet.tasks.max))
        .then(one.fleet.workers.cmp(&other.fleet.workers))
}

/// What put a candidate behind another one of the same cost.
fn tie_break(ahead: &Evaluated, behind: &Evaluated) -> Option<TieBreak> {
    if ahead.cost_usd_month != behind.cost_usd_month {
        return None;
    }
    Some(if ahead.wait().total_cmp(&behind.wait()).is_ne() {
        TieBreak::WaitP95
    } else if ahead.fleet.tasks.max != behind.fleet.tasks.max {
        TieBreak::TasksMax
    } else if ahead.fleet.workers != behind.fleet.workers {
        TieBreak::Workers
    } else {
        TieBreak::Listing
    })
}

/// Searches all candidates, one family after the other.
///
/// # Errors
/// When the base scenario or a candidate cannot be simulated.
pub fn plan(request: &PlanRequest) -> Result<Plan, InvalidScenario> {
    request.base.validate()?;
    let fleets = candidates(request);
    let families = families(request, &fleets);
    let found = families
        .iter()
        .map(|family| {
            let kin: Vec<&Fleet> = family.iter().map(|index| &fleets[*index]).collect();
            evaluate_family(request, &kin)
        })
        .collect::<Result<Vec<Vec<Evaluated>>, InvalidScenario>>()?;
    Ok(assemble(&families, found))
}

/// Puts what was found out, family by family, in order of merit; where nothing tells candidates apart, in that of the
/// axes.
pub fn assemble(families: &[Vec<usize>], found: Vec<Vec<Evaluated>>) -> Plan {
    let indices = families.iter().flatten();
    let mut indexed: Vec<(&usize, Evaluated)> = indices.zip(found.into_iter().flatten()).collect();
    indexed.sort_by_key(|(index, _)| **index);
    rank(
        indexed
            .into_iter()
            .map(|(_, candidate)| candidate)
            .collect(),
    )
}
