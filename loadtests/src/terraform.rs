//! Reads a sizing from Terraform: the values of a `.tfvars` file, or of a plan, over the defaults of the
//! root module.

mod functions;
mod module;
mod reader;
mod sizing;
mod source;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tftest_coverage;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hcl::Value;
use serde::Serialize;
use simulator::scenario::{Fleet, Mode};

use module::{Kind, Variable, module};
use reader::sizing_of;
use source::Values;

pub use module::Finding;
pub use sizing::{AutoscalingMetric, CacheMode, CpuArchitecture, Sizing};

/// Why a file is no sizing.
#[derive(Debug, thiserror::Error)]
pub enum TerraformError {
    /// The file cannot be read.
    #[error("read {path}, which must be {expected}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What it must be.
        expected: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is no HCL, no JSON, or no plan.
    #[error("parse {path}: {detail}")]
    Syntax {
        /// The file, with line and column where they are known.
        path: PathBuf,
        /// What was expected.
        detail: String,
    },
    /// A tfvars file holds assignments only.
    #[error(
        "read {path}: it has a block `{block}`, but a tfvars file holds only lines `name = value`"
    )]
    Block {
        /// The file, and the line where it is known.
        path: PathBuf,
        /// The block's name.
        block: String,
    },
    /// A value that no variable takes.
    #[error("read {path}: `{key}` is not a variable of terraform/variables.tf or settings.tf{}", hint(.key, .nearest.as_deref()))]
    Unknown {
        /// The file, and the line where it is known.
        path: PathBuf,
        /// The name.
        key: String,
        /// The variable that was probably meant.
        nearest: Option<String>,
    },
    /// Variables without a default are missing.
    #[error("read {path}: {} missing, and there is no default: add a line `{} = ...`", named(.keys), .keys[0])]
    Missing {
        /// The file.
        path: PathBuf,
        /// The names, at least one.
        keys: Vec<String>,
    },
    /// A value of the wrong type, or outside its range.
    #[error("read {path}: `{key}` {detail}")]
    Value {
        /// The file, and the line where it is known.
        path: PathBuf,
        /// The name.
        key: String,
        /// What is wrong, and what would be right.
        detail: String,
    },
}

impl TerraformError {
    /// The same with the file and the line that assign the name it is about: those of the error's own file, or
    /// else of `other`, where the settings say what the sizing does not.
    fn at_line(mut self, other: Option<&Path>) -> Self {
        if let Self::Unknown { path, key, .. } | Self::Value { path, key, .. } = &mut self {
            let assigned_in = |file: &Path| {
                // What a pipe has told once it does not tell again.
                let text =
                    std::fs::read_to_string(Some(file).filter(|file| file.is_file())?).ok()?;
                let line = source::line_of(&text, key)?;
                Some(PathBuf::from(format!("{}:{line}", file.display())))
            };
            if let Some(found) = assigned_in(path).or_else(|| assigned_in(other?)) {
                *path = found;
            }
        }
        self
    }
}

fn hint(key: &str, nearest: Option<&str>) -> String {
    match nearest {
        _ if key == "format_version" => "; it looks like a plan: give it as --plan".to_owned(),
        Some(name) => format!("; did you mean `{name}`?"),
        None => String::new(),
    }
}

fn named(keys: &[String]) -> String {
    let quoted: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
    format!(
        "{} {}",
        quoted.join(", "),
        if keys.len() == 1 { "is" } else { "are" }
    )
}

/// Reads the sizing in the tfvars file at `path`.
///
/// # Errors
/// When the file cannot be read or parsed, or when a name or a value in it is not one that the root
/// module accepts.
pub fn read_sizing(path: &Path) -> Result<Sizing, TerraformError> {
    Ok(Configuration::read(path, None)?.sizing)
}

/// Reads the sizing in a tfvars file's text; `path` is what errors call it.
///
/// # Errors
/// As [`read_sizing`].
pub fn parse_sizing(path: &Path, text: &str) -> Result<Sizing, TerraformError> {
    Ok(Configuration::parse(path, text)?.sizing)
}

/// The values of a tfvars file's text by name, in its order; `path` is what errors call it.
///
/// # Errors
/// When the text cannot be parsed.
pub(crate) fn parse_values(
    path: &Path,
    text: &str,
) -> Result<Vec<(String, Value)>, TerraformError> {
    source::parse_tfvars(path, text)
}

