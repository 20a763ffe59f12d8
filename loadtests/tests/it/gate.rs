//! The gate on files as a stranger would write them: exit codes and causes.

mod bad_input;

use serde_json::Value;

use super::{SLO, Scratch, sizing, stderr_of, stdout_of};

/// A sizing that holds the load of `slo.toml` for less than its budget.
const HOLDS: &str = "
task_cpu           = 1024
task_memory_mib    = 2048
generation_workers = 24
tasks_min          = 1
tasks_desired      = 1
tasks_max          = 1
";

/// `HOLDS` with some lines set, or added.
fn with(lines: &[&str]) -> String {
    let name = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let set: Vec<String> = lines.iter().map(|line| name(line)).collect();
    let kept = HOLDS
        .lines()
        .filter(|line| !set.contains(&name(line)) || line.is_empty());
    kept.chain(lines.iter().copied())
        .collect::<Vec<_>>()
        .join("\n")
        + "\n"
}

/// The gate's JSON for this text, which must end with this code.
fn judged(code: i32, text: &str, more: &[&str]) -> Value {
    let scratch = Scratch::new();
    let file = scratch.file("candidate.tfvars", text);
    let mut arguments = vec![
        "gate",
        "--sizing",
        &file,
        "--format",
        "json",
        "--replications",
        "3",
    ];
    arguments.extend(more);
    serde_json::from_str(&stdout_of(code, &arguments)).expect("JSON on standard output")
}

fn causes(result: &Value) -> Vec<&str> {
    let causes = result["causes"].as_array().expect("a list");
    causes.iter().filter_map(Value::as_str).collect()
}

#[test]
fn every_stage_holds_by_its_own_rules() {
    for (stage, bottleneck) in [
        ("mvp", "workers"),
        ("growth", "workers"),
        ("scale", "workers"),
    ] {
        let file = format!("terraform/environments/{stage}.tfvars");
        let stdout = stdout_of(0, &["gate", "--sizing", &file, "--format", "json"]);
        let result: Value = serde_json::from_str(&stdout).expect("JSON on standard output");
        assert_eq!(result["slo_file"], format!("loadtests/slo/{stage}.toml"));
        assert_eq!(result["after"]["bottleneck"], bottleneck);
        // It holds with something to spare, and not so much that a smaller one would do for the MVP's price.
        let factor = result["headroom"]["load_factor"]["mean"]
            .as_f64()
            .expect("a factor");
        assert!((1.3..4.0).contains(&factor), "{stage}: {factor}");
        let total = result["after"]["cost_usd_month"]
            .as_array()
            .expect("lines")
            .last()
            .expect("a total");
        assert_eq!(total["line"], "total");
    }
}

#[test]
fn the_proposal_fails_for_what_the_review_says_of_it() {
    let proposal = "terraform/environments/proposal.tfvars";
    let stdout = stdout_of(1, &["gate", "--sizing", proposal, "--format", "json"]);
    let result: Value = serde_json::from_str(&stdout).expect("JSON on standard output");
    assert_eq!(
        causes(&result),
        [
            "lost_max",
            "budget_usd_month",
            "alb_idle_timeout",
            "deregistration_delay",
            "stop_timeout"
        ]
    );
    assert_eq!(result["after"]["bottleneck"], "alb_idle_timeout");
    assert_eq!(result["counter_example"]["promise"], "lost_max");
    let changes = result["nearest"]["changes"]
        .as_array()
        .expect("a nearest sizing");
    assert!(
        changes.iter().any(|change| change["to"] == "queue"),
        "{changes:?}"
    );
}

