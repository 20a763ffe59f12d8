//! Nothing outlives its owner, whichever way the owner ends.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::poll::{self, Progress};
use harness::{ProviderChoice, Stack};

const END_TIMEOUT: Duration = Duration::from_secs(40);

/// `harness up` as another process: an owner that can be killed.
struct Owner {
    child: Child,
    run: PathBuf,
    id: String,
    /// Everything it had started when it was up.
    servers: Vec<u32>,
}

impl Owner {
    fn up() -> Result<Owner> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_harness"))
            .args(["up", "--free-ports", "--no-env-file"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("the output is a pipe")?;
        let mut line = String::new();
        let mut lines = BufReader::new(output);
        loop {
            line.clear();
            ensure!(lines.read_line(&mut line)? > 0, "it ended before it was up");
            if let Some(run) = line.strip_prefix("# run ") {
                let (id, folder) = run.trim().split_once(" in ").context("id and folder")?;
                let run = PathBuf::from(folder);
                let servers = listed_processes(&run)?;
                return Ok(Owner {
                    child,
                    run,
                    id: id.to_owned(),
                    servers,
                });
            }
        }
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let status = Command::new("kill")
            .args(["-s", signal, &self.child.id().to_string()])
            .status()?;
        ensure!(status.success(), "the owner has ended before");
        Ok(())
    }

    async fn nothing_is_left(&self) -> Result<()> {
        poll::until("everything to be gone", END_TIMEOUT, || async {
            self.look()
        })
        .await?;
        Ok(())
    }

    fn look(&self) -> Progress<()> {
        if self.run.exists() {
            return Progress::NotYet(format!("{} is there", self.run.display()));
        }
        if let Some(pid) = self.servers.iter().find(|&&pid| is_running(pid)) {
            return Progress::NotYet(format!("process {pid} runs"));
        }
        match containers(&self.id) {
            Ok(none) if none.is_empty() => Progress::Ready(()),
            Ok(some) => Progress::NotYet(format!("containers {some} are there")),
            Err(error) => Progress::Failed(error.to_string()),
        }
    }
}

fn listed_processes(run: &Path) -> Result<Vec<u32>> {
    match fs::read_to_string(run.join("pids")) {
        Ok(list) => list
            .lines()
            .map(|line| Ok(line.split(' ').next().unwrap_or_default().parse()?))
            .collect(),
        // The Docker provider starts no process of its own.
        Err(_) => Ok(Vec::new()),
    }
}

fn is_running(pid: u32) -> bool {
    let state = Command::new("ps")
        .args(["-o", "state=", "-p", &pid.to_string()])
        .output();
    state.is_ok_and(|output| {
        let state = String::from_utf8_lossy(&output.stdout);
        !state.trim().is_empty() && !state.trim().starts_with('Z')
    })
}

/// Ids of the run's containers; nothing when there is no Docker.
fn containers(run: &str) -> Result<String> {
    let filter = format!("label=org.h2o-allegiant.harness.run={run}");
    match Command::new("docker")
        .args(["ps", "-aq", "--filter", &filter])
        .output()
    {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout)
            .trim()
            .replace('\n', " ")),
        Err(_) => Ok(String::new()),
    }
}

/// How many things of the run are there: the tests below would pass without any.
fn started_something(owner: &Owner) -> Result<()> {
    let containers = containers(&owner.id)?.split_whitespace().count();
    ensure!(
        owner.servers.len() == 2 || containers == 3,
        "{:?}, {containers}",
        owner.servers
    );
    Ok(())
}

#[tokio::test]
async fn a_killed_owner_leaves_nothing() -> Result<()> {
    let mut owner = Owner::up()?;
    started_something(&owner)?;
    owner.child.kill()?;
    owner.child.wait()?;
    owner.nothing_is_left().await
}

#[tokio::test]
async fn ctrl_c_leaves_nothing_and_is_a_success() -> Result<()> {
    let mut owner = Owner::up()?;
    started_something(&owner)?;
    owner.signal("INT")?;
    let status = owner.child.wait()?;
    ensure!(status.success(), "{status}");
    owner.nothing_is_left().await
}

#[tokio::test]
async fn an_owner_killed_while_it_starts_leaves_nothing() -> Result<()> {
    let before = runs()?;
    let mut child = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["up", "--free-ports", "--no-env-file"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let owner = child.id();
    // In the middle: its folder is there, its servers perhaps not all.
    let run = poll::until("a new run", END_TIMEOUT, || async {
        let runs = runs().unwrap_or_default();
        let ours = runs
            .into_iter()
            .find(|run| !before.contains(run) && holds_open(owner, run));
        ours.map_or_else(|| Progress::NotYet("none yet".to_owned()), Progress::Ready)
    })
    .await?;
    child.kill()?;
    ensure!(child.wait()?.signal() == Some(9), "it was killed");
    let id = run
        .file_name()
        .context("a run has a name")?
        .to_string_lossy()
        .into_owned();
    let owner = Owner {
        child,
        servers: listed_processes(&run)?,
        run,
        id,
    };
    owner.nothing_is_left().await
}

/// Folders of runs, of whichever owner.
fn runs() -> Result<Vec<PathBuf>> {
    let mut runs = Vec::new();
    for root in fs::read_dir(std::env::temp_dir())? {
        let root = root?;
        if root
            .file_name()
            .to_string_lossy()
            .starts_with("h2o-allegiant-harness-")
        {
            for run in fs::read_dir(root.path())? {
                runs.push(run?.path());
            }
        }
    }
    Ok(runs)
}

/// Does the process hold the run's lock file open? Other tests start runs at the same time.
fn holds_open(pid: u32, run: &Path) -> bool {
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        // No /proc: any new run will do.
        return !Path::new("/proc/self").exists();
    };
    open.flatten()
        .any(|file| fs::read_link(file.path()).is_ok_and(|file| file == run.join("lock")))
}

