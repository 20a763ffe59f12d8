//! Programs in containers of the run, where the provider is Docker.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::poll::{self, Progress};
use harness::{ContainerError, ContainerSpec, Provider, Stack};

fn shell(stack: &Stack, name: &str, script: &str) -> ContainerSpec {
    ContainerSpec {
        program: PathBuf::from("/bin/sh"),
        image: None,
        arguments: vec!["-c".to_owned(), script.to_owned()],
        environment: vec![("GREETING".to_owned(), "hello".to_owned())],
        cpus: Some(0.5),
        memory_mib: Some(64),
        log_file: stack.run_dir().join(name),
    }
}

#[tokio::test]
async fn a_program_runs_limited_and_its_output_is_in_the_log() -> Result<()> {
    let stack = Stack::shared().await?;
    let script = "trap 'exit 7' TERM; echo $GREETING from $(id -u); while :; do sleep 0.1; done";
    let spec = shell(stack, "limited.log", script);
    let log = spec.log_file.clone();
    let started = stack.run_in_container(spec).await;
    if stack.provider() == Provider::Native {
        ensure!(
            matches!(started, Err(ContainerError::NotDocker { .. })),
            "{started:?}"
        );
        return Ok(());
    }
    let process = started?;
    ensure!(process.host_pid() > 1, "it has a process here");
    poll::until("the output", Duration::from_secs(20), || async {
        let text = fs::read_to_string(&log).unwrap_or_default();
        if text.starts_with("hello from ") {
            Progress::Ready(())
        } else {
            Progress::NotYet(text)
        }
    })
    .await?;
    ensure!(
        !fs::read_to_string(&log)?.starts_with("hello from 0"),
        "it is not root"
    );
    let status = process.stop(Duration::from_secs(10)).await?;
    ensure!(
        !status.running && status.exit_code == 7,
        "it was asked to end: {status:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_program_that_exceeds_its_memory_is_killed() -> Result<()> {
    let stack = Stack::shared().await?;
    if stack.provider() == Provider::Native {
        return Ok(());
    }
    // The shell keeps the whole of it in one variable.
    let spec = shell(
        stack,
        "greedy.log",
        "x=$(head -c 400000000 /dev/zero | tr '\\0' x)",
    );
    let process = stack.run_in_container(spec).await?;
    let status = poll::until(
        "the end of the greedy program",
        Duration::from_secs(60),
        || async {
            match process.status().await {
                Ok(status) if status.running => Progress::NotYet("it runs".to_owned()),
                Ok(status) => Progress::Ready(status),
                Err(error) => Progress::Failed(error.to_string()),
            }
        },
    )
    .await?;
    ensure!(status.oom_killed, "{status:?}");
    Ok(())
}
