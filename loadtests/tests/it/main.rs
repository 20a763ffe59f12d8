//! Drives the real `sizing` binary: exit codes, messages, files.
// A comparison is one future, which nests deeper than the compiler follows by itself.
#![recursion_limit = "256"]

mod gate;
mod measuring;
mod output;
mod pages;
mod recorded;
mod reference;
mod report;
mod review;
mod simulation;
mod storm;
mod sync;
mod terminal;
mod webdriver;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PROPOSAL: &str = include_str!("../../../terraform/environments/proposal.tfvars");
const SLO: &str = include_str!("../../slo.toml");

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sizing"));
    command
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command
}

fn sizing(arguments: &[&str]) -> Output {
    command(arguments)
        .output()
        .expect("the binary was built for this test")
}

/// Runs `sizing`, asserts the exit code, and returns its standard error.
fn stderr_of(code: i32, arguments: &[&str]) -> String {
    let output = sizing(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        output.status.code(),
        Some(code),
        "sizing {arguments:?}\n{stderr}"
    );
    stderr
}

/// Runs `sizing`, asserts the exit code, and returns its standard output.
fn stdout_of(code: i32, arguments: &[&str]) -> String {
    let output = sizing(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        output.status.code(),
        Some(code),
        "sizing {arguments:?}\n{stderr}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The backend, where `cargo test --workspace` has built it; a command builds it itself otherwise.
fn backend() -> Option<String> {
    let path = Path::new(env!("CARGO_BIN_EXE_sizing")).with_file_name("allegiant-backend");
    path.is_file().then(|| path.display().to_string())
}

/// A file of its own for one test.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> String {
        let path = self.0.path().join(name);
        path.to_str().expect("a UTF-8 path").to_owned()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, text).expect("a writable temporary folder");
        path.to_str().expect("a UTF-8 path").to_owned()
    }
}

