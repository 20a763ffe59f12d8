//! Simulated time: integer nanoseconds, so that sums are exact and equal on every machine.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

const NANOS_PER_MILLI: u64 = 1_000_000;
const NANOS_PER_SEC: u64 = 1_000_000_000;
const NANOS_PER_MINUTE: u64 = 60 * NANOS_PER_SEC;
const NANOS_PER_HOUR: u64 = 60 * NANOS_PER_MINUTE;
const NANOS_PER_DAY: u64 = 24 * NANOS_PER_HOUR;

/// A span of simulated time in nanoseconds. Written and read as `"10m"`, `"2.5s"`, `"1h30m"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(u64);

/// A moment of a run, in nanoseconds since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

/// Why a text or a number is not a duration.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "{problem}; write a number with a unit, such as \"250ms\", \"2.5s\", \"10m\", \"1h30m\" or \"24h\""
)]
pub struct DurationError {
    problem: String,
}

impl DurationError {
    fn new(problem: String) -> DurationError {
        DurationError { problem }
    }
}

impl Duration {
    /// No time at all.
    pub const ZERO: Duration = Duration(0);
    /// The longest span accepted from outside: 100 years of 365 days. Two of them still add up in 64 bits.
    pub const LONGEST: Duration = Duration(100 * 365 * NANOS_PER_DAY);

    /// So many nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Duration {
        Duration(nanos)
    }

    /// So many milliseconds; more than 64 bits of nanoseconds count as the largest value.
    pub const fn from_millis(millis: u64) -> Duration {
        Duration(millis.saturating_mul(NANOS_PER_MILLI))
    }

    /// So many seconds; more than 64 bits of nanoseconds count as the largest value.
    pub const fn from_secs(secs: u64) -> Duration {
        Duration(secs.saturating_mul(NANOS_PER_SEC))
    }

    /// So many minutes; more than 64 bits of nanoseconds count as the largest value.
    pub const fn from_minutes(minutes: u64) -> Duration {
        Duration(minutes.saturating_mul(NANOS_PER_MINUTE))
    }

    /// So many hours; more than 64 bits of nanoseconds count as the largest value.
    pub const fn from_hours(hours: u64) -> Duration {
        Duration(hours.saturating_mul(NANOS_PER_HOUR))
    }

    /// Seconds, rounded to the nearest nanosecond.
    ///
    /// # Errors
    /// When the number is negative, not a number, or longer than [`Duration::LONGEST`].
    pub fn from_secs_f64(secs: f64) -> Result<Duration, DurationError> {
        if secs.is_nan() || secs < 0.0 {
            return Err(DurationError::new(format!(
                "{secs} s is not a span of time"
            )));
        }
        let nanos = nanos_from_f64(secs * NANOS_PER_SEC as f64);
        if nanos > Duration::LONGEST.0 {
            return Err(DurationError::new(format!(
                "{secs} s is longer than 100 years"
            )));
        }
        Ok(Duration(nanos))
    }

    /// The span in nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The span in seconds, rounded to the nearest `f64`.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / NANOS_PER_SEC as f64
    }

    /// The span in hours, rounded to the nearest `f64`.
    pub fn as_hours_f64(self) -> f64 {
        self.0 as f64 / NANOS_PER_HOUR as f64
    }

    /// Whether the span is empty.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum; more than 64 bits of nanoseconds count as the largest value.
    #[must_use]
    pub const fn plus(self, other: Duration) -> Duration {
        Duration(self.0.saturating_add(other.0))
    }

    /// The difference, or nothing when `other` is longer.
    #[must_use]
    pub const fn saturating_sub(self, other: Duration) -> Duration {
        Duration(self.0.saturating_sub(other.0))
    }
}

impl Instant {
    /// The start of the run.
    pub const START: Instant = Instant(0);
    /// A moment that no run reaches.
    pub const NEVER: Instant = Instant(u64::MAX);

