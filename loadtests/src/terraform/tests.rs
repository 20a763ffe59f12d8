//! What is read from tfvars, JSON and plans, and what is refused.

use super::*;

const PROPOSAL: &str = include_str!("../../../terraform/environments/proposal.tfvars");

fn configuration(given: Result<Values, TerraformError>) -> Result<Configuration, TerraformError> {
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
        message("generation_workers", "generation_workers = 1e26"),
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
    `autoscaling_queue_depth_target` is 0 and must be more than 0 generations
    `alb_idle_timeout_s` must be a whole number that is not negative, not 60.5
    `db_instance_class` is "micro", which has no price here
    `cache_mode` must be a string, not null
    `deployment_strategy` is "canary" and must be rolling or blue_green
    `database_pool_max` is 2 and must be a whole number of at least 3: the backend refuses fewer
    `fargate_vcpu_quota` is 0 and must be more than 0 vCPU
    `domain_name` and route53_zone_id go together: give both, or neither
    `task_cpu` must be a literal value, not `var.cpu`: a tfvars file knows no variables and no functions
    "#);
    let twice = message("-", "task_cpu = 1024");
    assert!(
        twice.contains("test.tfvars:29:1: `task_cpu` is set twice, first in line 4"),
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
    for (text, place) in [
        ("{}", "plan.json: "),
        ("{\"variables\": {", "plan.json:1:15: "),
    ] {
        let error = source::parse_plan(path, text)
            .expect_err("no plan")
            .to_string();
        assert!(error.contains(place), "{error}");
        assert!(error.contains("terraform show -json"), "{error}");
    }
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
fn broken_syntax_names_line_and_column_and_what_stands_there() {
    let error = parse("task_cpu = = 2").expect_err("no HCL").to_string();
    assert!(error.starts_with("parse test.tfvars:1:12: "), "{error}");
    assert!(error.contains("at `= 2`"), "{error}");
    let error = parse("task_cpu = 1\n\0").expect_err("no HCL").to_string();
    assert!(error.starts_with("parse test.tfvars:2:1: "), "{error}");
    assert!(!error.contains('\0'), "{error}");
    let path = Path::new("test.tfvars.json");
    let error = source::parse_json(path, "{\n\"task_cpu\": }").expect_err("no JSON");
    assert_eq!(
        error.to_string(),
        "parse test.tfvars.json:2:13: expected value"
    );
}

#[test]
fn a_stage_is_simulated_on_the_fleet_that_is_deployed() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (stage, scenario, mode) in [
        ("proposal", "proposal", Mode::Queue),
        ("proposal", "proposal-sync", Mode::Sync),
        ("mvp", "mvp", Mode::Queue),
        ("growth", "growth", Mode::Queue),
        ("scale", "scale", Mode::Queue),
    ] {
        let sizing = workspace.join(format!("terraform/environments/{stage}.tfvars"));
        let settings = settings_of(&sizing, &workspace);
        let configuration = Configuration::read(&sizing, settings.as_deref()).expect("a stage");
        let mut deployed = configuration.fleet();
        // The proposal is simulated in both modes, whichever its settings name.
        deployed.mode = mode;
        if deployed.autoscaling.metrics.is_empty() {
            // Targets and cooldowns of nothing: the defaults of both sides differ, and no run sees them.
            deployed.autoscaling = simulator::scenario::Autoscaling::none();
        }
        let file = workspace.join(format!("simulator/scenarios/{scenario}.toml"));
        let text = std::fs::read_to_string(file).expect("a committed scenario");
        let stated = simulator::scenario::Scenario::from_toml(&text).expect("a valid scenario");
        assert_eq!(stated.fleet, deployed, "{scenario}.toml and {stage}.tfvars");
    }
}

#[test]
fn the_scenarios_promise_what_the_gate_asks_and_cost_what_was_measured() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let calibration: crate::calibrate::Calibration =
        serde_json::from_str(include_str!("../../results/calibration.json")).expect("committed");
    let measured = crate::vcpu_factor::profile(&calibration);
    for name in ["proposal", "proposal-sync", "mvp", "growth", "scale"] {
        let file = workspace.join(format!("simulator/scenarios/{name}.toml"));
        let text = std::fs::read_to_string(file).expect("a committed scenario");
        let stated = simulator::scenario::Scenario::from_toml(&text).expect("a valid scenario");
        let slo = crate::requirements::Requirements::file_of(Some(name), &workspace);
        let asked = crate::requirements::Requirements::read(&workspace.join(slo))
            .expect("committed")
            .scenario(stated.fleet.clone(), stated.profile.clone())
            .expect("possible");
        assert_eq!(stated.slo, asked.slo, "{name}");
        if name.starts_with("proposal") {
            assert_eq!(stated, asked, "{name}");
        }
        // Rounded to what a reader takes in.
        for (stated, measured) in [
            (
                stated.profile.cpu_s_per_generation,
                measured.cpu_s_per_generation,
            ),
            (stated.profile.memory_base_mib, measured.memory_base_mib),
            (
                stated.profile.memory_per_generation_kib,
                measured.memory_per_generation_kib,
            ),
        ] {
            let ratio = stated / measured;
            assert!((0.98..1.02).contains(&ratio), "{name}: {stated} {measured}");
        }
    }
}

#[test]
fn a_region_is_refused_where_it_is_written() {
    let refused = |lines: &str| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("abroad.tfvars");
        let text = format!(
            "{}{lines}\n",
            include_str!("../../../terraform/environments/mvp.tfvars")
        );
        std::fs::write(&file, &text).expect("a writable folder");
        let error = Configuration::read(&file, None).expect_err("no such region");
        let line = 1 + text
            .lines()
            .position(|line| line.starts_with("region"))
            .expect("it is stated");
        error
            .to_string()
            .replace(&format!("{}:{line}", file.display()), "FILE:LINE")
    };
    let said = [
        refused("region = \"mars-1\""),
        refused("region = 7"),
        refused("region = \"eu-west-1\""),
    ];
    insta::assert_snapshot!(said.join("\n"), @r#"
    read FILE:LINE: `region` is "mars-1" and must be the name of an AWS region, such as us-east-1
    read FILE:LINE: `region` is "7" and must be the name of an AWS region, such as us-east-1
    read FILE:LINE: `region` is "eu-west-1", and `availability_zones` must be two different zones of region and be given with it, such as eu-west-1a and eu-west-1b for eu-west-1
    "#);
}
