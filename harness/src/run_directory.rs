//! The scratch folder of one run: proof that its owner lives, and the list of what it started.
//!
//! ```text
//! <temp>/h2o-allegiant-harness-<uid>/
//!   lock            held for the instant in which a run appears or is declared dead
//!   <run id>/
//!     lock          held by the owner; the kernel releases it when the owner dies
//!     pids          one line per process: pid, start time, first signal
//!     directories   one path per line, removed with rmdir (cgroups)
//!     unfinished    one path per line, of what is being unpacked into the cache; removed with its content
//!     environment   names a file to remove, where it carries the run's id (`harness up`)
//!     servers       there when servers were started, containers likewise
//!     logs/         output of everything that was started
//! ```
//! The run of a stack that several processes share is locked by each of them and by its guardian:
//! such locks are shared, and the run is dead when none is left (`shared.rs`).
//!
//! The folders are traversable by everybody because Postgres runs as another user than root.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// First part of the name of the folder that holds all runs of one user.
const ROOT_PREFIX: &str = "h2o-allegiant-harness";

/// What a process is asked with before it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstSignal {
    /// Ends any well-behaved program.
    Term,
    /// Postgres: "fast shutdown", which does not wait for its clients as TERM does.
    Int,
}

impl FirstSignal {
    fn name(self) -> &'static str {
        match self {
            FirstSignal::Term => "TERM",
            FirstSignal::Int => "INT",
        }
    }
}

/// The folder of one live run. Its lock is held as long as this value lives.
#[derive(Debug)]
pub(crate) struct RunDirectory {
    id: String,
    path: PathBuf,
    processes: Arc<Registry>,
    directories: Arc<Registry>,
    unfinished: Arc<Registry>,
    lock: File,
}

/// Who may hold a run's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// The process that created it.
    Alone,
    /// Every process that uses it.
    Shared,
}

impl RunDirectory {
    /// Creates the folder of a new run and takes its lock.
    pub(crate) fn create(ownership: Ownership) -> io::Result<RunDirectory> {
        let root = root()?;
        let mut id = uuid::Uuid::new_v4().simple().to_string();
        id.truncate(12);
        let path = root.join(&id);
        // Without the root's lock a sweep could take a newborn, not yet locked run for a dead one.
        let appearing = lock_root(&root)?;
        create_traversable(&path)?;
        let made = || {
            let lock = File::create(path.join("lock"))?;
            match ownership {
                Ownership::Alone => lock.lock()?,
                Ownership::Shared => lock.lock_shared()?,
            }
            create_traversable(&path.join("logs"))?;
            Ok(lock)
        };
        let lock = made().inspect_err(|_: &io::Error| {
            fs::remove_dir_all(&path).ok();
        })?;
        drop(appearing);
        Ok(RunDirectory {
            processes: Arc::new(Registry::new(path.join("pids"))),
            directories: Arc::new(Registry::new(path.join("directories"))),
            unfinished: Arc::new(Registry::new(path.join("unfinished"))),
            id,
            path,
            lock,
        })
    }

    /// The same lock for somebody who inherits it: it is held until both have let go.
    pub(crate) fn share_lock(&self) -> io::Result<File> {
        self.lock.try_clone()
    }

