//! The root module as Terraform itself reads it: its variables with their types, defaults and validations,
//! and what `findings.tf` says of their values. The expressions are the committed ones, evaluated here, so that
//! the gate and a plan cannot disagree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use hcl::eval::{Context, Evaluate};
use hcl::{Block, Body, Expression, Map, Value};
use serde::Serialize;

use super::functions;

/// The sizing.
const VARIABLES_TF: &str = include_str!("../../../terraform/variables.tf");
/// Every other variable.
const SETTINGS_TF: &str = include_str!("../../../terraform/settings.tf");
/// What breaks a sizing although every value is allowed.
const FINDINGS_TF: &str = include_str!("../../../terraform/findings.tf");
/// Holds two locals that the findings need.
const COMPUTE_TF: &str = include_str!("../../../terraform/compute.tf");

static MODULE: LazyLock<Module> = LazyLock::new(Module::parse);

/// The committed root module.
pub(crate) fn module() -> &'static Module {
    &MODULE
}

/// A type that a variable may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `number`.
    Number,
    /// `string`.
    Text,
    /// `bool`.
    Flag,
    /// Anything else, taken as it is.
    Other,
}

/// One variable of the root module.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    /// Whether it stands in `variables.tf`, and so must have a value.
    pub(crate) of_sizing: bool,
    /// Its type.
    pub(crate) kind: Kind,
    /// Its default, if it has one.
    pub(crate) default: Option<Value>,
    /// Whether null is a value of it; otherwise null stands for the default.
    pub(crate) nullable: bool,
    /// Condition and message of each validation.
    pub(super) validations: Vec<(Expression, Expression)>,
}

/// A rule that the values break, with the remedy in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name in `findings.tf`.
    pub name: String,
    /// What breaks, by which variable, and what to do.
    pub remedy: String,
}

/// The root module.
#[derive(Debug)]
pub(crate) struct Module {
    /// By name.
    pub(crate) variables: BTreeMap<String, Variable>,
    /// The locals that findings and warnings need, each after those that it needs itself.
    locals: Vec<(String, Expression)>,
    /// What each finding asks, without its words.
    conditions: Vec<Expression>,
    /// The locals that these need.
    locals_of_conditions: Vec<(String, Expression)>,
    /// Checks that are no findings: told, never refused.
    warnings: Vec<(String, Expression, Expression)>,
    /// Variables that locals and warnings need.
    referenced: BTreeSet<String>,
}

impl Module {
    fn parse() -> Self {
        let sizing = parsed(VARIABLES_TF);
        let settings = parsed(SETTINGS_TF);
        let findings = parsed(FINDINGS_TF);
        let compute = parsed(COMPUTE_TF);
        let mut variables = BTreeMap::new();
        for (body, of_sizing) in [(&sizing, true), (&settings, false)] {
            let blocks = body
                .blocks()
                .filter(|block| block.identifier.as_str() == "variable");
            variables.extend(blocks.map(|block| (label(block), variable(block, of_sizing))));
        }
        let all: BTreeMap<String, Expression> = [&findings, &compute]
            .into_iter()
            .flat_map(|body| body.blocks())
            .filter(|block| block.identifier.as_str() == "locals")
            .flat_map(|block| block.body.attributes())
            .map(|attribute| (attribute.key.to_string(), attribute.expr.clone()))
            .collect();
        let told = |name: &str| !findings_of(&all).contains(name);
        let warnings: Vec<_> = findings
            .blocks()
            .filter(|block| block.identifier.as_str() == "check" && told(&label(block)))
            .map(|block| {
                let assert = block
                    .body
                    .blocks()
                    .next()
                    .expect("a check has an assertion");
                let part = |name| {
                    attribute(assert, name)
                        .expect("Terraform requires it")
                        .clone()
                };
                (label(block), part("condition"), part("error_message"))
            })
            .collect();

        let mut locals = Vec::new();
        need("findings", &all, &mut locals);
        for (_, condition, message) in &warnings {
            for name in [condition, message]
                .into_iter()
                .flat_map(|e| references(e, "local."))
            {
                need(&name, &all, &mut locals);
            }
        }
        let conditions = conditions_of(&all);
        let mut locals_of_conditions = Vec::new();
        for name in conditions.iter().flat_map(|e| references(e, "local.")) {
            need(&name, &all, &mut locals_of_conditions);
        }
        let expressions = locals.iter().map(|(_, expression)| expression);
        let of_warnings = warnings.iter().flat_map(|(_, one, other)| [one, other]);
        let referenced = expressions
            .chain(of_warnings)
            .flat_map(|expression| references(expression, "var."))
            .collect();
        Self {
            variables,
            locals,
            conditions,
            locals_of_conditions,
            warnings,
            referenced,
        }
    }

