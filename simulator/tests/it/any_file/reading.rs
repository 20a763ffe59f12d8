//! A text read in every way it may be read, and run when it is small enough: shared with `simulator/fuzz`.

use simulator::platform::{Platform, findings, moved};
use simulator::scenario::{Profile, Scenario};
use simulator::simulate;
use simulator::slo::Slo;

/// Panics where the simulator does, or where it refuses what it had called valid.
pub(crate) fn read(text: &str) {
    let _ = Slo::from_toml(text);
    let _ = Profile::from_toml(text);
    match Scenario::from_toml(text) {
        Ok(scenario) => run(&scenario),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn run(scenario: &Scenario) {
    for platform in Platform::ALL {
        let there = moved(scenario, platform);
        assert!(
            findings(&there)
                .iter()
                .all(|finding| !finding.text.is_empty())
        );
        let hours = there.horizon.as_hours_f64();
        let weight = hours * (there.workload.arrivals.mean_per_hour() + 60.0);
        // Each is valid, but a century of arrivals is no test.
        if weight < 100_000.0 && f64::from(there.fleet.tasks.max * there.fleet.workers) < 1e6 {
            let ran = simulate(&there);
            assert!(
                ran.is_ok() || platform != scenario.fleet.platform,
                "{ran:?}\n{}",
                scenario.to_toml().unwrap_or_default()
            );
        }
    }
}
