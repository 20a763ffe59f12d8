//! The backend as its own process, under the vCPU and memory of the cell that measures it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use harness::poll::{self, Progress};
use harness::{ContainerImage, ContainerProcess, ContainerSpec, ProcessGuard, Provider, Stack};

use crate::cgroup::{Cgroup, CpuMeter};
use crate::measurement::VcpuLimit;

/// How long the backend may take until it listens: a quarter of a vCPU starts it slowly.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to end after SIGTERM before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// The number of the signal that nobody can ignore.
const SIGKILL: u8 = 9;

/// Why the backend could not be built or started.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// cargo is not there, or the build failed.
    #[error("build the backend ({command}): {detail}")]
    Build {
        /// The command that was run.
        command: String,
        /// What happened.
        detail: String,
    },
    /// The binary that was asked for does not exist.
    #[error("find the backend binary {path}: build it with `{}`", build_command())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The process could not be started.
    #[error("start {path}: {detail}")]
    Spawn {
        /// The binary.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// It started, but never said where it listens.
    #[error(
        "get the backend to listen within {START_TIMEOUT:?}; the end of its log {log}:\n{tail}"
    )]
    NotListening {
        /// Its log file.
        log: PathBuf,
        /// The last lines in it.
        tail: String,
    },
}

/// What a backend is started with.
#[derive(Debug)]
pub struct BackendSpec<'a> {
    /// The binary.
    pub binary: &'a Path,
    /// vCPU it gets.
    pub vcpu: f64,
    /// Memory it gets, in MiB.
    pub memory_mib: u64,
    /// Its whole configuration.
    pub environment: Vec<(String, String)>,
    /// Name of the run's files and groups; unique within the stack.
    pub name: String,
}

enum Running {
    Container(ContainerProcess),
    Native {
        child: tokio::process::Child,
        _guard: ProcessGuard,
        cgroup: Option<OwnCgroup>,
    },
}

struct OwnCgroup {
    group: Option<Cgroup>,
    // Should this process be killed, the reaper removes the group's directories.
    guards: Vec<harness::DirectoryGuard>,
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        let directories: Vec<_> = self
            .group
            .iter()
            .flat_map(Cgroup::directories)
            .cloned()
            .collect();
        // Removes the directories, unless a killed process is still on its way out of them.
        self.group = None;
        if directories.iter().any(|directory| directory.exists()) {
            // Then they stay on the reaper's list: it tries again after the last process.
            self.guards.drain(..).for_each(std::mem::forget);
        }
    }
}

/// A running backend.
#[expect(
    missing_debug_implementations,
    reason = "child processes say nothing worth printing"
)]
pub struct BackendProcess {
    running: Running,
    pid: u32,
    base_url: String,
    limit: VcpuLimit,
}

impl BackendProcess {
    /// Starts the backend and waits until it listens.
    ///
    /// # Errors
    /// When the process cannot be started or never listens.
    pub async fn start(stack: &Stack, spec: &BackendSpec<'_>) -> Result<Self, BackendError> {
        Self::start_program(stack, spec, &["serve"], None).await
    }

    /// Starts another program in the backend's place: `spec.binary` with `arguments`, which tells its
    /// address in the same line of its log. On Docker, `image` is the one that brings the program along.
    ///
    /// # Errors
    /// When the process cannot be started or never listens.
    pub async fn start_program(
        stack: &Stack,
        spec: &BackendSpec<'_>,
        arguments: &[&str],
        image: Option<ContainerImage>,
    ) -> Result<Self, BackendError> {
        let log = stack.run_dir().join(format!("{}.log", spec.name));
        let spawn_error = |detail: String| BackendError::Spawn {
            path: spec.binary.to_owned(),
            detail,
        };
        let (running, pid, limit) = match stack.provider() {
            Provider::Docker => {
                let container = stack
                    .run_in_container(ContainerSpec {
                        program: spec.binary.to_owned(),
                        image,
                        arguments: arguments.iter().map(|&one| one.to_owned()).collect(),
                        environment: spec.environment.clone(),
                        cpus: Some(spec.vcpu),
                        memory_mib: Some(spec.memory_mib),
                        log_file: log.clone(),
                    })
                    .await
                    .map_err(|error| spawn_error(chain(&error)))?;
                let pid = container.host_pid();
                (Running::Container(container), pid, VcpuLimit::Container)
            }
            Provider::Native => start_native(stack, spec, arguments, &log)
                .map_err(|error| spawn_error(error.to_string()))?,
        };
        let mut backend = Self {
            running,
            pid,
            base_url: String::new(),
            limit,
        };
        backend.base_url = backend.wait_until_listening(&log).await?;
        Ok(backend)
    }

    /// Where the backend listens, as `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Its process id on this machine.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What enforces its vCPU.
    pub fn limit(&self) -> VcpuLimit {
        self.limit
    }