    /// The names of all checks: the findings, and what is only told.
    #[cfg(test)]
    pub(super) fn check_names(&self) -> Vec<String> {
        let all = self.locals.iter().cloned().collect();
        let told = self.warnings.iter().map(|(name, _, _)| name.clone());
        findings_of(&all).into_iter().chain(told).collect()
    }

    /// The first validation that these values break: the variable and the message of its block. Those of the variables
    /// that are `given` come first, for what a default breaks may follow from one of them.
    pub(crate) fn broken_validation(
        &self,
        values: &BTreeMap<String, Value>,
        given: &BTreeSet<String>,
    ) -> Option<(String, String)> {
        let context = with_variables(values.iter());
        let (stated, defaults): (Vec<_>, Vec<_>) = self
            .variables
            .iter()
            .filter(|(name, _)| values.contains_key(*name))
            .partition(|(name, _)| given.contains(*name));
        stated
            .into_iter()
            .chain(defaults)
            .flat_map(|(name, variable)| variable.validations.iter().map(move |rule| (name, rule)))
            .find_map(|(name, (condition, message))| {
                // What cannot be decided, such as a comparison with null, is refused, as Terraform does.
                let holds = matches!(condition.evaluate(&context), Ok(Value::Bool(true)));
                (!holds).then(|| (name.clone(), text(message, &context)))
            })
    }

    /// The variables that the validations of this one look at, its own left out.
    pub(crate) fn looked_at_by(&self, name: &str) -> BTreeSet<String> {
        let validations = self.variables.get(name).map(|found| &found.validations);
        let conditions = validations
            .into_iter()
            .flatten()
            .map(|(condition, _)| condition);
        conditions
            .flat_map(|condition| references(condition, "var."))
            .filter(|other| other != name)
            .collect()
    }

    /// What breaks with these values, and what should only be told.
    pub(crate) fn findings(
        &self,
        values: &BTreeMap<String, Value>,
    ) -> (Vec<Finding>, Vec<Finding>) {
        let (context, locals) = self.evaluated(&self.locals, values);
        let findings = locals.get("findings").and_then(Value::as_object);
        let broken = findings
            .into_iter()
            .flatten()
            .filter(|(_, finding)| field(finding, "holds") != Some(&Value::Bool(true)))
            .map(|(name, finding)| Finding {
                name: name.clone(),
                remedy: field(finding, "remedy")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned(),
            })
            .collect();
        let told = self
            .warnings
            .iter()
            .filter(|(_, condition, _)| {
                !matches!(condition.evaluate(&context), Ok(Value::Bool(true)))
            })
            .map(|(name, _, message)| Finding {
                name: name.clone(),
                remedy: text(message, &context),
            })
            .collect();
        (broken, told)
    }

    /// A number among the locals that findings and warnings need, with these values.
    pub(crate) fn local_number(&self, name: &str, values: &BTreeMap<String, Value>) -> f64 {
        let (_, locals) = self.evaluated(&self.locals, values);
        let number = locals.get(name).and_then(Value::as_f64);
        number.unwrap_or_else(|| panic!("local.{name} of the committed module is a number"))
    }

    /// Whether there is no finding with these values. A search asks it of thousands, and most of the time of
    /// [`Module::findings`] goes into words.
    pub(crate) fn holds(&self, values: &BTreeMap<String, Value>) -> bool {
        let (context, _) = self.evaluated(&self.locals_of_conditions, values);
        self.conditions
            .iter()
            .all(|condition| condition.evaluate(&context) == Ok(Value::Bool(true)))
    }

    /// These locals with these values, and what they were evaluated in.
    fn evaluated(
        &self,
        expressions: &[(String, Expression)],
        values: &BTreeMap<String, Value>,
    ) -> (Context<'static>, Map<String, Value>) {
        let needed = values
            .iter()
            .filter(|(name, _)| self.referenced.contains(*name));
        let mut context = with_variables(needed);
        let mut locals: Map<String, Value> = Map::new();
        for (name, expression) in expressions {
            let value = expression
                .evaluate(&context)
                .unwrap_or_else(|error| panic!("local.{name} of the committed module: {error}"));
            locals.insert(name.clone(), value);
            context.declare_var("local", Value::Object(locals.clone()));
        }
        (context, locals)
    }
}

fn parsed(text: &str) -> Body {
    hcl::from_str(text).expect("terraform validate accepts this file")
}

fn label(block: &Block) -> String {
    block
        .labels
        .first()
        .map_or_else(String::new, |label| label.as_str().to_owned())
}

fn attribute<'a>(block: &'a Block, name: &str) -> Option<&'a Expression> {
    block
        .body
        .attributes()
        .find(|attribute| attribute.key.as_str() == name)
        .map(|attribute| &attribute.expr)
}

