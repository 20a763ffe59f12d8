//! Reads a sizing from Terraform: the values of a `.tfvars` file over the defaults of `variables.tf`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hcl::{Body, Expression};
use serde::{Deserialize, Serialize};
use simulator::prices::fargate_memories_gib;
use simulator::scenario::{Architecture, Autoscaling, Fleet, Metric, Mode, Tasks};
use simulator::time::Duration;

use crate::stats::count_u64_as_f64;

/// The variables with their defaults, as Terraform itself reads them.
const VARIABLES_TF: &str = include_str!("../../terraform/variables.tf");

/// What autoscaling follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoscalingMetric {
    /// The task count stays at `tasks_desired`.
    None,
    /// CPU utilisation.
    Cpu,
    /// Memory utilisation.
    Memory,
    /// Both; the larger capacity wins.
    CpuAndMemory,
    /// Queued generations per task.
    QueueDepth,
}

/// Where sessions and limits live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheMode {
    /// A managed node.
    Elasticache,
    /// A Redis beside each task.
    Sidecar,
    /// In process.
    None,
}

/// Instruction set of the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CpuArchitecture {
    /// Intel and AMD.
    #[serde(rename = "X86_64")]
    X86,
    /// Graviton.
    #[serde(rename = "ARM64")]
    Arm,
}

/// Everything that sizes the service; the names are those of the Terraform variables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sizing {
    /// CPU units of one task; 1024 are one vCPU.
    pub task_cpu: u32,
    /// Memory of one task in MiB.
    pub task_memory_mib: u64,
    /// Instruction set.
    pub cpu_architecture: CpuArchitecture,
    /// Generations that one task runs at a time.
    pub generation_workers: u32,
    /// Fewest tasks.
    pub tasks_min: u32,
    /// Tasks at the start.
    pub tasks_desired: u32,
    /// Most tasks.
    pub tasks_max: u32,
    /// What autoscaling follows.
    pub autoscaling_metric: AutoscalingMetric,
    /// Target of CPU tracking in percent.
    pub autoscaling_cpu_target_percent: f64,
    /// Target of memory tracking in percent.
    pub autoscaling_memory_target_percent: f64,
    /// Target of queue-depth tracking, in queued generations per task.
    pub autoscaling_queue_depth_target: f64,
    /// Seconds between two scale-outs.
    pub scale_out_cooldown_s: u64,
    /// Seconds between two scale-ins.
    pub scale_in_cooldown_s: u64,
    /// NAT gateways.
    pub nat_gateways: u32,
    /// Seconds without a byte after which the load balancer cuts.
    pub alb_idle_timeout_s: u64,
    /// Seconds that a deregistered task may go on answering.
    pub deregistration_delay_s: u64,
    /// Seconds between SIGTERM and SIGKILL.
    pub stop_timeout_s: u64,
    /// RDS instance class.
    pub db_instance_class: String,
    /// Whether RDS has a standby.
    pub db_multi_az: bool,
    /// Where sessions and limits live.
    pub cache_mode: CacheMode,
}

impl Sizing {
    /// vCPU of one task.
    pub fn vcpu(&self) -> f64 {
        f64::from(self.task_cpu) / 1024.0
    }

    /// Memory of one task in GiB.
    pub fn memory_gib(&self) -> f64 {
        count_u64_as_f64(self.task_memory_mib) / 1024.0
    }

