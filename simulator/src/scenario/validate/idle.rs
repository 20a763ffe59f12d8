//! The checks of choices, limits and events that nothing in the scenario lets act: whoever states one expects it to
//! change something.
//!
//! A value that is the default is no choice, for a scenario is written back with every key stated. What describes the
//! service, and what Terraform sets whether it acts or not (`poll_every`, the load balancer's times, task protection,
//! the targets and cooldowns of autoscaling), may stand idle.

use super::{Checked, Duration, Fleet, Scenario, Workload, fail};
use crate::scenario::{
    Arrivals, Bill, DeploymentStrategy, JobStore, LoadBalancing, Metric, Mode, StopOrder,
    UpstreamCall, WorkerModel, defaults,
};

/// A key that is stated and cannot act: what is wrong, and what to do.
type Idle = (bool, &'static str, &'static str, &'static str);

pub(super) fn scenario(scenario: &Scenario) -> Checked {
    let Scenario {
        workload,
        fleet,
        horizon,
        ..
    } = scenario;
    let found = held_jobs(workload, fleet)
        .into_iter()
        .chain(upstream(workload, fleet))
        .chain(scaling(fleet))
        .chain(recycling(fleet))
        .chain([connections(fleet), bill(&scenario.bill)])
        .find(|(is_idle, ..)| *is_idle);
    if let Some((_, key, problem, remedy)) = found {
        return fail(key, problem, remedy);
    }
    within_the_run(workload, fleet, *horizon)
}

/// What depends on where a generation lives until it is done.
fn held_jobs(workload: &Workload, fleet: &Fleet) -> [Idle; 4] {
    let is_sync = fleet.mode == Mode::Sync;
    let is_durable = !is_sync && fleet.job_store == JobStore::Durable;
    [
        (
            workload.client_gives_up_after.is_some() && !is_sync,
            "workload.client_gives_up_after",
            "in queue mode no client waits for its answer",
            "leave it out, or set fleet.mode to \"sync\"",
        ),
        (
            workload.attempts_max != defaults::attempts_max() && !is_durable,
            "workload.attempts_max",
            "only a durable job outlives its worker and is tried again",
            "leave it out, or set fleet.mode to \"queue\" and fleet.job_store to \"durable\"",
        ),
        (
            fleet.load_balancing != LoadBalancing::default() && is_durable,
            "fleet.load_balancing",
            "workers take durable jobs from the queue, whichever task was asked for them",
            "leave it out, or set mode to \"sync\"",
        ),
        (
            fleet.stop_order != StopOrder::default() && !is_sync,
            "fleet.stop_order",
            "in queue mode no open request has to be drained before SIGTERM",
            "leave it out, or set mode to \"sync\"",
        ),
    ]
}

/// What depends on how the AI provider is called, and on its limits.
fn upstream(workload: &Workload, fleet: &Fleet) -> [Idle; 2] {
    [
        (
            workload.tokens_per_generation != defaults::tokens_per_generation()
                && fleet.upstream_tokens_per_minute.is_none(),
            "workload.tokens_per_generation",
            "nothing limits tokens",
            "leave it out, or set fleet.upstream_tokens_per_minute; bill.openai has the tokens that are paid for",
        ),
        (
            fleet.upstream_keep_alive && fleet.upstream_call == UpstreamCall::Background,
            "fleet.upstream_keep_alive",
            "background calls keep no connection open",
            "leave it out, or set upstream_call to \"blocking\"",
        ),
    ]
}

/// What depends on tasks that come and go.
fn scaling(fleet: &Fleet) -> [Idle; 3] {
    let autoscaling = &fleet.autoscaling;
    let is_blue_green = fleet
        .deployments
        .is_some_and(|stated| stated.strategy == DeploymentStrategy::BlueGreen);
    let has_bounds = fleet.deployments.is_some_and(|stated| {
        stated.minimum_healthy_percent != defaults::minimum_healthy_percent()
            || stated.maximum_percent != defaults::maximum_percent()
    });
    [
        (
            !autoscaling.steps.is_empty() && autoscaling.metrics.is_empty(),
            "fleet.autoscaling.steps",
            "no metric is above or below them",
            "leave them out, or name a metric",
        ),
        (
            !defaults::are_usual_requests(&autoscaling.requests_per_task_target)
                && !autoscaling.metrics.contains(&Metric::Requests),
            "fleet.autoscaling.requests_per_task_target",
            "no task is started or stopped by requests",
            "leave it out, or name \"requests\" in metric",
        ),
        (
            is_blue_green && has_bounds,
            "fleet.deployments",
            "minimum_healthy_percent and maximum_percent bound rolling deployments, and these are blue/green",
            "leave them out, or set strategy to \"rolling\"",
        ),
    ]
}

fn connections(fleet: &Fleet) -> Idle {
    let opens_any = fleet.db_pool_connections.is_some() || fleet.worker_model == WorkerModel::Async;
    (
        fleet.db_connections_max.is_some() && !opens_any,
        "fleet.db_connections_max",
        "no task opens connections that would count",
        "leave it out, or state db_pool_connections",
    )
}

/// What depends on workers that are replaced after so many requests.
fn recycling(fleet: &Fleet) -> [Idle; 2] {
    let stated = fleet.gunicorn.filter(|settings| settings.max_requests == 0);
    [
        (
            stated.is_some_and(|settings| settings.max_requests_jitter > 0),
            "fleet.gunicorn.max_requests_jitter",
            "spreads max_requests, and no worker is replaced after any",
            "leave it out, or state max_requests",
        ),
        (
            stated.is_some_and(|settings| settings.other_requests_per_s > 0.0),
            "fleet.gunicorn.other_requests_per_s",
            "counts towards max_requests, and no worker is replaced after any",
            "leave it out, or state max_requests",
        ),
    ]
}

fn bill(bill: &Bill) -> Idle {
    (
        bill.on.is_some() && bill.postgres_major.is_none(),
        "bill.on",
        "decides on extended support alone, and no PostgreSQL version is named",
        "leave it out, or state postgres_major",
    )
}

/// Every dated event comes before the run ends.
fn within_the_run(workload: &Workload, fleet: &Fleet, horizon: Duration) -> Checked {
    let first_arrival = match &workload.arrivals {
        Arrivals::Trace { at } => at.first().copied(),
        _ => None,
    };
    let dated = [
        (
            "workload.arrivals.at",
            "the first generation",
            first_arrival,
        ),
        (
            "fleet.az_loss.at",
            "the zone's failure",
            fleet.az_loss.map(|loss| loss.at),
        ),
        (
            "fleet.deployments.every",
            "the first deployment",
            fleet.deployments.map(|stated| stated.every),
        ),
    ];
    for (key, what, at) in dated {
        if let Some(at) = at.filter(|at| *at >= horizon) {
            return fail(
                key,
                format!("{what} comes after {at}, and the run ends after {horizon}"),
                "write an earlier time, or lengthen the horizon",
            );
        }
    }
    Ok(())
}