fn variable(block: &Block, of_sizing: bool) -> Variable {
    let kind = match attribute(block, "type").map(ToString::to_string).as_deref() {
        Some("number") => Kind::Number,
        Some("string") => Kind::Text,
        Some("bool") => Kind::Flag,
        _ => Kind::Other,
    };
    let validations = block
        .body
        .blocks()
        .filter(|inner| inner.identifier.as_str() == "validation")
        .map(|inner| {
            let part = |name| {
                attribute(inner, name)
                    .expect("Terraform requires it")
                    .clone()
            };
            (part("condition"), part("error_message"))
        })
        .collect();
    let default = attribute(block, "default").map(|expression| {
        expression
            .evaluate(&Context::new())
            .expect("a default is a literal value")
    });
    Variable {
        of_sizing,
        kind,
        default,
        nullable: attribute(block, "nullable") != Some(&Expression::Bool(false)),
        validations,
    }
}

/// The names of the findings, before anything is evaluated.
fn findings_of(locals: &BTreeMap<String, Expression>) -> BTreeSet<String> {
    match locals.get("findings") {
        Some(Expression::Object(object)) => object.keys().map(ToString::to_string).collect(),
        _ => BTreeSet::new(),
    }
}

/// The `holds` of each finding.
fn conditions_of(locals: &BTreeMap<String, Expression>) -> Vec<Expression> {
    let Some(Expression::Object(findings)) = locals.get("findings") else {
        return vec![];
    };
    let holds = |finding: &Expression| match finding {
        Expression::Object(parts) => parts
            .iter()
            .find(|(key, _)| key.to_string() == "holds")
            .map(|(_, condition)| condition.clone()),
        _ => None,
    };
    findings
        .values()
        .map(|finding| holds(finding).expect("every finding says when it holds"))
        .collect()
}

/// Puts local `name` into `order`, after the locals that it needs.
fn need(name: &str, all: &BTreeMap<String, Expression>, order: &mut Vec<(String, Expression)>) {
    if order.iter().any(|(known, _)| known == name) {
        return;
    }
    let expression = all
        .get(name)
        .unwrap_or_else(|| panic!("local.{name} stands in findings.tf or compute.tf"));
    for inner in references(expression, "local.") {
        need(&inner, all, order);
    }
    order.push((name.to_owned(), expression.clone()));
}

/// The names behind `prefix` (`var.` or `local.`) in an expression.
pub(super) fn references(expression: &Expression, prefix: &str) -> BTreeSet<String> {
    let text = hcl::to_string(&hcl::Attribute::new("value", expression.clone()))
        .expect("an expression that was parsed can be written");
    text.split(prefix)
        .skip(1)
        .map(|rest| {
            rest.chars()
                .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
                .collect()
        })
        .collect()
}

pub(super) fn with_variables<'a>(
    values: impl Iterator<Item = (&'a String, &'a Value)>,
) -> Context<'static> {
    let mut context = functions::context();
    let variables: Map<String, Value> = values
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    context.declare_var("var", Value::Object(variables));
    context
}

fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.as_object()?.get(name)
}