    /// Leaves an empty file that tells the clean-up what to look for.
    pub(crate) fn mark(&self, name: &str) -> io::Result<()> {
        File::create(self.path.join(name)).map(drop)
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn log_file(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{name}.log"))
    }

    pub(crate) fn guard_process(&self, pid: u32, signal: FirstSignal) -> ProcessGuard {
        let line = format!("{pid} {} {}", start_time(pid), signal.name());
        ProcessGuard {
            _entry: self.processes.add(line),
        }
    }

    /// Puts a folder of [`crate::binaries::wheel`] on the list of what is removed with its content.
    pub(crate) fn guard_unfinished(&self, path: &Path) -> DirectoryGuard {
        DirectoryGuard {
            _entry: self.unfinished.add(path.display().to_string()),
        }
    }

    pub(crate) fn guard_directory(&self, path: &Path) -> DirectoryGuard {
        DirectoryGuard {
            _entry: self.directories.add(path.display().to_string()),
        }
    }
}

/// Keeps a process on the list of what dies with its owner; dropping it takes the process off.
#[derive(Debug)]
#[must_use = "the process is forgotten when the guard is dropped"]
pub struct ProcessGuard {
    _entry: Entry,
}

impl ProcessGuard {
    /// Leaves the process on the list for the rest of the run. Should it end earlier, its start
    /// time tells it from a later process with its number.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

/// Keeps a folder on the list of what is removed; dropping it takes the folder off.
#[derive(Debug)]
#[must_use = "the folder is forgotten when the guard is dropped"]
pub struct DirectoryGuard {
    _entry: Entry,
}

#[derive(Debug)]
struct Entry {
    registry: Arc<Registry>,
    line: String,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut lines = self
            .registry
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = lines.iter().position(|line| *line == self.line) {
            lines.remove(at);
        }
        self.registry.write(&lines);
    }
}

/// A list in memory and the file that the guardian reads when the owner is gone.
#[derive(Debug)]
struct Registry {
    file: PathBuf,
    lines: Mutex<Vec<String>>,
}

impl Registry {
    fn new(file: PathBuf) -> Registry {
        Registry {
            file,
            lines: Mutex::default(),
        }
    }

    fn add(self: &Arc<Registry>, line: String) -> Entry {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line.clone());
        self.write(&lines);
        Entry {
            registry: Arc::clone(self),
            line,
        }
    }

    /// Replaces the file as a whole, so that a reader never meets half a line.
    fn write(&self, lines: &[String]) {
        let mut text = lines.join("\n");
        text.push('\n');
        let new = self.file.with_extension("new");
        if let Err(error) = fs::write(&new, text).and_then(|()| fs::rename(&new, &self.file)) {
            // The folder is gone when a guard outlives its stack: then there is nothing to list.
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(file = %self.file.display(), %error, "the list of a run cannot be written");
            }
        }
    }
}

/// A run that nobody owns any more; holding its lock keeps other sweeps away.
#[derive(Debug)]
pub(crate) struct DeadRun {
    pub(crate) id: String,
    pub(crate) path: PathBuf,
    _lock: File,
}

/// All runs of this user whose owner is dead.
pub(crate) fn dead_runs() -> io::Result<Vec<DeadRun>> {
    let root = root()?;
    let _nothing_appears = lock_root(&root)?;
    let mut dead = Vec::new();
    for entry in fs::read_dir(&root)? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().map(str::to_owned) else {
            continue;
        };
        if !is_run_id(&id) || !entry.file_type()?.is_dir() {
            continue;
        }
        // A folder without the mark of a run, its lock file, is somebody else's.
        let path = entry.path();
        let Ok(lock) = File::open(path.join("lock")) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            dead.push(DeadRun {
                id,
                path,
                _lock: lock,
            });
        }
    }
    Ok(dead)
}

/// The process that started a live stack for development, with its run's folder.
pub(crate) fn development_owners() -> io::Result<Vec<(u32, PathBuf)>> {
    let mut owners = Vec::new();
    for entry in fs::read_dir(root()?)? {
        let run = entry?.path();
        let Ok(note) = fs::read_to_string(run.join(crate::development::OWNER)) else {
            continue;
        };
        if let Some((pid, started)) = note.split_once(' ')
            && let Ok(pid) = pid.parse()
            && start_time(pid) == started
        {
            owners.push((pid, run));
        }
    }
    Ok(owners)
}

/// Is there a run of this id whose owner lives?
pub(crate) fn is_alive(id: &str) -> bool {
    let lock = root().and_then(|root| File::open(root.join(id).join("lock")));
    // A free lock is let go of at once; a sweep that looks in this instant looks again next time.
    lock.is_ok_and(|lock| lock.try_lock_shared().is_err())
}

