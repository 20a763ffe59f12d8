//! What `terraform test` must try: every rule of every validation, every finding, every toggle. The runs are
//! read from `terraform/tests`, and a rule counts as tried only where the run's values do break it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hcl::eval::{Context, Evaluate};
use hcl::expr::{BinaryOperator, Operation};
use hcl::{Block, Body, Expression, Value};

use super::module::{Kind, Variable, module, references, with_variables};

/// One `run` of a test file that plans the root module.
struct Run {
    /// Its file and its name.
    name: String,
    /// The values that it plans with, defaults included; those that another run computes are left out.
    values: BTreeMap<String, Value>,
    /// What must fail, such as `var.task_cpu` or `check.spot`.
    expect_failures: Vec<String>,
}

fn terraform() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../terraform")
}

fn runs() -> Vec<Run> {
    let folder = terraform().join("tests");
    let mut runs = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("the tests are there") {
        let path = entry.expect("a readable folder").path();
        let file = path.file_name().and_then(|name| name.to_str());
        let Some(file) = file.filter(|name| name.ends_with(".tftest.hcl")) else {
            continue;
        };
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let body: Body = hcl::from_str(&text).expect("terraform fmt accepts this file");
        let mut common = defaults();
        common.extend(literals(body.blocks()));
        for block in body
            .blocks()
            .filter(|block| block.identifier.as_str() == "run")
        {
            let mut values = common.clone();
            values.extend(literals(block.body.blocks()));
            let expected = block
                .body
                .attributes()
                .find(|attribute| attribute.key.as_str() == "expect_failures");
            let expect_failures = match expected.map(|attribute| &attribute.expr) {
                Some(Expression::Array(items)) => items.iter().map(ToString::to_string).collect(),
                _ => vec![],
            };
            runs.push(Run {
                name: format!("{file}/{}", block.labels[0].as_str()),
                values,
                expect_failures,
            });
        }
    }
    runs
}

fn defaults() -> BTreeMap<String, Value> {
    let variables = module().variables.iter();
    variables
        .filter_map(|(name, variable)| Some((name.clone(), variable.default.clone()?)))
        .collect()
}

/// The values that a `variables` block states.
fn literals<'a>(blocks: impl Iterator<Item = &'a Block>) -> Vec<(String, Value)> {
    blocks
        .filter(|block| block.identifier.as_str() == "variables")
        .flat_map(|block| block.body.attributes())
        .filter_map(|attribute| {
            let value = attribute.expr.evaluate(&Context::new()).ok()?;
            Some((attribute.key.to_string(), value))
        })
        .collect()
}

/// The rules that a condition joins by `&&`, each of which may be broken alone.
fn halves(condition: &Expression) -> Vec<Expression> {
    match condition {
        Expression::Parenthesis(inner) => halves(inner),
        Expression::Operation(operation) => match &**operation {
            Operation::Binary(both) if both.operator == BinaryOperator::And => {
                [halves(&both.lhs_expr), halves(&both.rhs_expr)].concat()
            }
            _ => vec![condition.clone()],
        },
        _ => vec![condition.clone()],
    }
}

/// The words of `contains([...], var.name)`.
fn words(variable: &Variable, name: &str) -> Vec<Value> {
    let conditions = variable.validations.iter().map(|(condition, _)| condition);
    conditions
        .filter_map(|condition| match condition {
            Expression::FuncCall(call) if call.name.name.as_str() == "contains" => Some(&call.args),
            _ => None,
        })
        .filter(|args| args.get(1).map(ToString::to_string) == Some(format!("var.{name}")))
        .filter_map(|args| args.first()?.evaluate(&Context::new()).ok())
        .filter_map(|value| value.as_array().cloned())
        .flatten()
        .filter(|value| variable.kind == Kind::Text && value.is_string())
        .collect()
}

/// What a validation forbids: each half of its condition, or all of it where it compares variables, because
/// Terraform skips that once another of them is wrong.
fn rules(name: &str, condition: &Expression) -> Vec<Expression> {
    let others = references(condition, "var.")
        .iter()
        .any(|other| other != name);
    if others {
        vec![condition.clone()]
    } else {
        halves(condition)
    }
}

#[test]
fn each_rule_of_each_validation_is_broken_by_a_run_that_breaks_no_other() {
    let runs = runs();
    let mut untried = Vec::new();
    for (name, variable) in &module().variables {
        let expected = format!("var.{name}");
        let conditions = variable.validations.iter();
        let rules: Vec<Expression> = conditions
            .flat_map(|(condition, _)| rules(name, condition))
            .collect();
        let broken: Vec<Vec<usize>> = runs
            .iter()
            .filter(|run| run.expect_failures.contains(&expected))
            .map(|run| {
                let context = with_variables(run.values.iter());
                let breaks = |rule: &Expression| rule.evaluate(&context) == Ok(Value::Bool(false));
                (0..rules.len())
                    .filter(|index| breaks(&rules[*index]))
                    .collect()
            })
            .collect();
        for (index, rule) in rules.iter().enumerate() {
            if !broken.contains(&vec![index]) {
                untried.push(format!("{name}: {rule}"));
            }
        }
    }
    assert!(
        untried.is_empty(),
        "no run of terraform/tests breaks one of these rules alone and expects it:\n{}",
        untried.join("\n")
    );
}

#[test]
fn each_finding_and_each_warning_is_expected_by_a_run() {
    let runs = runs();
    for name in module().check_names() {
        let check = format!("check.{name}");
        assert!(
            runs.iter().any(|run| run.expect_failures.contains(&check)),
            "no run of terraform/tests expects {check} to fail"
        );
    }
}

#[test]
fn each_toggle_and_each_word_is_planned_by_a_run_that_succeeds() {
    let mut planned: Vec<BTreeMap<String, Value>> = runs()
        .into_iter()
        .filter(|run| {
            run.expect_failures
                .iter()
                .all(|what| what.starts_with("check."))
        })
        .map(|run| run.values)
        .collect();
    // environments.tftest.hcl hands on these files' values.
    for stage in ["proposal", "mvp", "growth", "scale"] {
        let file = terraform().join(format!("environments/{stage}.tfvars"));
        let settings = terraform().join(format!("environments/settings/{stage}.tfvars"));
        let configuration =
            super::Configuration::read(&file, Some(&settings)).expect("a committed stage");
        planned.push(configuration.values);
    }
    for (name, variable) in &module().variables {
        let mut values = words(variable, name);
        if variable.kind == Kind::Flag {
            values.extend([Value::from(false), Value::from(true)]);
        }
        for value in values {
            assert!(
                planned.iter().any(|run| run.get(name) == Some(&value)),
                "no run of terraform/tests plans {name} = {value}"
            );
        }
    }
}

#[test]
fn the_runs_are_read_with_their_values() {
    let runs = runs();
    let sizing = runs
        .iter()
        .find(|run| run.name == "validations.tftest.hcl/fractions_and_unknown_words")
        .expect("a run of that name");
    assert_eq!(
        sizing.values.get("cpu_architecture"),
        Some(&Value::from("RISCV"))
    );
    assert!(
        sizing
            .expect_failures
            .contains(&"var.cpu_architecture".to_owned())
    );
}
