//! How arrivals and lengths are written: one table, whose `kind` says which other keys it has.
//!
//! The table is read with the keys of every kind, so that a value which cannot be read is told with its own place, and
//! held to its kind afterwards.

use serde::Deserialize;

use super::{Arrivals, Assumption, GenerationLength};
use crate::time::Duration;

/// Kinds of a table with the keys that each has.
type Kinds = [(&'static str, &'static [&'static str])];

fn kinds_of(table: &str) -> Option<&'static Kinds> {
    match table {
        "workload.arrivals" => Some(&ARRIVALS),
        "workload.generation" => Some(&LENGTHS),
        _ => None,
    }
}

/// The kinds of a table, as an error lists them, if this key is where one is named.
pub(super) fn named(key: &str) -> Option<String> {
    let kinds = kinds_of(key.strip_suffix(".kind")?)?;
    let names = kinds.iter().map(|(name, _)| format!("\"{name}\""));
    Some(names.collect::<Vec<_>>().join(", "))
}

/// The keys of this table beside `kind`, if there is such a table and such a kind.
pub(super) fn keys_of(table: &str, kind: &str) -> Option<&'static [&'static str]> {
    kinds_of(table)?
        .iter()
        .find(|(name, _)| *name == kind)
        .map(|(_, keys)| *keys)
}

const ARRIVALS: [(&str, &[&str]); 5] = [
    ("poisson", &["per_hour"]),
    ("deterministic", &["per_hour"]),
    ("daily", &["per_hour", "hourly"]),
    ("users", &["users", "generations_per_user_day", "hourly"]),
    ("trace", &["at"]),
];

const LENGTHS: [(&str, &[&str]); 5] = [
    ("deterministic", &["length"]),
    ("exponential", &["mean"]),
    ("uniform", &["min", "max"]),
    ("lognormal", &["median", "p95"]),
    ("trace", &["lengths"]),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArrivalsTable {
    kind: ArrivalsKind,
    per_hour: Option<f64>,
    hourly: Option<Assumption<Vec<f64>>>,
    users: Option<Assumption<f64>>,
    generations_per_user_day: Option<Assumption<f64>>,
    at: Option<Vec<Duration>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ArrivalsKind {
    Poisson,
    Deterministic,
    Daily,
    Users,
    Trace,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LengthTable {
    kind: LengthKind,
    length: Option<Duration>,
    mean: Option<Duration>,
    min: Option<Duration>,
    max: Option<Duration>,
    median: Option<Duration>,
    p95: Option<Duration>,
    lengths: Option<Vec<Duration>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LengthKind {
    Deterministic,
    Exponential,
    Uniform,
    Lognormal,
    Trace,
}

/// One kind of a table, and which keys the table states.
struct Stated<'a> {
    kind: &'static str,
    wanted: &'static [&'static str],
    keys: &'a [(&'static str, bool)],
}

impl<'a> Stated<'a> {
    /// The kind at this place of the list, once the table has none but its keys.
    fn only(
        kinds: &'static Kinds,
        index: usize,
        keys: &'a [(&'static str, bool)],
    ) -> Result<Stated<'a>, String> {
        let (kind, wanted) = kinds[index];
        let stated = Stated { kind, wanted, keys };
        let foreign = stated
            .keys
            .iter()
            .find(|(key, is_stated)| *is_stated && !stated.wanted.contains(key));
        match foreign {
            Some((key, _)) => Err(format!("unknown field `{key}`, {}", stated.expected())),
            None => Ok(stated),
        }
    }

    fn expected(&self) -> String {
        expected(self.kind, self.wanted)
    }

    fn needs<T>(&self, key: &str, value: Option<T>) -> Result<T, String> {
        value.ok_or_else(|| format!("missing field `{key}`, {}", self.expected()))
    }
}

/// What a table of this kind has, in the words of a reader's error.
pub(super) fn expected(kind: &str, keys: &[&str]) -> String {
    let keys = keys.iter().map(|key| format!("`{key}`"));
    format!(
        "kind = \"{kind}\" has {}",
        keys.collect::<Vec<_>>().join(", ")
    )
}

impl TryFrom<ArrivalsTable> for Arrivals {
    type Error = String;

    fn try_from(table: ArrivalsTable) -> Result<Arrivals, String> {
        let keys = [
            ("per_hour", table.per_hour.is_some()),
            ("hourly", table.hourly.is_some()),
            ("users", table.users.is_some()),
            (
                "generations_per_user_day",
                table.generations_per_user_day.is_some(),
            ),
            ("at", table.at.is_some()),
        ];
        let stated = Stated::only(&ARRIVALS, table.kind as usize, &keys)?;
        let per_hour = || stated.needs("per_hour", table.per_hour);
        let hourly = || stated.needs("hourly", table.hourly.clone());
        Ok(match table.kind {
            ArrivalsKind::Poisson => Arrivals::Poisson {
                per_hour: per_hour()?,
            },
            ArrivalsKind::Deterministic => Arrivals::Deterministic {
                per_hour: per_hour()?,
            },
            ArrivalsKind::Daily => {
                let hourly = hourly()?;
                if !hourly.is_exact() {
                    return Err(
                        "invalid field `hourly`, kind = \"daily\" has one day; write 24 multipliers, or take kind = \"users\""
                            .to_owned(),
                    );
                }
                Arrivals::Daily {
                    per_hour: per_hour()?,
                    hourly: hourly.mid,
                }
            }
            ArrivalsKind::Users => Arrivals::Users {
                users: stated.needs("users", table.users)?,
                generations_per_user_day: stated
                    .needs("generations_per_user_day", table.generations_per_user_day)?,
                hourly: hourly()?,
            },
            ArrivalsKind::Trace => Arrivals::Trace {
                at: stated.needs("at", table.at)?,
            },
        })
    }
}

impl TryFrom<LengthTable> for GenerationLength {
    type Error = String;

    fn try_from(table: LengthTable) -> Result<GenerationLength, String> {
        let keys = [
            ("length", table.length.is_some()),
            ("mean", table.mean.is_some()),
            ("min", table.min.is_some()),
            ("max", table.max.is_some()),
            ("median", table.median.is_some()),
            ("p95", table.p95.is_some()),
            ("lengths", table.lengths.is_some()),
        ];
        let stated = Stated::only(&LENGTHS, table.kind as usize, &keys)?;
        Ok(match table.kind {
            LengthKind::Deterministic => GenerationLength::Deterministic {
                length: stated.needs("length", table.length)?,
            },
            LengthKind::Exponential => GenerationLength::Exponential {
                mean: stated.needs("mean", table.mean)?,
            },
            LengthKind::Uniform => GenerationLength::Uniform {
                min: stated.needs("min", table.min)?,
                max: stated.needs("max", table.max)?,
            },
            LengthKind::Lognormal => GenerationLength::Lognormal {
                median: stated.needs("median", table.median)?,
                p95: stated.needs("p95", table.p95)?,
            },
            LengthKind::Trace => GenerationLength::Trace {
                lengths: stated.needs("lengths", table.lengths)?,
            },
        })
    }
}