    /// The fleet that this sizing starts, with requests held (`Sync`) or queued (`Queue`).
    pub fn fleet(&self, mode: Mode) -> Fleet {
        let tasks = Tasks {
            min: self.tasks_min,
            desired: self.tasks_desired,
            max: self.tasks_max,
        };
        let metrics = match self.autoscaling_metric {
            AutoscalingMetric::None => vec![],
            AutoscalingMetric::Cpu => vec![Metric::Cpu],
            AutoscalingMetric::Memory => vec![Metric::Memory],
            AutoscalingMetric::CpuAndMemory => vec![Metric::Cpu, Metric::Memory],
            AutoscalingMetric::QueueDepth => vec![Metric::QueueDepth],
        };
        let mut fleet = Fleet::new(
            self.vcpu(),
            self.memory_gib(),
            self.generation_workers,
            tasks,
        );
        fleet.mode = mode;
        fleet.autoscaling = Autoscaling {
            metrics,
            cpu_target_percent: self.autoscaling_cpu_target_percent,
            memory_target_percent: self.autoscaling_memory_target_percent,
            queue_depth_per_task_target: self.autoscaling_queue_depth_target,
            scale_out_cooldown: Duration::from_secs(self.scale_out_cooldown_s),
            scale_in_cooldown: Duration::from_secs(self.scale_in_cooldown_s),
            ..Autoscaling::none()
        };
        fleet.nat_gateways = self.nat_gateways;
        fleet.alb_idle_timeout = Duration::from_secs(self.alb_idle_timeout_s);
        fleet.deregistration_delay = Duration::from_secs(self.deregistration_delay_s);
        fleet.stop_timeout = Duration::from_secs(self.stop_timeout_s);
        fleet.db_instance_class.clone_from(&self.db_instance_class);
        fleet.db_multi_az = self.db_multi_az;
        fleet.cache_mode = match self.cache_mode {
            CacheMode::Elasticache => simulator::scenario::CacheMode::Elasticache,
            CacheMode::Sidecar => simulator::scenario::CacheMode::Sidecar,
            CacheMode::None => simulator::scenario::CacheMode::None,
        };
        fleet.architecture = match self.cpu_architecture {
            CpuArchitecture::X86 => Architecture::X86,
            CpuArchitecture::Arm => Architecture::Arm,
        };
        fleet
    }
}

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
    /// The file is no HCL.
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
    #[error("read {path}: `{key}` is not a variable of terraform/variables.tf{}", hint(.nearest.as_deref()))]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The name.
        key: String,
        /// The variable that was probably meant.
        nearest: Option<String>,
    },
    /// A variable without a default is missing.
    #[error("read {path}: `{key}` is missing, and it has no default: add a line `{key} = ...`")]
    Missing {
        /// The file.
        path: PathBuf,
        /// The name.
        key: String,
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

/// Reads the sizing in the tfvars file at `path`.
///
/// # Errors
/// When the file cannot be read or parsed, or when a name or a value in it is not one that
/// `variables.tf` accepts.
pub fn read_sizing(path: &Path) -> Result<Sizing, TerraformError> {
    let text = std::fs::read_to_string(path).map_err(|source| TerraformError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse_sizing(path, &text)
}

/// Parses the text of a tfvars file; `path` is for messages only.
///
/// # Errors
/// As [`read_sizing`].
pub fn parse_sizing(path: &Path, text: &str) -> Result<Sizing, TerraformError> {
    let mut values = defaults();
    let body: Body = hcl::from_str(text).map_err(|error| TerraformError::Syntax {
        path: path.to_owned(),
        detail: error.to_string(),
    })?;
    if let Some(block) = body.blocks().next() {
        return Err(TerraformError::Block {
            path: path.to_owned(),
            block: block.identifier.to_string(),
        });
    }
    for attribute in body.into_attributes() {
        let key = attribute.key.to_string();
        if !values.contains_key(&key) {
            let nearest = nearest(&key, values.keys());
            return Err(TerraformError::Unknown {
                path: path.to_owned(),
                key,
                nearest,
            });
        }
        values.insert(key, Some(attribute.expr));
    }
    let reader = Reader {
        path,
        values: &values,
    };
    let sizing = reader.sizing()?;
    check(path, &sizing)?;
    Ok(sizing)
}

/// Every variable of `variables.tf` with its default, if it has one.
fn defaults() -> BTreeMap<String, Option<Expression>> {
    let body: Body = hcl::from_str(VARIABLES_TF).expect("terraform validate accepts this file");
    body.into_blocks()
        .filter(|block| block.identifier.as_str() == "variable")
        .filter_map(|block| {
            let name = block.labels.first()?.as_str().to_owned();
            let default = block
                .body
                .into_attributes()
                .find(|attribute| attribute.key.as_str() == "default");
            Some((name, default.map(|attribute| attribute.expr)))
        })
        .collect()
}

struct Reader<'a> {
    path: &'a Path,
    values: &'a BTreeMap<String, Option<Expression>>,
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
            db_multi_az: self.flag("db_multi_az")?,
            cache_mode: self.word("cache_mode")?,
        })
    }

    fn expression(&self, key: &str) -> Result<&Expression, TerraformError> {
        self.values
            .get(key)
            .and_then(Option::as_ref)
            .ok_or_else(|| TerraformError::Missing {
                path: self.path.to_owned(),
                key: key.to_owned(),
            })
    }

    fn wrong(&self, key: &str, detail: String) -> TerraformError {
        TerraformError::Value {
            path: self.path.to_owned(),
            key: key.to_owned(),
            detail,
        }
    }

    /// A number; Terraform also takes one in quotes.
    fn number(&self, key: &str) -> Result<f64, TerraformError> {
        let expression = self.expression(key)?;
        let number = match expression {
            Expression::Number(number) => number.as_f64(),
            Expression::String(text) => text.parse().ok(),
            _ => None,
        };
        number
            .filter(|number| number.is_finite())
            .ok_or_else(|| self.wrong(key, format!("must be a number, not {}", shown(expression))))
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

    fn flag(&self, key: &str) -> Result<bool, TerraformError> {
        match self.expression(key)? {
            Expression::Bool(flag) => Ok(*flag),
            other => Err(self.wrong(key, format!("must be true or false, not {}", shown(other)))),
        }
    }

    /// A string, or one of an enumeration's words; the message lists them.
    fn word<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T, TerraformError> {
        let expression = self.expression(key)?;
        let Expression::String(text) = expression else {
            return Err(self.wrong(key, format!("must be a string, not {}", shown(expression))));
        };
        let value = serde_json::Value::String(text.clone());
        serde_json::from_value(value).map_err(|error| {
            let words = error.to_string().replace("unknown variant", "cannot be");
            self.wrong(key, words)
        })
    }
}

fn shown(expression: &Expression) -> String {
    hcl::to_string(&hcl::Attribute::new("value", expression.clone())).map_or_else(
        |_| "an expression".to_owned(),
        |text| text.trim().trim_start_matches("value = ").to_owned(),
    )
}

/// The rules of `variables.tf`'s validation blocks that bind more than a type.
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

    fn parse(text: &str) -> Result<Sizing, TerraformError> {
        parse_sizing(Path::new("test.tfvars"), text)
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
        let mut variables: Vec<_> = defaults().into_keys().collect();
        variables.sort();
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
    fn broken_syntax_names_the_line() {
        let error = parse("task_cpu = = 2").expect_err("no HCL").to_string();
        assert!(
            error.contains("test.tfvars") && error.contains('1'),
            "{error}"
        );
    }
}
