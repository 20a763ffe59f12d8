//! A standard output that takes nothing, or no more: a reader that has gone, and a disk that is full.

use std::fs::File;
use std::process::Stdio;

use super::{Scratch, command};

/// Commands that print at once, each with its exit code.
const COMMANDS: [(i32, &[&str]); 10] = [
    (
        1,
        &[
            "gate",
            "--sizing",
            "terraform/environments/proposal.tfvars",
            "--replications",
            "2",
        ],
    ),
    (
        0,
        &[
            "gate",
            "--sizing",
            "terraform/environments/mvp.tfvars",
            "--format",
            "markdown",
        ],
    ),
    (
        0,
        &[
            "gate",
            "--sizing",
            "terraform/environments/mvp.tfvars",
            "--format",
            "json",
        ],
    ),
    (
        0,
        &["simulate", "--scenario", "simulator/scenarios/mvp.toml"],
    ),
    (
        0,
        &[
            "plan",
            "--sizes",
            "1x2",
            "--workers",
            "24",
            "--tasks",
            "1",
            "--autoscaling",
            "none",
        ],
    ),
    (0, &["review", "--simulate", "queue_depth_two"]),
    (0, &["calibrate", "loadtests/results/measurement-60.json"]),
    (0, &["merge", "loadtests/results/measurement-60.json"]),
    (0, &["cpu-score", "--seconds", "0.1"]),
    (0, &["--help"]),
];

#[test]
fn a_reader_that_has_gone_changes_nothing_and_is_not_complained_of() {
    for (code, arguments) in COMMANDS {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = command(arguments);
        let output = command.stdout(writer).output().expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert_eq!(stderr, "", "{arguments:?}");
    }
}

#[test]
fn a_full_disk_is_one_sentence_and_exit_code_2() {
    let serve: (i32, &[&str]) = (2, &["serve", "--port", "0"]);
    for (_, arguments) in COMMANDS.into_iter().chain([serve]) {
        let mut command = command(arguments);
        let full = File::create("/dev/full").expect("a device that takes nothing");
        let output = command.stdout(full).output().expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert_eq!(
            stderr,
            "error: failed to print the result to standard output; send it where there is room: No space left on \
             device (os error 28)\n",
            "{arguments:?}"
        );
    }
}

#[test]
fn a_message_that_nobody_can_read_keeps_its_exit_code() {
    for arguments in [&["gate", "--sizing", "missing.tfvars"][..], &["gate"]] {
        let full = File::create("/dev/full").expect("a device that takes nothing");
        let mut command = command(arguments);
        let status = command.stderr(full).stdout(Stdio::null()).status();
        assert_eq!(status.expect("it runs").code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_named_pipe_is_refused_and_an_open_one_is_read() {
    let scratch = Scratch::new();
    let pipe = scratch.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo of coreutils").success());
    for arguments in [
        &["gate", "--sizing", &pipe][..],
        &["gate", "--plan", &pipe],
        &[
            "gate",
            "--sizing",
            "terraform/environments/mvp.tfvars",
            "--slo",
            &pipe,
        ],
        &["simulate", "--scenario", &pipe],
        &["calibrate", &pipe],
        &["merge", &pipe],
    ] {
        let output = command(arguments).output().expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(
            stderr.contains("it is a pipe, a socket or a device; give a file"),
            "{stderr}"
        );
    }

    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    std::io::Write::write_all(&mut writer, super::PROPOSAL.as_bytes()).expect("it has room");
    drop(writer);
    let mut gate = command(&["gate", "--sizing", "/dev/stdin", "--replications", "2"]);
    let output = gate.stdin(reader).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
}
