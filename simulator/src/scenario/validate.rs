//! The checks of a scenario: every number, and every pair of numbers that must fit together.

mod idle;
mod operations;

use super::{
    Arrivals, Assumption, Case, Fleet, GenerationLength, InvalidScenario, Profile, Scenario,
    Workload,
};
use crate::platform::ALB_IDLE_TIMEOUT_S_MAX;
use crate::prices::{fargate_memories_gib, fargate_pairs, price_book};
use crate::slo::Slo;
use crate::time::Duration;

type Checked = Result<(), InvalidScenario>;

/// More submissions than this, all of them waiting, would take more than six gigabytes to hold; a year of the Scale
/// stage at its highest has 36.5 million.
const SUBMISSIONS_MAX: f64 = 5e7;
/// A generation shorter than this would be a request, not a generation; the CPU model divides by its length.
const GENERATION_MIN: Duration = Duration::from_millis(1);
const GENERATION_MAX: Duration = Duration::from_hours(24 * 30);
const WORKERS_MAX: u32 = 100_000;
const TASKS_MAX: u32 = 5_000;

pub(super) fn scenario(scenario: &Scenario) -> Checked {
    if scenario.horizon.is_zero() {
        return fail(
            "horizon",
            "a run of no time shows nothing",
            "write a duration such as \"24h\"",
        );
    }
    if scenario.horizon <= scenario.warmup {
        return fail(
            "horizon",
            format!(
                "{} ends before the warm-up of {} does",
                scenario.horizon, scenario.warmup
            ),
            "make the horizon longer or the warmup shorter",
        );
    }
    workload(&scenario.workload, scenario.horizon)?;
    profile(&scenario.profile, "profile.")?;
    fleet(&scenario.fleet)?;
    idle::scenario(scenario)?;
    slo(&scenario.slo, "slo.")?;
    crate::cost::check_bill(&scenario.bill)?;
    let limit_mib = scenario.fleet.memory_gib * 1024.0;
    if scenario.profile.memory_base_mib >= limit_mib {
        return fail(
            "fleet.memory_gib",
            format!(
                "an idle task alone takes {} MiB of the {limit_mib} MiB",
                scenario.profile.memory_base_mib
            ),
            "give the task more memory",
        );
    }
    Ok(())
}

fn workload(workload: &Workload, horizon: Duration) -> Checked {
    arrivals(&workload.arrivals, horizon)?;
    generation(&workload.generation)?;
    if workload.poll_every < Duration::from_millis(1) {
        return fail(
            "workload.poll_every",
            "polls without a gap",
            "write at least \"1ms\"",
        );
    }
    count(
        "workload.steps_per_generation",
        workload.steps_per_generation,
        1,
        1000,
    )?;
    count("workload.attempts_max", workload.attempts_max, 1, 1000)?;
    count(
        "workload.tokens_per_generation",
        workload.tokens_per_generation,
        0,
        1_000_000_000,
    )?;
    if let Some(cpu_s) = workload.db_cpu_s_per_generation {
        within("workload.db_cpu_s_per_generation", cpu_s, 0.0, 86_400.0)?;
    }
    if let Some(patience) = workload.client_gives_up_after {
        span(
            "workload.client_gives_up_after",
            patience,
            Duration::from_millis(1),
            GENERATION_MAX,
        )?;
    }
    Ok(())
}

fn arrivals(arrivals: &Arrivals, horizon: Duration) -> Checked {
    const KEY: &str = "workload.arrivals";
    let (peak_per_hour, per_day) = match arrivals {
        Arrivals::Poisson { per_hour } | Arrivals::Deterministic { per_hour } => {
            positive("workload.arrivals.per_hour", *per_hour)?;
            (*per_hour, per_hour * 24.0)
        }
        Arrivals::Daily { per_hour, hourly } => {
            positive("workload.arrivals.per_hour", *per_hour)?;
            let peak_per_hour = per_hour * hours_of_day(hourly)?;
            (peak_per_hour, per_hour * hourly.iter().sum::<f64>())
        }
        Arrivals::Users {
            users,
            generations_per_user_day,
            hourly,
        } => {
            assumption("workload.arrivals.users", users)?;
            assumption(
                "workload.arrivals.generations_per_user_day",
                generations_per_user_day,
            )?;
            let mut most = (0.0_f64, 0.0_f64);
            for case in Case::ALL {
                let weights = hourly.at(case);
                let peak_share = hours_of_day(weights)? / weights.iter().sum::<f64>();
                let per_day = users.at(case) * generations_per_user_day.at(case);
                most = (most.0.max(per_day * peak_share), most.1.max(per_day));
            }
            most
        }
        Arrivals::Trace { at } => {
            if !at.is_sorted() {
                return fail(
                    "workload.arrivals.at",
                    "goes back in time",
                    "sort it ascending",
                );
            }
            return Ok(());
        }
    };
    let hours = horizon.as_hours_f64();
    let submissions = (peak_per_hour * hours).min(per_day * (hours / 24.0).ceil());
    if submissions > SUBMISSIONS_MAX {
        return fail(
            KEY,
            format!("about {submissions:.0} submissions in one run"),
            "stay below 50000000: lower the rate or shorten the horizon",
        );
    }
    Ok(())
}

