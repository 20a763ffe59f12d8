//! How much more load a sizing holds: the largest multiple of the arrivals that still meets the SLO.

use serde::Serialize;
use simulator::replications::Interval;
use simulator::scenario::{Arrivals, InvalidScenario, Scenario};
use simulator::simulate;
use simulator::slo::judge;

use crate::judgement::{cores, parallel};

/// More than this is not looked for: it says enough, and a day of it takes long to simulate.
const FACTOR_MAX: f64 = 16.0;
/// Halvings of the interval: the factor is found to about 1 %.
const HALVINGS: u32 = 7;

/// How much more load a sizing holds.
#[derive(Clone, Debug, Serialize)]
pub struct Headroom {
    /// The largest multiple of the load at which waits, losses and throughput are as promised, over the seeds;
    /// below 1 the sizing does not even hold the load that is asked. None for arrivals at given instants.
    pub load_factor: Option<Interval>,
    /// The same in generations per hour.
    pub load_per_hour: Option<Interval>,
    /// Whether the search ended at its limit, so that the sizing may hold more still.
    pub at_least: bool,
}

/// Finds the headroom of `scenario`, for each of so many seeds by itself. The budget is left out: it asks
/// for money, not for load.
pub(super) fn headroom(
    scenario: &Scenario,
    replications: u32,
) -> Result<Headroom, InvalidScenario> {
    if scaled(scenario, 1.0).is_none() {
        return Ok(Headroom {
            load_factor: None,
            load_per_hour: None,
            at_least: false,
        });
    }
    let seeds: Vec<u64> = (0..u64::from(replications))
        .map(|index| scenario.seed.wrapping_add(index))
        .collect();
    let factors = parallel(cores(), &seeds, |seed| {
        let mut seeded = scenario.clone();
        seeded.seed = *seed;
        seeded.slo.budget_usd_month = None;
        largest(&seeded)
    })?;
    let per_hour = scenario.workload.arrivals.mean_per_hour();
    let rates: Vec<f64> = factors.iter().map(|factor| factor * per_hour).collect();
    Ok(Headroom {
        load_factor: Some(Interval::of(&factors)),
        load_per_hour: Some(Interval::of(&rates)),
        at_least: factors.iter().any(|factor| *factor >= FACTOR_MAX),
    })
}

/// Doubles or halves the load until it fails or holds, and then closes in on the border.
fn largest(scenario: &Scenario) -> Result<f64, InvalidScenario> {
    let holds = |factor: f64| match scaled(scenario, factor) {
        None => Ok(false),
        Some(scaled) => simulate(&scaled).map(|outcome| {
            // A load so small that nobody comes is held by anybody.
            outcome.wait_s.count == 0 || judge(&outcome, &scaled.slo).pass
        }),
    };
    let (mut held, mut missed) = (0.0, 1.0);
    if holds(1.0)? {
        (held, missed) = (1.0, 2.0);
        while holds(missed)? {
            held = missed;
            missed *= 2.0;
            if held >= FACTOR_MAX {
                return Ok(held);
            }
        }
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(held, missed);
        if holds(middle)? {
            held = middle;
        } else {
            missed = middle;
        }
    }
    Ok(held)
}

/// The scenario with so many times its load; none for arrivals at given instants.
fn scaled(scenario: &Scenario, factor: f64) -> Option<Scenario> {
    let mut scaled = scenario.clone();
    match &mut scaled.workload.arrivals {
        Arrivals::Poisson { per_hour }
        | Arrivals::Deterministic { per_hour }
        | Arrivals::Daily { per_hour, .. } => *per_hour *= factor,
        Arrivals::Users { users, .. } => {
            for people in [&mut users.low, &mut users.mid, &mut users.high] {
                *people *= factor;
            }
        }
        Arrivals::Trace { .. } => return None,
    }
    // A promise of throughput is one for the load that was asked.
    if let Some(least) = &mut scaled.slo.throughput_per_hour_min {
        *least *= factor.min(1.0);
    }
    Some(scaled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirements::Requirements;
    use simulator::scenario::{Fleet, Profile, Tasks};
    use std::path::Path;

    fn scenario(workers: u32) -> Scenario {
        let text = include_str!("../../slo.toml");
        let profile = Profile {
            cpu_s_per_generation: 0.06,
            memory_base_mib: 48.0,
            memory_per_generation_kib: 140.0,
            cpu_s_per_poll: 0.0,
        };
        Requirements::parse(Path::new("slo.toml"), text)
            .expect("the committed file")
            .scenario(Fleet::new(1.0, 2.0, workers, Tasks::fixed(1)), profile)
            .expect("a possible fleet")
    }

    #[test]
    fn more_workers_hold_more_load() {
        let few = headroom(&scenario(12), 4).expect("it is simulated");
        let many = headroom(&scenario(24), 4).expect("it is simulated");
        let factor = |of: &Headroom| of.load_factor.expect("Poisson arrivals scale").mean;
        assert!(factor(&many) > 1.5 * factor(&few), "{many:?} {few:?}");
        // 12 workers carry 57.6 an hour at most, and 40 are asked.
        assert!(factor(&few) < 1.44 && factor(&few) > 0.5, "{few:?}");
        assert!(!many.at_least);
    }
}
