//! `sizing plan`: what to search, and what to say when nothing can be found.

mod refusals;

use std::path::Path;

use simulator::plan::{Evaluated, Plan, PlanRequest};
use simulator::platform::Platform;
use simulator::scenario::{InvalidScenario, Scenario};

use crate::command_line::AxisArguments;
use crate::terraform::{Configuration, TerraformError};

pub(crate) use refusals::{refusals, worker_memory};

/// The search around `base` along the axes that the user named, and the default grid of the others.
pub fn request(base: Scenario, axes: &AxisArguments, replications: u32) -> PlanRequest {
    let mut request = PlanRequest {
        replications,
        ..PlanRequest::wide(base)
    };
    stated(&mut request.pairs, axes.sizes.as_ref());
    stated(&mut request.workers, axes.workers.as_ref());
    stated(&mut request.tasks, axes.tasks.as_ref());
    stated(&mut request.autoscaling, axes.autoscaling.as_ref());
    stated(&mut request.nat_gateways, axes.nat_gateways.as_ref());
    stated(&mut request.cache_modes, axes.cache_modes.as_ref());
    stated(&mut request.architectures, axes.architectures.as_ref());
    request
}

fn stated<T: Clone + PartialEq>(axis: &mut Vec<T>, values: Option<&Vec<T>>) {
    if let Some(values) = values {
        axis.clear();
        for value in values {
            if !axis.contains(value) {
                axis.push(value.clone());
            }
        }
    }
}

/// Refuses a fleet to search around that Terraform itself would refuse; `file` is what the error calls it.
///
/// # Errors
/// When a value of the fleet is none that the root module accepts.
pub fn check(base: &Scenario, file: &Path) -> Result<(), TerraformError> {
    if base.fleet.platform != Platform::Fargate {
        return Ok(());
    }
    let refused = |error| match error {
        TerraformError::Value { key, detail, .. } => TerraformError::Value {
            path: file.to_owned(),
            key,
            detail,
        },
        other => other,
    };
    Configuration::of_fleet(&base.fleet, None, None)
        .map(|_| ())
        .map_err(refused)
}

/// Why a plan answers nothing, when it does not: there is no candidate, or none that carries the load.
pub fn unanswerable(plan: &Plan, request: &PlanRequest) -> Option<InvalidScenario> {
    if !plan.accepted.is_empty() {
        return None;
    }
    if plan.rejected.is_empty() {
        return Some(InvalidScenario {
            key: "tasks".to_owned(),
            problem:
                "no candidate: autoscaling goes with a range of tasks, none with a fixed count"
                    .to_owned(),
            remedy: "name at least one of each kind that fit together".to_owned(),
        });
    }
    // What breaks a finding was not asked how much it carries.
    let bounds = ["capacity_per_hour", "budget_usd_month", "shared_cache"];
    let bounded = |candidate: &Evaluated| {
        let mut failures = candidate.failures.iter();
        failures.any(|failure| bounds.contains(&failure.key.as_str()))
    };
    let asked: Vec<&Evaluated> = plan
        .rejected
        .iter()
        .filter(|candidate| candidate.simulated || bounded(candidate))
        .collect();
    if asked.is_empty() {
        return None;
    }
    let count = asked.len() as u64;
    let carried: Option<Vec<f64>> = asked
        .into_iter()
        .map(|candidate| {
            let short = candidate.failures.iter();
            short
                .filter(|failure| failure.key == "capacity_per_hour")
                .map(|failure| failure.actual)
                .next()
        })
        .collect();
    let most = carried?.into_iter().fold(0.0, f64::max);
    Some(InvalidScenario {
        key: "workload.arrivals".to_owned(),
        problem: format!(
            "{:.1} generations an hour, and the largest of {} carries {most:.1}",
            request.base.workload.arrivals.mean_per_hour(),
            crate::plural(count, "candidate"),
        ),
        remedy: "lower the load, or widen --workers, --tasks or --sizes".to_owned(),
    })
}
