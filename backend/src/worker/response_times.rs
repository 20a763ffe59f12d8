//! When to ask how a response stands: seldom while hardly any of its kind has ever ended, and at the
//! configured cadence from then on.
//!
//! A response takes minutes and a generation has several, so polls at an even cadence are most of what a
//! generation costs this service: of 36 in three minutes, 35 learn nothing. How long responses take is
//! seen by whoever waits for them, so each process learns it by itself, and for each kind of step apart.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Responses of a kind that are remembered, the latest.
const REMEMBERED: usize = 64;
/// Fewer tell nothing.
const REMEMBERED_MIN: usize = 4;
/// Of the responses remembered, the part that was shorter than the one that is reckoned with: a tenth, and
/// of few none.
const SHORTER: usize = 10;

/// How long responses took, by the kind of their step.
#[derive(Debug, Default)]
pub(super) struct ResponseTimes(Mutex<HashMap<&'static str, VecDeque<Duration>>>);

impl ResponseTimes {
    /// Remembers a response that has ended: it was still being written when it was `pending_for` old.
    /// When exactly it ended nobody knows. What is remembered is too short rather than too long, so
    /// polls that come late never make later ones come later still.
    pub(super) fn ended(&self, kind: &'static str, pending_for: Duration) {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = kinds.entry(kind).or_default();
        if times.len() == REMEMBERED {
            times.pop_front();
        }
        times.push_back(pending_for);
    }

    /// The age until which a response of this kind is not expected to end; zero while too few are known.
    pub(super) fn quiet(&self, kind: &'static str) -> Duration {
        let kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(times) = kinds.get(kind).filter(|all| all.len() >= REMEMBERED_MIN) else {
            return Duration::ZERO;
        };
        let mut sorted: Vec<Duration> = times.iter().copied().collect();
        sorted.sort_unstable();
        let reckoned_with = sorted.get(sorted.len() / SHORTER);
        reckoned_with.copied().unwrap_or_default()
    }
}

/// The pause before the next poll of a response of this `age`: until its quiet time is over, but no longer than half
/// of that, so that one that ends early all the same is noticed so much later at most. It is a whole number
/// of intervals: beats are left out, and an end is seen at the one at which it always was.
pub(super) fn pause(age: Duration, quiet: Duration, interval: Duration) -> Duration {
    let left = quiet.saturating_sub(age).min(quiet / 2);
    let beats = left.as_nanos() / interval.as_nanos().max(1);
    interval * u32::try_from(beats).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    const INTERVAL: Duration = Duration::from_secs(5);

    /// Polls of one response that takes `length`, and when the last one found it ended.
    fn followed(times: &ResponseTimes, length: Duration) -> (u32, Duration) {
        let quiet = times.quiet("section");
        let mut age = pause(Duration::ZERO, quiet, INTERVAL);
        let (mut polls, mut pending_for) = (1, Duration::ZERO);
        while age < length {
            pending_for = age;
            age += pause(age, quiet, INTERVAL);
            polls += 1;
        }
        times.ended("section", pending_for);
        (polls, age)
    }

    /// Mean polls and mean delay of 2,000 responses of 180 s in the median, after what is learned first.
    fn mean_of(sigma: f64) -> (f64, Duration) {
        let (times, mut random) = (ResponseTimes::default(), StdRng::seed_from_u64(7));
        let (mut polls, mut late) = (0, Duration::ZERO);
        for number in 0..2_064 {
            let (u1, u2): (f64, f64) = (random.random(), random.random());
            let normal = (-2.0 * (1.0 - u1).ln()).sqrt() * (std::f64::consts::TAU * u2).cos();
            let length = Duration::from_secs_f64(180.0 * (sigma * normal).exp());
            let (asked, noticed) = followed(&times, length);
            if number >= REMEMBERED {
                polls += asked;
                late += noticed - length;
            }
        }
        (f64::from(polls) / 2_000.0, late / 2_000)
    }

    #[test]
    fn fewer_polls_notice_ends_hardly_later() {
        // At an even cadence they are 36, 38 and 43 polls, and scattered ends are seen 2.5 s late.
        let expected = [(0.0, 5.0, 1), (0.3, 20.0, 3_700), (0.6, 33.0, 3_800)];
        for (sigma, polls_max, late_max_ms) in expected {
            let (polls, late) = mean_of(sigma);
            assert!(polls < polls_max, "sigma {sigma}: {polls} polls");
            assert!(
                late.as_millis() < late_max_ms,
                "sigma {sigma}: {late:?} late"
            );
        }
    }

    #[test]
    fn kinds_are_learned_apart_and_old_times_are_forgotten() {
        let times = ResponseTimes::default();
        for _ in 0..REMEMBERED_MIN - 1 {
            times.ended("section", Duration::from_secs(100));
        }
        assert_eq!(times.quiet("section"), Duration::ZERO);
        times.ended("section", Duration::from_secs(100));
        assert_eq!(times.quiet("section"), Duration::from_secs(100));
        assert_eq!(times.quiet("outline"), Duration::ZERO);
        for _ in 0..REMEMBERED {
            times.ended("section", Duration::from_secs(20));
        }
        assert_eq!(times.quiet("section"), Duration::from_secs(20));
    }

    proptest! {
        #[test]
        fn polls_are_never_faster_than_the_cadence_nor_later_than_half_of_the_quiet_time(
            lengths_s in prop::collection::vec(0_u64..4_000, 0..200), length_s in 0_u64..10_000,
        ) {
            let times = ResponseTimes::default();
            for length in lengths_s {
                followed(&times, Duration::from_secs(length));
            }
            let quiet = times.quiet("section");
            let (polls, noticed) = followed(&times, Duration::from_secs(length_s));
            let length = Duration::from_secs(length_s);
            prop_assert!(noticed <= length.max(quiet) + INTERVAL);
            prop_assert!(noticed - length <= (quiet / 2).max(INTERVAL));
            prop_assert!(u64::from(polls) <= length_s / INTERVAL.as_secs() + 1);
        }
    }
}
