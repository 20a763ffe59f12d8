//! A native server process: never as root, out of the terminal's reach, its output in a file.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};

use crate::run_directory::{self, FirstSignal, RunDirectory};

/// Marks everything a run starts, so that the clean-up finds what could not be registered.
pub(crate) const RUN_VARIABLE: &str = "HARNESS_RUN_ID";

/// Whom servers run as when we are root: Postgres refuses root, Redis deserves no better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// `None` when this process is not root and servers simply run as the same user.
    pub(crate) fn for_servers() -> io::Result<Option<Account>> {
        if run_directory::effective_uid()? != 0 {
            return Ok(None);
        }
        let accounts = fs::read_to_string("/etc/passwd")?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| Account::named(&accounts, name))
            .map(Some)
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    "servers never run as root, and /etc/passwd has neither `postgres` nor `nobody`",
                )
            })
    }

    fn named(accounts: &str, name: &str) -> Option<Account> {
        accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then_some(())?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            (uid != 0).then_some(Account { uid, gid })
        })
    }

    /// Makes a command run as this account.
    pub(crate) fn apply(account: Option<Account>, command: &mut Command) {
        if let Some(Account { uid, gid }) = account {
            command.uid(uid).gid(gid);
        }
    }
}

/// A folder that belongs to the account and is closed to everybody else.
pub(crate) fn create_private(path: &Path, account: Option<Account>) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    if let Some(Account { uid, gid }) = account {
        std::os::unix::fs::chown(path, Some(uid), Some(gid))?;
    }
    Ok(())
}

/// A port that was free a moment ago. Somebody may take it first: start again with another one.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// What to start.
#[derive(Debug)]
pub(crate) struct ServerCommand<'a> {
    /// Names the log file.
    pub(crate) name: &'a str,
    pub(crate) program: &'a Path,
    pub(crate) arguments: Vec<OsString>,
    /// Working folder.
    pub(crate) folder: &'a Path,
    pub(crate) account: Option<Account>,
    pub(crate) first_signal: FirstSignal,
}

/// A running server, on the list of what ends with the run.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    pid: u32,
    exit: Arc<OnceLock<ExitStatus>>,
    log: PathBuf,
}

impl ServerProcess {
    pub(crate) fn start(run: &RunDirectory, command: ServerCommand<'_>) -> io::Result<Self> {
        let log = run.log_file(command.name);
        let output = File::create(&log)?;
        let mut process = Command::new(command.program);
        process
            .args(&command.arguments)
            .current_dir(command.folder)
            .env(RUN_VARIABLE, run.id())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        Account::apply(command.account, &mut process);
        tracing::debug!(program = %command.program.display(), arguments = ?command.arguments, "starting");
        let mut child = process.spawn()?;
        let pid = child.id();
        // For good: a server ends with its run, not with whoever holds this value.
        run.guard_process(pid, command.first_signal).keep();
        let exit = Arc::new(OnceLock::new());
        let seen = Arc::clone(&exit);
        // Somebody has to wait for a child, or it stays a zombie until we end.
        std::thread::Builder::new()
            .name(format!("wait-{}", command.name))
            .spawn(move || {
                if let Ok(status) = child.wait() {
                    seen.get_or_init(|| status);
                }
            })?;
        Ok(ServerProcess { pid, exit, log })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// `None` while it runs.
    pub(crate) fn exit(&self) -> Option<ExitStatus> {
        self.exit.get().copied()
    }

    /// The end of what it printed, for an error message.
    pub(crate) fn log_tail(&self) -> String {
        log_tail(&self.log)
    }
}

/// The last lines of a log, on one line.
pub(crate) fn log_tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_from_passwd() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(
            Account::named(passwd, "postgres"),
            Some(Account { uid: 101, gid: 104 })
        );
        assert_eq!(
            Account::named(passwd, "root"),
            None,
            "servers never run as root"
        );
        assert_eq!(Account::named(passwd, "nobody"), None);
    }
}
