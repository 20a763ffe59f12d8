//! The reference's virtual environment: made once in the harness's cache, from pinned wheels.
//!
//! A stamp file, written last, tells a whole environment from one whose making was interrupted; the
//! latter is made anew. Only `bin/python` of it is ever run.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest Python that the reference and its wheels run on.
const PYTHON_MIN: (u32, u32) = (3, 11);
/// Written last.
const STAMP: &str = "complete";

/// Why the reference is not measured. Data, not a failure: the run goes on without it.
#[derive(Debug, thiserror::Error)]
pub enum NotMeasured {
    /// No Python, or one that does not run.
    #[error("no python3 runs here ({0}): install Python {major}.{minor} or newer", major = PYTHON_MIN.0, minor = PYTHON_MIN.1)]
    Python(String),
    /// A Python that is too old.
    #[error("python3 is {0}: install Python {major}.{minor} or newer", major = PYTHON_MIN.0, minor = PYTHON_MIN.1)]
    PythonTooOld(String),
    /// The checkout lacks the service.
    #[error("{} cannot be read ({source}): run from a complete checkout", path.display())]
    Source {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The cache cannot be written.
    #[error("the cache {} cannot be used ({source}): set HARNESS_CACHE_DIR to another folder", path.display())]
    Cache {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The environment could not be made: no network, as a rule.
    #[error(
        "its Python packages could not be installed ({0}): check the network or pip's configuration"
    )]
    Install(String),
    /// A library of the system is missing that no wheel carries.
    #[error(
        "WeasyPrint does not load ({0}): on Debian, apt-get install libpango-1.0-0 libpangoft2-1.0-0"
    )]
    Pango(String),
    /// The provider runs the backend in containers, and there is no container image of the reference.
    #[error("it runs on the native provider only: set HARNESS_PROVIDER=native")]
    Provider,
}

/// An environment that is whole and loads.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Its interpreter.
    pub python: PathBuf,
    /// The service's entry point.
    pub script: PathBuf,
    /// A folder for what the libraries cache (fonts).
    pub home: PathBuf,
}

impl Environment {
    /// Finds or makes the environment of `source` (`loadtests/reference`) below `cache`. Blocks, for
    /// minutes when it has to be made.
    ///
    /// # Errors
    /// With the reason why the reference cannot be measured here.
    pub fn prepare(source: &Path, cache: &Path) -> Result<Self, NotMeasured> {
        Self::prepare_with(Path::new("python3"), source, cache)
    }

    /// The same with another Python.
    ///
    /// # Errors
    /// With the reason why the reference cannot be measured here.
    pub fn prepare_with(python: &Path, source: &Path, cache: &Path) -> Result<Self, NotMeasured> {
        let requirements = source.join("requirements.txt");
        let (version, folder) = place(python, &requirements, cache)?;
        let unusable = |source| NotMeasured::Cache {
            path: cache.to_owned(),
            source,
        };
        fs::create_dir_all(cache).map_err(unusable)?;
        // Two runs at a time: the second waits and finds the environment made. Closing unlocks.
        let lock = File::create(folder.with_extension("lock")).map_err(unusable)?;
        lock.lock().map_err(unusable)?;
        let environment = Self::in_folder(&folder, source);
        if !environment.is_whole(&folder) {
            remake(python, &folder, &requirements, unusable)?;
            fs::create_dir_all(&environment.home).map_err(unusable)?;
            fs::write(folder.join(STAMP), version).map_err(unusable)?;
        }
        environment.check()?;
        Ok(environment)
    }

    /// The environment when it was made before; nothing is downloaded.
    pub fn find(source: &Path, cache: &Path) -> Option<Self> {
        let requirements = source.join("requirements.txt");
        let (_, folder) = place(Path::new("python3"), &requirements, cache).ok()?;
        let environment = Self::in_folder(&folder, source);
        (environment.is_whole(&folder) && environment.check().is_ok()).then_some(environment)
    }

    fn in_folder(folder: &Path, source: &Path) -> Self {
        Self {
            python: folder.join("bin/python"),
            script: source.join("serve.py"),
            home: folder.join("home"),
        }
    }

    fn is_whole(&self, folder: &Path) -> bool {
        folder.join(STAMP).is_file() && self.python.exists()
    }

