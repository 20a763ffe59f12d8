//! What the gate refuses to judge: exit code 2, with the file, the line and the remedy.

use super::*;

#[test]
fn what_is_no_sizing_exits_with_2_and_says_why() {
    for (lines, named) in [
        (vec!["tasks_min = 3"], "`tasks_max` is 1"),
        (vec!["tasks_desired = 5"], "`tasks_desired` is 5"),
        (vec!["generation_workers = 0"], "`generation_workers` is 0"),
        (
            vec!["generation_workers = 2.5"],
            "`generation_workers` must be a whole number",
        ),
        (
            vec!["task_cpu = 512", "task_memory_mib = 8192"],
            "`task_memory_mib` is 8192",
        ),
        (vec!["task_cpu = 3072"], "`task_cpu` is 3072"),
        (vec!["nat_gateways = 3"], "`nat_gateways` is 3"),
        (
            vec!["autoscaling_metric = \"requests\""],
            "`autoscaling_metric` cannot be `requests`",
        ),
        (
            vec!["cache_mode = \"redis\""],
            "`cache_mode` cannot be `redis`",
        ),
        (
            vec!["task_cpu = \"many\""],
            "`task_cpu` must be a number, not \"many\"",
        ),
        (
            vec!["db_multi_az = 1"],
            "`db_multi_az` must be true or false, not 1",
        ),
        (
            vec!["db_instance_class = \"db.x9.huge\""],
            "take one of db.t4g.micro",
        ),
        (vec!["stop_timeout_s = 121"], "`stop_timeout_s` is 121"),
        (
            vec!["alb_idle_timeout_s = 4001"],
            "`alb_idle_timeout_s` is 4001",
        ),
        (
            vec!["generation_worker = 6"],
            "did you mean `generation_workers`?",
        ),
        (vec!["generation_workers"], "candidate.tfvars:7:"),
        (
            vec!["nat_gateways = 1", "nat_gateways = 2"],
            "candidate.tfvars:9:1: `nat_gateways` is set twice, first in line 8",
        ),
    ] {
        let scratch = Scratch::new();
        let file = scratch.file("candidate.tfvars", &with(&lines));
        let stderr = stderr_of(2, &["gate", "--sizing", &file]);
        assert!(
            stderr.contains(named) && stderr.contains("candidate.tfvars"),
            "{lines:?}: {stderr}"
        );
    }
}

#[test]
fn files_that_are_no_tfvars_exit_with_2() {
    let scratch = Scratch::new();
    let empty = scratch.file("empty.tfvars", "");
    assert!(stderr_of(2, &["gate", "--sizing", &empty]).contains("`task_cpu`"));
    let binary = scratch.0.path().join("binary.tfvars");
    std::fs::write(&binary, [0x74, 0xff, 0xfe]).expect("writable");
    let binary = binary.to_str().expect("a UTF-8 path");
    assert!(stderr_of(2, &["gate", "--sizing", binary]).contains("is not UTF-8 text"));
    let folder = scratch.0.path().to_str().expect("a UTF-8 path");
    stderr_of(2, &["gate", "--sizing", folder]);
    let json = scratch.file("bad.tfvars.json", "{\"task_cpu\": }");
    assert!(stderr_of(2, &["gate", "--sizing", &json]).contains("bad.tfvars.json"));
    let plan = scratch.file("plan.json", "{\"format_version\": \"1.2\"}");
    assert!(stderr_of(2, &["gate", "--plan", &plan]).contains("terraform show -json"));
    stderr_of(2, &["gate", "--plan", &plan, "--sizing", &empty]);
}

#[test]
fn a_bad_file_is_named_with_the_line_and_what_to_give_instead() {
    let scratch = Scratch::new();
    let sizing = scratch.file("candidate.tfvars", HOLDS);
    let settings = scratch.file("settings.tfvars", "name = \"lab\"\nspot_percent = 101\n");
    let stderr = stderr_of(2, &["gate", "--sizing", &sizing, "--settings", &settings]);
    assert!(
        stderr.contains("settings.tfvars:2: `spot_percent` is 101 and must be"),
        "{stderr}"
    );
    let stderr = stderr_of(2, &["gate", "--sizing", &sizing, "--settings", "/nope"]);
    assert!(
        stderr.contains("such as terraform/environments/settings/proposal.tfvars"),
        "{stderr}"
    );
    let binary = scratch.0.path().join("binary.tfvars");
    std::fs::write(&binary, b"task_cpu = 1024\nname = \"\xff\"\n").expect("writable");
    let binary = binary.to_str().expect("a UTF-8 path");
    let stderr = stderr_of(2, &["gate", "--sizing", binary]);
    assert!(
        stderr.contains("binary.tfvars:2: it is not UTF-8"),
        "{stderr}"
    );

    let planned = r#"{"planned_values": {"root_module": {"resources": [
        {"type": "aws_ecs_task_definition", "mode": "managed", "values": {}}]}}}"#;
    let plan = scratch.file("plan.json", planned);
    let stderr = stderr_of(2, &["gate", "--plan", &plan]);
    assert!(stderr.contains("it plans another root module"), "{stderr}");
    let plan = scratch.file("other.tfvars.json", r#"{"format_version": "1.2"}"#);
    let stderr = stderr_of(2, &["gate", "--sizing", &plan]);
    assert!(stderr.contains("give it as --plan"), "{stderr}");
    let stderr = stderr_of(2, &["gate", "--plan", "no-such-file.json"]);
    assert!(stderr.contains("must be a plan"), "{stderr}");
}
