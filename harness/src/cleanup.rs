//! Leaving nothing behind: the guardian that outlives its owner, and the sweep of dead runs.
//!
//! Both run the same script, `cleanup.sh`. The guardian waits until the pipe from its owner ends,
//! which the kernel does on every kind of death; the sweep gives it an empty input.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use crate::background::{blocking, in_background};
use crate::binaries::wheel;
use crate::development;
use crate::engine::Engine;
use crate::memory;
use crate::poll::{self, Progress};
use crate::run_directory::{self, RunDirectory};

pub(crate) const SCRIPT: &str = include_str!("cleanup.sh");

/// How long a shared stack waits for a next process. The test programs of one `cargo test` follow
/// each other, some of them without using the stack.
pub(crate) const LINGER: Duration = Duration::from_secs(5);

/// Why cleaning up failed.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// The folder of the runs cannot be read or created.
    #[error("use the folder of the runs below {} (set TMPDIR to another one)", std::env::temp_dir().display())]
    RunFolder(#[source] io::Error),
    /// `sh` cannot be started.
    #[error("start the clean-up script with sh")]
    Shell(#[source] io::Error),
    /// A database in memory.
    #[error("remove the databases of dead runs from {}", memory::MEMORY)]
    Memory(#[source] io::Error),
    /// The engine refuses to remove a container.
    #[error("remove the containers of dead runs")]
    Containers(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The state of the stack for development.
    #[error("delete the kept state")]
    State(#[source] io::Error),
    /// The script could not remove everything.
    #[error("remove what run {id} left: {} is still there", path.display())]
    Remains {
        /// The run's id.
        id: String,
        /// Its folder.
        path: PathBuf,
    },
}

/// A run that was swept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The run's id.
    pub id: String,
    /// The folder that was removed.
    pub path: PathBuf,
}

/// What a sweep of everything has removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// Runs with all they had started.
    pub runs: Vec<Removed>,
    /// Servers whose run had gone before.
    pub servers: Vec<u32>,
    /// Ids of containers whose run had gone before.
    pub containers: Vec<String>,
}

/// Removes everything that dead runs of this user have left, in folders and in the Docker engine.
///
/// # Errors
/// When something cannot be removed. An engine that does not answer has nothing to remove.
pub async fn sweep_all() -> Result<Swept, CleanupError> {
    in_background(async {
        let mut swept = blocking(sweep).await?;
        swept.containers = match Engine::connect().await {
            Ok(engine) => engine
                .remove_orphans()
                .await
                .map_err(|error| CleanupError::Containers(Box::new(error)))?,
            Err(_) => Vec::new(),
        };
        Ok(swept)
    })
    .await
}

/// Ends every running `harness up` of this user, and waits until all of it is gone.
///
/// # Errors
/// When one does not end.
pub async fn end_development() -> Result<Vec<Removed>, CleanupError> {
    let mut ended = Vec::new();
    for (pid, path) in run_directory::development_owners().map_err(CleanupError::RunFolder)? {
        let mut kill = Command::new("kill");
        kill.args(["-s", "TERM", &pid.to_string()]);
        kill.status().map_err(CleanupError::Shell)?;
        let id = path.file_name().unwrap_or_default();
        let id = id.to_string_lossy().into_owned();
        let gone = poll::until("the stack to end", Duration::from_secs(30), || async {
            if path.exists() {
                Progress::NotYet(format!("{} is there", path.display()))
            } else {
                Progress::Ready(())
            }
        });
        if gone.await.is_err() {
            return Err(CleanupError::Remains { id, path });
        }
        ended.push(Removed { id, path });
    }
    Ok(ended)
}

/// Deletes what `harness up --keep` has kept, in a folder and in volumes, and names it.
///
/// # Errors
/// When it is in use or cannot be deleted.
pub async fn forget_state() -> Result<Vec<String>, CleanupError> {
    in_background(async {
        let mut forgotten = Vec::new();
        let folder = development::forget_state().map_err(CleanupError::State)?;
        forgotten.extend(folder.map(|folder| folder.display().to_string()));
        if let Ok(engine) = Engine::connect().await {
            for volume in development::VOLUMES {
                let removed = engine.remove_volume(volume).await;
                let removed = removed.map_err(|error| CleanupError::Containers(Box::new(error)))?;
                forgotten.extend(removed.then(|| format!("volume {volume}")));
            }
        }
        Ok(forgotten)
    })
    .await
}

/// Removes the processes, containers and folders of all runs whose owner is dead.
///
/// Safe while other harnesses start, run and sweep. Blocks for as long as servers need to end
/// (at most some seconds).
///
/// # Errors
/// When the folder of the runs cannot be read, `sh` is missing, or something cannot be removed.
pub(crate) fn sweep() -> Result<Swept, CleanupError> {
    let mut runs = Vec::new();
    let mut remains = None;
    for dead in run_directory::dead_runs().map_err(CleanupError::RunFolder)? {
        let status = script(&dead.path, &dead.id)
            .stdin(Stdio::null())
            .status()
            .map_err(CleanupError::Shell)?;
        if status.success() {
            runs.push(Removed {
                id: dead.id.clone(),
                path: dead.path.clone(),
            });
        } else {
            remains = Some(CleanupError::Remains {
                id: dead.id.clone(),
                path: dead.path.clone(),
            });
        }
    }
    wheel::remove_unfinished();
    for folder in memory::remove_orphans().map_err(CleanupError::Memory)? {
        tracing::info!(folder = %folder.display(), "removed a database whose run is gone");
    }
    let mut servers = Vec::new();
    let root = run_directory::root().map_err(CleanupError::RunFolder)?;
    for (pid, run) in orphaned_servers(&root) {
        tracing::info!(pid, run = %run.display(), "ending a server whose run is gone");
        let mut kill = Command::new("kill");
        kill.args(["-s", "KILL", &pid.to_string()]);
        kill.status().map_err(CleanupError::Shell)?;
        servers.push(pid);
    }
    let swept = Swept {
        runs,
        servers,
        containers: Vec::new(),
    };
    remains.map_or(Ok(swept), Err)
}

/// Servers that work in the removed folder of a run: started at the very moment their owner died.
/// Needs `/proc`; finds nothing elsewhere.
fn orphaned_servers(root: &Path) -> Vec<(u32, PathBuf)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok()?;
            let program = fs::read_link(process.path().join("exe")).ok()?;
            if !matches!(program.file_name()?.to_str()?, "postgres" | "redis-server") {
                return None;
            }
            // The kernel appends " (deleted)" to the name of a folder that is gone.
            let folder = fs::read_link(process.path().join("cwd")).ok()?;
            let run = folder.strip_prefix(root).ok()?.components().next()?;
            let run = run.as_os_str().to_str()?;
            let run = run.strip_suffix(" (deleted)").unwrap_or(run);
            let folder = root.join(run);
            (run_directory::is_run_id(run) && !folder.exists()).then_some((pid, folder))
        })
        .collect()
}

