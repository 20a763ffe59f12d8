//! Durations counted in buckets of constant relative width: exact mean and maximum, quantiles within 0.05 %.

use crate::outcome::Distribution;
use crate::time::Duration;

/// Buckets per power of two: 2^10, so that a bucket is at most 1/1024 of its values wide and its middle within
/// 1/2048 of each of them.
const SUB_BITS: u32 = 10;

/// Greatest relative error of a quantile, which a promise is not broken by.
pub(crate) const QUANTILE_ERROR_MAX: f64 = 1.0 / 2048.0;

/// A log-linear histogram of nanoseconds. Its size grows with the largest value's logarithm, not with the count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    /// Of 32 bits, so that more of them stay in the cache: a run submits a billion generations at most.
    buckets: Vec<u32>,
    count: u64,
    sum_ns: u128,
    max: Duration,
}

impl Histogram {
    pub(crate) fn record(&mut self, value: Duration) {
        let index = bucket_of(value.as_nanos());
        if index >= self.buckets.len() {
            self.buckets.resize(index + 1, 0);
        }
        self.buckets[index] += 1;
        self.count += 1;
        self.sum_ns += u128::from(value.as_nanos());
        self.max = self.max.max(value);
    }

    /// The value below or at which this share of the values lies: the order statistic of rank ceil(share * count).
    fn quantile(&self, permille: u64) -> Duration {
        let rank = (u128::from(self.count) * u128::from(permille))
            .div_ceil(1000)
            .max(1);
        let mut seen = 0_u128;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= rank {
                return Duration::from_nanos(middle_of(index)).min(self.max);
            }
        }
        self.max
    }

    pub(crate) fn distribution(&self) -> Distribution {
        if self.count == 0 {
            return Distribution::default();
        }
        Distribution {
            count: self.count,
            mean: self.sum_ns as f64 / self.count as f64 / 1e9,
            p50: self.quantile(500).as_secs_f64(),
            p95: self.quantile(950).as_secs_f64(),
            p99: self.quantile(990).as_secs_f64(),
            max: self.max.as_secs_f64(),
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

/// Values below 2^11 have a bucket each; above, every power of two has 2^10 of them.
fn bucket_of(nanos: u64) -> usize {
    let bits = u64::BITS - nanos.leading_zeros();
    let shift = bits.saturating_sub(SUB_BITS + 1);
    let index = (u64::from(shift) << SUB_BITS) + (nanos >> shift);
    usize::try_from(index).unwrap_or(usize::MAX)
}

fn middle_of(index: usize) -> u64 {
    let index = index as u64;
    let sub = 1_u64 << SUB_BITS;
    if index < 2 * sub {
        return index;
    }
    let shift = (index >> SUB_BITS) - 1;
    let lowest = (index - (shift << SUB_BITS)) << shift;
    lowest + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn quantiles_are_within_their_stated_error_of_the_exact_order_statistic(
            mut values in prop::collection::vec(0_u64..u64::MAX >> 4, 1..300)
        ) {
            let mut histogram = Histogram::default();
            for value in &values {
                histogram.record(Duration::from_nanos(*value));
            }
            values.sort_unstable();
            for permille in [1, 500, 950, 990, 1000] {
                let rank = (values.len() as u64 * permille).div_ceil(1000);
                let exact = values[usize::try_from(rank - 1).expect("a rank is an index")] as f64;
                let estimated = histogram.quantile(permille).as_nanos() as f64;
                prop_assert!((estimated - exact).abs() <= exact / 2048.0, "{estimated} for {exact}");
            }
        }
    }

    #[test]
    fn nothing_recorded_is_all_zeros() {
        assert_eq!(Histogram::default().distribution(), Distribution::default());
    }
}
