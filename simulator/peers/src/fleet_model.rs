//! The queue as a scenario of the whole fleet model: one task of 64 workers, nothing else on.

use simulator::scenario::{
    Arrivals, Fleet, GenerationLength, Profile, Scenario, Tasks, Workload,
};
use simulator::simulate;
use simulator::time::Duration;

use crate::{ARRIVALS, Found, LOAD, SERVERS, SERVICE_S};

pub fn run() -> Found {
    let per_hour = LOAD * f64::from(SERVERS) / SERVICE_S * 3600.0;
    let generation = GenerationLength::Exponential {
        mean: Duration::from_secs(SERVICE_S as u64),
    };
    let workload = Workload::new(Arrivals::Poisson { per_hour }, generation);
    let profile = Profile {
        cpu_s_per_generation: 0.0,
        memory_base_mib: 0.0,
        memory_per_generation_kib: 0.0,
        cpu_s_per_poll: 0.0,
    };
    let fleet = Fleet::new(1.0, 2.0, SERVERS, Tasks::fixed(1));
    let mut scenario = Scenario::new(workload, profile, fleet);
    let seconds = ARRIVALS as f64 / per_hour * 3600.0;
    scenario.horizon = Duration::from_secs(seconds as u64);
    scenario.warmup = Duration::ZERO;
    let outcome = simulate(&scenario).expect("the scenario is valid");
    Found {
        events: outcome.events,
        wait_mean_s: outcome.wait_s.mean,
    }
}
