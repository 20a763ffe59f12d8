//! The natural logarithm of several numbers at a time.
//!
//! The algorithm is Sun's of 1993 (`e_log.c` of fdlibm, <https://www.netlib.org/fdlibm/e_log.c>) with its steps in the
//! order in which the `libm` crate takes them, so that each logarithm has the same bits as there, on every machine. Only
//! the branches for what is never drawn are left out: without them a compiler takes two numbers in one instruction.

/// sqrt(2)/2 as the upper half of its bits: the mantissa is brought between this and twice as much.
const LEAST_HIGH: u64 = 0x3fe6_a09e;
const ONE_HIGH: u64 = 0x3ff0_0000;
const MANTISSA: u64 = 0x000f_ffff_ffff_ffff;

/// The logarithm of 2 in two parts, the first so short that its multiples are exact.
const LN_2: [f64; 2] = [
    f64::from_bits(0x3fe6_2e42_fee0_0000),
    f64::from_bits(0x3dea_39ef_3579_3c76),
];

/// The polynomial that approximates the rest, as Remez's algorithm gave it to Sun.
const TERMS: [f64; 7] = [
    f64::from_bits(0x3fe5_5555_5555_5593),
    f64::from_bits(0x3fd9_9999_9997_fa04),
    f64::from_bits(0x3fd2_4924_9422_9359),
    f64::from_bits(0x3fcc_71c5_1d8e_78af),
    f64::from_bits(0x3fc7_4664_96cb_03de),
    f64::from_bits(0x3fc3_9a09_d078_c69f),
    f64::from_bits(0x3fc2_f112_df3e_5244),
];

/// Replaces each number by its natural logarithm. All must be above zero, finite and not subnormal.
pub(crate) fn logarithms<const COUNT: usize>(numbers: &mut [f64; COUNT]) {
    for number in numbers {
        *number = logarithm(*number);
    }
}

#[inline(always)]
fn logarithm(number: f64) -> f64 {
    let bits = number.to_bits().wrapping_add((ONE_HIGH - LEAST_HIGH) << 32);
    let exponent = f64::from(((bits >> 52) as i32).wrapping_sub(0x3ff));
    let scaled = f64::from_bits((bits & MANTISSA).wrapping_add(LEAST_HIGH << 32));

    let f = scaled - 1.0;
    let half_square = 0.5 * f * f;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let even = w * (TERMS[1] + w * (TERMS[3] + w * TERMS[5]));
    let odd = z * (TERMS[0] + w * (TERMS[2] + w * (TERMS[4] + w * TERMS[6])));
    let rest = odd + even;
    s * (half_square + rest) + exponent * LN_2[1] - half_square + f + exponent * LN_2[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(number: f64) {
        let mut numbers = [number; 3];
        logarithms(&mut numbers);
        let expected = libm::log(number).to_bits();
        assert!(
            numbers.iter().all(|found| found.to_bits() == expected),
            "ln {number} is {}, and {:?} here",
            libm::log(number),
            numbers
        );
    }

    #[test]
    fn they_are_those_of_libm_where_a_branch_was_left_out() {
        let half_root = std::f64::consts::FRAC_1_SQRT_2;
        let ends = [1.0, f64::MIN_POSITIVE, f64::MAX, 1.0 / (1_u64 << 53) as f64];
        let around = [0.5, half_root, 1.0, 2.0].map(|number: f64| number.to_bits());
        let near = around.into_iter().flat_map(|bits| bits - 9..bits + 9);
        ends.into_iter()
            .chain(near.map(f64::from_bits))
            .for_each(check);
    }

    proptest! {
        #[test]
        fn they_are_those_of_libm_to_the_bit(
            share in 1_u64..=1 << 53, bits in f64::MIN_POSITIVE.to_bits()..=f64::MAX.to_bits()
        ) {
            check(share as f64 / (1_u64 << 53) as f64);
            check(f64::from_bits(bits));
        }
    }
}