    /// So many nanoseconds after the start.
    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    /// Nanoseconds since the start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The moment `span` later; past the end of 64 bits it is [`Instant::NEVER`].
    #[must_use]
    pub const fn after(self, span: Duration) -> Instant {
        Instant(self.0.saturating_add(span.0))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

/// Rounds to the nearest nanosecond; negative and not-a-number become 0, too large becomes the maximum.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, which is what the caller is promised"
)]
pub(crate) fn nanos_from_f64(nanos: f64) -> u64 {
    // `as` cuts the fraction off; what it cuts off is exact, for above 2^53 there is none.
    let whole = nanos as u64;
    let is_nearer_to_next = nanos - whole as f64 >= 0.5;
    whole.saturating_add(u64::from(is_nearer_to_next))
}

/// As [`nanos_from_f64`], of several numbers at a time.
pub(crate) fn all_nanos_from_f64<const COUNT: usize>(nanos: &[f64; COUNT]) -> [u64; COUNT] {
    /// From here on there are no fractions, so that a sum with it is rounded to a whole number, half to even.
    const NO_FRACTION: f64 = 4_503_599_627_370_496.0;
    let are_small = nanos
        .iter()
        .fold(true, |all, one| all & (*one >= 0.0) & (*one < NO_FRACTION));
    if !are_small {
        return nanos.map(nanos_from_f64);
    }
    let mut whole = [0; COUNT];
    for (whole, one) in whole.iter_mut().zip(nanos) {
        let sum = one + NO_FRACTION;
        #[expect(clippy::float_cmp, reason = "the difference is exact")]
        let half_was_cut_off = one - (sum - NO_FRACTION) == 0.5;
        *whole = sum.to_bits() - NO_FRACTION.to_bits() + u64::from(half_was_cut_off);
    }
    whole
}

/// Units that a duration may be written in, longest name first where one is the prefix of another.
const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", NANOS_PER_MILLI),
    ("s", NANOS_PER_SEC),
    ("m", NANOS_PER_MINUTE),
    ("h", NANOS_PER_HOUR),
    ("d", NANOS_PER_DAY),
];

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Duration, DurationError> {
        let text = text.trim();
        if text.starts_with('-') {
            return Err(DurationError::new(format!(
                "duration \"{text}\" is negative"
            )));
        }
        let mut rest = text;
        let mut total: u64 = 0;
        if rest.is_empty() {
            return Err(DurationError::new(
                "an empty text is not a duration".to_owned(),
            ));
        }
        while !rest.is_empty() {
            let (part, after) = parse_part(rest, text)?;
            total = total
                .checked_add(part)
                .filter(|sum| *sum <= Duration::LONGEST.0)
                .ok_or_else(|| too_long(text))?;
            rest = after;
        }
        Ok(Duration(total))
    }
}

/// Reads one `number unit` pair from the front: its nanoseconds, and the text behind it.
fn parse_part<'a>(rest: &'a str, whole: &str) -> Result<(u64, &'a str), DurationError> {
    let number_end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    let (number, behind) = rest.split_at(number_end);
    let unit_end = behind
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(behind.len());
    let (unit, after) = behind.split_at(unit_end);
    if number.is_empty() {
        return Err(DurationError::new(format!(
            "duration \"{whole}\" has no number before \"{rest}\""
        )));
    }
    if unit.is_empty() {
        return Err(DurationError::new(format!(
            "duration \"{whole}\" has a number without a unit"
        )));
    }
    let Some((_, nanos_per_unit)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(DurationError::new(format!(
            "duration \"{whole}\" has the unknown unit \"{unit}\""
        )));
    };
    let (whole_units, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole_units.is_empty() && fraction.is_empty()) {
        return Err(DurationError::new(format!(
            "duration \"{whole}\" has the malformed number \"{number}\""
        )));
    }
    let units: u64 = if whole_units.is_empty() {
        0
    } else {
        whole_units.parse().map_err(|_| too_long(whole))?
    };
    let mut nanos = units
        .checked_mul(*nanos_per_unit)
        .ok_or_else(|| too_long(whole))?;
    let mut digit_value = u128::from(*nanos_per_unit);
    let mut fraction_nanos: u128 = 0;
    // Exact decimal fractions: digits beyond a nanosecond are dropped.
    let mut scale: u128 = 1;
    for digit in fraction.bytes().take(18) {
        scale *= 10;
        fraction_nanos = fraction_nanos * 10 + u128::from(digit - b'0');
    }
    digit_value = fraction_nanos * digit_value / scale;
    let fraction_nanos = u64::try_from(digit_value).map_err(|_| too_long(whole))?;
    nanos = nanos
        .checked_add(fraction_nanos)
        .ok_or_else(|| too_long(whole))?;
    Ok((nanos, after))
}