    /// A meter of its CPU time, children included.
    pub fn cpu_meter(&self) -> CpuMeter {
        CpuMeter::new(self.pid, self.limit != VcpuLimit::Modelled)
    }

    /// Ends the backend: SIGTERM, and SIGKILL when it does not obey. Says whether it did.
    pub async fn stop(self) -> bool {
        match self.running {
            Running::Container(container) => match container.stop(STOP_TIMEOUT).await {
                Ok(status) => status.exit_code != i64::from(128 + SIGKILL),
                // A container that resists is removed with the run.
                Err(error) => {
                    tracing::debug!(error = chain(&error), "container not stopped");
                    false
                }
            },
            Running::Native {
                mut child,
                cgroup,
                _guard,
            } => {
                // The group's directories go after its last process, so it is dropped last.
                send("-TERM", self.pid).await;
                let ended = tokio::time::timeout(STOP_TIMEOUT, child.wait()).await;
                if ended.is_err() {
                    let _ = child.kill().await;
                }
                drop(cgroup);
                ended.is_ok()
            }
        }
    }

    /// Ends the backend by SIGKILL, as a crash does, and waits until it is gone.
    pub async fn kill(self) {
        send("-KILL", self.pid).await;
        match self.running {
            Running::Container(container) => {
                // It has ended: what is left is to remove it.
                if let Err(error) = container.stop(Duration::ZERO).await {
                    tracing::debug!(error = chain(&error), "container not removed");
                }
            }
            Running::Native {
                mut child,
                cgroup,
                _guard,
            } => {
                let _ = child.kill().await;
                drop(cgroup);
            }
        }
    }

    /// Freezes it, and waits until every thread stands still: under load the others run on until one of them
    /// has taken the signal.
    pub async fn freeze(&self) {
        send("-STOP", self.pid).await;
        let frozen = poll::until("the backend to stand still", STOP_TIMEOUT, || {
            std::future::ready(if stands_still(self.pid) {
                Progress::Ready(())
            } else {
                Progress::NotYet("a thread runs".to_owned())
            })
        });
        if let Err(error) = frozen.await {
            tracing::debug!(%error, "not frozen as a whole");
        }
    }

    /// Lets it go on.
    pub async fn thaw(&self) {
        send("-CONT", self.pid).await;
    }

    async fn wait_until_listening(&mut self, log: &Path) -> Result<String, BackendError> {
        let listening = poll::until("the backend to listen", START_TIMEOUT, || {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let progress = match listening_address(&text) {
                Some(address) => Progress::Ready(address),
                None if self.has_ended() => Progress::Failed("it has ended".to_owned()),
                None => Progress::NotYet("no address in its log".to_owned()),
            };
            std::future::ready(progress)
        })
        .await;
        listening
            .map(|address| format!("http://{address}"))
            .map_err(|_| {
                let text = std::fs::read_to_string(log).unwrap_or_default();
                let lines: Vec<_> = text.lines().rev().take(8).collect();
                let tail = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
                BackendError::NotListening {
                    log: log.to_owned(),
                    tail,
                }
            })
    }

    fn has_ended(&mut self) -> bool {
        match &mut self.running {
            // The engine was asked once, at the start; a log that says nothing ends the wait.
            Running::Container(_) => false,
            Running::Native { child, .. } => matches!(child.try_wait(), Ok(Some(_))),
        }
    }
}

fn start_native(
    stack: &Stack,
    spec: &BackendSpec<'_>,
    arguments: &[&str],
    log: &Path,
) -> std::io::Result<(Running, u32, VcpuLimit)> {
    let output = std::fs::File::create(log)?;
    let child = tokio::process::Command::new(spec.binary)
        .args(arguments)
        .env_clear()
        .envs(spec.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        // A Ctrl-C in the terminal goes to this program, which then ends the backend itself.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let pid = child
        .id()
        .ok_or_else(|| std::io::Error::other("the process ended at once"))?;
    let guard = stack.guard_process(pid);
    let cgroup = limit(stack, spec, pid);
    let limit = if cgroup.is_some() {
        VcpuLimit::Cgroup
    } else {
        VcpuLimit::Modelled
    };
    Ok((
        Running::Native {
            child,
            _guard: guard,
            cgroup,
        },
        pid,
        limit,
    ))
}

/// A group with the cell's quota around `pid`; `None` where this user may not make one.
fn limit(stack: &Stack, spec: &BackendSpec<'_>, pid: u32) -> Option<OwnCgroup> {
    let name = format!("h2o-allegiant-{}-{}", stack.id(), spec.name);
    let group = Cgroup::create(&name, spec.vcpu, spec.memory_mib)
        .inspect_err(|error| tracing::debug!(%error, "no control group"))
        .ok()?;
    let guards = group
        .directories()
        .iter()
        .map(|directory| stack.guard_directory(directory.clone()))
        .collect();
    group
        .add(pid)
        .inspect_err(|error| tracing::debug!(%error, "control group refused the process"))
        .ok()?;
    Some(OwnCgroup {
        group: Some(group),
        guards,
    })
}

/// The address in the backend's line `{"message":"listening","address":"127.0.0.1:PORT"}`.
fn listening_address(log: &str) -> Option<String> {
    log.lines()
        .filter(|line| line.contains("\"listening\""))
        .find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            let fields = line.get("fields").unwrap_or(&line);
            (fields.get("message")?.as_str()? == "listening")
                .then(|| fields.get("address")?.as_str().map(str::to_owned))?
        })
}

