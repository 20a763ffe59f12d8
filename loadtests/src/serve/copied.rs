//! What the page gives to copy: a file of values for Terraform and the gate, the load where it is not a stage's own, and
//! the gate's command line for both.

use std::path::Path;

use hcl::Value;
use serde::Serialize;
use simulator::prices::price_book;
use simulator::scenario::Mode;

use super::answer::Lab;
use super::ask::{Ask, AskError};
use super::presets::Preset;
use crate::terraform::{TerraformError, parse_values};

/// Names of the files that the command reads.
const TFVARS: &str = "what-if.tfvars";
const SLO: &str = "what-if.toml";
/// What the gate takes when nothing is said.
const CALIBRATION: &str = "loadtests/results/calibration.json";

/// Values of a file by name, in its order.
type Values = Vec<(String, Value)>;

/// What to copy.
#[derive(Clone, Debug, Serialize)]
pub struct Copied {
    /// Every value of the stage, its settings included: the gate judges this file as the page does.
    pub tfvars: String,
    /// Load and SLO, where so many users are not those of the stage's own file.
    pub slo: Option<String>,
    /// The command that judges them.
    pub command: String,
}

/// The command that judges `tfvars`, by `slo` where there is one or else by the stage's `slo_file`.
pub(super) fn command(lab: &Lab, slo_file: &str, scaled: bool) -> String {
    let slo = if scaled { SLO } else { slo_file };
    let calibration = match lab.calibration_file() {
        CALIBRATION => String::new(),
        file => format!(" --calibration {}", quoted(file)),
    };
    let score = lab
        .vcpu_score()
        .map_or_else(String::new, |score| format!(" --vcpu-score {score}"));
    format!(
        "cargo sizing gate --sizing {TFVARS} --slo {}{calibration}{score}",
        quoted(slo)
    )
}

/// A file's name as a shell reads it.
fn quoted(file: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
    if file.chars().all(plain) {
        file.to_owned()
    } else {
        format!("'{}'", file.replace('\'', "'\\''"))
    }
}

/// The preset's two files as one, with the controls written over them.
///
/// # Errors
/// When no preset has the stage's name.
pub(super) fn tfvars(ask: &Ask) -> Result<String, AskError> {
    let preset = Preset::named(&ask.stage).ok_or_else(|| AskError::Stage(ask.stage.clone()))?;
    let parsed = |text| parse_values(Path::new(preset.name), text);
    let (sizing, settings) = written(ask, parsed(preset.sizing)?, parsed(preset.settings)?)?;
    Ok(format!(
        "{}\n# The stage's settings, terraform/environments/settings/{}.tfvars, with what was asked.\n{}",
        aligned(&sizing),
        preset.name,
        aligned(&settings)
    ))
}

/// Sizing and settings with what is asked in them.
fn written(
    ask: &Ask,
    mut sizing: Values,
    mut settings: Values,
) -> Result<(Values, Values), TerraformError> {
    let word = |value: serde_json::Result<serde_json::Value>| {
        let word = value
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned));
        Value::from(word.unwrap_or_default())
    };
    for (name, value) in [
        ("task_cpu", Value::from(ask.task_cpu)),
        ("task_memory_mib", Value::from(ask.task_memory_mib)),
        ("generation_workers", Value::from(ask.generation_workers)),
        ("tasks_min", Value::from(ask.tasks_min)),
        ("tasks_desired", Value::from(ask.tasks_desired)),
        ("tasks_max", Value::from(ask.tasks_max)),
        (
            "autoscaling_metric",
            word(serde_json::to_value(ask.autoscaling_metric)),
        ),
        ("alb_idle_timeout_s", Value::from(ask.alb_idle_timeout_s)),
        (
            "deregistration_delay_s",
            Value::from(ask.deregistration_delay_s),
        ),
        ("stop_timeout_s", Value::from(ask.stop_timeout_s)),
        ("nat_gateways", Value::from(ask.nat_gateways)),
        (
            "db_instance_class",
            Value::from(ask.db_instance_class.as_str()),
        ),
        ("db_multi_az", Value::from(ask.db_multi_az)),
        ("cache_mode", word(serde_json::to_value(ask.cache_mode))),
    ] {
        put(&mut sizing, name, value);
    }
    let mode = match ask.mode {
        Mode::Queue => "queue",
        Mode::Sync => "sync",
    };
    put(&mut settings, "generation_mode", Value::from(mode));
    for (name, asked) in [
        ("cloudfront_enabled", ask.cloudfront_enabled),
        ("waf_enabled", ask.waf_enabled),
    ] {
        // A stage that says nothing of it has none.
        if asked || settings.iter().any(|(known, _)| known == name) {
            put(&mut settings, name, Value::from(asked));
        }
    }
    // The root module's defaults are those of the price book's region.
    if ask.region != price_book().region {
        let zones = ["a", "b"].map(|zone| Value::from(format!("{}{zone}", ask.region)));
        put(&mut settings, "region", Value::from(ask.region.as_str()));
        put(
            &mut settings,
            "availability_zones",
            Value::from(zones.to_vec()),
        );
    }
    Ok((sizing, settings))
}

fn put(values: &mut Values, name: &str, value: Value) {
    match values.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => *known = value,
        None => values.push((name.to_owned(), value)),
    }
}

/// Lines as `terraform fmt` leaves them.
fn aligned(values: &Values) -> String {
    let width = values.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    values
        .iter()
        .map(|(name, value)| format!("{name:width$} = {}\n", in_hcl(value)))
        .collect()
}

fn in_hcl(value: &Value) -> String {
    match value {
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(in_hcl).collect();
            format!("[{}]", values.join(", "))
        }
        // JSON's escapes are HCL's, and a template's signs are doubled.
        Value::String(text) => serde_json::Value::from(text.as_str())
            .to_string()
            .replace("${", "$${")
            .replace("%{", "%%{"),
        other => other.to_string(),
    }
}
