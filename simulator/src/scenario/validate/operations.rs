//! The checks of what happens to a fleet while it works.

use super::{Checked, Duration, Fleet, GENERATION_MAX, count, fail, span, within};
use crate::platform::Platform;
use crate::scenario::{
    Autoscaling, CacheMode, DeploymentStrategy, Deployments, HealthCheck, JobStore, Mode, Redis,
    Tasks, WorkerModel,
};

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
    stores(fleet)?;
    fleet.health_check.map_or(Ok(()), health_check)?;
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
    if fleet.platform != Platform::Fargate {
        for (key, is_stated) in [
            ("fleet.spot", fleet.spot.is_some()),
            ("fleet.az_loss", fleet.az_loss.is_some()),
        ] {
            if is_stated {
                let detail = format!("is Fargate's, and the fleet runs on {}", fleet.platform);
                return fail(key, detail, "take it out, or leave fleet.platform out");
            }
        }
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

fn stores(fleet: &Fleet) -> Checked {
    if let Some(most) = fleet.db_connections_max {
        count("fleet.db_connections_max", most, 1, 1_000_000)?;
    }
    if let Some(pool) = fleet.db_pool_connections {
        const KEY: &str = "fleet.db_pool_connections";
        count(KEY, pool, 1, 10_000)?;
        if fleet.worker_model == WorkerModel::Async {
            return fail(
                KEY,
                "async workers open a connection for each generation",
                "leave it out, or set worker_model to \"sync\"",
            );
        }
        let most = fleet.db_connections();
        if pool > most {
            return fail(
                KEY,
                format!("a single task opens {pool} connections, and the database takes {most}"),
                "lower it, or take a larger db_instance_class",
            );
        }
        starts_again(fleet, KEY)?;
    }
    let Some(stated) = fleet.redis else {
        return Ok(());
    };
    if fleet.cache_mode != CacheMode::Elasticache {
        return fail(
            "fleet.redis",
            "describes the managed node, and there is none",
            "leave it out, or set cache_mode to \"elasticache\"",
        );
    }
    redis(stated)?;
    starts_again(fleet, "fleet.redis")
}

/// A task that finds no connection starts again after this time, which must pass.
fn starts_again(fleet: &Fleet, key: &str) -> Checked {
    if fleet.start_delay >= Duration::from_secs(1) {
        return Ok(());
    }
    fail(
        "fleet.start_delay",
        format!("{} is too short beside `{key}`", fleet.start_delay),
        "write at least \"1s\"",
    )
}

fn redis(stated: Redis) -> Checked {
    within("fleet.redis.memory_mib", stated.memory_mib, 1.0, 1e6)?;
    within("fleet.redis.session_kib", stated.session_kib, 0.001, 1e6)?;
    count(
        "fleet.redis.connections_per_task",
        stated.connections_per_task,
        1,
        10_000,
    )?;
    count(
        "fleet.redis.connections_max",
        stated.connections_max,
        stated.connections_per_task,
        1_000_000,
    )?;
    span(
        "fleet.redis.session_lasts",
        stated.session_lasts,
        Duration::from_secs(1),
        Duration::from_hours(24 * 366),
    )
}

fn health_check(stated: HealthCheck) -> Checked {
    // The ranges of the load balancer's own settings.
    let seconds = Duration::from_secs;
    span(
        "fleet.health_check.interval",
        stated.interval,
        seconds(5),
        seconds(300),
    )?;
    span(
        "fleet.health_check.timeout",
        stated.timeout,
        seconds(2),
        seconds(120),
    )?;
    if stated.timeout >= stated.interval {
        return fail(
            "fleet.health_check.timeout",
            format!(
                "{} is not shorter than the interval of {}",
                stated.timeout, stated.interval
            ),
            "shorten it, or lengthen the interval",
        );
    }
    count(
        "fleet.health_check.unhealthy_count",
        stated.unhealthy_count,
        2,
        10,
    )?;
    span(
        "fleet.health_check.grace",
        stated.grace,
        Duration::ZERO,
        seconds(86_400),
    )?;
    within("fleet.health_check.cpu_s", stated.cpu_s, 0.0, 60.0)
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
