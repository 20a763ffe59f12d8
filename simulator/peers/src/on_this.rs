//! On this simulator: the fleet model, with one task of 64 workers.

use simulator::scenario::{Arrivals, Fleet, GenerationLength, Profile, Scenario, Tasks, Workload};
use simulator::simulate;
use simulator::time::Duration;

use crate::mm64::{HORIZON_HOURS, LENGTH_MEAN_S, PER_HOUR, SEED, Seen, WORKERS};

pub fn run() -> Seen {
    let workload = Workload::new(
        Arrivals::Poisson { per_hour: PER_HOUR },
        GenerationLength::Exponential {
            mean: Duration::from_secs(LENGTH_MEAN_S),
        },
    );
    let profile = Profile {
        cpu_s_per_generation: 0.0,
        memory_base_mib: 0.0,
        memory_per_generation_kib: 0.0,
        cpu_s_per_poll: 0.0,
    };
    let fleet = Fleet::new(1.0, 2.0, WORKERS, Tasks::fixed(1));
    let mut scenario = Scenario::new(workload, profile, fleet);
    scenario.seed = SEED;
    scenario.warmup = Duration::ZERO;
    scenario.horizon = Duration::from_hours(HORIZON_HOURS);
    let outcome = simulate(&scenario).expect("the scenario is valid");
    let sum_ns = |mean_s: f64, count: u64| (mean_s * count as f64 * 1e9).round() as u64;
    Seen {
        arrivals: outcome.submitted,
        completions: outcome.completed,
        started: outcome.wait_s.count,
        waits_ns: sum_ns(outcome.wait_s.mean, outcome.wait_s.count),
        sojourns_ns: sum_ns(outcome.sojourn_s.mean, outcome.sojourn_s.count),
    }
}