#[test]
fn each_finding_fails_by_its_name() {
    for (lines, cause) in [
        (
            vec!["cache_mode = \"sidecar\"", "tasks_max = 2"],
            "shared_cache",
        ),
        (
            vec!["cache_mode = \"none\"", "tasks_max = 2"],
            "shared_cache",
        ),
        (
            vec!["tasks_max = 8", "database_pool_max = 10"],
            "database_connections",
        ),
        (vec!["tasks_max = 7", "database_pool_max = 3"], "vcpu_quota"),
        (
            vec![
                "deployment_strategy = \"blue_green\"",
                "tasks_max = 4",
                "database_pool_max = 3",
            ],
            "vcpu_quota",
        ),
        (vec!["deregistration_delay_s = 10"], "deregistration_delay"),
        (vec!["stop_timeout_s = 5"], "stop_timeout"),
        (
            vec![
                "generation_mode = \"sync\"",
                "deregistration_delay_s = 900",
                "task_protection_enabled = true",
            ],
            "alb_idle_timeout",
        ),
        (vec!["generation_workers = 100000"], "worker_memory"),
        (
            vec![
                "generation_mode = \"sync\"",
                "generation_duration_s = 100",
                "alb_idle_timeout_s = 4000",
                "deregistration_delay_s = 120",
                "stop_timeout_s = 120",
            ],
            "generation_duration",
        ),
    ] {
        let result = judged(1, &with(&lines), &[]);
        assert!(
            causes(&result).contains(&cause),
            "{lines:?}: {:?}",
            causes(&result)
        );
        let texts = result["after"]["causes"].as_array().expect("a list");
        let text = texts
            .iter()
            .find(|text| text["key"] == cause)
            .expect("it has a text");
        assert!(
            text["text"].as_str().expect("a text").contains('_'),
            "it names a variable: {text}"
        );
    }
}

#[test]
fn what_is_only_told_does_not_fail() {
    let result = judged(0, &with(&["database_engine_version = \"14\""]), &[]);
    assert_eq!(result["after"]["warnings"][0]["name"], "database_support");
}

#[test]
fn days_that_break_the_promise_are_told_though_their_mean_keeps_it() {
    let scratch = Scratch::new();
    let told = |per_hour: u32| {
        let load = format!("per_hour = {per_hour}");
        let slo = include_str!("../../slo/mvp.toml").replace("per_hour = 40", &load);
        assert!(slo.contains(&load), "{slo}");
        let slo = scratch.file("busier.toml", &slo);
        let mvp = "terraform/environments/mvp.tfvars";
        let arguments = ["gate", "--sizing", mvp, "--slo", &slo, "--format", "json"];
        let result: Value = serde_json::from_str(&stdout_of(0, &arguments)).expect("JSON");
        let mut warnings = result["after"]["warnings"]
            .as_array()
            .expect("a list")
            .iter();
        warnings.any(|warning| warning["name"] == "wait_p95_days")
    };
    assert!(!told(40));
    assert!(told(84));
}

#[test]
fn too_few_workers_break_at_a_minute_and_more_of_them_would_pass() {
    let result = judged(1, &with(&["generation_workers = 6"]), &[]);
    assert_eq!(causes(&result), ["wait_p95"]);
    assert!(
        result["counter_example"]["minute"].as_u64() > Some(60),
        "{result}"
    );
    let changes = result["nearest"]["changes"]
        .as_array()
        .expect("a nearest sizing");
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0]["variable"], "generation_workers");
    assert!(result["headroom"]["load_factor"]["mean"].as_f64() < Some(1.0));
}

