//! What the bill depends on beside the fleet.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What a month is billed for beside the fleet itself. All of it has defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bill {
    /// The day whose prices count, which decides whether a `PostgreSQL` version is in extended support. Default: the
    /// day of the price book.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<Day>,
    /// Major version of `PostgreSQL`; without it no extended support is billed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres_major: Option<u32>,
    /// KiB to the internet per completed generation. Default 0, as the review's table.
    #[serde(skip_serializing_if = "super::is_default")]
    pub egress_kib_per_generation: u32,
    /// KiB between zones per completed generation, each billed on both sides. Default 0, as the review's table.
    #[serde(skip_serializing_if = "super::is_default")]
    pub cross_az_kib_per_generation: u32,
    /// The AI provider's tokens; without it they are not billed, as in the review's table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub openai: Option<Tokens>,
}

/// Tokens that one generation is billed for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// A model of the price book.
    pub model: String,
    /// Tokens read that the provider had not kept.
    pub input_per_generation: u32,
    /// Tokens read that the provider had kept, at its lower price. Default 0.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub cached_input_per_generation: u32,
    /// Tokens written.
    pub output_per_generation: u32,
}

/// A day of the calendar, as `YYYY-MM-DD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    year: u16,
    month: u8,
    day: u8,
}

impl FromStr for Day {
    type Err = String;
    fn from_str(text: &str) -> Result<Day, String> {
        let refused = || format!("\"{text}\" is no day; write it as \"2027-03-01\"");
        let mut parts = text.split('-');
        let mut next = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits)?;
            part.parse::<u16>().ok()
        };
        let (year, month, day) = (
            next(4).ok_or_else(refused)?,
            next(2).ok_or_else(refused)?,
            next(2).ok_or_else(refused)?,
        );
        let narrow = |value: u16, most: u16| {
            u8::try_from(value)
                .ok()
                .filter(|_| (1..=most).contains(&value))
                .ok_or_else(refused)
        };
        let day = Day {
            year,
            month: narrow(month, 12)?,
            day: narrow(day, 31)?,
        };
        if parts.next().is_some() {
            return Err(refused());
        }
        Ok(day)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Day, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
