//! `sizing simulate` and `sizing plan` over runs, cases, platforms and axes.

use serde_json::Value;

use crate::{Scratch, stderr_of, stdout_of};

const GROWTH: &str = "simulator/scenarios/growth.toml";
const PROPOSAL: &str = include_str!("../../../simulator/scenarios/proposal.toml");
const SYNC: &str = "simulator/scenarios/proposal-sync.toml";

fn json(arguments: &[&str]) -> Value {
    let stdout = stdout_of(0, &[arguments, &["--format", "json"]].concat());
    serde_json::from_str(&stdout).expect("JSON on standard output")
}

/// Empties the only figure that depends on the machine, wherever it stands.
fn forget_the_clock(value: &mut Value) {
    if let Some(map) = value.as_object_mut() {
        map.remove("events_per_second");
        map.values_mut().for_each(forget_the_clock);
    }
}

#[test]
fn threads_change_nothing_but_the_time() {
    let on = |threads: &str| {
        let arguments = ["simulate", "--scenario", GROWTH, "--replications", "4"];
        let mut found = json(&[&arguments[..], &["--threads", threads]].concat());
        forget_the_clock(&mut found);
        found.to_string()
    };
    assert_eq!(on("1"), on("4"));
    let plan = |threads: &str| {
        let axes = ["--workers", "24,64", "--sizes", "0.25x0.5,1x2"];
        let arguments = ["plan", "--scenario", GROWTH, "--threads", threads];
        json(&[&arguments[..], &axes[..]].concat()).to_string()
    };
    assert_eq!(plan("1"), plan("4"));
}

#[test]
fn a_stage_is_shown_as_low_mid_and_high() {
    let found = json(&["simulate", "--scenario", GROWTH, "--replications", "2"]);
    let of = |figure: &str, case: &str| {
        let value = &found["intervals"][figure][case];
        value.as_f64().expect("a figure of every case")
    };
    for figure in ["throughput_per_hour", "cost_usd_month", "wait_mean_s"] {
        assert!(of(figure, "low") <= of(figure, "mid"), "{figure}");
        assert!(of(figure, "mid") <= of(figure, "high"), "{figure}");
    }
    assert!(found["cases"]["high"]["submitted"].as_u64() > found["submitted"].as_u64());
    assert_eq!(found["replications"]["throughput_per_hour"]["n"], 2);
    let table = stdout_of(0, &["simulate", "--scenario", GROWTH]);
    // Each figure beside its unit, and what no figure counts.
    for word in [
        "low",
        "mid",
        "high",
        "PASS",
        "FAIL",
        "wait, 95 %, s",
        "bill, USD/month",
        "24h of it counted for losses only",
    ] {
        assert!(table.contains(word), "{word} in\n{table}");
    }
    assert!(!table.contains("throughput per hour"), "{table}");
    // It ended with 0 although it failed, and says so.
    let help = stdout_of(0, &["simulate", "--help"]);
    assert!(help.contains("exit 0 whatever its verdict"), "{help}");
}

#[test]
fn every_platform_is_priced_and_says_what_stands_against_it() {
    let found = json(&["simulate", "--scenario", SYNC, "--platform", "all"]);
    let platforms = found["platforms"].as_object().expect("by name");
    assert_eq!(platforms.len(), 5);
    for (name, outcome) in platforms {
        assert!(
            outcome["cost_usd_month"]["total"].as_f64() > Some(20.0),
            "{name}"
        );
    }
    let finding = |name: &str| platforms[name]["findings"].to_string();
    for name in ["app_runner", "railway", "fargate"] {
        assert!(finding(name).contains("request_limit"), "{name}");
    }
    assert!(!finding("cloud_run").contains("request_limit"));
    let table = stdout_of(
        0,
        &["simulate", "--scenario", SYNC, "--platform", "railway"],
    );
    assert!(table.contains("cannot hold a request"), "{table}");
}

#[test]
fn platforms_are_judged_side_by_side_in_whole_words() {
    let fastapi = "simulator/scenarios/fastapi.toml";
    let table = stdout_of(0, &["simulate", "--scenario", fastapi, "--platform", "all"]);
    for name in [
        "AWS Fargate",
        "AWS App Runner",
        "Google Cloud Run",
        "Render",
        "Railway",
    ] {
        assert!(table.contains(&format!("FAIL {name}: ")), "{name}: {table}");
    }
    // The longest cause of all, in a column that is too narrow for several.
    for whole in ["sigkill", "interruption", "Left out: ", "SIGTERM to"] {
        assert!(table.contains(whole), "{whole}: {table}");
    }
    let short = Scratch::new();
    let file = short.file("short.toml", &PROPOSAL.replace("\"24h\"", "\"2h\""));
    let table = stdout_of(0, &["simulate", "--scenario", &file, "--platform", "all"]);
    assert!(
        table.contains("Doubt about wait_s.p95 on every platform"),
        "{table}"
    );
    assert!(!table.contains("silent"), "nothing stays open: {table}");
}

