//! Programs that run for minutes beside any stack, such as pip: they end with their owner, and their scratch folder with
//! them.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::cleanup::Guardian;
use crate::process::RUN_VARIABLE;
use crate::run_directory::{FirstSignal, Ownership, RunDirectory};

/// A run of its own that starts no services. Dropping it ends what it has started and removes its folder.
#[derive(Debug)]
pub(crate) struct Errand {
    // Ends before the folder's lock is let go: nobody else sweeps what it still removes.
    guardian: Option<Guardian>,
    run: RunDirectory,
}

impl Errand {
    pub(crate) fn begin() -> io::Result<Self> {
        let run = RunDirectory::create(Ownership::Alone)?;
        // What a program has started itself is found by the run's id.
        run.mark("servers")?;
        let guardian = Guardian::start(&run).map_err(io::Error::other)?;
        Ok(Self {
            guardian: Some(guardian),
            run,
        })
    }

    /// A folder that goes with the errand.
    pub(crate) fn scratch(&self) -> io::Result<PathBuf> {
        let path = self.run.path().join("scratch");
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Runs a program to its end, as [`Command::output`] does, but out of the terminal's reach: a Ctrl-C reaches it through
    /// its owner's end.
    pub(crate) fn output(&self, command: &mut Command) -> io::Result<Output> {
        let child = command
            .env(RUN_VARIABLE, self.run.id())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let _guard = self.run.guard_process(child.id(), FirstSignal::Term);
        child.wait_with_output()
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        if let Some(guardian) = self.guardian.take()
            && let Err(error) = guardian.finish()
        {
            tracing::warn!(%error, "an errand has left something behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_errand_has_started_ends_with_it_and_so_does_its_folder() {
        let errand = Errand::begin().expect("a run of its own");
        let scratch = errand.scratch().expect("a folder");
        // It ends, and what it has put into the background does not.
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 600 >/dev/null 2>&1 & echo $!"]);
        let output = errand.output(&mut shell).expect("a shell");
        let pid = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let lives = || std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(lives().contains("sleep"), "{output:?}");
        drop(errand);
        assert!(!scratch.exists());
        assert!(!lives().contains("sleep"));
    }
}
