//! A folder for one test. A test that is killed cannot remove it: the next one that asks for a folder does.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// Beside each other in the temporary folder: `<name>/lock`, which the test holds, and `<name>/content`.
const ALL: &str = "h2o-allegiant-harness-tests";

/// It is removed when dropped.
pub(crate) struct Folder {
    content: PathBuf,
    _folder: tempfile::TempDir,
    _lock: File,
}

impl Folder {
    /// An empty one that the servers' account may pass through.
    pub(crate) fn new() -> Result<Folder> {
        let all = std::env::temp_dir().join(ALL);
        open(&all)?;
        for entry in fs::read_dir(&all)?.flatten() {
            if is_left(&entry.path()) {
                fs::remove_dir_all(entry.path()).ok();
            }
        }
        let folder = tempfile::tempdir_in(&all)?;
        let lock = File::create(folder.path().join("lock"))?;
        lock.lock()?;
        open(folder.path())?;
        let content = folder.path().join("content");
        open(&content)?;
        Ok(Folder {
            content,
            _folder: folder,
            _lock: lock,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.content
    }
}

fn open(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Whether its test has ended, and every run that the test had started.
fn is_left(folder: &Path) -> bool {
    let free = File::open(folder.join("lock")).is_ok_and(|lock| lock.try_lock().is_ok());
    let roots = fs::read_dir(folder.join("content")).into_iter().flatten();
    let mut runs = roots
        .flatten()
        .filter_map(|root| fs::read_dir(root.path()).ok());
    free && !runs.any(|runs| runs.flatten().any(|run| run.path().join("lock").exists()))
}
