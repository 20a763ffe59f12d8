//! The crate from outside: against theory, against its own laws, against bad input.

mod any_file;
mod architecture;
mod async_workers;
mod bills;
mod fleet;
mod laws;
mod limits;
mod misfortunes;
mod operations;
mod plan;
mod platforms;
mod scenario_text;
mod theory;
mod trace;

use simulator::outcome::{LossCause, Outcome};
use simulator::scenario::{Arrivals, Fleet, GenerationLength, Profile, Scenario, Tasks, Workload};
use simulator::simulate;
use simulator::time::Duration;

/// What calibration finds for a generation that waits for the AI provider most of the time.
fn light_profile() -> Profile {
    Profile {
        cpu_s_per_generation: 0.05,
        memory_base_mib: 40.0,
        memory_per_generation_kib: 200.0,
        cpu_s_per_poll: 0.0,
    }
}

/// A queue before so many workers that nothing but their number limits.
fn pure_queue(per_hour: f64, generation: GenerationLength, workers: u32, hours: u64) -> Scenario {
    let workload = Workload::new(Arrivals::Poisson { per_hour }, generation);
    let profile = Profile {
        cpu_s_per_generation: 0.0,
        memory_base_mib: 0.0,
        memory_per_generation_kib: 0.0,
        cpu_s_per_poll: 0.0,
    };
    let mut scenario = Scenario::new(
        workload,
        profile,
        Fleet::new(1.0, 2.0, workers, Tasks::fixed(1)),
    );
    scenario.horizon = Duration::from_hours(hours);
    scenario.warmup = Duration::from_hours(hours / 20);
    scenario
}

/// Runs a valid scenario; of what was submitted nothing is missing.
#[track_caller]
fn run(scenario: &Scenario) -> Outcome {
    let outcome = simulate(scenario).expect("the scenario is valid");
    assert_eq!(
        outcome.submitted,
        outcome.completed + outcome.lost_total() + outcome.in_flight_at_end
    );
    outcome
}

/// Generations that were lost to this cause.
fn lost(outcome: &Outcome, cause: LossCause) -> u64 {
    outcome.lost.get(&cause).copied().unwrap_or(0)
}