#[test]
fn the_nearest_sizing_does_pass() {
    let text = with(&[
        "generation_workers = 4",
        "nat_gateways = 2",
        "db_instance_class = \"db.m7g.large\"",
    ]);
    let result = judged(1, &text, &[]);
    assert_eq!(causes(&result), ["wait_p95", "budget_usd_month"]);
    let mut lines = vec![
        "generation_workers = 4".to_owned(),
        "nat_gateways = 2".to_owned(),
    ];
    lines.push("db_instance_class = \"db.m7g.large\"".to_owned());
    for change in result["nearest"]["changes"]
        .as_array()
        .expect("a nearest sizing")
    {
        let variable = change["variable"].as_str().expect("a name");
        lines.retain(|line| !line.starts_with(variable));
        lines.push(format!("{variable} = {}", change["to"]));
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let result = judged(0, &with(&lines), &[]);
    assert_eq!(result["pass"], true);
}

#[test]
fn thousands_of_tasks_are_judged_as_well() {
    let result = judged(
        1,
        &with(&[
            "tasks_min = 5000",
            "tasks_desired = 5000",
            "tasks_max = 5000",
        ]),
        &[],
    );
    assert_eq!(
        causes(&result),
        ["budget_usd_month", "database_connections", "vcpu_quota"]
    );
}

#[test]
fn a_tfvars_json_is_judged_like_its_tfvars() {
    let scratch = Scratch::new();
    let text = r#"{"task_cpu": 1024, "task_memory_mib": 2048, "generation_workers": 24, "tasks_min": 1,
                   "tasks_desired": 1, "tasks_max": 1}"#;
    let file = scratch.file("candidate.tfvars.json", text);
    let arguments = [
        "gate",
        "--sizing",
        &file,
        "--format",
        "json",
        "--replications",
        "3",
    ];
    let mut json: Value = serde_json::from_str(&stdout_of(0, &arguments)).expect("JSON");
    let mut tfvars = judged(0, HOLDS, &[]);
    for result in [&mut json, &mut tfvars] {
        result["after"]["file"].take();
    }
    assert_eq!(json, tfvars);
}

#[test]
fn a_rule_that_cannot_fail_is_refused() {
    let scratch = Scratch::new();
    let file = scratch.file("candidate.tfvars", HOLDS);
    for (from, to, named) in [
        ("per_hour = 40", "per_hour = 0", "per_hour"),
        (
            "per_hour = 40",
            "per_hour = 0.000001",
            "no generation arrives",
        ),
        ("\"60s\"", "\"48h\"", "`wait_p95`"),
        ("lost_max = 0", "lost_max = 1000000", "`lost_max`"),
        (
            "budget_usd_month = 200",
            "budget_usd_month = 1000000000",
            "`budget_usd_month`",
        ),
    ] {
        let slo = scratch.file("slo.toml", &SLO.replace(from, to));
        let stderr = stderr_of(2, &["gate", "--sizing", &file, "--slo", &slo]);
        assert!(stderr.contains(named), "{to}: {stderr}");
        let once = |sentence: &str| stderr.matches(sentence).count() <= 1;
        assert!(once("every sizing would"), "{stderr}");
    }
}

#[test]
fn markdown_has_the_verdict_and_both_sides() {
    let scratch = Scratch::new();
    let before = scratch.file("before.tfvars", &with(&["generation_workers = 6"]));
    let after = scratch.file("after.tfvars", HOLDS);
    let stdout = stdout_of(
        0,
        &[
            "gate",
            "--sizing",
            &after,
            "--baseline",
            &before,
            "--format",
            "markdown",
        ],
    );
    assert!(stdout.contains("**PASS** the sizing holds"), "{stdout}");
    assert!(
        stdout.contains("| USD/month | before | after |"),
        "{stdout}"
    );
    assert!(stdout.contains("| verdict | FAIL | pass |"), "{stdout}");
    assert!(
        stdout.contains("held to the same SLO, loadtests/slo.toml: it does not hold."),
        "{stdout}"
    );
    assert!(stdout.contains("| wait_p95 | wait p95"), "{stdout}");
}

#[test]
fn a_baseline_of_another_stage_is_held_to_the_same_rules_and_its_own_are_named() {
    let scratch = Scratch::new();
    let after = scratch.file("after.tfvars", HOLDS);
    let stdout = stdout_of(
        0,
        &[
            "gate",
            "--sizing",
            &after,
            "--baseline",
            "terraform/environments/mvp.tfvars",
            "--replications",
            "3",
        ],
    );
    let stdout = stdout.replace('\n', " ");
    assert!(
        stdout.contains("held to the same SLO, loadtests/slo.toml: it holds."),
        "{stdout}"
    );
    assert!(
        stdout.contains("Its own stage is held to loadtests/slo/mvp.toml"),
        "{stdout}"
    );
}

