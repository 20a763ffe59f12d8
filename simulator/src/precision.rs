//! Whether runs are long enough to say what is asked of them.
//!
//! The least that a run must hold: an upper bound of the p-quantile exists at 95 % confidence only from n independent
//! values with p^n <= 5 %, for the largest of them is the bound (David and Nagaraja, Order Statistics, 7.1): 59 for
//! p95, 299 for p99. Waits of generations that were in the system together are no independent values, so that a run
//! counts for no more values than it has mean sojourns.

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;
use crate::replications::Interval;

/// Half-width over mean above which an interval says little.
const RELATIVE_HALF_WIDTH_MAX: f64 = 0.25;

/// A figure that the runs do not support.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Doubt {
    /// The figure's path in the outcome, such as `wait_s.p95`.
    pub key: String,
    /// What is wrong with it and what helps, as a sentence without its full stop.
    pub text: String,
}

/// What these runs of one scenario, at different seeds, do not show well enough.
pub fn doubts(runs: &[Outcome]) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    let values: u64 = runs.iter().map(|run| run.wait_s.count).sum();
    let censored: u64 = runs.iter().map(|run| run.censored_waits).sum();
    let independent = runs.iter().map(independent_values).sum::<f64>();
    for (percent, p95) in [(95_u64, true), (99, false)] {
        let key = format!("wait_s.p{percent}");
        let needed = values_needed(percent);
        let text = if is_lower_bound(runs, percent) {
            format!(
                "p{percent} is a lower bound: {censored} of {values} generations still waited when the run ended; \
                 lengthen the horizon, or the fleet does not carry the load"
            )
        } else if independent < needed {
            format!(
                "too short to say anything about p{percent}: {values} generations began after the warm-up, worth \
                 {independent:.0} independent waits, and {needed:.0} are needed; lengthen the horizon or ask for more \
                 replications"
            )
        } else {
            let over = Interval::of(
                &runs
                    .iter()
                    .map(|run| if p95 { run.wait_s.p95 } else { run.wait_s.p99 })
                    .collect::<Vec<f64>>(),
            );
            if over.half_width <= RELATIVE_HALF_WIDTH_MAX * over.mean {
                continue;
            }
            format!(
                "p{percent} is uncertain: {:.1} s within {:.1} s at 95 % confidence over {} runs; lengthen the horizon \
                 or ask for more replications",
                over.mean, over.half_width, over.n
            )
        };
        doubts.push(Doubt { key, text });
    }
    doubts
}

/// Whether so many generations still waited when their run ended that the percentile of the wait would be greater had
/// it gone on: theirs counts as long as it was seen to last.
pub fn is_lower_bound(runs: &[Outcome], percent: u64) -> bool {
    let values: u64 = runs.iter().map(|run| run.wait_s.count).sum();
    let censored: u64 = runs.iter().map(|run| run.censored_waits).sum();
    censored * 100 > values * (100 - percent)
}

/// The least n with (percent / 100)^n <= 5 %.
fn values_needed(percent: u64) -> f64 {
    (libm::log(0.05) / libm::log(percent as f64 / 100.0)).ceil()
}

fn independent_values(run: &Outcome) -> f64 {
    let window_s = run.horizon.saturating_sub(run.warmup).as_secs_f64();
    let count = run.wait_s.count as f64;
    if run.sojourn_s.mean > 0.0 {
        count.min(window_s / run.sojourn_s.mean)
    } else {
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Arrivals, Fleet, GenerationLength, Profile, Scenario, Tasks, Workload};
    use crate::time::Duration;

    fn run(per_hour: f64, workers: u32, hours: u64) -> Outcome {
        let workload = Workload::new(
            Arrivals::Deterministic { per_hour },
            GenerationLength::Deterministic {
                length: Duration::from_minutes(10),
            },
        );
        let profile = Profile {
            cpu_s_per_generation: 0.0,
            memory_base_mib: 0.0,
            memory_per_generation_kib: 0.0,
            cpu_s_per_poll: 0.0,
        };
        let fleet = Fleet::new(1.0, 2.0, workers, Tasks::fixed(1));
        let mut scenario = Scenario::new(workload, profile, fleet);
        scenario.horizon = Duration::from_hours(hours);
        crate::simulate(&scenario).expect("the scenario is valid")
    }

    #[test]
    fn the_values_needed_are_those_of_the_tables() {
        assert_eq!(values_needed(95).to_bits(), 59_f64.to_bits());
        assert_eq!(values_needed(99).to_bits(), 299_f64.to_bits());
    }

    #[test]
    fn a_short_run_says_what_it_cannot_show() {
        let doubts = doubts(&[run(60.0, 100, 3)]);
        let keys: Vec<&str> = doubts.iter().map(|doubt| doubt.key.as_str()).collect();
        assert_eq!(keys, ["wait_s.p95", "wait_s.p99"]);
        assert!(doubts[0].text.contains("59 are needed"), "{doubts:?}");
    }

    #[test]
    fn a_long_run_without_waits_leaves_no_doubt() {
        assert_eq!(doubts(&[run(60.0, 100, 60)]), []);
    }

    #[test]
    fn waits_cut_short_by_the_end_make_a_lower_bound() {
        let drowning = [run(60.0, 5, 60)];
        assert!(is_lower_bound(&drowning, 95));
        assert!(!is_lower_bound(&[run(60.0, 100, 60)], 95));
        let found = doubts(&drowning);
        assert!(found[0].text.contains("lower bound"), "{found:?}");
    }
}