/// The settings of the stage whose sizing is at `sizing`: the file of the same name in the folder `settings`
/// beside it, or else in that of the checkout at `workspace`; none where neither has one.
pub fn settings_of(sizing: &Path, workspace: &Path) -> Option<PathBuf> {
    let stage = stage_name(sizing)?;
    let beside = sizing.parent().unwrap_or(Path::new(""));
    let committed = workspace.join("terraform/environments");
    [beside, &committed]
        .map(|folder| folder.join(format!("settings/{stage}.tfvars")))
        .into_iter()
        .find(|file| file.is_file())
}

/// The name of a stage's file without its extensions.
fn stage_name(file: &Path) -> Option<&str> {
    file.file_name()?.to_str()?.split('.').next()
}

/// Where the values come from that do not size the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Settings {
    /// From where the sizing does: a plan has every value.
    Within,
    /// From this file.
    File(PathBuf),
    /// From nowhere: what the sizing leaves out has the default of `settings.tf`.
    Defaults,
}

/// Every value of the root module for one stage.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The file that the sizing came from.
    pub file: PathBuf,
    /// Where its other values come from.
    pub settings: Settings,
    /// The values that size the service.
    pub sizing: Sizing,
    /// Every variable that has a value, the sizing's included.
    values: BTreeMap<String, Value>,
    /// The stage, where a file says it.
    environment: Option<String>,
}

impl Configuration {
    /// Reads the sizing at `path` over the settings of its stage; a line of the sizing wins.
    ///
    /// # Errors
    /// When a file cannot be read or parsed, or when a name or a value in it is not one that the root
    /// module accepts.
    pub fn read(path: &Path, settings: Option<&Path>) -> Result<Self, TerraformError> {
        Self::read_files(path, settings).map_err(|error| error.at_line(settings))
    }

    fn read_files(path: &Path, settings: Option<&Path>) -> Result<Self, TerraformError> {
        let mut values = BTreeMap::new();
        let mut environment = None;
        let settings = settings.map(|file| (file, source::SETTINGS));
        for (file, expected) in settings.into_iter().chain([(path, source::SIZING)]) {
            let given = source::read_values(file, expected)?;
            environment = stage(&given).or(environment);
            assign(file, given, &mut values)?;
        }
        let mut configuration = Self::new(path, values, environment)?;
        configuration.settings = settings.map_or(Settings::Defaults, |(file, _)| {
            Settings::File(file.to_owned())
        });
        Ok(configuration)
    }