#[test]
fn bad_arguments_exit_with_2_and_name_the_argument() {
    for (arguments, named) in [
        (vec!["--frobnicate"], "--frobnicate"),
        (vec!["measure", "--speedup", "0"], "--speedup"),
        (vec!["measure", "--vcpus", "none"], "--vcpus"),
        (vec!["measure", "--generations", "1,2"], "--generations"),
        (vec!["--generations", "1,2"], "--generations"),
        (vec!["compare", "--generations", ""], "--generations"),
        (vec!["compare", "--generations", "0"], "--generations"),
        (vec!["compare", "--generations", "6,24,6"], "named twice"),
        (vec!["compare", "--vcpu", "0.5,"], "--vcpu"),
        (
            vec!["compare", "--generations", "1,2,3,4,5,6,7", "--vcpu", "1,2"],
            "14 cells",
        ),
        (vec!["compare", "--speedup", "300"], "take 250 at most"),
        (
            vec!["measure", "--target", "both", "--workers", "24"],
            "take 10 at most",
        ),
        (
            vec!["measure", "--target", "both", "--generations", "2000"],
            "2000 generations",
        ),
        (vec!["gate"], "--sizing"),
        (
            vec!["simulate", "--scenario", "missing.toml"],
            "missing.toml",
        ),
        (vec!["gate", "--sizing", "missing.tfvars"], "missing.tfvars"),
    ] {
        let stderr = stderr_of(2, &arguments);
        assert!(stderr.contains(named), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_speedup_that_breaks_the_bounds_is_refused_before_anything_starts() {
    let stderr = stderr_of(2, &["measure", "--speedup", "3600"]);
    assert!(
        stderr.contains("the largest speedup that holds is"),
        "{stderr}"
    );
}

#[test]
fn an_impossible_fargate_pair_is_refused() {
    let scratch = Scratch::new();
    let text = PROPOSAL.replace("= 4096", "= 3000");
    let stderr = stderr_of(
        2,
        &["gate", "--sizing", &scratch.file("pair.tfvars", &text)],
    );
    assert!(stderr.contains("`task_memory_mib` is 3000"), "{stderr}");
}

#[test]
fn an_unknown_slo_key_is_refused() {
    let scratch = Scratch::new();
    let slo = scratch.file("slo.toml", &SLO.replace("lost_max", "lost_most"));
    let arguments = [
        "gate",
        "--sizing",
        "terraform/environments/proposal.tfvars",
        "--slo",
        &slo,
    ];
    let stderr = stderr_of(2, &arguments);
    assert!(stderr.contains("lost_most"), "{stderr}");
}

#[test]
fn the_gate_refuses_the_proposal_and_says_why() {
    let arguments = ["gate", "--sizing", "terraform/environments/proposal.tfvars"];
    let stdout = stdout_of(1, &arguments);
    assert!(stdout.contains("FAIL"), "{stdout}");
    assert!(stdout.contains("wait p95"), "{stdout}");
}

#[test]
fn the_gate_passes_a_sizing_that_holds() {
    let scratch = Scratch::new();
    let text = PROPOSAL
        .replace("= 2048", "= 256")
        .replace("= 4096", "= 512")
        .replace("generation_workers = 6", "generation_workers = 48")
        .replace("tasks_min                         = 1", "tasks_min = 2")
        .replace("nat_gateways           = 2", "nat_gateways = 1");
    let file = scratch.file("small.tfvars", &text);
    let stdout = stdout_of(0, &["gate", "--sizing", &file, "--format", "json"]);
    let result: serde_json::Value = serde_json::from_str(&stdout).expect("JSON on standard output");
    assert_eq!(result["pass"], true, "{stdout}");
    assert_eq!(result["calibration"]["vcpu"]["factor"], 1.0, "{stdout}");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let arguments = [
        "simulate",
        "--scenario",
        "simulator/scenarios/proposal.toml",
        "--format",
        "json",
    ];
    let once = |seed: &str| {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--seed", seed]);
        let mut outcome: serde_json::Value =
            serde_json::from_str(&stdout_of(0, &arguments)).expect("JSON on standard output");
        // The only figure that depends on the machine.
        outcome["events_per_second"].take();
        outcome
    };
    assert_eq!(once("7"), once("7"));
    assert_ne!(once("7"), once("8"));
}

#[test]
fn trace_holds_every_generation_and_leaves_nothing_half_written() {
    let scratch = Scratch::new();
    let scenario = "simulator/scenarios/proposal.toml";
    let trace = scratch.0.path().join("trace.jsonl");
    let trace_argument = trace.to_str().expect("a UTF-8 path");
    let arguments = [
        "simulate",
        "--scenario",
        scenario,
        "--format",
        "json",
        "--trace",
        trace_argument,
    ];
    let outcome: serde_json::Value =
        serde_json::from_str(&stdout_of(0, &arguments)).expect("JSON on standard output");
    let lines = std::fs::read_to_string(&trace).expect("the trace was written");
    let events: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
        .collect();
    let count = |name| events.iter().filter(|event| event["event"] == name).count() as u64;
    assert!(outcome["events_per_second"].as_f64() > Some(0.0));
    // The trace begins with the run, the outcome counts what was submitted after the warm-up.
    assert!(count("submitted") >= outcome["submitted"].as_u64().expect("a count"));
    assert!(count("completed") <= count("started"));
    assert!(
        events
            .windows(2)
            .all(|pair| pair[0]["at_ns"].as_u64() <= pair[1]["at_ns"].as_u64())
    );

    let nowhere = scratch.0.path().join("missing/trace.jsonl");
    let stderr = stderr_of(
        2,
        &[
            "simulate",
            "--scenario",
            scenario,
            "--trace",
            nowhere.to_str().expect("a UTF-8 path"),
        ],
    );
    assert!(stderr.contains("missing/trace.jsonl"), "{stderr}");
    let left: Vec<_> = std::fs::read_dir(scratch.0.path())
        .expect("the scratch folder")
        .collect();
    assert_eq!(left.len(), 1, "only the complete trace: {left:?}");

    let full = scratch.0.path().join("full");
    std::os::unix::fs::symlink("/dev/full", &full).expect("the scratch folder");
    let device = full.to_str().expect("a UTF-8 path");
    let stderr = stderr_of(2, &["simulate", "--scenario", scenario, "--trace", device]);
    assert!(stderr.contains("No space left"), "{stderr}");
    assert!(full.is_symlink(), "what is no file is not replaced by one");
}