pub(crate) fn is_run_id(name: &str) -> bool {
    name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The folder that holds all runs of this user; created when missing.
pub(crate) fn root() -> io::Result<PathBuf> {
    let uid = effective_uid()?;
    let root = std::env::temp_dir().join(format!("{ROOT_PREFIX}-{uid}"));
    match create_traversable(&root) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // The temporary folder is shared: somebody else's folder of our name must not be trusted.
    let found = fs::symlink_metadata(&root)?;
    if !found.is_dir() || found.uid() != uid {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "{} belongs to somebody else: remove it or set TMPDIR",
                root.display()
            ),
        ));
    }
    Ok(root)
}

/// The folders below `temporary` in which any user's runs would be.
pub(crate) fn all_roots(temporary: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(temporary).into_iter().flatten().flatten();
    let roots = entries.filter(|entry| {
        let name = entry.file_name();
        name.to_str()
            .is_some_and(|name| name.starts_with(ROOT_PREFIX))
    });
    roots.map(|entry| entry.path()).collect()
}

fn lock_root(root: &Path) -> io::Result<File> {
    let lock = File::create(root.join("lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// The user this process acts as. A new file belongs to its maker: the one portable, safe way.
pub(crate) fn effective_uid() -> io::Result<u32> {
    Ok(tempfile::tempfile()?.metadata()?.uid())
}

/// Creates one folder that everybody may pass through, whatever the umask says.
pub(crate) fn create_traversable(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// Start time of a process in clock ticks since boot: with the pid it names one process for ever.
/// `-` where the kernel does not tell (no `/proc`). Source: proc(5), `/proc/PID/stat` field 22.
pub(crate) fn start_time(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| {
            // The name in parentheses may itself hold blanks and parentheses.
            let (_, after_name) = stat.rsplit_once(") ")?;
            after_name.split(' ').nth(19).map(str::to_owned)
        })
        .unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_run_is_not_dead() {
        let run = RunDirectory::create(Ownership::Alone).expect("a temporary folder is there");
        let dead = dead_runs().expect("the root can be read");
        assert!(dead.iter().all(|dead| dead.id != run.id()));
        fs::remove_dir_all(run.path()).expect("the run is ours");
    }

    #[test]
    fn a_run_without_owner_is_dead() {
        let run = RunDirectory::create(Ownership::Alone).expect("a temporary folder is there");
        let (id, path) = (run.id().to_owned(), run.path().to_owned());
        drop(run);
        let dead = dead_runs().expect("the root can be read");
        // Another sweep may have been quicker; then the folder is gone or going.
        assert!(dead.iter().any(|dead| dead.id == id) || !path.join("pids").exists());
        drop(dead);
        fs::remove_dir_all(&path).ok();
    }

    #[test]
    fn a_folder_that_only_has_a_runs_name_is_not_a_run() {
        let folder = root()
            .expect("a temporary folder is there")
            .join("fedcba987654");
        fs::create_dir_all(&folder).expect("the root is ours");
        let dead = dead_runs().expect("the root can be read");
        assert!(dead.iter().all(|dead| dead.path != folder));
        assert!(
            !folder.join("lock").exists(),
            "it was given the mark of a run"
        );
        fs::remove_dir(&folder).expect("it is there and empty");
    }

    #[test]
    fn a_dropped_guard_takes_its_process_off_the_list() {
        let run = RunDirectory::create(Ownership::Alone).expect("a temporary folder is there");
        let list = run.path().join("pids");
        let own = run.guard_process(std::process::id(), FirstSignal::Term);
        let other = run.guard_process(1, FirstSignal::Int);
        let both = fs::read_to_string(&list).expect("the list is written");
        assert_eq!(both.lines().count(), 2, "{both}");
        drop(own);
        let one = fs::read_to_string(&list).expect("the list is written");
        assert!(
            one.starts_with("1 ") && one.trim_end().ends_with(" INT"),
            "{one}"
        );
        drop(other);
        fs::remove_dir_all(run.path()).expect("the run is ours");
    }
}