    /// Reads the text of one file that holds a whole stage; `path` is what errors call it.
    ///
    /// # Errors
    /// As [`Configuration::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, TerraformError> {
        let given = source::parse_tfvars(path, text)?;
        let environment = stage(&given);
        let mut values = BTreeMap::new();
        assign(path, given, &mut values)?;
        Self::new(path, values, environment)
    }

    /// The configuration that starts `fleet`, over the defaults of the settings: of it, what findings look at. A
    /// generation takes `generation_s` at most, and the account may run `vcpu_quota` vCPU, where they are given.
    ///
    /// # Errors
    /// When a value is none that the root module accepts.
    pub(crate) fn of_fleet(
        fleet: &Fleet,
        generation_s: Option<f64>,
        vcpu_quota: Option<f64>,
    ) -> Result<Self, TerraformError> {
        let numbers = [
            ("task_cpu", Some(fleet.vcpu * 1024.0)),
            ("task_memory_mib", Some(fleet.memory_gib * 1024.0)),
            ("generation_workers", Some(fleet.workers.into())),
            ("tasks_min", Some(fleet.tasks.min.into())),
            ("tasks_desired", Some(fleet.tasks.desired.into())),
            ("tasks_max", Some(fleet.tasks.max.into())),
            ("nat_gateways", Some(fleet.nat_gateways.into())),
            (
                "alb_idle_timeout_s",
                Some(fleet.alb_idle_timeout.as_secs_f64()),
            ),
            (
                "deregistration_delay_s",
                Some(fleet.deregistration_delay.as_secs_f64()),
            ),
            ("stop_timeout_s", Some(fleet.stop_timeout.as_secs_f64())),
            ("generation_duration_s", generation_s),
            ("fargate_vcpu_quota", vcpu_quota),
        ];
        let words = [
            (
                "generation_mode",
                match fleet.mode {
                    Mode::Queue => "queue",
                    Mode::Sync => "sync",
                },
            ),
            (
                "cache_mode",
                match fleet.cache_mode {
                    simulator::scenario::CacheMode::Elasticache => "elasticache",
                    simulator::scenario::CacheMode::Sidecar => "sidecar",
                    simulator::scenario::CacheMode::None => "none",
                },
            ),
            ("db_instance_class", fleet.db_instance_class.as_str()),
        ];
        let number = |number| hcl::Number::from_f64(number).map(Value::Number);
        let numbers = numbers
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), number(value?)?)));
        let words = words
            .into_iter()
            .map(|(name, word)| (name.to_owned(), Value::from(word)));
        let values = numbers.chain(words).collect();
        Self::new(Path::new("the fleet"), values, None)
    }

    /// Reads the variables of a plan, as `terraform show -json` prints it.
    ///
    /// # Errors
    /// When the file is no plan of the root module, or its values are not ones that it accepts.
    pub fn read_plan(path: &Path) -> Result<Self, TerraformError> {
        let given = source::read_plan(path)?;
        let environment = stage(&given);
        let mut values = BTreeMap::new();
        assign(path, given, &mut values)?;
        Self::new(path, values, environment).map_err(|error| match error {
            TerraformError::Missing { path, keys } => TerraformError::Syntax {
                path,
                detail: format!(
                    "it plans another root module: {} no variable of it; plan terraform/ of this checkout",
                    named(&keys)
                ),
            },
            other => other,
        })
    }

    fn new(
        path: &Path,
        given: BTreeMap<String, Value>,
        environment: Option<String>,
    ) -> Result<Self, TerraformError> {
        let defaults = module()
            .variables
            .iter()
            .filter_map(|(name, variable)| Some((name.clone(), variable.default.clone()?)));
        let mut values: BTreeMap<_, _> = defaults.collect();
        let stated: BTreeSet<String> = given.keys().cloned().collect();
        values.extend(given);
        let missing = module()
            .variables
            .iter()
            .filter(|(name, variable)| variable.of_sizing && !values.contains_key(*name))
            .map(|(name, _)| name.clone());
        let keys: Vec<_> = missing.collect();
        if !keys.is_empty() {
            return Err(TerraformError::Missing {
                path: path.to_owned(),
                keys,
            });
        }
        let sizing = sizing_of(path, &values)?;
        if let Some((key, message)) = module().broken_validation(&values, &stated) {
            // The block's message begins with the variable's name, as ours does.
            let detail = message
                .strip_prefix(&key)
                .map_or_else(|| message.clone(), |rest| rest.trim().to_owned());
            let detail = detail.trim_end_matches('.');
            let detail = match (detail.strip_prefix("must "), values.get(&key)) {
                (Some(rule), Some(value)) => format!("is {} and must {rule}", shown(value)),
                _ => detail.to_owned(),
            };
            // What nobody has written has no line; what it does not suit has one.
            let looked_at = module().looked_at_by(&key);
            let cause = stated.iter().find(|name| looked_at.contains(*name));
            let (key, detail) = match (cause, message.strip_prefix(&key)) {
                (Some(cause), Some(rule)) if !stated.contains(&key) => {
                    let (value, rule) = (shown(&values[cause]), rule.trim_end_matches('.'));
                    (cause.clone(), format!("is {value}, and `{key}`{rule}"))
                }
                _ => (key, detail),
            };
            return Err(TerraformError::Value {
                path: path.to_owned(),
                key,
                detail,
            });
        }
        Ok(Self {
            file: path.to_owned(),
            settings: Settings::Within,
            sizing,
            values,
            environment,
        })
    }

    /// The same with some values changed, each of which its variable allows.
    ///
    /// # Errors
    /// When they do not fit together.
    pub(crate) fn with(&self, changes: &[(&str, Value)]) -> Result<Self, TerraformError> {
        let mut values = self.values.clone();
        values.extend(
            changes
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone())),
        );
        Ok(Self {
            file: self.file.clone(),
            settings: self.settings.clone(),
            sizing: sizing_of(&self.file, &values)?,
            values,
            environment: self.environment.clone(),
        })
    }

    /// The value of a variable.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// A variable's number; 0 where it has none.
    pub(crate) fn number(&self, name: &str) -> f64 {
        self.value(name).and_then(Value::as_f64).unwrap_or(0.0)
    }

    /// A variable's flag; false where it has none.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.value(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Whether requests stay open (`Sync`) or are queued (`Queue`).
    pub fn mode(&self) -> Mode {
        match self.value("generation_mode").and_then(Value::as_str) {
            Some("sync") => Mode::Sync,
            _ => Mode::Queue,
        }
    }

    /// The stage: what `environment` says in the files, else the file's own name.
    pub fn stage(&self) -> Option<&str> {
        self.environment
            .as_deref()
            .or_else(|| stage_name(&self.file))
    }

    /// The fleet that these values start. Nothing protects its tasks: the backend does not use the permission that
    /// `task_protection_enabled` grants.
    pub fn fleet(&self) -> Fleet {
        let mut fleet = self.sizing.fleet(self.mode());
        let storage_gb = self.value("database_storage_gb").and_then(Value::as_u64);
        if let Some(gb) = storage_gb.and_then(|gb| u32::try_from(gb).ok()) {
            fleet.db_storage_gb = gb;
        }
        fleet
    }

    /// What breaks this configuration although every value is allowed, and what should only be told:
    /// `findings.tf`, whatever `enforce_findings` says.
    pub fn findings(&self) -> (Vec<Finding>, Vec<Finding>) {
        module().findings(&self.values)
    }

    /// Whether there is no finding: cheaper to know than which there are.
    pub(crate) fn holds(&self) -> bool {
        module().holds(&self.values)
    }

    /// vCPU that a rolling deployment wants for a while, all tasks running: `local.vcpu_deployment` of `findings.tf`.
    pub fn deployment_vcpu(&self) -> f64 {
        self.local_number("vcpu_deployment")
    }

    /// A number among the locals of `findings.tf`.
    pub(crate) fn local_number(&self, name: &str) -> f64 {
        module().local_number(name, &self.values)
    }
}

