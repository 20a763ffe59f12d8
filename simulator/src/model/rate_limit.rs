//! The AI provider's limits of requests and of tokens per minute, each as a bucket that holds one minute's worth.

use crate::scenario::Scenario;
use crate::time::{Duration, Instant, nanos_from_f64};

const MINUTE: Duration = Duration::from_secs(60);

/// Keeps the time at which the bucket would be full again, in nanoseconds: the bucket is empty when that is a minute
/// ahead (the generic cell rate algorithm, ITU-T I.371).
#[derive(Debug)]
pub(super) struct RateLimit {
    ns_per_unit: f64,
    full_at: Instant,
}

impl RateLimit {
    pub(super) fn new(units_per_minute: f64) -> RateLimit {
        RateLimit {
            ns_per_unit: MINUTE.as_nanos() as f64 / units_per_minute,
            full_at: Instant::START,
        }
    }

    /// When the bucket would be full again if so many units were taken now, and how long they would have to wait.
    fn after_taking(&self, now: Instant, units: f64) -> (Instant, Duration) {
        let cost = Duration::from_nanos(nanos_from_f64(self.ns_per_unit * units));
        let full_at = self.full_at.max(now).after(cost);
        // More than a minute's worth at once waits only for what is beyond the minute.
        (full_at, full_at.since(now).saturating_sub(MINUTE))
    }
}

/// The limits that a fleet has, together.
#[derive(Debug, Default)]
pub(super) struct RateLimits {
    requests: Option<RateLimit>,
    tokens: Option<RateLimit>,
    tokens_per_request: f64,
}

impl RateLimits {
    pub(super) fn new(scenario: &Scenario) -> RateLimits {
        let workload = &scenario.workload;
        RateLimits {
            requests: scenario
                .fleet
                .upstream_requests_per_minute
                .map(RateLimit::new),
            tokens: scenario
                .fleet
                .upstream_tokens_per_minute
                .map(RateLimit::new),
            tokens_per_request: f64::from(workload.tokens_per_generation)
                / f64::from(workload.steps_per_generation),
        }
    }

    pub(super) fn are_off(&self) -> bool {
        self.requests.is_none() && self.tokens.is_none()
    }

    /// Takes so many requests with their tokens out, all of them at once, unless they would have to wait for longer than
    /// `patience`. Gives how long they wait: for the limit that lets them through last.
    pub(super) fn take(
        &mut self,
        now: Instant,
        requests: u32,
        patience: Duration,
    ) -> Option<Duration> {
        let units = [
            f64::from(requests),
            f64::from(requests) * self.tokens_per_request,
        ];
        let mut wait = Duration::ZERO;
        let mut full_at = [Instant::START; 2];
        for (index, limit) in [&self.requests, &self.tokens].into_iter().enumerate() {
            if let Some(limit) = limit {
                let (full, waits) = limit.after_taking(now, units[index]);
                full_at[index] = full;
                wait = wait.max(waits);
            }
        }
        if wait > patience {
            return None;
        }
        for (index, limit) in [&mut self.requests, &mut self.tokens]
            .into_iter()
            .enumerate()
        {
            if let Some(limit) = limit {
                limit.full_at = full_at[index];
            }
        }
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_requests_is_free_and_the_rest_come_at_the_rate() {
        let mut limit = RateLimits {
            requests: Some(RateLimit::new(60.0)),
            ..RateLimits::default()
        };
        let now = Instant::from_nanos(5_000_000_000);
        let mut take = |now, requests| limit.take(now, requests, Duration::from_secs(30));
        assert_eq!(take(now, 60), Some(Duration::ZERO));
        assert_eq!(take(now, 10), Some(Duration::from_secs(10)));
        assert_eq!(take(now, 21), None);
        assert_eq!(take(now, 20), Some(Duration::from_secs(30)));
        let later = now.after(Duration::from_secs(31));
        assert_eq!(take(later, 1), Some(Duration::ZERO));
        assert_eq!(take(later, 1), Some(Duration::from_secs(1)));
    }

    #[test]
    fn the_limit_that_is_hit_last_decides_and_a_refusal_takes_nothing() {
        let mut limits = RateLimits {
            requests: Some(RateLimit::new(60.0)),
            tokens: Some(RateLimit::new(6_000.0)),
            tokens_per_request: 1_000.0,
        };
        let now = Instant::from_nanos(5_000_000_000);
        let mut take =
            |requests, patience_s| limits.take(now, requests, Duration::from_secs(patience_s));
        assert_eq!(take(6, 0), Some(Duration::ZERO));
        assert_eq!(take(3, 29), None);
        assert_eq!(take(3, 30), Some(Duration::from_secs(30)));
    }
}
