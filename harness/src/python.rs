//! A virtual environment of Python out of pinned wheels, made once and kept in a cache.
//!
//! A stamp file, written last, tells a whole environment from one whose making was interrupted; the
//! latter is made anew. Other pins or another Python are another environment.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sha2::{Digest, Sha256};

use crate::binaries::wheel::create_open;
use crate::errand::Errand;

/// Written last.
const STAMP: &str = "complete";

/// What an environment is made of, and where it is kept.
#[derive(Debug, Clone)]
pub struct PythonPins {
    /// The first part of its folder's name.
    pub name: &'static str,
    /// The interpreter to make it with: a path, or a name that `PATH` has.
    pub python: PathBuf,
    /// The oldest version, major and minor, that the wheels run on.
    pub python_min: (u32, u32),
    /// A file of pins with hashes, as pip reads it.
    pub requirements: PathBuf,
    /// The folder that keeps environments; [`crate::cache_folder`] is the usual one.
    pub cache: PathBuf,
}

/// An environment that is whole. Only `bin/python` of it is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonEnvironment {
    folder: PathBuf,
}

/// Why there is no environment.
#[derive(Debug, thiserror::Error)]
pub enum PythonError {
    /// No Python, or one that does not run.
    #[error("run {} ({reason}): install Python {}.{} or newer", python.display(), python_min.0, python_min.1)]
    Missing {
        /// The interpreter.
        python: PathBuf,
        /// What the system or the interpreter said.
        reason: String,
        /// The oldest version that would do.
        python_min: (u32, u32),
    },
    /// A Python that is too old.
    #[error("use Python {version}: install Python {}.{} or newer", python_min.0, python_min.1)]
    TooOld {
        /// What it is.
        version: String,
        /// The oldest version that would do.
        python_min: (u32, u32),
    },
    /// The checkout lacks the pins.
    #[error("read {} ({reason}): run from a complete checkout", path.display())]
    Pins {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// The cache cannot be written.
    #[error("use the cache {} ({reason}): set HARNESS_CACHE_DIR to another folder", path.display())]
    Cache {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// The packages could not be had: no network, as a rule.
    #[error("install Python packages ({0}): check the network or pip's configuration")]
    Install(String),
}

impl PythonPins {
    /// The environment, made when it is not there. Blocks, for minutes when it has to be made.
    ///
    /// # Errors
    /// With the reason why it cannot be had here, and the remedy.
    pub fn prepare(&self) -> Result<PythonEnvironment, PythonError> {
        let environment = self.place()?;
        let unusable = |reason| PythonError::Cache {
            path: self.cache.clone(),
            reason,
        };
        create_open(&self.cache).map_err(unusable)?;
        let folder = &environment.folder;
        // Two runs at a time: the second waits and finds it made. Closing unlocks.
        let lock = File::create(folder.with_extension("lock")).map_err(unusable)?;
        lock.lock().map_err(unusable)?;
        if !environment.is_whole() {
            if folder.exists() {
                tracing::info!(folder = %folder.display(), "a half-made environment is made anew");
                fs::remove_dir_all(folder).map_err(unusable)?;
            }
            self.make(folder).map_err(PythonError::Install)?;
            File::create(folder.join(STAMP)).map_err(unusable)?;
        }
        Ok(environment)
    }

    /// The environment when it was made before; nothing is downloaded.
    #[must_use]
    pub fn find(&self) -> Option<PythonEnvironment> {
        self.place().ok().filter(PythonEnvironment::is_whole)
    }

    /// Where the environment of these pins and this Python is, or would be.
    ///
    /// # Errors
    /// When the Python does not run or is too old, or the pins cannot be read.
    fn place(&self) -> Result<PythonEnvironment, PythonError> {
        let version = self.version()?;
        let pins = fs::read_to_string(&self.requirements).map_err(|reason| PythonError::Pins {
            path: self.requirements.clone(),
            reason,
        })?;
        let mut key = hex::encode(Sha256::digest(format!("{version}\n{pins}")));
        key.truncate(16);
        Ok(PythonEnvironment {
            folder: self.cache.join(format!("{}-{key}", self.name)),
        })
    }

    fn version(&self) -> Result<String, PythonError> {
        let python_min = self.python_min;
        let print = "import sys; print(*sys.version_info[:3], sep='.')";
        let version = run(Command::new(&self.python).args(["-c", print]));
        let version = version.map_err(|reason| PythonError::Missing {
            python: self.python.clone(),
            reason,
            python_min,
        })?;
        let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
        if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < python_min {
            return Err(PythonError::TooOld {
                version,
                python_min,
            });
        }
        Ok(version)
    }

    fn make(&self, folder: &Path) -> Result<(), String> {
        let errand = Errand::begin().map_err(|error| error.to_string())?;
        let mut venv = Command::new(&self.python);
        venv.args(["-m", "venv"]).arg(folder);
        told(errand.output(&mut venv))?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--no-input"])
            .args(["--disable-pip-version-check", "--retries", "1"])
            .args(["--require-hashes", "--only-binary", ":all:"])
            .arg("--requirement")
            .arg(&self.requirements);
        told(errand.output(&mut pip)).map(drop)
    }
}

impl PythonEnvironment {
    /// Its interpreter.
    #[must_use]
    pub fn python(&self) -> PathBuf {
        self.folder.join("bin/python")
    }

    /// Its folder, in which what belongs to it alone may be kept too.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn is_whole(&self) -> bool {
        self.folder.join(STAMP).is_file() && self.python().exists()
    }
}

fn run(command: &mut Command) -> Result<String, String> {
    told(command.stdin(Stdio::null()).output())
}

/// Standard output of a command that has succeeded, else the last line of what it complained.
fn told(ended: io::Result<Output>) -> Result<String, String> {
    let output = ended.map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let complaint = text(&output.stderr);
    let last = complaint.lines().rev().find(|line| !line.trim().is_empty());
    Err(last.map_or_else(|| output.status.to_string(), |line| line.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins(python: &str, content: &str) -> (tempfile::TempDir, PythonPins) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let requirements = folder.path().join("requirements.txt");
        fs::write(&requirements, content).expect("writable");
        let pins = PythonPins {
            name: "test",
            python: PathBuf::from(python),
            python_min: (3, 8),
            requirements,
            cache: folder.path().join("cache"),
        };
        (folder, pins)
    }

    #[test]
    fn without_python_the_reason_names_the_remedy_and_nothing_is_made() {
        let (_folder, pins) = pins("/nonexistent/python3", "");
        let reason = pins.prepare().expect_err("there is no such program");
        let reason = reason.to_string();
        assert!(reason.contains("install Python 3.8 or newer"), "{reason}");
        assert!(
            !pins.cache.exists(),
            "nothing is made before Python is found"
        );
    }

    #[test]
    fn a_python_that_is_too_old_is_named() {
        let (_folder, mut pins) = pins("python3", "");
        pins.python_min = (99, 0);
        match pins.prepare() {
            Err(PythonError::TooOld { version, .. }) => {
                assert!(version.starts_with("3."), "{version}")
            }
            // A machine without Python.
            Err(PythonError::Missing { .. }) => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn missing_pins_are_named() {
        let (_folder, pins) = pins("python3", "");
        fs::remove_file(&pins.requirements).expect("it was written");
        match pins.prepare() {
            // A machine without Python finds that out first.
            Err(PythonError::Pins { .. } | PythonError::Missing { .. }) => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_interrupted_environment_is_made_anew_and_never_used() {
        // A wheel that exists nowhere: making it fails with or without a network.
        let hash = "0".repeat(64);
        let content = format!("./nowhere-1.0-py3-none-any.whl --hash=sha256:{hash}\n");
        let (_folder, pins) = pins("python3", &content);
        let Ok(half) = pins.place() else {
            return;
        };
        fs::create_dir_all(half.folder.join("bin")).expect("writable");
        fs::write(half.python(), "half").expect("writable");
        assert_eq!(pins.find(), None);
        let reason = pins.prepare().expect_err("it cannot be made");
        assert!(matches!(reason, PythonError::Install(_)), "{reason}");
        let python = fs::read(half.python()).unwrap_or_default();
        assert_ne!(python, b"half", "the remains were removed");
        assert_eq!(pins.find(), None, "and it is not taken for whole");
    }
}