fn text(message: &Expression, context: &Context<'_>) -> String {
    match message.evaluate(context) {
        Ok(Value::String(text)) => text,
        _ => message.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> BTreeMap<String, Value> {
        module()
            .variables
            .iter()
            .filter_map(|(name, variable)| Some((name.clone(), variable.default.clone()?)))
            .chain(
                [
                    ("task_cpu", 1024),
                    ("task_memory_mib", 2048),
                    ("generation_workers", 24),
                ]
                .into_iter()
                .chain([("tasks_min", 1), ("tasks_desired", 1), ("tasks_max", 1)])
                .map(|(name, value)| (name.to_owned(), Value::from(value))),
            )
            .collect()
    }

    fn broken(name: &str, value: Value) -> Vec<String> {
        let mut values = defaults();
        values.insert(name.to_owned(), value);
        let (broken, _) = module().findings(&values);
        broken.into_iter().map(|finding| finding.name).collect()
    }

    #[test]
    fn the_defaults_hold() {
        assert_eq!(
            module().broken_validation(&defaults(), &BTreeSet::new()),
            None
        );
        assert_eq!(module().findings(&defaults()), (vec![], vec![]));
    }

    #[test]
    fn a_finding_says_the_values_that_break_it() {
        assert_eq!(
            broken("deregistration_delay_s", Value::from(29)),
            ["deregistration_delay"]
        );
        assert_eq!(broken("stop_timeout_s", Value::from(9)), ["stop_timeout"]);
        assert_eq!(broken("tasks_max", Value::from(7)), ["vcpu_quota"]);
        assert_eq!(
            broken("cache_mode", Value::from("none")),
            Vec::<String>::new()
        );
        let mut values = defaults();
        values.insert("tasks_max".to_owned(), Value::from(3));
        values.insert("cache_mode".to_owned(), Value::from("sidecar"));
        let (broken, _) = module().findings(&values);
        assert_eq!(broken.len(), 1);
        assert_eq!(
            broken[0].remedy,
            "With cache_mode sidecar each of 3 tasks has sessions and limits of its own: set cache_mode to \
             elasticache, or tasks_max to 1."
        );
    }

    #[test]
    fn whether_there_is_a_finding_is_the_same_without_its_words() {
        assert!(module().holds(&defaults()));
        for (name, value) in [
            ("deregistration_delay_s", Value::from(29)),
            ("stop_timeout_s", Value::from(9)),
            ("tasks_max", Value::from(7)),
            ("database_pool_max", Value::from(80)),
            ("generation_mode", Value::from("sync")),
            ("database_engine_version", Value::from("14")),
        ] {
            let mut values = defaults();
            values.insert(name.to_owned(), value);
            let (broken, _) = module().findings(&values);
            assert_eq!(module().holds(&values), broken.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_deployment_is_taken_for_one_while_all_tasks_run() {
        let mut values = defaults();
        values.insert("tasks_max".to_owned(), Value::from(4));
        assert_eq!(module().findings(&values).1[0].name, "deployment_surge");
        let vcpu = module().local_number("vcpu_deployment", &values);
        assert_eq!(vcpu.to_bits(), 8.0_f64.to_bits());
    }

    #[test]
    fn a_deployment_opens_the_pools_of_old_and_new_tasks_as_far_as_the_quota_lets_them_run() {
        let opened = |tasks_max: u32, vcpu_quota: u32| {
            let mut values = defaults();
            values.insert("tasks_max".to_owned(), Value::from(tasks_max));
            values.insert("fargate_vcpu_quota".to_owned(), Value::from(vcpu_quota));
            module().local_number("connections_peak", &values)
        };
        for (tasks_max, vcpu_quota, connections) in
            [(2, 6, 40.0), (4, 6, 60.0), (4, 16, 80.0), (6, 6, 60.0)]
        {
            let found: f64 = opened(tasks_max, vcpu_quota);
            assert!((found - connections).abs() < 1e-9, "{tasks_max}: {found}");
        }
    }

    #[test]
    fn a_protection_that_the_backend_never_asks_for_covers_nothing() {
        let mut values = defaults();
        for (name, value) in [
            ("generation_mode", Value::from("sync")),
            ("alb_idle_timeout_s", Value::from(1000)),
            ("deregistration_delay_s", Value::from(900)),
            ("stop_timeout_s", Value::from(120)),
            ("task_protection_enabled", Value::from(true)),
        ] {
            values.insert(name.to_owned(), value);
        }
        let (broken, told) = module().findings(&values);
        assert_eq!(broken.len(), 1, "{broken:?}");
        assert_eq!(broken[0].name, "stop_timeout");
        assert!(
            broken[0]
                .remedy
                .contains("task_protection_enabled changes nothing"),
            "{broken:?}"
        );
        assert_eq!(told[0].name, "task_protection");
        // It is said of the backend, whose code must bear it out.
        let backend = concat!(env!("CARGO_MANIFEST_DIR"), "/../backend/src");
        assert!(!names("ECS_AGENT_URI", std::path::Path::new(backend)));
    }

    /// Whether a file below `folder` has this text.
    fn names(text: &str, folder: &std::path::Path) -> bool {
        std::fs::read_dir(folder)
            .expect("a readable folder")
            .any(|entry| {
                let path = entry.expect("a readable entry").path();
                if path.is_dir() {
                    names(text, &path)
                } else {
                    std::fs::read_to_string(&path).is_ok_and(|code| code.contains(text))
                }
            })
    }

    #[test]
    fn what_is_only_told_is_no_finding() {
        let mut values = defaults();
        values.insert("database_engine_version".to_owned(), Value::from("14"));
        let (broken, told) = module().findings(&values);
        assert_eq!(broken, []);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].name, "database_support");
    }

    #[test]
    fn every_validation_can_be_evaluated() {
        let context = with_variables(defaults().iter());
        for (name, variable) in &module().variables {
            if !defaults().contains_key(name) {
                continue;
            }
            for (condition, message) in &variable.validations {
                assert_eq!(
                    condition.evaluate(&context),
                    Ok(Value::Bool(true)),
                    "{name}: {condition}"
                );
                assert!(text(message, &context).starts_with(name.as_str()), "{name}");
            }
        }
    }

    #[test]
    fn every_priced_database_class_has_a_memory() {
        let (_, memories) = module()
            .locals
            .iter()
            .find(|(name, _)| name == "database_memory_gib")
            .expect("findings.tf derives connections from it");
        let memories = memories.evaluate(&Context::new()).expect("a literal map");
        for row in &simulator::prices::price_book().rds_instance {
            assert!(field(&memories, &row.class).is_some(), "{}", row.class);
        }
    }
}
