//! Latencies in a high-dynamic-range histogram: every value counts, none is averaged away, and
//! histograms of several users, processes or machines add up exactly.
//!
//! Buckets are those of `HdrHistogram` with three significant digits (Tene, <http://hdrhistogram.org>):
//! exact below 2,048 microseconds, then 1,024 per power of two. They are kept in a map, because a run
//! fills a few hundred of them and not the thirty thousand that hours of range have.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stats::count_u64_as_f64;

/// Bits that are kept of every value: quantiles are within a thousandth.
const PRECISION_BITS: u32 = 11;

/// Durations in seconds.
///
/// In JSON a list of `[microseconds, count]` in ascending order, one entry per bucket that holds any:
/// recording each bucket's value again fills the same buckets, so nothing is lost in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Latencies(BTreeMap<u64, u64>);

impl Latencies {
    /// A histogram of `seconds`; what is negative counts as 0.
    pub fn of(seconds: impl IntoIterator<Item = f64>) -> Self {
        let mut latencies = Self::default();
        seconds
            .into_iter()
            .for_each(|seconds| latencies.record(seconds));
        latencies
    }

    /// Counts one more duration.
    pub fn record(&mut self, seconds: f64) {
        self.record_many(microseconds(seconds), 1);
    }

    /// Adds another histogram, bucket by bucket.
    pub fn add(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            self.record_many(*bucket, *count);
        }
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// The duration in seconds that a `share` (0 to 1) of all stay within; `None` when there are none.
    pub fn quantile_s(&self, share: f64) -> Option<f64> {
        let rank = (share * count_u64_as_f64(self.count())).ceil().max(1.0);
        let mut below = 0;
        let bucket = self.0.iter().find(|(_, count)| {
            below += **count;
            count_u64_as_f64(below) >= rank
        });
        let (bucket, _) = bucket.or_else(|| self.0.last_key_value())?;
        Some(middle_us(*bucket) / 1e6)
    }

    fn record_many(&mut self, microseconds: u64, count: u64) {
        *self.0.entry(bucket(microseconds)).or_default() += count;
    }
}

/// The lowest value of the bucket that a value falls into.
fn bucket(value: u64) -> u64 {
    let shift = shift(value);
    value >> shift << shift
}

/// Bits of a value that are not kept.
fn shift(value: u64) -> u32 {
    (u64::BITS - value.leading_zeros()).saturating_sub(PRECISION_BITS)
}

/// The middle of a bucket, in microseconds.
fn middle_us(bucket: u64) -> f64 {
    count_u64_as_f64(bucket) + count_u64_as_f64((1 << shift(bucket)) - 1) / 2.0
}

impl From<Vec<(u64, u64)>> for Latencies {
    fn from(buckets: Vec<(u64, u64)>) -> Self {
        let mut latencies = Self::default();
        for (value, count) in buckets {
            latencies.record_many(value, count);
        }
        latencies
    }
}

impl From<Latencies> for Vec<(u64, u64)> {
    fn from(latencies: Latencies) -> Self {
        latencies.0.into_iter().collect()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates: what is negative is 0"
)]
fn microseconds(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_are_within_a_thousandth() {
        let latencies = Latencies::of((1..=1000).map(f64::from));
        let p95 = latencies.quantile_s(0.95).expect("a thousand values");
        assert!((p95 / 950.0 - 1.0).abs() < 1e-3, "{p95}");
        assert_eq!(Latencies::default().quantile_s(0.5), None);
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_whole_also_through_a_file(
            values in prop::collection::vec(0.0..1e5_f64, 0..200),
            cut in 0_usize..200,
        ) {
            let cut = cut.min(values.len());
            let whole = Latencies::of(values.iter().copied());
            let mut joined = Latencies::of(values[..cut].iter().copied());
            let rest = Latencies::of(values[cut..].iter().copied());
            let text = serde_json::to_string(&rest).expect("plain numbers");
            let read: Latencies = serde_json::from_str(&text).expect("what was written");
            prop_assert_eq!(&read, &rest);
            joined.add(&read);
            prop_assert_eq!(joined, whole);
        }
    }
}