/// The stage that a file names.
fn stage(given: &Values) -> Option<String> {
    let (_, value) = given.iter().find(|(name, _)| name == "environment")?;
    value.as_str().map(str::to_owned)
}

/// Puts the values of one file over those before, converted to the variables' types as Terraform does.
fn assign(
    path: &Path,
    given: Values,
    values: &mut BTreeMap<String, Value>,
) -> Result<(), TerraformError> {
    for (key, value) in given {
        let Some(variable) = module().variables.get(&key) else {
            let nearest = nearest(&key, module().variables.keys());
            return Err(TerraformError::Unknown {
                path: path.to_owned(),
                key,
                nearest,
            });
        };
        if value.is_null() && (!variable.nullable || variable.default == Some(Value::Null)) {
            continue;
        }
        let value = converted(variable, value).map_err(|detail| TerraformError::Value {
            path: path.to_owned(),
            key: key.clone(),
            detail,
        })?;
        values.insert(key, value);
    }
    Ok(())
}

/// The value as its variable's type: Terraform takes `"6"` for a number and `6` for a string.
fn converted(variable: &Variable, value: Value) -> Result<Value, String> {
    let converted = match (variable.kind, &value) {
        (Kind::Other, _)
        | (Kind::Number, Value::Number(_))
        | (Kind::Text, Value::String(_))
        | (Kind::Flag, Value::Bool(_)) => return Ok(value),
        (Kind::Number, Value::String(text)) => {
            let number = text.trim().parse::<f64>().ok();
            number.and_then(hcl::Number::from_f64).map(Value::Number)
        }
        (Kind::Text, Value::Number(number)) => Some(Value::String(number.to_string())),
        (Kind::Text, Value::Bool(flag)) => Some(Value::String(flag.to_string())),
        (Kind::Flag, Value::String(text)) => text.parse().ok().map(Value::Bool),
        _ => None,
    };
    let kind = match variable.kind {
        Kind::Number => "a number",
        Kind::Flag => "true or false",
        Kind::Text | Kind::Other => "a string",
    };
    converted.ok_or_else(|| format!("must be {kind}, not {}", shown(&value)))
}

/// Letters of a value that an error repeats.
const SHOWN_MAX: usize = 60;

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) if text.chars().count() > SHOWN_MAX => {
            format!(
                "\"{}...\"",
                text.chars().take(SHOWN_MAX).collect::<String>()
            )
        }
        Value::String(text) => format!("\"{text}\""),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    }
}

/// The known name that differs least from `key`, if any is close.
fn nearest<'a>(key: &str, names: impl Iterator<Item = &'a String>) -> Option<String> {
    const DISTANCE_MAX: usize = 4;
    names
        .map(|name| (strsim::levenshtein(key, name), name))
        .filter(|(distance, _)| *distance <= DISTANCE_MAX)
        .min()
        .map(|(_, name)| name.clone())
}
