//! The nearest sizing that would pass: of those with the fewest variables changed, the cheapest.

use hcl::Value;
use serde::Serialize;
use simulator::capacity::capacity_per_hour;
use simulator::cost;
use simulator::platform::ALB_IDLE_TIMEOUT_S_MAX;
use simulator::replications::Interval;
use simulator::scenario::InvalidScenario;

use super::{Candidate, Cause, GateRequest, candidate, extras, regional, smallest, worker_memory};
use crate::judgement::{cores, parallel};
use crate::terraform::Configuration;

/// Variables that may change at once; more is another sizing, for `sizing plan`.
const CHANGES_MAX: usize = 3;
/// Candidates of one number of changes that are simulated, cheapest first.
const SIMULATED_MAX: usize = 48;
/// Seeds of the first look; whoever holds there is judged with all of them.
const SEEDS_FIRST: u32 = 3;

/// The nearest sizing that would pass.
#[derive(Clone, Debug, Serialize)]
pub struct Nearest {
    /// What to change.
    pub changes: Vec<Change>,
    /// Its monthly bill in dollars.
    pub cost_usd_month: Interval,
    /// Its wait's 95 % quantile in seconds.
    pub wait_p95_s: Interval,
    /// Candidates that touch every cause, looked at by formula or by simulation.
    pub looked_at: usize,
}

/// One variable with another value.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// The variable.
    pub variable: String,
    /// Its value now.
    pub from: Value,
    /// Its value then.
    pub to: Value,
}

