//! What is assumed and not known: the lowest, the likeliest and the highest value that somebody answers for.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An assumed value. TOML takes one value, or `{ low = …, mid = …, high = … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Assumption<T> {
    /// What loads the fleet least.
    pub low: T,
    /// What is thought likeliest.
    pub mid: T,
    /// What loads the fleet most.
    pub high: T,
}

/// Which of its values every assumption takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// The lowest load of all assumptions together.
    Low,
    /// The likeliest of each.
    #[default]
    Mid,
    /// The highest load of all assumptions together.
    High,
}

impl Case {
    /// All of them, in ascending order of the load.
    pub const ALL: [Case; 3] = [Case::Low, Case::Mid, Case::High];

    /// The name that TOML and JSON use.
    pub fn name(self) -> &'static str {
        match self {
            Case::Low => "low",
            Case::Mid => "mid",
            Case::High => "high",
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl<T: Clone + PartialEq> Assumption<T> {
    /// A value that is known.
    pub fn exactly(value: T) -> Assumption<T> {
        Assumption {
            low: value.clone(),
            mid: value.clone(),
            high: value,
        }
    }

    /// The value of this case.
    pub fn at(&self, case: Case) -> &T {
        match case {
            Case::Low => &self.low,
            Case::Mid => &self.mid,
            Case::High => &self.high,
        }
    }

    /// Whether the three values are one.
    pub fn is_exact(&self) -> bool {
        self.low == self.mid && self.mid == self.high
    }
}

impl<T: Clone + PartialEq + Serialize> Serialize for Assumption<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_exact() {
            return self.mid.serialize(serializer);
        }
        serializer.collect_map(Case::ALL.map(|case| (case.name(), self.at(case))))
    }
}

/// The written form of an interval.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds<T> {
    low: T,
    mid: T,
    high: T,
}

impl<'de, T: Clone + PartialEq + Deserialize<'de>> Deserialize<'de> for Assumption<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Assumption<T>, D::Error> {
        struct Stated<T>(PhantomData<T>);
        impl<'de, T: Clone + PartialEq + Deserialize<'de>> de::Visitor<'de> for Stated<T> {
            type Value = Assumption<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one value, or { low = …, mid = …, high = … }")
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Assumption<T>, E> {
                T::deserialize(value.into_deserializer()).map(Assumption::exactly)
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Assumption<T>, E> {
                T::deserialize(value.into_deserializer()).map(Assumption::exactly)
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Assumption<T>, E> {
                T::deserialize(value.into_deserializer()).map(Assumption::exactly)
            }
            fn visit_seq<A: de::SeqAccess<'de>>(
                self,
                values: A,
            ) -> Result<Assumption<T>, A::Error> {
                T::deserialize(SeqAccessDeserializer::new(values)).map(Assumption::exactly)
            }
            fn visit_map<A: de::MapAccess<'de>>(
                self,
                values: A,
            ) -> Result<Assumption<T>, A::Error> {
                let bounds = Bounds::deserialize(MapAccessDeserializer::new(values))?;
                Ok(Assumption {
                    low: bounds.low,
                    mid: bounds.mid,
                    high: bounds.high,
                })
            }
        }
        deserializer.deserialize_any(Stated(PhantomData))
    }
}
