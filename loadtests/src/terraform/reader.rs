//! From the values of the root module to a [`Sizing`]: types, and the rules whose messages say what the value is.

use std::collections::BTreeMap;
use std::path::Path;

use hcl::Value;
use simulator::platform::ALB_IDLE_TIMEOUT_S_MAX;
use simulator::prices::{fargate_memories_gib, price_book};

use super::{Sizing, TerraformError, shown};

/// The sizing in these values, every variable of which has one.
pub(super) fn sizing_of(
    path: &Path,
    values: &BTreeMap<String, Value>,
) -> Result<Sizing, TerraformError> {
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
            // A thousand zeros would say no more than an exponent.
            let given = if number.abs() < 1e15 {
                number.to_string()
            } else {
                format!("{number:e}")
            };
            let detail = if number >= 0.0 && number.fract() == 0.0 {
                format!("is {given}, which is too large")
            } else {
                format!("must be a whole number that is not negative, not {given}")
            };
            self.wrong(key, detail)
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
        (
            "alb_idle_timeout_s",
            sizing.alb_idle_timeout_s,
            1,
            ALB_IDLE_TIMEOUT_S_MAX.into(),
        ),
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
