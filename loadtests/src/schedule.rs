//! Arrivals that are planned before anything is sent: seeded Poisson instants, dealt out to any
//! number of processes.

use simulator::rng::Stream;

use crate::measurement::{Plan, Shard};

/// The planned arrivals of one shard, in compressed seconds after the start, ascending.
///
/// Gaps are exponential with the mean that the rate has at this speed-up. The schedule depends on
/// the plan only: shards deal it out like cards, so all of them together send exactly what a single
/// process would.
pub fn arrivals_s(plan: &Plan, speedup: f64, shard: Shard) -> Vec<f64> {
    let gap_s = 3600.0 / plan.rate_per_hour / speedup;
    let mut stream = Stream::named(plan.seed, "arrivals");
    let mut at_s = 0.0;
    let all = std::iter::from_fn(|| {
        at_s += stream.exponential() * gap_s;
        (at_s < plan.length_s).then_some(at_s)
    });
    let step = usize::try_from(shard.of.max(1)).unwrap_or(usize::MAX);
    let first = usize::try_from(shard.index.saturating_sub(1)).unwrap_or(usize::MAX);
    all.skip(first).step_by(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{count_as_f64, mean};
    use proptest::prelude::*;

    const PLAN: Plan = Plan {
        rate_per_hour: 24.0,
        length_s: 1000.0,
        warmup_s: 0.0,
        seed: 7,
    };
    const ALL: Shard = Shard { index: 1, of: 1 };

    #[test]
    fn gaps_have_the_mean_and_the_spread_of_a_poisson_process() {
        // 24 an hour at speed-up 150 is one a second.
        let at_s = arrivals_s(&PLAN, 150.0, ALL);
        // Three standard deviations of a count of 1000.
        assert!(
            (count_as_f64(at_s.len()) - 1000.0).abs() < 95.0,
            "{}",
            at_s.len()
        );
        let gaps: Vec<f64> = at_s.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let squares: Vec<f64> = gaps.iter().map(|gap| gap * gap).collect();
        let mean_s = mean(&gaps).expect("gaps").value;
        let variation = mean(&squares).expect("gaps").value / mean_s.powi(2) - 1.0;
        assert!((variation - 1.0).abs() < 0.3, "{variation}");
        assert_eq!(at_s, arrivals_s(&PLAN, 150.0, ALL));
        let other = Plan { seed: 8, ..PLAN };
        assert_ne!(at_s, arrivals_s(&other, 150.0, ALL));
    }

    proptest! {
        #[test]
        fn shards_together_are_the_whole_schedule(of in 1_u32..12) {
            let mut joined: Vec<f64> = (1..=of)
                .flat_map(|index| arrivals_s(&PLAN, 150.0, Shard { index, of }))
                .collect();
            joined.sort_by(f64::total_cmp);
            prop_assert_eq!(joined, arrivals_s(&PLAN, 150.0, ALL));
        }
    }
}