#[test]
fn a_run_too_short_for_its_percentile_says_so() {
    let scratch = Scratch::new();
    let short = PROPOSAL
        .replace("\"24h\"", "\"2h\"")
        .replace("per_hour = 40 ", "per_hour = 20 ");
    let file = scratch.file("short.toml", &short);
    let found = json(&["simulate", "--scenario", &file]);
    assert_eq!(found["doubts"][0]["key"], "wait_s.p95", "{found}");
    let table = stdout_of(0, &["simulate", "--scenario", &file]);
    assert!(table.contains("too short"), "{table}");
}

#[test]
fn a_plan_explains_what_holds_and_what_does_not() {
    let scratch = Scratch::new();
    let file = scratch.file("proposal.toml", PROPOSAL);
    let axes = [
        "--workers",
        "1,6,12,24",
        "--sizes",
        "0.25x0.5",
        "--tasks",
        "1,2,1-2",
        "--autoscaling",
        "none,queue_depth=1",
        "--nat-gateways",
        "1",
        "--cache-modes",
        "elasticache",
        "--replications",
        "3",
    ];
    let plan = json(&[&["plan", "--scenario", file.as_str()][..], &axes[..]].concat());
    let list = |name: &str| plan[name].as_array().expect("a list").clone();
    assert_eq!(list("accepted").len() + list("rejected").len(), 4 * 3);
    assert!(!list("accepted").is_empty());
    for rejected in list("rejected") {
        assert!(rejected["failures"][0]["key"].is_string(), "{rejected}");
    }
    let table = stdout_of(
        0,
        &[&["plan", "--scenario", file.as_str()][..], &axes[..]].concat(),
    );
    for word in [
        "Searched: task sizes (vCPU x GiB) 0.25x0.5; workers 1, 6, 12, 24; tasks 1, 2, 1-2;",
        "wait p95 s",
        "do not hold",
        "carries at most",
        "candidates",
    ] {
        let table = table.replace('\n', " ");
        assert!(table.contains(word), "{word} in\n{table}");
    }
}

#[test]
fn a_plan_proposes_nothing_that_the_gate_refuses() {
    let arguments = |quota: &'static str| {
        [
            "plan",
            "--sizes",
            "4x8",
            "--workers",
            "24",
            "--tasks",
            "2",
            "--nat-gateways",
            "0",
        ]
        .into_iter()
        .chain(["--autoscaling", "none", "--cache-modes", "elasticache"])
        .chain(["--replications", "2", "--vcpu-quota", quota])
        .collect::<Vec<_>>()
    };
    let plan = json(&arguments("6"));
    let refused = &plan["rejected"][0];
    assert_eq!(refused["fleet"]["tasks"]["max"], 2, "{refused}");
    assert_eq!(refused["failures"][0]["key"], "vcpu_quota");
    assert_eq!(refused["failures"][0]["actual"], 8.0);
    let plan = json(&arguments("8"));
    let keys = &plan["rejected"][0]["failures"];
    assert!(!keys.to_string().contains("vcpu_quota"), "{keys}");

    stderr_of(2, &["plan", "--nat-gateways", "3"]);
    let scratch = Scratch::new();
    let text = PROPOSAL.replace("nat_gateways = 2", "nat_gateways = 3");
    let file = scratch.file("three.toml", &text);
    let stderr = stderr_of(2, &["plan", "--scenario", &file]);
    assert!(
        stderr.contains("three.toml: `nat_gateways` is 3 and must lie between 0 and 2"),
        "{stderr}"
    );
}

#[test]
fn a_load_that_no_candidate_carries_is_bad_input() {
    let scratch = Scratch::new();
    let text = PROPOSAL.replace("per_hour = 40 ", "per_hour = 800000 ");
    let file = scratch.file("flood.toml", &text);
    let stderr = stderr_of(2, &["plan", "--scenario", &file]);
    for word in [
        "flood.toml",
        "line 7",
        "workload.arrivals",
        "widen --workers",
    ] {
        assert!(stderr.contains(word), "{word} in {stderr}");
    }
    let arguments = [
        "plan",
        "--scenario",
        &file,
        "--tasks",
        "2",
        "--autoscaling",
        "cpu=70",
    ];
    assert!(stderr_of(2, &arguments).contains("no candidate"));
    let arguments = ["plan", "--scenario", &file, "--sizes", "1x9"];
    assert!(stderr_of(2, &arguments).contains("take one of 2, 3"));
}

#[test]
fn a_profile_that_is_not_there_is_named_with_the_path_that_was_tried() {
    let scratch = Scratch::new();
    let start = PROPOSAL.find("[profile]").expect("it is there");
    let end = PROPOSAL.find("[fleet]").expect("it is there");
    let text = format!(
        "{}[profile]\nfile = \"costs/measured.toml\"\n\n{}",
        &PROPOSAL[..start],
        &PROPOSAL[end..]
    );
    let scenario = scratch.file("scenario.toml", &text);
    let said = stderr_of(2, &["simulate", "--scenario", &scenario]);
    let folder = std::path::Path::new(&scenario).parent();
    let tried = folder
        .expect("it lies in a folder")
        .join("costs/measured.toml");
    for part in [
        "key `profile.file`",
        &tried.display().to_string(),
        "No such file",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}
