//! Where native databases lie: in memory, in a folder of the run's, and what becomes of a folder whose run is gone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::run_directory::{self, RunDirectory};

/// Where the files of Postgres lie unless `TMPDIR` is set.
pub(crate) const MEMORY: &str = "/dev/shm";
/// A folder's name is this and the id of its run.
const PREFIX: &str = "h2o-allegiant-";
/// Least room that it must have.
const FREE_BYTES_MIN: u64 = 2 << 30;
/// An `initdb` that outlived its run has ended by then.
const INITDB_MAX: Duration = Duration::from_secs(10);

/// A folder for this run in memory, as the docker provider mounts one: `CREATE DATABASE` writes every file of
/// the template, which a disk may need half a second for. `None` where the machine has no such place or
/// little room in it, and where the user says with `TMPDIR` where files belong.
pub(crate) fn folder(run: &RunDirectory) -> Option<PathBuf> {
    // Source: statfs(2), TMPFS_MAGIC.
    const TMPFS: u64 = 0x0102_1994;
    if is_elsewhere() {
        return None;
    }
    let found = rustix::fs::statfs(MEMORY).ok()?;
    let free_bytes = found
        .f_bavail
        .checked_mul(u64::try_from(found.f_bsize).ok()?)?;
    if u64::try_from(found.f_type).ok()? != TMPFS || free_bytes < FREE_BYTES_MIN {
        return None;
    }
    let folder = Path::new(MEMORY).join(format!("{PREFIX}{}", run.id()));
    // Noted before it is made: whoever clears this run away finds it.
    fs::write(run.path().join("memory"), folder.to_str()?).ok()?;
    Some(folder)
}

fn is_elsewhere() -> bool {
    std::env::var_os("TMPDIR").is_some()
}

/// Removes the folders whose run is gone. A run's own clean-up removes its folder; but an `initdb` that was being
/// started at the very moment when its owner was killed is no process that anybody knows, and makes the folder anew.
///
/// # Errors
/// When one cannot be removed.
pub(crate) fn remove_orphans() -> io::Result<Vec<PathBuf>> {
    // With `TMPDIR` set this run's own folder says nothing of the others.
    if is_elsewhere() {
        return Ok(Vec::new());
    }
    let found = orphans(
        Path::new(MEMORY),
        &std::env::temp_dir(),
        SystemTime::now().checked_sub(INITDB_MAX),
    );
    let mut removed = Vec::new();
    for folder in found {
        match fs::remove_dir_all(&folder) {
            Ok(()) => removed.push(folder),
            // Another sweep was faster, or it is another user's, who sweeps as well.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
                ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

/// Folders in `memory` that were last changed before `before`, and whose run no user has below `temporary`. A run's
/// folder is there before its memory, and until after it.
fn orphans(memory: &Path, temporary: &Path, before: Option<SystemTime>) -> Vec<PathBuf> {
    let entries = fs::read_dir(memory).into_iter().flatten().flatten();
    let candidates: Vec<(String, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let id = name.to_str()?.strip_prefix(PREFIX)?;
            let changed = entry.metadata().ok()?.modified().ok()?;
            (run_directory::is_run_id(id) && Some(changed) < before)
                .then(|| (id.to_owned(), entry.path()))
        })
        .collect();
    if candidates.is_empty() {
        return Vec::new();
    }
    let roots = run_directory::all_roots(temporary);
    let gone = candidates
        .into_iter()
        .filter(|(id, _)| !roots.iter().any(|root| root.join(id).exists()));
    gone.map(|(_, folder)| folder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_folders_of_runs_that_are_gone_are_orphans() {
        let (memory, temporary) = (tempfile::tempdir(), tempfile::tempdir());
        let (memory, temporary) = (memory.expect("a folder"), temporary.expect("a folder"));
        let make = |path: PathBuf| fs::create_dir_all(path).expect("a writable folder");
        for name in [
            "h2o-allegiant-0123456789ab",
            "h2o-allegiant-ba9876543210",
            "h2o-allegiant-notes",
            "somebody-elses",
        ] {
            make(memory.path().join(name));
        }
        // Another user's run lives.
        make(
            temporary
                .path()
                .join("h2o-allegiant-harness-7/ba9876543210"),
        );
        let found = |before| orphans(memory.path(), temporary.path(), before);
        let later = SystemTime::now() + Duration::from_secs(60);
        let orphan = memory.path().join("h2o-allegiant-0123456789ab");
        assert_eq!(found(Some(later)), [orphan]);
        let earlier = SystemTime::now() - Duration::from_secs(60);
        assert_eq!(found(Some(earlier)), Vec::<PathBuf>::new(), "too young");
        assert_eq!(found(None), Vec::<PathBuf>::new());
    }
}
