//! The AI provider's limit of requests per minute, as a bucket that holds one minute's requests.

use crate::time::{Duration, Instant, nanos_from_f64};

const MINUTE: Duration = Duration::from_secs(60);

/// Keeps the time at which the bucket would be full again, in nanoseconds: the bucket is empty when that is a minute
/// ahead (the generic cell rate algorithm, ITU-T I.371).
#[derive(Debug)]
pub(super) struct RateLimit {
    ns_per_request: u64,
    full_at: Instant,
}

impl RateLimit {
    pub(super) fn new(requests_per_minute: f64) -> RateLimit {
        RateLimit {
            ns_per_request: nanos_from_f64(MINUTE.as_nanos() as f64 / requests_per_minute),
            full_at: Instant::START,
        }
    }

    /// Takes so many requests out, all of them at once, unless they would have to wait for longer than `patience`.
    /// Gives how long they wait.
    pub(super) fn take(
        &mut self,
        now: Instant,
        requests: u32,
        patience: Duration,
    ) -> Option<Duration> {
        let cost = Duration::from_nanos(self.ns_per_request.saturating_mul(u64::from(requests)));
        let full_at = self.full_at.max(now).after(cost);
        // More than a minute's requests at once wait only for what is beyond the minute.
        let wait = full_at.since(now).saturating_sub(MINUTE);
        if wait > patience {
            return None;
        }
        self.full_at = full_at;
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_requests_is_free_and_the_rest_come_at_the_rate() {
        let mut limit = RateLimit::new(60.0);
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
}