/// Whether every thread of a process is stopped; one that is gone runs nothing.
fn stands_still(pid: u32) -> bool {
    let process = i32::try_from(pid)
        .ok()
        .and_then(|pid| procfs::process::Process::new(pid).ok());
    let Some(threads) = process.and_then(|process| process.tasks().ok()) else {
        return true;
    };
    threads
        .flatten()
        .filter_map(|thread| thread.stat().ok())
        .all(|stat| matches!(stat.state, 'T' | 'Z' | 'X'))
}

/// Sends a signal through the `kill` command: the standard library can only kill.
async fn send(signal: &str, pid: u32) {
    let _ = tokio::process::Command::new("kill")
        .args([signal, &pid.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await;
}

/// An error with everything that caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The profile that this program was built in, and the backend will be; `Cargo.toml` says what each is for.
fn profile() -> &'static str {
    // The folder that the program lies in, and no other: a checkout may lie below one of that name.
    let is_release = || {
        std::env::current_exe().is_ok_and(|path| {
            path.parent()
                .is_some_and(|folder| folder.ends_with("release"))
        })
    };
    // `Cargo.toml` gives this crate assertions in the profile `test` alone.
    if cfg!(debug_assertions) {
        "test"
    } else if is_release() {
        "release"
    } else {
        "dev"
    }
}

/// How the backend is built, for messages.
pub fn build_command() -> String {
    format!("cargo build --profile {} --package backend", profile())
}

/// Builds the backend's binary with the cargo that runs this program, in the same profile, and returns its path.
///
/// # Errors
/// When cargo cannot be run or the build fails; cargo's own messages go to the terminal.
pub async fn build(workspace: &Path) -> Result<PathBuf, BackendError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let command = build_command();
    let output = tokio::process::Command::new(&cargo)
        // This package too: the same selection resolves to the same features, so nothing that this
        // program was built from is built again.
        .args([
            "build",
            "--profile",
            profile(),
            "--package",
            "backend",
            "--package",
            "loadtests",
        ])
        .args([
            "--bin",
            "allegiant-backend",
            "--message-format",
            "json-render-diagnostics",
        ])
        .current_dir(workspace)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .map_err(|error| BackendError::Build {
            command: command.clone(),
            detail: error.to_string(),
        })?;
    if !output.status.success() {
        let detail = format!("cargo ended with {}; its messages are above", output.status);
        return Err(BackendError::Build { command, detail });
    }
    let executable = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "allegiant-backend")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| BackendError::Build {
            command: command.clone(),
            detail: "cargo named no executable".to_owned(),
        })?;
    named_by_profile(&executable).map_err(|error| BackendError::Build {
        command,
        detail: format!("link {}: {error}", executable.display()),
    })
}

/// A name beside cargo's for what cargo built: the profiles `dev` and `test` share cargo's, so that tests
/// started while a measurement runs would change the binary under it.
fn named_by_profile(executable: &Path) -> std::io::Result<PathBuf> {
    let name = executable.with_file_name(format!("allegiant-backend-{}", profile()));
    let folder = executable.parent().unwrap_or(Path::new("."));
    let own = tempfile::TempDir::new_in(folder)?;
    let link = own.path().join("allegiant-backend");
    std::fs::hard_link(executable, &link)?;
    std::fs::rename(&link, &name)?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_found_among_other_lines() {
        let log = concat!(
            "{\"level\":\"INFO\",\"fields\":{\"message\":\"migrated\"}}\n",
            "no json\n",
            "{\"level\":\"INFO\",\"fields\":{\"message\":\"listening\",\"address\":\"127.0.0.1:4711\"}}\n",
        );
        assert_eq!(listening_address(log), Some("127.0.0.1:4711".to_owned()));
        let flat = "{\"message\":\"listening\",\"address\":\"127.0.0.1:4712\"}";
        assert_eq!(listening_address(flat), Some("127.0.0.1:4712".to_owned()));
        assert_eq!(listening_address("{\"message\":\"starting\"}"), None);
    }
}