/// The child process that cleans up when this process ends.
#[derive(Debug)]
pub(crate) struct Guardian {
    child: Child,
    /// Nobody ever writes: its end is the message. The standard library opens pipes close-on-exec,
    /// so no other child inherits it and keeps the guardian waiting.
    alive: Option<ChildStdin>,
    run: PathBuf,
    id: String,
}

impl Guardian {
    pub(crate) fn start(run: &RunDirectory) -> Result<Guardian, CleanupError> {
        let mut child = script(run.path(), run.id())
            .stdin(Stdio::piped())
            .spawn()
            .map_err(CleanupError::Shell)?;
        let alive = child.stdin.take();
        Ok(Guardian {
            child,
            alive,
            run: run.path().to_owned(),
            id: run.id().to_owned(),
        })
    }

    /// Starts the guardian of a stack that processes share. It waits for the end of the pipe
    /// `users`, whose other end they hold, lingers for one more of them, and holds the run's lock
    /// meanwhile: nobody sweeps a run that a next process may still want.
    pub(crate) fn start_shared(run: &RunDirectory, users: File) -> Result<(), CleanupError> {
        let lock = run.share_lock().map_err(CleanupError::RunFolder)?;
        script(run.path(), run.id())
            .arg((LINGER.as_millis() / 100).to_string())
            .stdin(users)
            // Inheriting it is holding it.
            .stdout(lock)
            .spawn()
            .map(drop)
            .map_err(CleanupError::Shell)
    }

    /// Orders the clean-up and waits until it is done.
    pub(crate) fn finish(mut self) -> Result<(), CleanupError> {
        drop(self.alive.take());
        let status = self.child.wait().map_err(CleanupError::Shell)?;
        if status.success() {
            Ok(())
        } else {
            Err(CleanupError::Remains {
                id: self.id.clone(),
                path: self.run.clone(),
            })
        }
    }
}

fn script(run: &Path, id: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", SCRIPT, "h2o-allegiant-harness-cleanup"])
        .arg(run)
        .arg(id)
        // Its own group: the terminal's Ctrl-C is not for it. No inherited output: a pipe of the
        // owner's would never end while the guardian holds it.
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

impl Drop for Guardian {
    /// Orders the clean-up without waiting for it.
    fn drop(&mut self) {
        drop(self.alive.take());
    }
}