/// A candidate that no formula refuses, with the least that it can cost.
struct Promising {
    configuration: Configuration,
    changes: Vec<(&'static str, Value)>,
    floor_usd: f64,
}

/// Looks for it, first among all single changes, then among pairs, then among triples.
pub(super) fn search(
    request: &GateRequest,
    causes: &[Cause],
) -> Result<Option<Nearest>, InvalidScenario> {
    let axes = axes(&request.after, causes);
    let mut looked_at = 0;
    for count in 1..=CHANGES_MAX {
        let mut sets = Vec::new();
        combine(&axes, count, &mut Vec::new(), &mut sets);
        // A cause that no change touches stays.
        sets.retain(|changes| causes.iter().all(|cause| touches(changes, &cause.key)));
        looked_at += sets.len();
        let mut promising: Vec<Promising> =
            parallel(cores(), &sets, |changes| look(request, changes))?
                .into_iter()
                .flatten()
                .collect();
        promising.sort_by(|one, other| one.floor_usd.total_cmp(&other.floor_usd));
        promising.truncate(SIMULATED_MAX);
        let held = parallel(cores(), &promising, |one| {
            Ok::<_, InvalidScenario>(candidate(request, &one.configuration, SEEDS_FIRST)?.0.pass)
        })?;
        let mut best: Option<(&Promising, Candidate)> = None;
        for (one, _) in promising.iter().zip(held).filter(|(_, held)| *held) {
            // Candidates come by their floors: nobody after this one can be cheaper than the best.
            if best
                .as_ref()
                .is_some_and(|(_, best)| best.total_usd().mean <= one.floor_usd)
            {
                break;
            }
            let (judged, _) = candidate(request, &one.configuration, request.replications)?;
            let cheaper = best
                .as_ref()
                .is_none_or(|(_, best)| judged.total_usd().mean < best.total_usd().mean);
            if judged.pass && cheaper {
                best = Some((one, judged));
            }
        }
        if let Some((one, judged)) = best {
            return Ok(Some(nearest(request, one, &judged, looked_at)));
        }
    }
    Ok(None)
}

fn nearest(
    request: &GateRequest,
    one: &Promising,
    judged: &Candidate,
    looked_at: usize,
) -> Nearest {
    let changes = one
        .changes
        .iter()
        .map(|(variable, to)| Change {
            variable: (*variable).to_owned(),
            from: request
                .after
                .value(variable)
                .cloned()
                .unwrap_or(Value::Null),
            to: to.clone(),
        })
        .collect();
    Nearest {
        changes,
        cost_usd_month: judged.total_usd(),
        wait_p95_s: judged.wait_p95_s,
        looked_at,
    }
}

/// The variables that may heal one of these causes, each with the values that it may take, its own left out.
///
/// What a person decides for other reasons than load (Multi-AZ, the instruction set, the quota) stays: the gate
/// must not buy a pass with the standby.
fn axes(configuration: &Configuration, causes: &[Cause]) -> Vec<(&'static str, Vec<Value>)> {
    let numbers = |values: &[u64]| values.iter().copied().map(Value::from).collect::<Vec<_>>();
    let words = |values: &[&str]| values.iter().copied().map(Value::from).collect::<Vec<_>>();
    let tasks = numbers(&[1, 2, 3, 4, 5, 6, 8, 10, 12, 16]);
    let all = [
        (
            "generation_workers",
            numbers(&[1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256]),
        ),
        ("task_cpu", numbers(&[256, 512, 1024, 2048, 4096])),
        ("task_memory_mib", numbers(&[512, 1024, 2048, 4096, 8192])),
        ("tasks_min", tasks.clone()),
        ("tasks_desired", tasks.clone()),
        ("tasks_max", tasks),
        (
            "autoscaling_metric",
            words(&["none", "cpu", "memory", "queue_depth"]),
        ),
        ("cache_mode", words(&["elasticache", "sidecar", "none"])),
        ("nat_gateways", numbers(&[0, 1, 2])),
        (
            "alb_idle_timeout_s",
            numbers(&[960, 1200, ALB_IDLE_TIMEOUT_S_MAX.into()]),
        ),
        ("deregistration_delay_s", numbers(&[30, 60, 300, 900, 1200])),
        ("stop_timeout_s", numbers(&[30, 60, 120])),
        ("generation_mode", words(&["queue"])),
        ("deployment_strategy", words(&["rolling"])),
        ("deployment_maximum_percent", numbers(&[150, 200])),
        ("deployment_minimum_healthy_percent", numbers(&[0, 50, 100])),
        ("database_read_replicas", numbers(&[0, 1])),
        ("cache_replicas", numbers(&[0, 1])),
        ("waf_enabled", vec![Value::from(false)]),
        ("spot_percent", numbers(&[0])),
        ("cloudfront_enabled", vec![Value::from(false)]),
        ("database_pool_max", numbers(&[3, 5, 10])),
        (
            "db_instance_class",
            words(&[
                "db.t4g.micro",
                "db.t4g.small",
                "db.t4g.medium",
                "db.t4g.large",
                "db.m7g.large",
            ]),
        ),
    ];
    let heals = |name: &str| {
        causes
            .iter()
            .any(|cause| remedies(&cause.key).contains(&name))
    };
    all.into_iter()
        .filter(|(name, _)| heals(name))
        .map(|(name, mut values)| {
            values.retain(|value| configuration.value(name) != Some(value));
            (name, values)
        })
        .collect()
}

fn touches(changes: &[(&'static str, Value)], cause: &str) -> bool {
    let remedies = remedies(cause);
    changes.iter().any(|(name, _)| remedies.contains(name))
}

/// The variables that may heal a cause.
fn remedies(cause: &str) -> &'static [&'static str] {
    match cause {
        "budget_usd_month" => &[
            "nat_gateways",
            "tasks_min",
            "tasks_desired",
            "tasks_max",
            "task_cpu",
            "task_memory_mib",
            "generation_workers",
            "cache_mode",
            "db_instance_class",
            "database_read_replicas",
            "cache_replicas",
            "waf_enabled",
        ],
        "deployment_room" => &[
            "deployment_maximum_percent",
            "deployment_minimum_healthy_percent",
            "tasks_min",
            "tasks_desired",
        ],
        "worker_memory" => &["generation_workers", "task_memory_mib", "task_cpu"],
        "alb_idle_timeout" => &["alb_idle_timeout_s", "generation_mode"],
        "cloudfront_timeout" => &["cloudfront_enabled", "generation_mode"],
        "deregistration_delay" => &["deregistration_delay_s", "generation_mode"],
        "stop_timeout" => &["stop_timeout_s", "generation_mode"],
        "spot" => &["spot_percent", "generation_mode"],
        "generation_duration" => &["generation_mode"],
        "database_connections" => &[
            "database_pool_max",
            "deployment_maximum_percent",
            "tasks_min",
            "tasks_desired",
            "tasks_max",
            "db_instance_class",
        ],
        "shared_cache" => &["cache_mode", "tasks_min", "tasks_desired", "tasks_max"],
        "vcpu_quota" => &[
            "tasks_min",
            "tasks_desired",
            "tasks_max",
            "task_cpu",
            "task_memory_mib",
            "deployment_strategy",
            "generation_workers",
        ],
        // Waits, losses and throughput.
        _ => &[
            "generation_workers",
            "task_cpu",
            "task_memory_mib",
            "tasks_min",
            "tasks_desired",
            "tasks_max",
            "autoscaling_metric",
            "generation_mode",
            "alb_idle_timeout_s",
        ],
    }
}

/// Every way to change `count` of the variables.
fn combine(
    axes: &[(&'static str, Vec<Value>)],
    count: usize,
    chosen: &mut Vec<(&'static str, Value)>,
    sets: &mut Vec<Vec<(&'static str, Value)>>,
) {
    if count == 0 {
        sets.push(chosen.clone());
        return;
    }
    for (index, (name, values)) in axes.iter().enumerate() {
        for value in values {
            chosen.push((name, value.clone()));
            combine(&axes[index + 1..], count - 1, chosen, sets);
            chosen.pop();
        }
    }
}

/// Refuses what a formula can refuse: values that do not fit together, findings, too little capacity, too
/// high a bill of the fewest tasks.
fn look(
    request: &GateRequest,
    changes: &[(&'static str, Value)],
) -> Result<Option<Promising>, InvalidScenario> {
    let Ok(configuration) = request.after.with(changes) else {
        return Ok(None);
    };
    let scenario = request
        .requirements
        .scenario(configuration.fleet(), request.profile.clone())?;
    let tasks = &scenario.fleet.tasks;
    let extra_usd: f64 = extras::lines(&configuration)
        .iter()
        .map(|(_, usd)| usd)
        .sum();
    let fewest = cost::monthly(&scenario.fleet, tasks.min.into())?;
    let floor_usd = regional::cost(&configuration, fewest).total().as_usd() + extra_usd;
    let budget = scenario.slo.budget_usd_month;
    if budget.is_some_and(|budget| floor_usd > budget.as_usd()) {
        return Ok(None);
    }
    let carried = smallest(&capacity_per_hour(&scenario, tasks.max.into()));
    if carried < scenario.workload.arrivals.mean_per_hour()
        || worker_memory(&configuration, &request.profile).is_some()
        || !configuration.holds()
    {
        return Ok(None);
    }
    Ok(Some(Promising {
        configuration,
        changes: changes.to_vec(),
        floor_usd,
    }))
}
