//! Seeded random numbers that do not depend on the order in which calls arrive.
//!
//! Every draw belongs to a stream named by (seed, purpose, ordinal), so response 7 takes the same
//! time whether or not response 6 was polled before. The generator is `SplitMix64` (Steele, Lea and
//! Flood, "Fast splittable pseudorandom number generators", 2014): a few integer operations and,
//! unlike `rand::StdRng`, the same numbers in every version of every crate.

/// What a stream is used for; two purposes never share numbers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// The public part of a response id.
    Id = 1,
    /// How long a response takes.
    Latency = 2,
    /// What a response says.
    Text = 3,
    /// Whether a fault with a probability strikes.
    Fault = 4,
}

/// The increment of `SplitMix64`: 2^64 divided by the golden ratio, made odd.
const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finaliser of `SplitMix64`: a bijection on 64 bits.
pub(super) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// The start of a stream, also used as a short name for it.
pub(super) fn stream_seed(seed: u64, purpose: Purpose, ordinal: u64) -> u64 {
    let named = mix(seed.wrapping_add(GOLDEN_GAMMA)) ^ (purpose as u64);
    // Adding an ordinal to a constant and mixing are bijections: no two ordinals collide.
    mix(mix(named.wrapping_add(GOLDEN_GAMMA)).wrapping_add(ordinal.wrapping_mul(GOLDEN_GAMMA)))
}

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(super) struct Stream(u64);

impl Stream {
    pub(super) fn new(seed: u64, purpose: Purpose, ordinal: u64) -> Self {
        Self(stream_seed(seed, purpose, ordinal))
    }

    /// Goes on from a seed that [`stream_seed`] gave.
    pub(super) fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN_GAMMA);
        mix(self.0)
    }

    /// Uniform in `0..bound` by multiply and shift; the bias is below `bound / 2^64`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.next_u64()) * (bound as u128);
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// Uniform in `[0, 1)` with 53 random bits.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Standard normal by Box and Muller (1958).
    pub(super) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // First outputs for seed 1234567, as published with the reference implementation.
        let mut stream = Stream::from_seed(1_234_567);
        assert_eq!(stream.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(stream.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn normal_draws_have_mean_zero_and_variance_one() {
        let mut stream = Stream::new(3, Purpose::Latency, 0);
        let draws: Vec<f64> = (0..20_000).map(|_| stream.normal()).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / 20_000.0;
        // Five standard errors: 1/sqrt(n) of the mean, sqrt(2/n) of the variance.
        assert!(mean.abs() < 0.036, "{mean}");
        assert!((variance - 1.0).abs() < 0.05, "{variance}");
    }

    proptest! {
        #[test]
        fn a_draw_stays_below_its_bound(seed: u64, bound in 1_usize..1000) {
            prop_assert!(Stream::from_seed(seed).below(bound) < bound);
        }

        #[test]
        fn streams_of_two_ordinals_differ(seed: u64, first: u64, second: u64) {
            prop_assume!(first != second);
            prop_assert_ne!(
                stream_seed(seed, Purpose::Id, first),
                stream_seed(seed, Purpose::Id, second)
            );
        }
    }
}
