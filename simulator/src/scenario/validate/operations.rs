//! The checks of what happens to a fleet while it works.

use super::{Checked, Duration, Fleet, GENERATION_MAX, count, fail, span};
use crate::scenario::{Deployments, JobStore, Mode, Tasks};

pub(super) fn fleet(fleet: &Fleet) -> Checked {
    if fleet.job_store == JobStore::InProcess && fleet.mode == Mode::Sync {
        return fail(
            "fleet.job_store",
            "a sync request has no job to store",
            "leave it out, or set mode to \"queue\"",
        );
    }
    if let Some(timeout) = fleet.worker_timeout {
        span(
            "fleet.worker_timeout",
            timeout,
            Duration::from_secs(1),
            GENERATION_MAX,
        )?;
    }
    fleet
        .deployments
        .map_or(Ok(()), |stated| deployments(stated, fleet.tasks))
}

fn deployments(stated: Deployments, tasks: Tasks) -> Checked {
    span(
        "fleet.deployments.every",
        stated.every,
        Duration::from_secs(60),
        Duration::from_hours(24 * 366),
    )?;
    count(
        "fleet.deployments.minimum_healthy_percent",
        stated.minimum_healthy_percent,
        0,
        100,
    )?;
    count(
        "fleet.deployments.maximum_percent",
        stated.maximum_percent,
        100,
        1000,
    )?;
    let stuck = (tasks.min..=tasks.max).find(|desired| {
        stated.tasks_max(*desired) <= *desired && stated.tasks_min(*desired) >= *desired
    });
    match stuck {
        Some(desired) => fail(
            "fleet.deployments.maximum_percent",
            format!(
                "with {desired} desired tasks, a deployment within {} to {} % may neither start nor stop one",
                stated.minimum_healthy_percent, stated.maximum_percent
            ),
            "raise it, or lower minimum_healthy_percent",
        ),
        None => Ok(()),
    }
}
