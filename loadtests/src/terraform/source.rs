//! The files that values come from: `*.tfvars`, `*.tfvars.json`, and a plan as `terraform show -json` prints it.

use std::fmt;
use std::path::{Path, PathBuf};

use hcl::eval::{Context, Evaluate};
use hcl::{Body, Value};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::TerraformError;

/// Values by name, in the order of the file.
pub(super) type Values = Vec<(String, Value)>;

/// What the file of a sizing must be.
pub(super) const SIZING: &str = "a .tfvars file, such as terraform/environments/proposal.tfvars";
/// What the file of a stage's settings must be.
pub(super) const SETTINGS: &str =
    "a .tfvars file, such as terraform/environments/settings/proposal.tfvars";

/// Reads a file of values, which must be what `expected` says; its name tells the format, as it does for Terraform.
pub(super) fn read_values(path: &Path, expected: &'static str) -> Result<Values, TerraformError> {
    let text = read_text(path, expected)?;
    if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        parse_json(path, &text)
    } else {
        parse_tfvars(path, &text)
    }
}

fn read_text(path: &Path, expected: &'static str) -> Result<String, TerraformError> {
    let bytes = crate::input_file::read(path).map_err(|source| TerraformError::Read {
        path: path.to_owned(),
        expected,
        source,
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = &error.as_bytes()[..valid];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let detail =
            format!("it is not UTF-8 text: byte {valid} cannot be decoded; save it as UTF-8");
        syntax(&at_line(path, line), detail)
    })
}

fn syntax(path: &Path, detail: String) -> TerraformError {
    TerraformError::Syntax {
        path: path.to_owned(),
        detail,
    }
}

/// The path as compilers write it, which an editor can open at the line.
fn at_line(path: &Path, line: usize) -> PathBuf {
    PathBuf::from(format!("{}:{line}", path.display()))
}

fn at(path: &Path, line: usize, column: usize) -> PathBuf {
    PathBuf::from(format!("{}:{line}:{column}", path.display()))
}

/// What is wrong with HCL and where, with the start of what stands there.
fn hcl_syntax(path: &Path, text: &str, error: &hcl::Error) -> TerraformError {
    const SHOWN_MAX: usize = 30;
    let hcl::Error::Parse(error) = error else {
        return syntax(path, error.to_string());
    };
    let (line, column) = (error.location().line(), error.location().column());
    let rest = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let rest = rest.chars().skip(column.saturating_sub(1));
    let message = error.message().replace('\n', ", ");
    let detail = if message.contains("redefined attribute") {
        let is_name = |letter: &char| letter.is_alphanumeric() || matches!(letter, '_' | '-');
        let key: String = rest.take_while(is_name).collect();
        let first = line_of(text, &key).unwrap_or_default();
        format!("`{key}` is set twice, first in line {first}: keep one of the lines")
    } else {
        // What no terminal prints must not reach one.
        let printable = |letter: char| {
            if letter.is_control() {
                '\u{fffd}'
            } else {
                letter
            }
        };
        let here: String = rest.take(SHOWN_MAX).map(printable).collect();
        let here = match here.trim() {
            "" => String::new(),
            here => format!(" at `{here}`"),
        };
        format!("{message}{here}; a .tfvars file holds lines `name = value`")
    };
    syntax(&at(path, line, column), detail)
}

/// What is wrong with JSON and where.
fn json_syntax(path: &Path, error: &serde_json::Error) -> TerraformError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    match text.strip_suffix(&format!(" at line {line} column {column}")) {
        Some(detail) if line > 0 => syntax(&at(path, line, column), detail.to_owned()),
        _ => syntax(path, text),
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
    let body: Body = hcl::from_str(text).map_err(|error| hcl_syntax(path, text, &error))?;
    if let Some(block) = body.blocks().next() {
        let block = block.identifier.to_string();
        let line = text
            .lines()
            .position(|line| line.trim_start().starts_with(&block));
        return Err(TerraformError::Block {
            path: line.map_or_else(|| path.to_owned(), |index| at_line(path, index + 1)),
            block,
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
    let pairs: Pairs = serde_json::from_str(text).map_err(|error| json_syntax(path, &error))?;
    Ok(pairs.0)
}

/// The root variables of a plan: those that were set, over the defaults that the plan itself carries.
pub(super) fn read_plan(path: &Path) -> Result<Values, TerraformError> {
    const EXPECTED: &str = "a plan as `terraform show -json` prints it";
    parse_plan(path, &read_text(path, EXPECTED)?)
}

pub(super) fn parse_plan(path: &Path, text: &str) -> Result<Values, TerraformError> {
    let no_plan = || {
        let detail = "it is no plan: write one with `terraform plan -out=FILE` and `terraform show -json FILE`";
        syntax(path, detail.to_owned())
    };
    let plan: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        let mut error = json_syntax(path, &error);
        if let TerraformError::Syntax { detail, .. } = &mut error {
            detail.push_str("; write it anew with `terraform show -json FILE`");
        }
        error
    })?;
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
            "it plans no aws_ecs_task_definition, so there is no sizing to judge: plan terraform/ without -target"
                .to_owned();
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
