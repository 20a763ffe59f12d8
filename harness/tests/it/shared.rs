//! One stack for several processes: each member below is this test program, started again.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::poll::{self, Progress};
use harness::{Sandbox, Stack, Template};
use sqlx::{Connection, PgConnection};

use crate::folder::Folder;

/// Makes this program a member instead of a test.
const MEMBER_VARIABLE: &str = "HARNESS_TEST_MEMBER";
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that has taken a sandbox of the shared stack.
struct Member {
    child: Child,
    /// It ends when this is closed.
    input: Option<ChildStdin>,
    /// Open until then: the test framework inside prints its result.
    _output: BufReader<ChildStdout>,
    sandbox: String,
}

impl Member {
    fn start(folder: &Path) -> Result<Member> {
        let mut child = Command::new(env::current_exe()?)
            .args(["--exact", "shared::a_member", "--nocapture"])
            .env(MEMBER_VARIABLE, "1")
            // Runs live in here, and so this test's stack is nobody else's.
            .env("TMPDIR", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("the output is a pipe")?;
        let input = child.stdin.take();
        let mut output = BufReader::new(output);
        let sandbox = output
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("sandbox at ")?.1.to_owned()));
        Ok(Member {
            child,
            input,
            _output: output,
            sandbox: sandbox.context("the member ended before it had a sandbox")?,
        })
    }

    fn port(&self) -> &str {
        let (before, _) = self.sandbox.rsplit_once('/').unwrap_or_default();
        before.rsplit(':').next().unwrap_or_default()
    }

    async fn answers(&self) -> bool {
        match PgConnection::connect(&self.sandbox).await {
            Ok(mut connection) => connection.ping().await.is_ok(),
            Err(_) => false,
        }
    }

    fn end(mut self) -> Result<()> {
        drop(self.input.take());
        ensure!(self.child.wait()?.success(), "a member failed");
        Ok(())
    }

    fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

/// The process that [`Member::start`] starts; as a test of its own it has nothing to do.
#[tokio::test]
async fn a_member() -> Result<()> {
    if env::var_os(MEMBER_VARIABLE).is_none() {
        return Ok(());
    }
    let sandbox: Sandbox = Stack::shared().await?.sandbox(&Template::empty()).await?;
    let mut output = std::io::stdout();
    writeln!(output, "\nsandbox at {}", sandbox.database_url())?;
    output.flush()?;
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

fn runs(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut runs = Vec::new();
    for root in fs::read_dir(folder)? {
        for run in fs::read_dir(root?.path())? {
            let run = run?.path();
            if run.is_dir() {
                runs.push(run);
            }
        }
    }
    Ok(runs)
}

async fn nothing_is_left(folder: &Path) -> Result<()> {
    poll::until("all runs to be gone", PATIENCE, || async {
        match runs(folder) {
            Ok(runs) if runs.is_empty() => Progress::Ready(()),
            Ok(runs) => Progress::NotYet(format!("{runs:?} are there")),
            Err(error) => Progress::Failed(error.to_string()),
        }
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn processes_share_a_stack_that_outlives_the_one_that_started_it() -> Result<()> {
    let folder = Folder::new()?;
    let founder = Member::start(folder.path())?;
    let second = Member::start(folder.path())?;
    ensure!(founder.port() == second.port(), "each has its own Postgres");
    ensure!(
        founder.sandbox != second.sandbox,
        "both have the same database"
    );

    let left_behind = founder.sandbox.clone();
    founder.kill()?;
    ensure!(second.answers().await, "the founder took the stack along");
    let third = Member::start(folder.path())?;
    ensure!(third.port() == second.port(), "the stack was not found");
    poll::until("the dead founder's database to go", PATIENCE, || async {
        match PgConnection::connect(&left_behind).await {
            Ok(_) => Progress::NotYet("it answers".to_owned()),
            Err(_) => Progress::Ready(()),
        }
    })
    .await?;
    second.end()?;
    third.end()?;
    nothing_is_left(folder.path()).await
}

#[tokio::test]
async fn a_process_that_comes_after_the_last_has_ended_finds_the_stack_still_there() -> Result<()> {
    let folder = Folder::new()?;
    let first = Member::start(folder.path())?;
    let port = first.port().to_owned();
    first.end()?;
    let next = Member::start(folder.path())?;
    ensure!(next.port() == port, "the stack did not wait for it");
    next.kill()?;
    nothing_is_left(folder.path()).await
}

#[tokio::test]
async fn processes_that_come_at_the_same_time_start_one_stack() -> Result<()> {
    let folder = Folder::new()?;
    let starting: Vec<_> = (0..3)
        .map(|_| {
            let folder = folder.path().to_owned();
            std::thread::spawn(move || Member::start(&folder))
        })
        .collect();
    let mut members = Vec::new();
    for member in starting {
        members.push(member.join().expect("starting a process does not panic")?);
    }
    let ports: Vec<&str> = members.iter().map(Member::port).collect();
    ensure!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    for member in members {
        member.kill()?;
    }
    nothing_is_left(folder.path()).await
}
