//! The checks of what happens to a fleet while it works.

use super::{Checked, Duration, Fleet, GENERATION_MAX, count, fail, span, within};
use crate::scenario::{Autoscaling, DeploymentStrategy, Deployments, JobStore, Mode, Tasks};

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
    async_workers(fleet)?;
    misfortunes(fleet)?;
    fleet
        .deployments
        .map_or(Ok(()), |stated| deployments(stated, fleet.tasks))
}

fn misfortunes(fleet: &Fleet) -> Checked {
    if let Some(limit) = fleet.upstream_requests_per_minute {
        within("fleet.upstream_requests_per_minute", limit, 0.001, 1e9)?;
    }
    if let Some(limit) = fleet.upstream_tokens_per_minute {
        within("fleet.upstream_tokens_per_minute", limit, 1.0, 1e12)?;
    }
    if let Some(spot) = fleet.spot {
        within(
            "fleet.spot.interruptions_per_task_day",
            spot.interruptions_per_task_day,
            0.0,
            1000.0,
        )?;
        count("fleet.spot.discount_percent", spot.discount_percent, 0, 90)?;
    }
    if let Some(loss) = fleet.az_loss {
        let year = Duration::from_hours(24 * 366);
        span("fleet.az_loss.at", loss.at, Duration::ZERO, year)?;
        span("fleet.az_loss.lasts", loss.lasts, Duration::ZERO, year)?;
        count("fleet.az_loss.zones", loss.zones, 2, 6)?;
    }
    Ok(())
}

/// Steps go up, so that the last one that is reached counts.
pub(super) fn steps(autoscaling: &Autoscaling) -> Checked {
    const KEY: &str = "fleet.autoscaling.steps";
    for step in &autoscaling.steps {
        within(KEY, step.above, 0.0, 1e9)?;
        count(KEY, step.add, 1, 5_000)?;
    }
    if !autoscaling
        .steps
        .is_sorted_by(|one, next| one.above < next.above)
    {
        return fail(
            KEY,
            "its steps do not go up",
            "write them with ascending `above`, the first from 0",
        );
    }
    Ok(())
}

fn async_workers(fleet: &Fleet) -> Checked {
    let Some(settings) = fleet.async_workers() else {
        return match fleet.gunicorn {
            Some(_) => fail(
                "fleet.gunicorn",
                "says what async workers do, but the workers are sync",
                "leave it out, or set worker_model to \"async\"",
            ),
            None => Ok(()),
        };
    };
    if fleet.mode == Mode::Queue && fleet.job_store == JobStore::Durable {
        return fail(
            "fleet.worker_model",
            "async workers hold their jobs in process",
            "set job_store to \"in_process\", or mode to \"sync\"",
        );
    }
    // Every worker is a process with its own state.
    count("fleet.workers", fleet.workers, 1, 1000)?;
    count(
        "fleet.gunicorn.pool_connections_max",
        settings.pool_connections_max,
        1,
        10_000,
    )?;
    if let Some(most) = settings.db_connections_max {
        count("fleet.gunicorn.db_connections_max", most, 1, 1_000_000)?;
    }
    within("fleet.gunicorn.pdf_cpu_s", settings.pdf_cpu_s, 0.0, 3600.0)?;
    count(
        "fleet.gunicorn.max_requests",
        settings.max_requests,
        0,
        1_000_000_000,
    )?;
    count(
        "fleet.gunicorn.max_requests_jitter",
        settings.max_requests_jitter,
        0,
        1_000_000_000,
    )?;
    within(
        "fleet.gunicorn.other_requests_per_s",
        settings.other_requests_per_s,
        0.0,
        1e5,
    )?;
    span(
        "fleet.gunicorn.worker_boot",
        settings.worker_boot,
        Duration::from_millis(1),
        Duration::from_hours(1),
    )
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
    span(
        "fleet.deployments.bake",
        stated.bake,
        Duration::ZERO,
        Duration::from_hours(24),
    )?;
    if stated.strategy == DeploymentStrategy::BlueGreen {
        // The bounds are those of rolling deployments: two whole fleets are there meanwhile.
        return Ok(());
    }
    if !stated.bake.is_zero() {
        return fail(
            "fleet.deployments.bake",
            "a rolling deployment bakes nothing",
            "leave it out, or set strategy to \"blue_green\"",
        );
    }
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
