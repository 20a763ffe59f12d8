//! The files that values come from: `*.tfvars`, `*.tfvars.json`, and a plan as `terraform show -json` prints it.

use std::fmt;
use std::path::Path;

use hcl::eval::{Context, Evaluate};
use hcl::{Body, Value};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::TerraformError;

/// Values by name, in the order of the file.
pub(super) type Values = Vec<(String, Value)>;

/// Reads a file of values; its name tells the format, as it does for Terraform.
pub(super) fn read_values(path: &Path) -> Result<Values, TerraformError> {
    let text = read_text(path)?;
    if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        parse_json(path, &text)
    } else {
        parse_tfvars(path, &text)
    }
}

fn read_text(path: &Path) -> Result<String, TerraformError> {
    let bytes = std::fs::read(path).map_err(|source| TerraformError::Read {
        path: path.to_owned(),
        source,
    })?;
    String::from_utf8(bytes).map_err(|error| TerraformError::Syntax {
        path: path.to_owned(),
        detail: format!(
            "it is not UTF-8 text: byte {} cannot be decoded",
            error.utf8_error().valid_up_to()
        ),
    })
}

fn syntax(path: &Path, detail: String) -> TerraformError {
    TerraformError::Syntax {
        path: path.to_owned(),
        detail,
    }
}

/// What is wrong with HCL, without the line itself, which may be long.
fn in_one_line(error: &hcl::Error) -> String {
    match error {
        hcl::Error::Parse(error) => format!(
            "line {}, column {}: {}; a .tfvars file holds lines `name = value`",
            error.location().line(),
            error.location().column(),
            error.message().replace('\n', ", ")
        ),
        other => other.to_string(),
    }
}

/// The line, from 1, that assigns `key` in the text of a .tfvars or .tfvars.json file.
pub(super) fn line_of(text: &str, key: &str) -> Option<usize> {
    let assigns = |line: &str| {
        let line = line.trim_start().trim_start_matches('"');
        line.strip_prefix(key).is_some_and(|rest| {
            let rest = rest.trim_start_matches('"').trim_start();
            rest.starts_with(['=', ':'])
        })
    };
    text.lines().position(assigns).map(|index| index + 1)
}

pub(super) fn parse_tfvars(path: &Path, text: &str) -> Result<Values, TerraformError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let body: Body = hcl::from_str(text).map_err(|error| syntax(path, in_one_line(&error)))?;
    if let Some(block) = body.blocks().next() {
        return Err(TerraformError::Block {
            path: path.to_owned(),
            block: block.identifier.to_string(),
        });
    }
    let mut values: Values = Vec::new();
    for attribute in body.into_attributes() {
        let key = attribute.key.to_string();
        let value = attribute
            .expr
            .evaluate(&Context::new())
            .map_err(|_| TerraformError::Value {
                path: path.to_owned(),
                key: key.clone(),
                detail: format!(
                    "must be a literal value, not `{}`: a tfvars file knows no variables and no functions",
                    attribute.expr
                ),
            })?;
        values.push((key, value));
    }
    Ok(values)
}

/// A JSON object that remembers a key given twice, which serde's maps forget.
struct Pairs(Values);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of variables, such as {\"task_cpu\": 1024}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs: Values = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    if pairs.iter().any(|(known, _)| *known == key) {
                        return Err(de::Error::custom(format!(
                            "`{key}` is set twice: keep one of the lines"
                        )));
                    }
                    pairs.push((key, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

pub(super) fn parse_json(path: &Path, text: &str) -> Result<Values, TerraformError> {
    let pairs: Pairs =
        serde_json::from_str(text).map_err(|error| syntax(path, error.to_string()))?;
    Ok(pairs.0)
}

/// The root variables of a plan: those that were set, over the defaults that the plan itself carries.
pub(super) fn read_plan(path: &Path) -> Result<Values, TerraformError> {
    parse_plan(path, &read_text(path)?)
}

pub(super) fn parse_plan(path: &Path, text: &str) -> Result<Values, TerraformError> {
    let no_plan = || {
        let detail = "it is no plan: write one with `terraform plan -out=FILE` and `terraform show -json FILE`";
        syntax(path, detail.to_owned())
    };
    let plan: serde_json::Value = serde_json::from_str(text).map_err(|_| no_plan())?;
    let resources = plan
        .pointer("/planned_values/root_module/resources")
        .and_then(serde_json::Value::as_array)
        .ok_or_else(no_plan)?;
    let set = plan.get("variables").and_then(serde_json::Value::as_object);
    let declared = plan
        .pointer("/configuration/root_module/variables")
        .and_then(serde_json::Value::as_object);
    let defaults = declared
        .into_iter()
        .flatten()
        .filter_map(|(name, variable)| Some((name, variable.get("default")?)));
    let given = set
        .into_iter()
        .flatten()
        .filter_map(|(name, variable)| Some((name, variable.get("value")?)));
    let mut values: Values = Vec::new();
    for (name, value) in defaults.chain(given) {
        let value: Value = serde_json::from_value(value.clone())
            .map_err(|error| syntax(path, error.to_string()))?;
        values.retain(|(known, _)| known != name);
        values.push((name.clone(), value));
    }
    agree(path, &values, resources)?;
    Ok(values)
}

/// What is planned must be what the variables say: a plan with its task definition edited by hand, or of
/// another module with the same variables, is not judged by its variables.
fn agree(
    path: &Path,
    values: &Values,
    resources: &[serde_json::Value],
) -> Result<(), TerraformError> {
    let planned = |attribute: &str| {
        resources
            .iter()
            .find(|resource| {
                resource["type"] == "aws_ecs_task_definition" && resource["mode"] == "managed"
            })
            .map(|resource| resource["values"][attribute].clone())
    };
    if planned("cpu").is_none() {
        let detail =
            "it plans no aws_ecs_task_definition, so there is no sizing to judge".to_owned();
        return Err(syntax(path, detail));
    }
    for (attribute, variable) in [("cpu", "task_cpu"), ("memory", "task_memory_mib")] {
        let planned = planned(attribute).and_then(|value| match value {
            serde_json::Value::String(text) => Some(text),
            serde_json::Value::Number(number) => Some(number.to_string()),
            _ => None,
        });
        let value = values.iter().find(|(name, _)| name == variable);
        if let (Some(planned), Some((_, value))) = (planned, value)
            && planned != value.to_string().trim_matches('"')
        {
            return Err(TerraformError::Value {
                path: path.to_owned(),
                key: variable.to_owned(),
                detail: format!(
                    "is {value}, but the plan's task definition has {attribute} {planned}: plan again"
                ),
            });
        }
    }
    Ok(())
}
