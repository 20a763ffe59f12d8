//! Measures how many events per second the simulation handles on one core; `BENCHMARKS.md` has the figures.
#![expect(
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a benchmark needs a clock and a reader; the library has neither"
)]

use std::time::Instant;

use simulator::scenario::{
    Arrivals, Autoscaling, Deployments, Fleet, GenerationLength, Metric, Profile, Scenario, Tasks,
    Workload,
};
use simulator::simulate;
use simulator::time::Duration;

const RUNS: usize = 5;

/// M/M/64 at 85 % load: an arrival and a completion per generation, about 3 million events.
fn mm64() -> Scenario {
    let per_hour = 0.85 * 64.0 * 360.0;
    let workload = Workload::new(
        Arrivals::Poisson { per_hour },
        GenerationLength::Exponential {
            mean: Duration::from_secs(10),
        },
    );
    let profile = Profile {
        cpu_s_per_generation: 0.0,
        memory_base_mib: 0.0,
        memory_per_generation_kib: 0.0,
        cpu_s_per_poll: 0.0,
    };
    let fleet = Fleet::new(1.0, 2.0, 64, Tasks::fixed(1));
    let mut scenario = Scenario::new(workload, profile, fleet);
    scenario.horizon = Duration::from_hours(77);
    scenario
}

/// A year of 20,000 generations a day on a fleet that scales with its queue and is deployed every day.
fn year_at_scale() -> Scenario {
    let hourly = vec![
        0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.5, 1.0, 1.6, 2.0, 2.0, 1.8, 1.5, 1.6, 1.9, 2.0, 1.9, 1.6,
        1.2, 0.9, 0.7, 0.5, 0.3, 0.2,
    ];
    let per_hour = 20_000.0 / hourly.iter().sum::<f64>();
    let workload = Workload::new(
        Arrivals::Daily { per_hour, hourly },
        GenerationLength::Lognormal {
            median: Duration::from_minutes(12),
            p95: Duration::from_minutes(15),
        },
    );
    let profile = Profile {
        cpu_s_per_generation: 0.05,
        memory_base_mib: 40.0,
        memory_per_generation_kib: 200.0,
        cpu_s_per_poll: 0.0005,
    };
    let tasks = Tasks {
        min: 2,
        desired: 4,
        max: 30,
    };
    let mut fleet = Fleet::new(0.5, 1.0, 24, tasks);
    fleet.autoscaling = Autoscaling::on(vec![Metric::QueueDepth]);
    fleet.deployments = Some(Deployments::every(Duration::from_hours(24)));
    fleet.worker_timeout = Some(Duration::from_minutes(60));
    let mut scenario = Scenario::new(workload, profile, fleet);
    scenario.horizon = Duration::from_hours(24 * 365);
    scenario
}

/// A year of a committed scenario.
fn year_of(text: &str) -> Scenario {
    let mut scenario = Scenario::from_toml(text).expect("a test reads it too");
    scenario.horizon = Duration::from_hours(24 * 365);
    scenario
}

fn main() {
    println!(
        "| scenario | events | best of {RUNS}, s | median, s | events/s, best | in flight, mean |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for (name, scenario) in [
        ("M/M/64 at 85 %", mm64()),
        ("year at 20,000 a day", year_at_scale()),
        (
            "Scale stage, a year",
            year_of(include_str!("../scenarios/scale.toml")),
        ),
        // The measured stack.
        (
            "every model, a year",
            year_of(include_str!("../scenarios/fastapi.toml")),
        ),
    ] {
        let mut seconds = Vec::new();
        let mut events = 0;
        let mut in_flight_mean = 0.0;
        for _ in 0..RUNS {
            let start = Instant::now();
            let outcome = simulate(&scenario).expect("the scenario is valid");
            seconds.push(start.elapsed().as_secs_f64());
            (events, in_flight_mean) = (outcome.events, outcome.in_system_mean);
        }
        seconds.sort_by(f64::total_cmp);
        println!(
            "| {name} | {events} | {:.3} | {:.3} | {:.1} million | {in_flight_mean:.1} |",
            seconds[0],
            seconds[RUNS / 2],
            events as f64 / seconds[0] / 1e6,
        );
    }
}