#[tokio::test]
async fn a_stopped_stack_leaves_nothing() -> Result<()> {
    let stack = Stack::start().await?;
    let run = stack.run_dir().to_owned();
    let id = stack.id().to_owned();
    let servers = listed_processes(&run)?;
    let mut program = Command::new("sleep").arg("600").spawn()?;
    let _guard = stack.guard_process(program.id());
    let folder = run.with_extension("folder");
    fs::create_dir(&folder)?;
    let _folder_guard = stack.guard_directory(folder.clone());
    stack.stop().await?;
    ensure!(!run.exists() && !folder.exists(), "the folders are there");
    ensure!(servers.iter().all(|&pid| !is_running(pid)), "a server runs");
    ensure!(
        program.wait()?.signal() == Some(15),
        "the guarded program was asked to end"
    );
    ensure!(containers(&id)?.is_empty(), "a container is there");
    Ok(())
}

#[tokio::test]
async fn a_forgotten_guard_leaves_its_process_alone() -> Result<()> {
    let stack = Stack::start_with(ProviderChoice::Native).await?;
    let mut program = Command::new("sleep").arg("600").spawn()?;
    drop(stack.guard_process(program.id()));
    stack.stop().await?;
    ensure!(
        program.try_wait()?.is_none(),
        "it was not the stack's to end any more"
    );
    program.kill()?;
    program.wait()?;
    Ok(())
}

#[tokio::test]
async fn what_a_dead_run_left_is_swept() -> Result<()> {
    // A run whose owner and guardian both died: a folder, an unlocked lock, a process.
    let live = Stack::start_with(ProviderChoice::Native).await?;
    let root = live
        .run_dir()
        .parent()
        .context("runs have a root")?
        .to_owned();
    let dead = root.join("0123456789ab");
    fs::create_dir_all(&dead)?;
    fs::write(dead.join("lock"), "")?;
    fs::write(dead.join("servers"), "")?;
    let mut listed = Command::new("sleep").arg("600").spawn()?;
    let mut marked = Command::new("sleep")
        .arg("600")
        .env("HARNESS_RUN_ID", "0123456789ab")
        .spawn()?;
    let mut other = Command::new("sleep").arg("600").spawn()?;
    let stat = fs::read_to_string(format!("/proc/{}/stat", listed.id())).unwrap_or_default();
    let start = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.split(' ').nth(19));
    let lines = [
        format!("{} {} TERM", listed.id(), start.unwrap_or("-")),
        // The pid of the list came to belong to somebody else.
        format!("{} 1 TERM", other.id()),
    ];
    fs::write(dead.join("pids"), lines.join("\n") + "\n")?;

    // Not by `down`, which would also end the `up` of a neighbour, or of the person who runs the tests.
    harness::sweep_all().await?;
    ensure!(!dead.exists(), "the dead run's folder is there");
    ensure!(
        listed.wait()?.signal() == Some(15),
        "the listed process was asked to end"
    );
    if Path::new("/proc/self/environ").exists() {
        ensure!(
            marked.wait()?.signal() == Some(9),
            "the marked process was killed"
        );
        ensure!(other.try_wait()?.is_none(), "an innocent process was ended");
    }
    for child in [&mut marked, &mut other] {
        child.kill().ok();
        child.wait()?;
    }
    ensure!(live.run_dir().exists(), "a live run was swept");
    live.stop().await?;
    Ok(())
}

#[test]
fn an_unknown_provider_is_refused_by_name() -> Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .arg("up")
        .env("HARNESS_PROVIDER", "podman")
        .output()?;
    ensure!(output.status.code() == Some(2), "{}", output.status);
    let message = String::from_utf8(output.stderr)?;
    ensure!(
        message.contains("podman") && message.contains("auto, docker or native"),
        "{message}"
    );
    Ok(())
}

#[test]
fn a_dead_docker_engine_is_an_error_only_when_asked_for() -> Result<()> {
    let folder = std::env::temp_dir();
    let nobody = format!("unix://{}/nobody-listens-here.sock", folder.display());
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["up", "--provider", "docker"])
        .env("DOCKER_HOST", &nobody)
        .output()?;
    ensure!(output.status.code() == Some(2), "{}", output.status);
    let message = String::from_utf8(output.stderr)?;
    ensure!(message.contains("HARNESS_PROVIDER=native"), "{message}");

    let mut child = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["up", "--free-ports", "--no-env-file", "--provider", "auto"])
        .env("DOCKER_HOST", &nobody)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().context("the output is a pipe")?;
    let reason = BufReader::new(output)
        .lines()
        .map_while(Result::ok)
        .find(|line| line.starts_with("# native") || line.starts_with("# docker"));
    child.kill()?;
    child.wait()?;
    let reason = reason.context("it names the provider")?;
    ensure!(
        reason.starts_with("# native: Docker cannot serve"),
        "{reason}"
    );
    Ok(())
}

#[test]
fn a_missing_server_program_is_named_with_its_remedy() -> Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["up", "--provider", "native"])
        .env("HARNESS_REDIS_SERVER", "/nowhere/redis-server")
        .output()?;
    ensure!(output.status.code() == Some(2), "{}", output.status);
    let message = String::from_utf8(output.stderr)?;
    ensure!(
        message.contains("HARNESS_REDIS_SERVER=/nowhere/redis-server"),
        "{message}"
    );
    Ok(())
}
