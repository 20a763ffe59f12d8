//! Requests and tokens per minute, and the headers that tell clients about them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What an organisation may use per real minute; a speed-up shortens the minute.
///
/// Each limit is a bucket that refills evenly, as the reset times in OpenAI's headers suggest. Only
/// creating a response draws from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimits {
    /// Creates per real minute.
    pub requests_per_minute: u64,
    /// Input and asked-for output tokens per real minute.
    pub tokens_per_minute: u64,
}

/// One bucket. Its content is counted in units times nanoseconds of a minute, so that refilling is
/// exact integer arithmetic however often it happens.
#[derive(Clone, Debug)]
struct Bucket {
    capacity: u64,
    minute_ns: u128,
    content: u128,
    filled_at: Duration,
}

impl Bucket {
    fn full(capacity: u64, minute: Duration, now: Duration) -> Self {
        let minute_ns = minute.as_nanos().max(1);
        Self {
            capacity,
            minute_ns,
            content: u128::from(capacity) * minute_ns,
            filled_at: now,
        }
    }

    fn refill(&mut self, now: Duration) {
        let elapsed_ns = now
            .saturating_sub(self.filled_at)
            .as_nanos()
            .min(self.minute_ns);
        let full = u128::from(self.capacity) * self.minute_ns;
        self.content = (self.content + u128::from(self.capacity) * elapsed_ns).min(full);
        self.filled_at = self.filled_at.max(now);
    }

    /// How long until `units` are in the bucket; more than it can hold counts as all of it.
    fn wait_for(&self, units: u64) -> Duration {
        let wanted = u128::from(units.min(self.capacity)) * self.minute_ns;
        let missing = wanted.saturating_sub(self.content);
        nanoseconds(missing.div_ceil(u128::from(self.capacity.max(1))))
    }

    fn take(&mut self, units: u64) {
        self.content = self
            .content
            .saturating_sub(u128::from(units) * self.minute_ns);
    }

    fn remaining(&self) -> u64 {
        u64::try_from(self.content / self.minute_ns).unwrap_or(u64::MAX)
    }
}

fn nanoseconds(count: u128) -> Duration {
    Duration::from_nanos(u64::try_from(count).unwrap_or(u64::MAX))
}

/// Which limit refused a request, and when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// `requests` or `tokens`: the `type` of the error body.
    pub(super) kind: &'static str,
    /// The limit per minute.
    pub(super) limit: u64,
    /// Until the request would be let through.
    pub(super) retry_after: Duration,
}

/// Both buckets of an organisation.
#[derive(Clone, Debug)]
pub(super) struct Limiter {
    requests: Bucket,
    tokens: Bucket,
}

impl Limiter {
    /// Full buckets; `minute` is a real minute divided by the speed-up.
    pub(super) fn new(limits: RateLimits, minute: Duration, now: Duration) -> Self {
        Self {
            requests: Bucket::full(limits.requests_per_minute, minute, now),
            tokens: Bucket::full(limits.tokens_per_minute, minute, now),
        }
    }

    /// Takes one request and its tokens from the buckets, or from neither.
    pub(super) fn admit(&mut self, now: Duration, tokens: u64) -> Result<(), Refusal> {
        self.requests.refill(now);
        self.tokens.refill(now);
        let refusals = [
            ("requests", &self.requests, 1),
            ("tokens", &self.tokens, tokens),
        ]
        .map(|(kind, bucket, units)| Refusal {
            kind,
            limit: bucket.capacity,
            retry_after: bucket.wait_for(units),
        });
        // The bucket that takes longest decides, so that a client that waits as told is let through.
        let last = refusals
            .into_iter()
            .max_by_key(|refusal| refusal.retry_after);
        if let Some(refusal) = last.filter(|refusal| !refusal.retry_after.is_zero()) {
            return Err(refusal);
        }
        self.requests.take(1);
        self.tokens.take(tokens);
        Ok(())
    }

