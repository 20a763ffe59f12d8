//! Decides how long to wait before trying again: pure, so that every bound is a property test.

use std::time::Duration;

/// Exponential backoff with equal jitter (half fixed, half random), which keeps a crowd of
/// clients apart without ever retrying at once. See M. Brooker, "Exponential Backoff And Jitter".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The undisturbed first delay.
    pub base: Duration,
    /// No computed delay is longer.
    pub max: Duration,
}

impl Backoff {
    /// The delay before try number `failures + 1`, where `jitter` is uniform in `[0, 1)`.
    ///
    /// The result lies between half of and the whole of `min(max, base * 2^(failures - 1))`.
    pub fn delay(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        let ceiling = self.base.saturating_mul(1 << doublings).min(self.max);
        let half = ceiling / 2;
        half + half.mul_f64(jitter.clamp(0.0, 1.0))
    }

    /// As [`Backoff::delay`], but never sooner than the server asked for.
    ///
    /// A tenth of the server's delay is added at most, so that clients told the same number spread out.
    pub fn delay_after(
        &self,
        failures: u32,
        retry_after: Option<Duration>,
        jitter: f64,
    ) -> Duration {
        match retry_after {
            Some(asked) => asked + (asked / 10).mul_f64(jitter.clamp(0.0, 1.0)),
            None => self.delay(failures, jitter),
        }
    }
}

/// A uniform number in `[0, 1)` from the process's generator: the one impure line of this module.
pub fn jitter() -> f64 {
    rand::random()
}

/// What a server asked for: `retry-after-ms` (exact, OpenAI's convention) before `retry-after`
/// (seconds, RFC 9110). Dates are not used by any server called here and count as absent.
pub fn retry_after(retry_after_ms: Option<&str>, retry_after: Option<&str>) -> Option<Duration> {
    parse(retry_after_ms, 0.001).or_else(|| parse(retry_after, 1.0))
}

fn parse(value: Option<&str>, seconds_per_unit: f64) -> Option<Duration> {
    let number: f64 = value?.trim().parse().ok()?;
    Duration::try_from_secs_f64(number * seconds_per_unit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn milliseconds_win_over_seconds() {
        let asked = retry_after(Some("250"), Some("7"));
        assert_eq!(asked, Some(Duration::from_millis(250)));
    }

    #[test]
    fn unreadable_delays_count_as_absent() {
        for value in [
            "",
            "soon",
            "-3",
            "NaN",
            "inf",
            "Tue, 24 Nov 2026 00:00:00 GMT",
        ] {
            assert_eq!(retry_after(Some(value), Some(value)), None, "{value:?}");
        }
    }

    #[test]
    fn fractions_of_seconds_are_read() {
        assert_eq!(
            retry_after(None, Some(" 1.5 ")),
            Some(Duration::from_millis(1500))
        );
    }

    proptest! {
        #[test]
        fn delay_stays_within_half_and_whole_of_its_ceiling(
            base_ms in 1_u64..10_000, max_ms in 1_u64..100_000, failures in 0_u32..200, jitter in 0.0..1.0_f64,
        ) {
            let backoff = Backoff { base: Duration::from_millis(base_ms), max: Duration::from_millis(max_ms) };
            let delay = backoff.delay(failures, jitter);
            let ceiling = backoff.base.saturating_mul(1 << failures.saturating_sub(1).min(30)).min(backoff.max);
            prop_assert!(delay >= ceiling / 2);
            prop_assert!(delay <= ceiling);
        }

        #[test]
        fn delay_never_shrinks_with_more_failures(failures in 0_u32..60, jitter in 0.0..1.0_f64) {
            let backoff = Backoff { base: Duration::from_millis(500), max: Duration::from_secs(8) };
            prop_assert!(backoff.delay(failures + 1, jitter) >= backoff.delay(failures, jitter));
        }

        #[test]
        fn server_is_never_called_sooner_than_it_asked(
            asked_ms in 0_u64..200_000, failures in 0_u32..60, jitter in 0.0..1.0_f64,
        ) {
            let backoff = Backoff { base: Duration::from_millis(500), max: Duration::from_secs(8) };
            let asked = Duration::from_millis(asked_ms);
            let delay = backoff.delay_after(failures, Some(asked), jitter);
            prop_assert!(delay >= asked);
            prop_assert!(delay <= asked + asked / 10);
        }

        #[test]
        fn any_header_is_parsed_without_panic(milliseconds in ".*", seconds in ".*") {
            let _ = retry_after(Some(&milliseconds), Some(&seconds));
        }
    }
}
