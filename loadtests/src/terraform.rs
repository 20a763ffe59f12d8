//! Reads a sizing from Terraform: the values of a `.tfvars` file, or of a plan, over the defaults of the
//! root module.

mod functions;
mod module;
mod sizing;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hcl::Value;
use simulator::prices::{fargate_memories_gib, price_book};
use simulator::scenario::{Fleet, Mode};

use module::{Kind, Variable, module};
use source::Values;

pub use module::Finding;
pub use sizing::{AutoscalingMetric, CacheMode, CpuArchitecture, Sizing};

/// Why a file is no sizing.
#[derive(Debug, thiserror::Error)]
pub enum TerraformError {
    /// The file cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is no HCL, no JSON, or no plan.
    #[error("parse {path}: {detail}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected.
        detail: String,
    },
    /// A tfvars file holds assignments only.
    #[error(
        "read {path}: it has a block `{block}`, but a tfvars file holds only lines `name = value`"
    )]
    Block {
        /// The file.
        path: PathBuf,
        /// The block's name.
        block: String,
    },
    /// A value that no variable takes.
    #[error("read {path}: `{key}` is not a variable of terraform/variables.tf or settings.tf{}", hint(.nearest.as_deref()))]
    Unknown {
        /// The file.
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
        /// The file.
        path: PathBuf,
        /// The name.
        key: String,
        /// What is wrong, and what would be right.
        detail: String,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest
        .map(|name| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
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

/// Every value of the root module for one stage.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The file that the sizing came from.
    pub file: PathBuf,
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
        let mut values = BTreeMap::new();
        let mut environment = None;
        for file in settings.into_iter().chain([path]) {
            let given = source::read_values(file)?;
            environment = stage(&given).or(environment);
            assign(file, given, &mut values)?;
        }
        Self::new(path, values, environment)
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
        Self::new(path, values, environment)
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
        if let Some((key, message)) = module().broken_validation(&values) {
            // The block's message begins with the variable's name, as ours does.
            let detail = message
                .strip_prefix(&key)
                .map_or_else(|| message.clone(), |rest| rest.trim().to_owned());
            let detail = detail.trim_end_matches('.').to_owned();
            return Err(TerraformError::Value {
                path: path.to_owned(),
                key,
                detail,
            });
        }
        Ok(Self {
            file: path.to_owned(),
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

    /// The fleet that these values start.
    pub fn fleet(&self) -> Fleet {
        let mut fleet = self.sizing.fleet(self.mode());
        fleet.task_protection = self.flag("task_protection_enabled");
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

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) => format!("\"{text}\""),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    }
}

fn sizing_of(path: &Path, values: &BTreeMap<String, Value>) -> Result<Sizing, TerraformError> {
    let sizing = Reader { path, values }.sizing()?;
    check(path, &sizing)?;
    Ok(sizing)
}

struct Reader<'a> {
    path: &'a Path,
    values: &'a BTreeMap<String, Value>,
}

impl Reader<'_> {
    fn sizing(&self) -> Result<Sizing, TerraformError> {
        Ok(Sizing {
            task_cpu: self.whole("task_cpu")?,
            task_memory_mib: self.whole("task_memory_mib")?,
            cpu_architecture: self.word("cpu_architecture")?,
            generation_workers: self.whole("generation_workers")?,
            tasks_min: self.whole("tasks_min")?,
            tasks_desired: self.whole("tasks_desired")?,
            tasks_max: self.whole("tasks_max")?,
            autoscaling_metric: self.word("autoscaling_metric")?,
            autoscaling_cpu_target_percent: self.number("autoscaling_cpu_target_percent")?,
            autoscaling_memory_target_percent: self.number("autoscaling_memory_target_percent")?,
            autoscaling_queue_depth_target: self.number("autoscaling_queue_depth_target")?,
            scale_out_cooldown_s: self.whole("scale_out_cooldown_s")?,
            scale_in_cooldown_s: self.whole("scale_in_cooldown_s")?,
            nat_gateways: self.whole("nat_gateways")?,
            alb_idle_timeout_s: self.whole("alb_idle_timeout_s")?,
            deregistration_delay_s: self.whole("deregistration_delay_s")?,
            stop_timeout_s: self.whole("stop_timeout_s")?,
            db_instance_class: self.word("db_instance_class")?,
            db_multi_az: self.value("db_multi_az").as_bool().unwrap_or(false),
            cache_mode: self.word("cache_mode")?,
        })
    }

    fn value(&self, key: &str) -> &Value {
        self.values.get(key).unwrap_or(&Value::Null)
    }

    fn wrong(&self, key: &str, detail: String) -> TerraformError {
        TerraformError::Value {
            path: self.path.to_owned(),
            key: key.to_owned(),
            detail,
        }
    }

    fn number(&self, key: &str) -> Result<f64, TerraformError> {
        let value = self.value(key);
        value
            .as_f64()
            .ok_or_else(|| self.wrong(key, format!("must be a number, not {}", shown(value))))
    }

    fn whole<N: TryFrom<u64>>(&self, key: &str) -> Result<N, TerraformError> {
        let number = self.number(key)?;
        let whole = format!("{number}")
            .parse::<u64>()
            .ok()
            .and_then(|whole| N::try_from(whole).ok());
        whole.ok_or_else(|| {
            self.wrong(
                key,
                format!("must be a whole number that is not negative, not {number}"),
            )
        })
    }

    /// A string, or one of an enumeration's words; the message lists them.
    fn word<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T, TerraformError> {
        let value = self.value(key);
        let Some(text) = value.as_str() else {
            return Err(self.wrong(key, format!("must be a string, not {}", shown(value))));
        };
        let value = serde_json::Value::String(text.to_owned());
        serde_json::from_value(value).map_err(|error| {
            let words = error.to_string().replace("unknown variant", "cannot be");
            self.wrong(key, words)
        })
    }
}