    /// The six `x-ratelimit-*` headers as of the last refill.
    pub(super) fn headers(&self) -> [(&'static str, String); 6] {
        let (requests, tokens) = (&self.requests, &self.tokens);
        [
            ("x-ratelimit-limit-requests", requests.capacity.to_string()),
            (
                "x-ratelimit-remaining-requests",
                requests.remaining().to_string(),
            ),
            (
                "x-ratelimit-reset-requests",
                reset_text(requests.wait_for(requests.capacity)),
            ),
            ("x-ratelimit-limit-tokens", tokens.capacity.to_string()),
            (
                "x-ratelimit-remaining-tokens",
                tokens.remaining().to_string(),
            ),
            (
                "x-ratelimit-reset-tokens",
                reset_text(tokens.wait_for(tokens.capacity)),
            ),
        ]
    }
}

/// A duration as OpenAI writes it in headers and messages: `120ms`, `1s`, `1.5s`, `6m0s`.
pub(super) fn reset_text(duration: Duration) -> String {
    let ms = duration.as_nanos().div_ceil(1_000_000);
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let (minutes, ms) = (ms / 60_000, ms % 60_000);
    let minutes = if minutes == 0 {
        String::new()
    } else {
        format!("{minutes}m")
    };
    let (seconds, fraction) = (ms / 1000, format!("{:03}", ms % 1000));
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{minutes}{seconds}{point}{fraction}s")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn durations_are_written_as_openai_writes_them() {
        for (ms, text) in [
            (0, "0ms"),
            (120, "120ms"),
            (1000, "1s"),
            (1500, "1.5s"),
            (59_999, "59.999s"),
            (360_000, "6m0s"),
            (61_040, "1m1.04s"),
        ] {
            assert_eq!(reset_text(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn the_request_beyond_the_limit_is_refused_until_the_bucket_refilled() {
        let limits = RateLimits {
            requests_per_minute: 2,
            tokens_per_minute: 1000,
        };
        let mut limiter = Limiter::new(limits, MINUTE, Duration::ZERO);
        assert_eq!(limiter.admit(Duration::ZERO, 10), Ok(()));
        assert_eq!(limiter.admit(Duration::ZERO, 10), Ok(()));
        let retry_after = Duration::from_secs(30);
        let refusal = Refusal {
            kind: "requests",
            limit: 2,
            retry_after,
        };
        assert_eq!(limiter.admit(Duration::ZERO, 10), Err(refusal));
        assert_eq!(limiter.admit(retry_after, 10), Ok(()));
    }

    #[test]
    fn a_refused_request_takes_nothing() {
        let limits = RateLimits {
            requests_per_minute: 100,
            tokens_per_minute: 100,
        };
        let mut limiter = Limiter::new(limits, MINUTE, Duration::ZERO);
        assert_eq!(limiter.admit(Duration::ZERO, 60), Ok(()));
        let refusal = limiter
            .admit(Duration::ZERO, 60)
            .expect_err("60 of 40 tokens");
        assert_eq!(
            (refusal.kind, refusal.retry_after),
            ("tokens", Duration::from_secs(12))
        );
        let headers = limiter.headers();
        assert_eq!(headers[1].1, "99");
        assert_eq!(headers[4].1, "40");
        assert_eq!(headers[5].1, "36s");
    }

    proptest! {
        /// Whatever the gaps between requests, a bucket lets through no more than it holds at first
        /// plus what flows in.
        #[test]
        fn no_more_is_admitted_than_the_limit_allows(
            limit in 1_u64..50,
            gaps_ms in prop::collection::vec(0_u64..5000, 1..200),
        ) {
            let limits = RateLimits { requests_per_minute: limit, tokens_per_minute: u64::MAX };
            let mut limiter = Limiter::new(limits, MINUTE, Duration::ZERO);
            let mut now = Duration::ZERO;
            let mut admitted = 0;
            for gap in gaps_ms {
                now += Duration::from_millis(gap);
                admitted += u64::from(limiter.admit(now, 1).is_ok());
                let flowed_in = u128::from(limit) * now.as_nanos() / MINUTE.as_nanos();
                prop_assert!(u128::from(admitted) <= u128::from(limit) + flowed_in);
            }
        }

        /// Coming back when told is always soon enough.
        #[test]
        fn a_client_that_waits_as_told_is_admitted(limit in 1_u64..50, tokens in 1_u64..500) {
            let limits = RateLimits { requests_per_minute: limit, tokens_per_minute: 300 };
            let mut limiter = Limiter::new(limits, MINUTE, Duration::ZERO);
            let mut now = Duration::ZERO;
            for _ in 0..100 {
                if let Err(refusal) = limiter.admit(now, tokens) {
                    now += refusal.retry_after;
                    prop_assert_eq!(limiter.admit(now, tokens), Ok(()));
                }
            }
        }
    }
}
