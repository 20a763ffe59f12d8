//! `sizing plan`: what to search, and what to say when nothing can be found.

use simulator::plan::{Plan, PlanRequest};
use simulator::scenario::{InvalidScenario, Scenario};

use crate::command_line::AxisArguments;

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
    let carried: Option<Vec<f64>> = plan
        .rejected
        .iter()
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
            crate::plural(plan.rejected.len() as u64, "candidate"),
        ),
        remedy: "lower the load, or widen --workers, --tasks or --sizes".to_owned(),
    })
}
