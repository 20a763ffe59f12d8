//! Seeded randomness: one independent stream per component, the same bits on every machine.

use crate::logarithm::logarithms;

/// Draws that are made at a time.
pub(crate) const BATCH: usize = 32;

/// xoshiro256++ by Blackman and Vigna, <https://prng.di.unimi.it/xoshiro256plusplus.c>, with the four words of state
/// drawn from splitmix64 as its authors advise.
#[derive(Clone, Debug)]
pub struct Stream {
    state: [u64; 4],
}

impl Stream {
    /// The stream of the component with this name in a run with this seed. Streams of different names are
    /// independent, so that a component that draws once more changes nothing for the others.
    pub fn named(seed: u64, name: &str) -> Stream {
        // FNV-1a of the name, <http://www.isthe.com/chongo/tech/comp/fnv/>.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let mut splitmix = seed ^ hash;
        Stream {
            state: std::array::from_fn(|_| split_mix_64(&mut splitmix)),
        }
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.state;
        let result = s0.wrapping_add(*s3).rotate_left(23).wrapping_add(*s0);
        let shifted = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= shifted;
        *s3 = s3.rotate_left(45);
        result
    }

    /// Uniform in [0, 1), in steps of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Exponential with mean 1, by inversion.
    pub fn exponential(&mut self) -> f64 {
        // 1 - unit() is in (0, 1], whose logarithm is finite.
        -libm::log(1.0 - self.unit())
    }

    /// The next draws of [`Stream::exponential`], to the bit and in their order.
    pub(crate) fn exponentials(&mut self) -> [f64; BATCH] {
        // Loops over memory that is there: an array that is mapped is made anew.
        let mut numbers = [0.0; BATCH];
        for number in &mut numbers {
            *number = 1.0 - self.unit();
        }
        logarithms(&mut numbers);
        for number in &mut numbers {
            *number = -*number;
        }
        numbers
    }

    /// Standard normal, by Box and Muller (1958); the second of each pair is thrown away to keep no state.
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(2.0 * self.exponential());
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }

    /// Uniform in 0..bound, without bias worth a name below 2^32; 0 when the bound is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.next_u64()) * bound as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }
}

/// What draws several at a time: the processor works on the logarithms of some at once, where it would wait for each
/// alone.
pub(crate) trait Draws {
    type Drawn: Copy;

    /// Adds the next [`BATCH`] draws, or all that are left.
    fn draw(&mut self, into: &mut Vec<Self::Drawn>);
}

/// Hands out one by one what is drawn several at a time.
#[derive(Debug)]
pub(crate) struct Ahead<D: Draws> {
    source: D,
    drawn: Vec<D::Drawn>,
    taken: usize,
}

impl<D: Draws> Ahead<D> {
    pub(crate) fn of(source: D) -> Ahead<D> {
        Ahead {
            source,
            drawn: Vec::with_capacity(BATCH),
            taken: 0,
        }
    }

    #[cold]
    #[inline(never)]
    fn refill(&mut self) {
        self.taken = 0;
        self.drawn.clear();
        self.source.draw(&mut self.drawn);
    }
}

impl<D: Draws> Iterator for Ahead<D> {
    type Item = D::Drawn;

    #[inline]
    fn next(&mut self) -> Option<D::Drawn> {
        if self.taken == self.drawn.len() {
            self.refill();
        }
        let next = *self.drawn.get(self.taken)?;
        self.taken += 1;
        Some(next)
    }
}

/// Steele, Lea and Flood (2014), <https://prng.di.unimi.it/splitmix64.c>.
fn split_mix_64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_gives_its_published_sequence() {
        // First outputs for the seed 1234567, as in the reference implementations.
        let mut state = 1_234_567;
        let drawn: Vec<u64> = (0..3).map(|_| split_mix_64(&mut state)).collect();
        assert_eq!(
            drawn,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn xoshiro_gives_its_published_sequence() {
        // First outputs for the state 1, 2, 3, 4, as in the tests of the rand_xoshiro crate.
        let mut stream = Stream {
            state: [1, 2, 3, 4],
        };
        let drawn: Vec<u64> = (0..4).map(|_| stream.next_u64()).collect();
        assert_eq!(
            drawn,
            [
                41_943_041,
                58_720_359,
                3_588_806_011_781_223,
                3_591_011_842_654_386
            ]
        );
    }

    #[test]
    fn streams_of_one_seed_differ_by_name_and_repeat() {
        let first = |seed, name| Stream::named(seed, name).next_u64();
        assert_eq!(first(42, "arrivals"), first(42, "arrivals"));
        assert_ne!(first(42, "arrivals"), first(42, "lengths"));
        assert_ne!(first(42, "arrivals"), first(43, "arrivals"));
    }

    #[test]
    fn exponentials_drawn_together_are_those_drawn_alone() {
        let mut alone = Stream::named(7, "alone");
        let mut together = alone.clone();
        for _ in 0..1_000 {
            let expected: [f64; BATCH] = std::array::from_fn(|_| alone.exponential());
            let drawn = together.exponentials();
            assert_eq!(drawn.map(f64::to_bits), expected.map(f64::to_bits));
        }
    }

    #[test]
    fn what_is_drawn_ahead_is_handed_out_to_its_end() {
        struct Count(std::ops::Range<u32>);
        impl Draws for Count {
            type Drawn = u32;
            fn draw(&mut self, into: &mut Vec<u32>) {
                into.extend(self.0.by_ref().take(BATCH));
            }
        }
        for count in [0, 1, 31, 32, 33, 100] {
            assert!(Ahead::of(Count(0..count)).eq(0..count));
        }
    }

    #[test]
    fn moments_are_those_of_the_distribution() {
        let mut stream = Stream::named(1, "moments");
        let mean =
            |draw: &mut dyn FnMut() -> f64| (0..200_000).map(|_| draw()).sum::<f64>() / 200_000.0;
        assert!((mean(&mut || stream.unit()) - 0.5).abs() < 0.003);
        assert!((mean(&mut || stream.exponential()) - 1.0).abs() < 0.01);
        assert!(mean(&mut || stream.normal()).abs() < 0.01);
        let square = mean(&mut || {
            let drawn = stream.normal();
            drawn * drawn
        });
        assert!((square - 1.0).abs() < 0.02);
        let drawn = mean(&mut || stream.below(5) as f64);
        assert!((drawn - 2.0).abs() < 0.02);
    }
}
