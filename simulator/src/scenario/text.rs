//! Scenarios as TOML text: reading with the line and the key of every error, and writing back.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::reading::{in_text, position_of};
use super::{Bill, Fleet, InvalidScenario, Profile, Scenario, Workload, defaults};
use crate::slo::Slo;
use crate::time::Duration;

/// A scenario text that cannot be used: where, what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    /// Line in the text, from 1; none when the text lacks the key altogether.
    pub line: Option<usize>,
    /// Column in the line, from 1.
    pub column: Option<usize>,
    /// Path of the key, such as `fleet.memory_gib`.
    pub key: Option<String>,
    /// What is wrong.
    pub problem: String,
    /// What to write instead, where the problem does not say it.
    pub remedy: Option<String>,
}

impl std::error::Error for ScenarioError {}

impl ScenarioError {
    /// A failed check, with the position of its key in the text that was read.
    pub fn located(text: &str, invalid: InvalidScenario) -> ScenarioError {
        let (line, column) = position_of(text, &invalid.key);
        ScenarioError {
            line,
            column,
            key: Some(invalid.key),
            problem: invalid.problem,
            remedy: Some(invalid.remedy),
        }
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "line {line}, column {column}, ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "key `{key}`: ")?;
        }
        f.write_str(&self.problem)?;
        if let Some(remedy) = &self.remedy {
            write!(f, "; {remedy}")?;
        }
        Ok(())
    }
}

/// A scenario as a file states it: the profile may be in another file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioText {
    #[serde(default = "defaults::seed")]
    seed: u64,
    #[serde(default = "defaults::horizon")]
    horizon: Duration,
    #[serde(default = "defaults::warmup")]
    warmup: Duration,
    workload: Workload,
    profile: ProfileText,
    fleet: Fleet,
    #[serde(default)]
    slo: Slo,
    #[serde(default)]
    bill: Bill,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileText {
    file: Option<String>,
    cpu_s_per_generation: Option<f64>,
    memory_base_mib: Option<f64>,
    memory_per_generation_kib: Option<f64>,
    cpu_s_per_poll: Option<f64>,
}

impl Scenario {
    /// Reads and checks a scenario whose profile is in the text itself.
    ///
    /// # Errors
    /// The first thing wrong, with its line, key and remedy.
    pub fn from_toml(text: &str) -> Result<Scenario, ScenarioError> {
        Scenario::from_toml_with(text, &mut |file| {
            Err(format!(
                "\"{file}\" cannot be read from here: write the profile's keys instead"
            ))
        })
    }

    /// Reads and checks a scenario; `read` fetches the text of `profile.file` if the scenario names one.
    ///
    /// # Errors
    /// The first thing wrong, with its line, key and remedy; also when `read` fails.
    pub fn from_toml_with(
        text: &str,
        read: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Result<Scenario, ScenarioError> {
        let stated: ScenarioText = toml::from_str(text).map_err(|error| in_text(text, &error))?;
        let profile = profile(&stated.profile, text, read)?;
        let scenario = Scenario {
            seed: stated.seed,
            horizon: stated.horizon,
            warmup: stated.warmup,
            workload: stated.workload,
            profile,
            fleet: stated.fleet,
            slo: stated.slo,
            bill: stated.bill,
        };
        scenario
            .validate()
            .map_err(|invalid| located(text, invalid))?;
        Ok(scenario)
    }

    /// Writes the scenario with every key stated, so that a later change of a default changes nothing.
    ///
    /// # Errors
    /// When a value has no TOML form: a seed above 2^63 - 1.
    pub fn to_toml(&self) -> Result<String, ScenarioError> {
        to_toml(self, "seed")
    }
}

impl Profile {
    /// Reads the file that `profile.file` names.
    ///
    /// # Errors
    /// The first thing wrong, with its line, key and remedy.
    pub fn from_toml(text: &str) -> Result<Profile, ScenarioError> {
        let profile: Profile = toml::from_str(text).map_err(|error| in_text(text, &error))?;
        super::validate::profile(&profile, "").map_err(|invalid| located(text, invalid))?;
        Ok(profile)
    }