/// Checks the hours of a day; gives the largest.
fn hours_of_day(hourly: &[f64]) -> Result<f64, InvalidScenario> {
    const KEY: &str = "workload.arrivals.hourly";
    if hourly.len() != 24 {
        fail(
            KEY,
            format!("{} multipliers", hourly.len()),
            "write 24, one per hour of the day",
        )?;
    }
    for multiplier in hourly {
        within(KEY, *multiplier, 0.0, 1e6)?;
    }
    let peak = hourly.iter().copied().fold(0.0, f64::max);
    if peak <= 0.0 {
        fail(
            KEY,
            "every hour is empty",
            "give at least one hour a multiplier above 0",
        )?;
    }
    Ok(peak)
}

fn assumption(key: &str, assumed: &Assumption<f64>) -> Checked {
    for case in Case::ALL {
        positive(key, *assumed.at(case))?;
    }
    if assumed.low <= assumed.mid && assumed.mid <= assumed.high {
        return Ok(());
    }
    fail(
        key,
        format!(
            "{}, {}, {} is no interval",
            assumed.low, assumed.mid, assumed.high
        ),
        "write low <= mid <= high",
    )
}

fn generation(generation: &GenerationLength) -> Checked {
    let length = |key: &str, length: Duration| {
        if (GENERATION_MIN..=GENERATION_MAX).contains(&length) {
            return Ok(());
        }
        fail(
            key,
            format!("a generation of {length}"),
            "write a duration from \"1ms\" to \"720h\"",
        )
    };
    match generation {
        GenerationLength::Deterministic { length: stated } => {
            length("workload.generation.length", *stated)
        }
        GenerationLength::Exponential { mean } => length("workload.generation.mean", *mean),
        GenerationLength::Uniform { min, max } => {
            length("workload.generation.min", *min)?;
            length("workload.generation.max", *max)?;
            if min > max {
                return fail(
                    "workload.generation.min",
                    format!("{min} is longer than the max of {max}"),
                    "swap them",
                );
            }
            Ok(())
        }
        GenerationLength::Lognormal { median, p95 } => {
            length("workload.generation.median", *median)?;
            length("workload.generation.p95", *p95)?;
            if median > p95 {
                return fail(
                    "workload.generation.median",
                    format!("{median} is longer than the p95 of {p95}"),
                    "swap them",
                );
            }
            Ok(())
        }
        GenerationLength::Trace { lengths } => {
            if lengths.is_empty() {
                return fail(
                    "workload.generation.lengths",
                    "an empty trace",
                    "write at least one length",
                );
            }
            lengths
                .iter()
                .try_for_each(|stated| length("workload.generation.lengths", *stated))
        }
    }
}

pub(super) fn profile(profile: &Profile, prefix: &str) -> Checked {
    let key = |name: &str| format!("{prefix}{name}");
    within(
        &key("cpu_s_per_generation"),
        profile.cpu_s_per_generation,
        0.0,
        86_400.0,
    )?;
    within(&key("memory_base_mib"), profile.memory_base_mib, 0.0, 1e6)?;
    within(
        &key("memory_per_generation_kib"),
        profile.memory_per_generation_kib,
        0.0,
        1e9,
    )?;
    within(&key("cpu_s_per_poll"), profile.cpu_s_per_poll, 0.0, 1000.0)
}

