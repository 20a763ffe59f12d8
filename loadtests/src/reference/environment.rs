//! The reference's virtual environment, which the harness makes and keeps, and whether it loads.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use harness::{PythonEnvironment, PythonError, PythonImage, PythonPins};

use crate::backend_process::chain;

/// The oldest Python that the reference and its wheels run on.
const PYTHON_MIN: (u32, u32) = (3, 11);

/// What the service imports first of each of its packages.
const MODULES: [&str; 15] = [
    "gunicorn",
    "uvicorn_worker",
    "fastapi",
    "multipart",
    "pydantic_settings",
    "sqlalchemy",
    "asyncpg",
    "redis",
    "aioboto3",
    "openai",
    "pypdf",
    "markdown_it",
    "argon2",
    "matplotlib",
    "weasyprint",
];
/// Looks for modules and loads the one library that needs more than its wheel.
const CHECK: &str = "\
import importlib.util, sys
lost = [name for name in sys.argv[1:] if importlib.util.find_spec(name) is None]
if lost:
    print(*lost, sep=', ', file=sys.stderr)
    sys.exit(3)
import weasyprint
";
/// How [`CHECK`] ends when a module is missing.
const LOST: i32 = 3;

/// What no wheel carries, as Debian packages it.
const IMAGE_PACKAGES: [&str; 3] = ["libpango-1.0-0", "libpangoft2-1.0-0", "fonts-dejavu-core"];

/// Why the reference is not measured. Data, not a failure: the run goes on without it.
#[derive(Debug, thiserror::Error)]
pub enum NotMeasured {
    /// There is no environment.
    #[error("it was not possible to {0}")]
    Environment(#[from] PythonError),
    /// Looking after the environment was cut off.
    #[error("its Python packages could not be installed ({0})")]
    Install(String),
    /// The folder for what its libraries cache.
    #[error("{} cannot be made ({reason}): set HARNESS_CACHE_DIR to another folder", path.display())]
    Home {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// Something has removed packages from an environment that was whole.
    #[error("{} lacks {lost}: remove that folder, and the next run makes it anew", folder.display())]
    Incomplete {
        /// The environment.
        folder: PathBuf,
        /// The modules that are not there.
        lost: String,
    },
    /// A library of the system is missing that no wheel carries.
    #[error(
        "WeasyPrint does not load ({0}): on Debian, apt-get install libpango-1.0-0 libpangoft2-1.0-0"
    )]
    Pango(String),
    /// Services run in containers, and the reference's image could not be built.
    #[error("its container image could not be had ({0}); HARNESS_PROVIDER=native needs none")]
    Image(String),
    /// Nobody wants it.
    #[error("it was not asked for")]
    NotAsked,
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
    /// The container image with the same packages, where services run in containers.
    pub image: Option<String>,
}

impl Environment {
    /// Finds or makes the environment of `source` (`loadtests/reference`) below `cache`. Blocks, for
    /// minutes when it has to be made.
    ///
    /// # Errors
    /// With the reason why the reference cannot be measured here.
    pub fn prepare(source: &Path, cache: &Path) -> Result<Self, NotMeasured> {
        Self::with(&pins(source, cache).prepare()?, source)
    }

    /// The environment when it was made before; nothing is downloaded.
    pub fn find(source: &Path, cache: &Path) -> Option<Self> {
        Self::with(&pins(source, cache).find()?, source).ok()
    }

    /// The same with its container image, which is built when the engine does not have it.
    ///
    /// # Errors
    /// With the reason why there is none.
    pub async fn in_container(self) -> Result<Self, NotMeasured> {
        let image = PythonImage {
            name: "reference",
            requirements: self.script.with_file_name("requirements.txt"),
            packages: &IMAGE_PACKAGES,
        };
        let name = image.prepare().await;
        let name = name.map_err(|error| NotMeasured::Image(chain(&error)))?;
        Ok(Self {
            image: Some(name),
            ..self
        })
    }

    fn with(made: &PythonEnvironment, source: &Path) -> Result<Self, NotMeasured> {
        let environment = Self {
            python: made.python(),
            script: source.join("serve.py"),
            home: made.folder().join("home"),
            image: None,
        };
        fs::create_dir_all(&environment.home).map_err(|reason| NotMeasured::Home {
            path: environment.home.clone(),
            reason,
        })?;
        environment.check(made.folder())?;
        Ok(environment)
    }

    /// Whether all of it is there and loads.
    fn check(&self, folder: &Path) -> Result<(), NotMeasured> {
        let mut python = Command::new(&self.python);
        python.args(["-c", CHECK]).args(MODULES);
        let output = python
            .stdin(Stdio::null())
            .output()
            .map_err(|error| NotMeasured::Pango(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let last = complaint.trim().lines().next_back();
        let last = last.map_or_else(|| output.status.to_string(), |line| line.trim().to_owned());
        if output.status.code() == Some(LOST) {
            return Err(NotMeasured::Incomplete {
                folder: folder.to_owned(),
                lost: last,
            });
        }
        Err(NotMeasured::Pango(last))
    }
}

fn pins(source: &Path, cache: &Path) -> PythonPins {
    PythonPins {
        name: "reference",
        python: PathBuf::from("python3"),
        python_min: PYTHON_MIN,
        requirements: source.join("requirements.txt"),
        cache: cache.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_service_the_reason_names_the_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let missing = Environment::prepare(folder.path(), &folder.path().join("cache"));
        let reason = missing.expect_err("there are no pins").to_string();
        // A machine without Python finds that out first.
        let named = reason.contains("requirements.txt") || reason.contains("install Python");
        assert!(named, "{reason}");
    }
}
