//! One stack for all processes of a run: found through a file, alive while any of them lives.
//!
//! ```text
//! <temp>/h2o-allegiant-harness-<uid>/
//!   shared-<key>    holds the id of the run that serves; locked by whoever looks or starts
//!   <run id>/
//!     stack.json    where the services are; gone as soon as the stack is ending
//!     users         a named pipe: every user holds its writing end, the guardian its reading end
//! ```
//! No process owns the services. Whoever comes first starts them, and may be killed the next
//! moment: the kernel closes its end of the pipe, and the guardian notices only when the last end
//! is closed. A key stands for everything that makes two stacks different, the checkout included.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cleanup::{CleanupError, Guardian, SCRIPT};
use crate::provider::{Provider, ProviderChoice};
use crate::run_directory::{self, RunDirectory};
use crate::s3::S3Access;

const RECORD: &str = "stack.json";
const USERS: &str = "users";

/// Variables that decide which servers a stack consists of.
const DECIDING: [&str; 8] = [
    "DOCKER_HOST",
    "HARNESS_BASE_IMAGE",
    "HARNESS_IGNORE_SYSTEM",
    "HARNESS_LOCALSTACK_IMAGE",
    "HARNESS_POSTGRES_BIN_DIR",
    "HARNESS_POSTGRES_IMAGE",
    "HARNESS_REDIS_IMAGE",
    "HARNESS_REDIS_SERVER",
];

/// How a process that did not start the services reaches them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) provider: Provider,
    /// Why this provider was taken, in one line.
    pub(crate) reason: String,
    pub(crate) postgres_port: u16,
    pub(crate) redis_port: u16,
    /// Redis's own password, from which those of the sandboxes are derived.
    pub(crate) secret: String,
    /// `None` when every process serves its own.
    pub(crate) s3: Option<S3Access>,
    pub(crate) s3_name: String,
}

/// The right to look for a shared stack or to start one; others wait meanwhile.
#[derive(Debug)]
pub(crate) struct Turn {
    root: PathBuf,
    pointer: PathBuf,
    _lock: File,
}

/// Keeps a shared stack alive, for as long as this value or this process lives.
#[derive(Debug)]
pub(crate) struct Membership {
    _users: File,
    _lock: File,
}

impl Turn {
    /// Waits until nobody else looks or starts. Blocks.
    pub(crate) fn take(choice: ProviderChoice) -> io::Result<Turn> {
        let root = run_directory::root()?;
        let pointer = root.join(format!("shared-{}", key(choice)));
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&pointer)?;
        lock.lock()?;
        Ok(Turn {
            root,
            pointer,
            _lock: lock,
        })
    }

    /// Joins the stack that serves, if there is one.
    pub(crate) fn join(&self) -> Option<(Record, Membership)> {
        let id = fs::read_to_string(&self.pointer).ok()?;
        if !run_directory::is_run_id(&id) {
            return None;
        }
        let joined = join(&self.root.join(id));
        if let Err(error) = &joined {
            tracing::debug!(%error, "the last shared stack is gone");
        }
        joined.ok()
    }

    /// Names the stack that serves from now on.
    pub(crate) fn publish(&self, run: &RunDirectory, record: &Record) -> io::Result<()> {
        let json = serde_json::to_vec_pretty(record)?;
        let mut file = File::options()
            .create_new(true)
            .write(true)
            // It holds passwords.
            .mode(0o600)
            .open(run.path().join(RECORD))?;
        file.write_all(&json)?;
        fs::write(&self.pointer, run.id())
    }
}

fn join(run: &Path) -> io::Result<(Record, Membership)> {
    let lock = File::open(run.join("lock"))?;
    // A sweep that holds it has declared the run dead.
    lock.try_lock_shared()?;
    // Fails when the guardian, who reads, is gone.
    let mut users = open_pipe(&run.join(USERS), OFlags::WRONLY)?;
    users.write_all(b"\n")?;
    // The guardian takes the record away before it looks for the last such line.
    let record = serde_json::from_slice(&fs::read(run.join(RECORD))?)?;
    Ok((
        record,
        Membership {
            _users: users,
            _lock: lock,
        },
    ))
}

/// Makes this process the first user of a run and starts the guardian that waits for the last.
pub(crate) fn found(run: &RunDirectory) -> Result<Membership, CleanupError> {
    let (ours, theirs, lock) = make_pipe(run).map_err(CleanupError::RunFolder)?;
    Guardian::start_shared(run, theirs)?;
    Ok(Membership {
        _users: ours,
        _lock: lock,
    })
}

/// The user's end, the guardian's end, and the run's lock.
fn make_pipe(run: &RunDirectory) -> io::Result<(File, File, File)> {
    let path = run.path().join(USERS);
    let status = Command::new("mkfifo")
        .args(["-m", "600"])
        .arg(&path)
        .status()?;
    if !status.success() {
        return Err(io::Error::other(format!(
            "mkfifo {}: {status}",
            path.display()
        )));
    }
    // In this order neither waits for the other.
    let theirs = open_pipe(&path, OFlags::RDONLY)?;
    let mut ours = open_pipe(&path, OFlags::WRONLY)?;
    ours.write_all(b"\n")?;
    // The shell's reading has to block.
    rustix::fs::fcntl_setfl(&theirs, OFlags::empty())?;
    Ok((ours, theirs, run.share_lock()?))
}

/// Opens one end without waiting for the other.
fn open_pipe(path: &Path, end: OFlags) -> io::Result<File> {
    let flags = end | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

fn key(choice: ProviderChoice) -> String {
    let mut hash = Sha256::new();
    // The checkout and what governs the servers' life: another version has a stack of its own.
    for part in [env!("CARGO_MANIFEST_DIR"), SCRIPT, &format!("{choice:?}")] {
        hash.update(part);
        hash.update([0]);
    }
    for setting in crate::postgres::SETTINGS {
        hash.update(setting);
    }
    for variable in DECIDING {
        hash.update(env::var(variable).unwrap_or_default());
        hash.update([0]);
    }
    let mut key = hex::encode(hash.finalize());
    key.truncate(12);
    key
}