fn fleet(fleet: &Fleet) -> Checked {
    size(fleet)?;
    count("fleet.workers", fleet.workers, 1, WORKERS_MAX)?;
    let tasks = fleet.tasks;
    count("fleet.tasks.min", tasks.min, 1, TASKS_MAX)?;
    count("fleet.tasks.max", tasks.max, 1, TASKS_MAX)?;
    if !(tasks.min..=tasks.max).contains(&tasks.desired) {
        return fail(
            "fleet.tasks.desired",
            format!(
                "{} is not between the min of {} and the max of {}",
                tasks.desired, tasks.min, tasks.max
            ),
            "write min <= desired <= max",
        );
    }
    let seconds = Duration::from_secs;
    span(
        "fleet.start_delay",
        fleet.start_delay,
        Duration::ZERO,
        seconds(86_400),
    )?;
    span(
        "fleet.alb_idle_timeout",
        fleet.alb_idle_timeout,
        seconds(1),
        seconds(ALB_IDLE_TIMEOUT_S_MAX.into()),
    )?;
    span(
        "fleet.deregistration_delay",
        fleet.deregistration_delay,
        Duration::ZERO,
        seconds(3600),
    )?;
    span(
        "fleet.stop_timeout",
        fleet.stop_timeout,
        seconds(1),
        seconds(120),
    )?;
    count("fleet.nat_gateways", fleet.nat_gateways, 0, 6)?;
    count("fleet.db_storage_gb", fleet.db_storage_gb, 20, 65_536)?;
    operations::fleet(fleet)?;
    if price_book().rds_nanos(&fleet.db_instance_class).is_none() {
        // The cost model says which classes have a price.
        crate::cost::monthly(fleet, 0.0)?;
    }
    let autoscaling = &fleet.autoscaling;
    within(
        "fleet.autoscaling.cpu_target_percent",
        autoscaling.cpu_target_percent,
        1.0,
        100.0,
    )?;
    within(
        "fleet.autoscaling.memory_target_percent",
        autoscaling.memory_target_percent,
        1.0,
        100.0,
    )?;
    within(
        "fleet.autoscaling.queue_depth_per_task_target",
        autoscaling.queue_depth_per_task_target,
        0.001,
        1e6,
    )?;
    within(
        "fleet.autoscaling.requests_per_task_target",
        autoscaling.requests_per_task_target,
        0.001,
        1e9,
    )?;
    operations::steps(autoscaling)?;
    let day = seconds(86_400);
    span(
        "fleet.autoscaling.scale_out_cooldown",
        autoscaling.scale_out_cooldown,
        Duration::ZERO,
        day,
    )?;
    span(
        "fleet.autoscaling.scale_in_cooldown",
        autoscaling.scale_in_cooldown,
        Duration::ZERO,
        day,
    )
}

/// A size that the fleet's platform sells.
fn size(fleet: &Fleet) -> Checked {
    let Some(offer) = fleet.platform.offer() else {
        return fargate_pair(fleet);
    };
    count("fleet.tasks.max", fleet.tasks.max, 1, offer.instances_max)?;
    if offer.sells(fleet.vcpu, fleet.memory_gib) {
        return Ok(());
    }
    let (vcpu, memory_gib) = offer.size_for(fleet.vcpu, fleet.memory_gib);
    fail(
        "fleet.vcpu",
        format!(
            "{} has no instance of {} vCPU with {} GiB",
            offer.name, fleet.vcpu, fleet.memory_gib
        ),
        format!("take {vcpu} vCPU with {memory_gib} GiB, for example"),
    )
}

fn fargate_pair(fleet: &Fleet) -> Checked {
    let Some(memories) = fargate_memories_gib(fleet.vcpu) else {
        let mut sizes: Vec<String> = fargate_pairs()
            .iter()
            .map(|(vcpu, _)| vcpu.to_string())
            .collect();
        sizes.dedup();
        return fail(
            "fleet.vcpu",
            format!("Fargate has no task of {} vCPU", fleet.vcpu),
            format!("take one of {}", sizes.join(", ")),
        );
    };
    if memories
        .iter()
        .any(|memory| (memory - fleet.memory_gib).abs() < 1e-9)
    {
        return Ok(());
    }
    let listed: Vec<String> = memories.iter().map(f64::to_string).collect();
    fail(
        "fleet.memory_gib",
        format!(
            "Fargate has no task of {} vCPU with {} GiB",
            fleet.vcpu, fleet.memory_gib
        ),
        format!(
            "with {} vCPU take one of {} GiB",
            fleet.vcpu,
            listed.join(", ")
        ),
    )
}

pub(super) fn slo(slo: &Slo, prefix: &str) -> Checked {
    if let Some(least) = slo.throughput_per_hour_min {
        within(
            &format!("{prefix}throughput_per_hour_min"),
            least,
            0.0,
            1e12,
        )?;
    }
    Ok(())
}

fn fail(key: &str, problem: impl Into<String>, remedy: impl Into<String>) -> Checked {
    Err(InvalidScenario::new(key, problem, remedy))
}

fn positive(key: &str, value: f64) -> Checked {
    if value > 0.0 && value <= 1e12 {
        return Ok(());
    }
    fail(
        key,
        format!("{value} is out of range"),
        "write a number above 0, at most 1000000000000",
    )
}

fn within(key: &str, value: f64, least: f64, most: f64) -> Checked {
    // Not a number is outside every range.
    if (least..=most).contains(&value) {
        return Ok(());
    }
    fail(
        key,
        format!("{value} is out of range"),
        format!("write a number from {least} to {most}"),
    )
}

fn count(key: &str, value: u32, least: u32, most: u32) -> Checked {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    fail(
        key,
        format!("{value} is out of range"),
        format!("write a whole number from {least} to {most}"),
    )
}

fn span(key: &str, value: Duration, least: Duration, most: Duration) -> Checked {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    fail(
        key,
        format!("{value} is out of range"),
        format!("write a duration from \"{least}\" to \"{most}\""),
    )
}