fn too_long(text: &str) -> DurationError {
    DurationError::new(format!("duration \"{text}\" is longer than 100 years"))
}

impl fmt::Display for Duration {
    /// The shortest text that reads back as the same duration: one unit with at most three decimals,
    /// else several units.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let units = [
            ("h", NANOS_PER_HOUR),
            ("m", NANOS_PER_MINUTE),
            ("s", NANOS_PER_SEC),
            ("ms", NANOS_PER_MILLI),
            ("us", 1_000),
            ("ns", 1),
        ];
        let mut rest = self.0;
        for (name, nanos) in units {
            let count = rest / nanos;
            rest %= nanos;
            if count == 0 {
                continue;
            }
            if name == "s" && rest > 0 && rest.is_multiple_of(NANOS_PER_MILLI) {
                let decimals = format!("{:03}", rest / NANOS_PER_MILLI);
                return write!(f, "{count}.{}s", decimals.trim_end_matches('0'));
            }
            write!(f, "{count}{name}")?;
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Duration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration as text, such as \"250ms\", \"2.5s\", \"10m\" or \"24h\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_are_read_exactly() {
        for (text, nanos) in [
            ("10m", 600 * NANOS_PER_SEC),
            ("2.5s", 2_500_000_000),
            ("24h", 86_400 * NANOS_PER_SEC),
            ("1h30m", 5_400 * NANOS_PER_SEC),
            ("250ms", 250_000_000),
            (".5s", 500_000_000),
            ("0s", 0),
            ("0.1d", 8_640 * NANOS_PER_SEC),
        ] {
            assert_eq!(text.parse(), Ok(Duration(nanos)), "{text}");
        }
    }

    #[test]
    fn bad_texts_are_refused_with_their_reason() {
        for (text, reason) in [
            ("-1h", "negative"),
            ("", "empty"),
            ("10", "without a unit"),
            ("h", "no number"),
            ("1.2.3s", "malformed"),
            ("10 minutes", "without a unit"),
            ("3w", "unknown unit"),
            ("99999999999999999999h", "longer than 100 years"),
            ("900001h", "longer than 100 years"),
        ] {
            let error = text.parse::<Duration>().expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(error.contains("\"10m\""), "{text}: no remedy in {error}");
        }
        assert!(Duration::from_secs_f64(f64::NAN).is_err());
        assert!(Duration::from_secs_f64(-1.0).is_err());
        assert!(Duration::from_secs_f64(1e300).is_err());
    }

    proptest! {
        #[test]
        fn display_reads_back(nanos in 0..=Duration::LONGEST.0) {
            let duration = Duration(nanos);
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn floats_are_rounded_as_libm_rounds_them(bits in any::<u64>(), below in 0.0..1e18) {
            let strange = [-0.0, 0.5 - f64::EPSILON / 4.0, 4_503_599_627_370_497.5, f64::INFINITY, f64::NAN];
            for nanos in [f64::from_bits(bits), below, below.trunc() + 0.5, (below / 1e4).trunc() + 0.5].into_iter().chain(strange) {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
                let rounded = libm::round(nanos) as u64;
                prop_assert_eq!(nanos_from_f64(nanos), rounded, "{}", nanos);
                prop_assert_eq!(all_nanos_from_f64(&[nanos, 1.5, 2.5]), [rounded, 2, 3], "{}", nanos);
            }
        }
    }
}