/// The rules of `variables.tf`'s validation blocks that bind more than a type, in words that say what the
/// value is; and the one rule of ours, that a database class has a price.
fn check(path: &Path, sizing: &Sizing) -> Result<(), TerraformError> {
    let wrong = |key: &str, detail: String| {
        Err(TerraformError::Value {
            path: path.to_owned(),
            key: key.to_owned(),
            detail,
        })
    };
    let Some(memories_gib) = fargate_memories_gib(sizing.vcpu()) else {
        let detail = format!(
            "is {} and must be 256, 512, 1024, 2048, 4096, 8192 or 16384 CPU units",
            sizing.task_cpu
        );
        return wrong("task_cpu", detail);
    };
    if !memories_gib
        .iter()
        .any(|gib| (gib - sizing.memory_gib()).abs() < 1e-9)
    {
        let (least, most) = (memories_gib.first().copied(), memories_gib.last().copied());
        let detail = format!(
            "is {}; Fargate gives a task of {} CPU units {} sizes from {:.0} to {:.0} MiB",
            sizing.task_memory_mib,
            sizing.task_cpu,
            memories_gib.len(),
            least.unwrap_or_default() * 1024.0,
            most.unwrap_or_default() * 1024.0,
        );
        return wrong("task_memory_mib", detail);
    }
    let bounds: [(&str, u64, u64, u64); 7] = [
        (
            "generation_workers",
            sizing.generation_workers.into(),
            1,
            100_000,
        ),
        ("tasks_min", sizing.tasks_min.into(), 1, 5_000),
        (
            "tasks_max",
            sizing.tasks_max.into(),
            sizing.tasks_min.into(),
            5_000,
        ),
        ("nat_gateways", sizing.nat_gateways.into(), 0, 2),
        ("alb_idle_timeout_s", sizing.alb_idle_timeout_s, 1, 4_000),
        (
            "deregistration_delay_s",
            sizing.deregistration_delay_s,
            0,
            3_600,
        ),
        ("stop_timeout_s", sizing.stop_timeout_s, 1, 120),
    ];
    for (key, value, least, most) in bounds {
        if value < least || value > most {
            return wrong(
                key,
                format!("is {value} and must lie between {least} and {most}"),
            );
        }
    }
    if sizing.tasks_desired < sizing.tasks_min || sizing.tasks_desired > sizing.tasks_max {
        let Sizing {
            tasks_desired,
            tasks_min,
            tasks_max,
            ..
        } = sizing;
        let detail = format!(
            "is {tasks_desired} and must lie between tasks_min ({tasks_min}) and tasks_max ({tasks_max})"
        );
        return wrong("tasks_desired", detail);
    }
    if price_book().rds_nanos(&sizing.db_instance_class).is_none() {
        let known: Vec<&str> = price_book()
            .rds_instance
            .iter()
            .map(|row| row.class.as_str())
            .collect();
        let detail = format!(
            "is \"{}\", which has no price here: take one of {}, or add a row with its source to \
             simulator/prices/us-east-1.toml",
            sizing.db_instance_class,
            known.join(", ")
        );
        return wrong("db_instance_class", detail);
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    const PROPOSAL: &str = include_str!("../../terraform/environments/proposal.tfvars");

    fn configuration(
        given: Result<Values, TerraformError>,
    ) -> Result<Configuration, TerraformError> {
        let path = Path::new("test.tfvars");
        let mut values = BTreeMap::new();
        assign(path, given?, &mut values)?;
        Configuration::new(path, values, None)
    }

    fn parse(text: &str) -> Result<Sizing, TerraformError> {
        Ok(configuration(source::parse_tfvars(Path::new("test.tfvars"), text))?.sizing)
    }

    /// The message for the proposal with one line replaced or added.
    fn message(key: &str, line: &str) -> String {
        let kept: Vec<_> = PROPOSAL
            .lines()
            .filter(|existing| existing.split_whitespace().next() != Some(key))
            .collect();
        let text = format!("{}\n{line}\n", kept.join("\n"));
        parse(&text).expect_err("a bad line").to_string()
    }

    #[test]
    fn the_proposal_is_the_review_to_the_letter() {
        let sizing = parse(PROPOSAL).expect("the committed file is valid");
        assert_eq!((sizing.task_cpu, sizing.task_memory_mib), (2048, 4096));
        assert_eq!(sizing.generation_workers, 6);
        assert_eq!(
            (sizing.tasks_min, sizing.tasks_desired, sizing.tasks_max),
            (1, 2, 3)
        );
        assert_eq!(sizing.autoscaling_metric, AutoscalingMetric::CpuAndMemory);
        assert_eq!(
            (sizing.scale_out_cooldown_s, sizing.scale_in_cooldown_s),
            (60, 300)
        );
        assert_eq!(sizing.nat_gateways, 2);
    }

    #[test]
    fn every_variable_is_a_field_and_every_field_a_variable() {
        let sizing = parse(PROPOSAL).expect("the committed file is valid");
        let json = serde_json::to_value(&sizing).expect("plain data");
        let fields: Vec<_> = json
            .as_object()
            .expect("a struct")
            .keys()
            .cloned()
            .collect();
        let variables: Vec<_> = module()
            .variables
            .iter()
            .filter(|(_, variable)| variable.of_sizing)
            .map(|(name, _)| name.clone())
            .collect();
        let mut sorted = fields;
        sorted.sort();
        assert_eq!(sorted, variables);
    }

    #[test]
    fn bad_values_name_the_variable_and_the_remedy() {
        let messages = [
            message("task_memory_mib", "task_memory_mib = 3000"),
            message("task_cpu", "task_cpu = 2000"),
            message("generation_workers", "generation_workers = 0"),
            message("generation_workers", "generation_workers = -6"),
            message("generation_workers", ""),
            message("-", "generation_worker = 6"),
            message("autoscaling_metric", "autoscaling_metric = \"requests\""),
            message("tasks_desired", "tasks_desired = 9"),
            message("stop_timeout_s", "stop_timeout_s = 900"),
            message("db_multi_az", "db_multi_az = \"yes\""),
            message("-", "module \"x\" {}"),
        ];
        insta::assert_snapshot!(messages.join("\n"));
    }

    #[test]
    fn what_terraform_refuses_is_refused_in_its_words() {
        let messages = [
            message("tasks_max", "tasks_max = 0"),
            message("nat_gateways", "nat_gateways = 3"),
            message("scale_out_cooldown_s", "scale_out_cooldown_s = \"soon\""),
            message(
                "autoscaling_queue_depth_target",
                "autoscaling_queue_depth_target = 0",
            ),
            message("alb_idle_timeout_s", "alb_idle_timeout_s = 60.5"),
            message("db_instance_class", "db_instance_class = \"micro\""),
            message("cache_mode", "cache_mode = null"),
            message("-", "deployment_strategy = \"canary\""),
            message("-", "database_pool_max = 2"),
            message("-", "fargate_vcpu_quota = 0"),
            message("-", "domain_name = \"api.example.com\""),
            message("task_cpu", "task_cpu = var.cpu"),
        ];
        let lines: Vec<_> = messages
            .iter()
            .map(|text| {
                text.split_once("test.tfvars: ")
                    .map_or(text.as_str(), |(_, rest)| rest)
            })
            .map(|text| text.split(": take one of").next().unwrap_or(text))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        `tasks_max` is 0 and must lie between 1 and 5000
        `nat_gateways` is 3 and must lie between 0 and 2
        `scale_out_cooldown_s` must be a number, not "soon"
        `autoscaling_queue_depth_target` must be more than 0 generations
        `alb_idle_timeout_s` must be a whole number that is not negative, not 60.5
        `db_instance_class` is "micro", which has no price here
        `cache_mode` must be a string, not null
        `deployment_strategy` must be rolling or blue_green
        `database_pool_max` must be a whole number of at least 3: the backend refuses fewer
        `fargate_vcpu_quota` must be more than 0 vCPU
        `domain_name` and route53_zone_id go together: give both, or neither
        `task_cpu` must be a literal value, not `var.cpu`: a tfvars file knows no variables and no functions
        "#);
        let twice = message("-", "task_cpu = 1024");
        assert!(
            twice.contains("redefined attribute") && twice.contains("line"),
            "{twice}"
        );
    }

    #[test]
    fn values_are_converted_as_terraform_does() {
        let text = PROPOSAL
            .replace("= 2048", "= \"2048\"")
            .replace("db_multi_az       = false", "db_multi_az = \"true\"")
            .replace("generation_workers = 6", "generation_workers = 2 * 3");
        let sizing = parse(&text).expect("Terraform takes these too");
        assert_eq!((sizing.task_cpu, sizing.db_multi_az), (2048, true));
        assert_eq!(sizing.generation_workers, 6);
    }

    #[test]
    fn a_setting_in_the_sizing_counts() {
        let text = format!("{PROPOSAL}\ngeneration_mode = \"sync\"\ndatabase_storage_gb = 40\n");
        let given = source::parse_tfvars(Path::new("test.tfvars"), &text);
        let configuration = configuration(given).expect("both are variables of settings.tf");
        assert_eq!(configuration.mode(), Mode::Sync);
        assert_eq!(configuration.fleet().db_storage_gb, 40);
        let (broken, _) = configuration.findings();
        let names: Vec<_> = broken.iter().map(|finding| finding.name.as_str()).collect();
        assert_eq!(
            names,
            ["alb_idle_timeout", "deregistration_delay", "stop_timeout"]
        );
    }

    #[test]
    fn json_is_read_like_tfvars() {
        let text = r#"{"task_cpu": 1024, "task_memory_mib": 2048, "generation_workers": 24,
                       "tasks_min": 1, "tasks_desired": 1, "tasks_max": "1", "cache_mode": "none"}"#;
        let parsed =
            |text: &str| configuration(source::parse_json(Path::new("test.tfvars.json"), text));
        let sizing = parsed(text).expect("it is complete").sizing;
        assert_eq!((sizing.tasks_max, sizing.cache_mode), (1, CacheMode::None));
        let twice = text.replace(
            "\"task_cpu\": 1024,",
            "\"task_cpu\": 1024, \"task_cpu\": 512,",
        );
        let error = parsed(&twice).expect_err("a key given twice").to_string();
        assert!(error.contains("`task_cpu` is set twice"), "{error}");
        let error = parsed("[1]").expect_err("no object").to_string();
        assert!(error.contains("an object of variables"), "{error}");
    }

    #[test]
    fn an_empty_file_lacks_every_variable_without_a_default() {
        let error = parse("").expect_err("nothing is set").to_string();
        assert_eq!(
            error,
            "read test.tfvars: `generation_workers`, `task_cpu`, `task_memory_mib`, `tasks_desired`, `tasks_max`, \
             `tasks_min` are missing, and there is no default: add a line `generation_workers = ...`"
        );
    }

    /// A plan as Terraform prints it, with the keys that are read.
    fn plan(cpu: &str) -> String {
        let variables: Vec<_> = [
            ("task_cpu", "1024"),
            ("task_memory_mib", "2048"),
            ("generation_workers", "24"),
            ("tasks_min", "2"),
            ("tasks_desired", "2"),
            ("tasks_max", "4"),
            ("environment", "\"growth\""),
            ("image_tag", "\"abc\""),
        ]
        .iter()
        .map(|(name, value)| format!("\"{name}\": {{\"value\": {value}}}"))
        .collect();
        format!(
            r#"{{"format_version": "1.2", "variables": {{{}}},
                "planned_values": {{"root_module": {{"resources": [
                    {{"type": "aws_ecs_task_definition", "mode": "managed", "values": {{"cpu": "{cpu}", "memory": "2048"}}}}
                ]}}}},
                "configuration": {{"root_module": {{"variables": {{
                    "nat_gateways": {{"default": 0}}, "domain_name": {{"default": null}}, "image_tag": {{}}
                }}}}}}}}"#,
            variables.join(", ")
        )
    }

    #[test]
    fn a_plan_has_its_own_defaults_and_must_agree_with_itself() {
        let path = Path::new("plan.json");
        let given = source::parse_plan(path, &plan("1024")).expect("a plan");
        assert_eq!(stage(&given).as_deref(), Some("growth"));
        let sizing = configuration(Ok(given)).expect("it is complete").sizing;
        assert_eq!((sizing.tasks_max, sizing.nat_gateways), (4, 0));

        let error = source::parse_plan(path, &plan("512"))
            .expect_err("it was edited")
            .to_string();
        assert_eq!(
            error,
            "read plan.json: `task_cpu` is 1024, but the plan's task definition has cpu 512: plan again"
        );
        let error = source::parse_plan(path, "{}")
            .expect_err("no plan")
            .to_string();
        assert!(error.contains("terraform show -json"), "{error}");
    }

    #[test]
    fn a_stage_has_its_settings_beside_it() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let committed = workspace.join("terraform/environments/settings/growth.tfvars");
        let elsewhere = settings_of(Path::new("/somewhere/growth.tfvars"), &workspace);
        assert_eq!(elsewhere, Some(committed));
        assert_eq!(
            settings_of(Path::new("/somewhere/mine.tfvars"), &workspace),
            None
        );
    }

    #[test]
    fn broken_syntax_names_the_line() {
        let error = parse("task_cpu = = 2").expect_err("no HCL").to_string();
        assert!(
            error.contains("test.tfvars") && error.contains('1'),
            "{error}"
        );
    }
}