#[test]
fn a_protection_that_the_backend_does_not_use_saves_no_sizing() {
    let open = [
        "generation_mode = \"sync\"",
        "alb_idle_timeout_s = 1000",
        "deregistration_delay_s = 900",
        "stop_timeout_s = 120",
    ];
    let protected = [&open[..], &["task_protection_enabled = true"]].concat();
    let (bare, protected) = (
        judged(1, &with(&open), &[]),
        judged(1, &with(&protected), &[]),
    );
    for result in [&bare, &protected] {
        assert!(causes(result).contains(&"stop_timeout"), "{result}");
        assert_eq!(result["after"]["lost"], bare["after"]["lost"]);
    }
    assert_eq!(protected["after"]["warnings"][0]["name"], "task_protection");
    let queued = judged(0, &with(&["task_protection_enabled = true"]), &[]);
    assert_eq!(queued["after"]["warnings"][0]["name"], "task_protection");
}

#[test]
fn a_deployment_that_can_replace_nothing_is_a_cause() {
    // One task at 150 %, rounded down, is one task, and one must be left.
    let stuck = judged(1, &with(&["deployment_maximum_percent = 150"]), &[]);
    assert_eq!(causes(&stuck), ["deployment_room"]);
    let none_left = [
        "deployment_maximum_percent = 150",
        "deployment_minimum_healthy_percent = 0",
    ];
    judged(0, &with(&none_left), &[]);
}

#[test]
fn the_json_has_the_keys_that_others_rely_on() {
    let result = judged(1, &with(&["generation_workers = 6"]), &[]);
    for key in [
        "schema_version",
        "pass",
        "causes",
        "slo_file",
        "calibration",
        "after",
        "before",
        "headroom",
        "counter_example",
        "nearest",
    ] {
        assert!(result.get(key).is_some(), "{key}");
    }
    for key in [
        "file",
        "sizing",
        "mode",
        "pass",
        "causes",
        "warnings",
        "bottleneck",
        "lost_by_cause",
        "cost_usd_month",
    ] {
        assert!(result["after"].get(key).is_some(), "{key}");
    }
    for key in [
        "capacity_per_hour",
        "throughput_per_hour",
        "wait_p95_s",
        "wait_mean_s",
        "lost",
        "worker_utilization",
        "cpu_utilization",
        "tasks_mean",
    ] {
        let interval = &result["after"][key];
        assert!(
            interval["mean"].is_f64() && interval["half_width"].is_f64(),
            "{key}: {interval}"
        );
        assert_eq!(interval["n"], 3, "{key}");
    }
}

#[test]
fn the_same_question_has_the_same_answer() {
    let arguments = [
        "gate",
        "--sizing",
        "terraform/environments/mvp.tfvars",
        "--format",
        "json",
    ];
    assert_eq!(sizing(&arguments).stdout, sizing(&arguments).stdout);
}

#[test]
fn what_was_not_measured_and_what_has_no_spare_is_said() {
    let scratch = Scratch::new();
    let text = |sizing: &str| {
        let file = scratch.file("candidate.tfvars", sizing);
        stdout_of(0, &["gate", "--sizing", &file, "--replications", "3"])
    };
    let measured = text(HOLDS);
    assert!(
        measured.contains("A single task has no spare"),
        "{measured}"
    );
    assert!(measured.contains("nothing is lost"), "{measured}");
    assert!(!measured.contains("extrapolation"), "{measured}");
    let open = scratch.file(
        "open.tfvars",
        &with(&["generation_mode = \"sync\"", "alb_idle_timeout_s = 1000"]),
    );
    let open = stdout_of(1, &["gate", "--sizing", &open, "--replications", "3"]);
    assert!(
        open.replace('\n', " ")
            .contains("when it dies, every generation that it runs is lost"),
        "{open}"
    );
    let beyond = text(&with(&[
        "generation_workers = 500",
        "tasks_min = 2",
        "tasks_desired = 2",
        "tasks_max = 2",
    ]));
    assert!(!beyond.contains("no spare"), "{beyond}");
    assert!(
        beyond
            .replace('\n', " ")
            .contains("500, as here, are an extrapolation"),
        "{beyond}"
    );
}