    /// Writes the file that `profile.file` names.
    ///
    /// # Errors
    /// Never for a profile that passed its checks.
    pub fn to_toml(&self) -> Result<String, ScenarioError> {
        to_toml(self, "profile")
    }
}

impl Slo {
    /// Reads a promise from a file of its own: the keys of a scenario's `[slo]` at the top level.
    ///
    /// # Errors
    /// The first thing wrong, with its line, key and remedy.
    pub fn from_toml(text: &str) -> Result<Slo, ScenarioError> {
        let slo: Slo = toml::from_str(text).map_err(|error| in_text(text, &error))?;
        super::validate::slo(&slo, "").map_err(|invalid| located(text, invalid))?;
        Ok(slo)
    }
}

fn to_toml(value: &impl Serialize, key: &str) -> Result<String, ScenarioError> {
    toml::to_string(value).map_err(|error| ScenarioError {
        line: None,
        column: None,
        key: Some(key.to_owned()),
        problem: error.to_string(),
        remedy: None,
    })
}

fn profile(
    stated: &ProfileText,
    text: &str,
    read: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<Profile, ScenarioError> {
    let refused = |key: &str, problem: String, remedy: &str| {
        located(text, InvalidScenario::new(key, problem, remedy))
    };
    let measured = [
        ("profile.cpu_s_per_generation", stated.cpu_s_per_generation),
        ("profile.memory_base_mib", stated.memory_base_mib),
        (
            "profile.memory_per_generation_kib",
            stated.memory_per_generation_kib,
        ),
        ("profile.cpu_s_per_poll", stated.cpu_s_per_poll),
    ];
    if let Some(file) = &stated.file {
        if let Some((key, _)) = measured.iter().find(|(_, value)| value.is_some()) {
            return Err(refused(
                key,
                "stated beside `file`".to_owned(),
                "keep one of the two",
            ));
        }
        let content = read(file).map_err(|why| {
            refused(
                "profile.file",
                why,
                "name a profile that calibration wrote, or write its keys here",
            )
        })?;
        return Profile::from_toml(&content).map_err(|error| {
            refused(
                "profile.file",
                format!("in \"{file}\": {error}"),
                "calibrate again or mend the file",
            )
        });
    }
    let required = |index: usize| {
        let (key, value): (&str, Option<f64>) = measured[index];
        value.ok_or_else(|| {
            let mut error = refused(
                key,
                "missing".to_owned(),
                "write it, or name a profile with `file`",
            );
            (error.line, error.column) = position_of(text, "profile");
            error
        })
    };
    Ok(Profile {
        cpu_s_per_generation: required(0)?,
        memory_base_mib: required(1)?,
        memory_per_generation_kib: required(2)?,
        cpu_s_per_poll: stated.cpu_s_per_poll.unwrap_or(0.0),
    })
}

fn located(text: &str, invalid: InvalidScenario) -> ScenarioError {
    ScenarioError::located(text, invalid)
}

/// `metric = "none"`, one name, or a list of names.
pub(super) mod metric_names {
    use std::fmt;

    use serde::de::value::{SeqAccessDeserializer, StrDeserializer};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use super::super::Metric;

    pub(in super::super) fn serialize<S: Serializer>(
        metrics: &[Metric],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match metrics {
            [] => serializer.serialize_str("none"),
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Metric>, D::Error> {
        struct Names;
        impl<'de> de::Visitor<'de> for Names {
            type Value = Vec<Metric>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "\"none\", \"cpu\", \"memory\", \"queue_depth\", \"requests\", or a list of the last four",
                )
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Vec<Metric>, E> {
                if name == "none" {
                    return Ok(Vec::new());
                }
                Metric::deserialize(StrDeserializer::<E>::new(name)).map(|metric| vec![metric]).map_err(
                    |_| {
                        E::custom(format!(
                            "unknown metric \"{name}\"; write \"none\", \"cpu\", \"memory\", \"queue_depth\", \
                             \"requests\", or a list of the last four"
                        ))
                    },
                )
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, names: A) -> Result<Vec<Metric>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(names))
            }
        }
        deserializer.deserialize_any(Names)
    }
}