    /// Loads the one library that needs more than its wheel.
    fn check(&self) -> Result<(), NotMeasured> {
        run(Command::new(&self.python).args(["-c", "import weasyprint"]))
            .map_err(NotMeasured::Pango)?;
        Ok(())
    }
}

/// The version of `python`, and the folder for it and these pins.
fn place(
    python: &Path,
    requirements: &Path,
    cache: &Path,
) -> Result<(String, PathBuf), NotMeasured> {
    let version = python_version(python)?;
    let pins = fs::read_to_string(requirements).map_err(|source| NotMeasured::Source {
        path: requirements.to_owned(),
        source,
    })?;
    let folder = cache.join(format!("reference-{:016x}", key(&version, &pins)));
    Ok((version, folder))
}

fn remake(
    python: &Path,
    folder: &Path,
    requirements: &Path,
    unusable: impl Fn(io::Error) -> NotMeasured,
) -> Result<(), NotMeasured> {
    if folder.exists() {
        tracing::info!(folder = %folder.display(), "a half-made environment is made anew");
        fs::remove_dir_all(folder).map_err(unusable)?;
    }
    run(Command::new(python).args(["-m", "venv"]).arg(folder)).map_err(NotMeasured::Install)?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ])
    .args([
        "--retries",
        "1",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--requirement",
    ])
    .arg(requirements);
    run(&mut pip).map_err(NotMeasured::Install)?;
    Ok(())
}

fn python_version(python: &Path) -> Result<String, NotMeasured> {
    let print = "import sys; print(*sys.version_info[:3], sep='.')";
    let version = run(Command::new(python).args(["-c", print])).map_err(NotMeasured::Python)?;
    let mut numbers = version
        .split('.')
        .map(|number| number.parse::<u32>().unwrap_or(0));
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < PYTHON_MIN {
        return Err(NotMeasured::PythonTooOld(version));
    }
    Ok(version)
}

/// One folder for each set of pins and each Python.
fn key(version: &str, pins: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (version, pins).hash(&mut hasher);
    hasher.finish()
}

/// Standard output of a command that succeeds, else the last line of what it complained.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
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

    fn scratch(pins: &str) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (source, cache) = (folder.path().join("source"), folder.path().join("cache"));
        fs::create_dir(&source).expect("writable");
        fs::write(source.join("requirements.txt"), pins).expect("writable");
        (folder, source, cache)
    }

    #[test]
    fn without_python_the_reason_names_the_remedy() {
        let (_folder, source, cache) = scratch("");
        let missing = Path::new("/nonexistent/python3");
        let reason = Environment::prepare_with(missing, &source, &cache)
            .expect_err("there is no such program")
            .to_string();
        assert!(reason.contains("install Python 3.11"), "{reason}");
        assert!(!cache.exists(), "nothing is made before Python is found");
    }

    #[test]
    fn without_the_service_the_reason_names_the_file() {
        let (_folder, source, cache) = scratch("");
        fs::remove_file(source.join("requirements.txt")).expect("it was written");
        match Environment::prepare(&source, &cache) {
            // A machine without Python finds that out first.
            Err(
                NotMeasured::Source { .. } | NotMeasured::Python(_) | NotMeasured::PythonTooOld(_),
            ) => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_interrupted_environment_is_made_anew_and_never_used() {
        // A wheel that exists nowhere: making it fails with or without a network.
        let pins = format!(
            "./nowhere-1.0-py3-none-any.whl --hash=sha256:{}\n",
            "0".repeat(64)
        );
        let (_folder, source, cache) = scratch(&pins);
        let Ok(version) = python_version(Path::new("python3")) else {
            return;
        };
        let half = cache.join(format!("reference-{:016x}", key(&version, &pins)));
        fs::create_dir_all(half.join("bin")).expect("writable");
        fs::write(half.join("bin/python"), "half").expect("writable");
        let reason = Environment::prepare(&source, &cache).expect_err("it cannot be made");
        assert!(matches!(reason, NotMeasured::Install(_)), "{reason}");
        let python = fs::read(half.join("bin/python")).unwrap_or_default();
        assert_ne!(python, b"half", "the remains were removed");
        assert!(!half.join(STAMP).exists(), "and it is not taken for whole");
    }
}
