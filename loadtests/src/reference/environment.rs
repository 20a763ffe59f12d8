//! The reference's virtual environment, which the harness makes and keeps, and whether it loads.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use harness::{PythonEnvironment, PythonError, PythonImage, PythonPins};

use crate::backend_process::chain;

/// The oldest Python that the reference and its wheels run on.
const PYTHON_MIN: (u32, u32) = (3, 11);

/// Loads all that a service in the folder of the first argument loads before it answers; what is only loaded by name comes
/// first. What is missing is the last line of the complaint, and of which kind it is the exit status.
const CHECK: &str = "\
import sys
sys.path.insert(0, sys.argv[1])
try:
    import a2wsgi, asyncpg, gunicorn.app.base, python_multipart, uvicorn_worker
    import service.app, service.pdf
    service.pdf.warm_up()
except ImportError as error:
    if (error.name or '').partition('.')[0] == 'service':
        raise
    is_absent = isinstance(error, ModuleNotFoundError)
    print(error.name if is_absent else f'a part of {error.name} ({error})', file=sys.stderr)
    sys.exit(3)
except OSError as error:
    if error.errno is not None:
        raise
    print(error, file=sys.stderr)
    sys.exit(4)
";
/// How [`CHECK`] ends when a module is missing, or a part of one.
const LOST: i32 = 3;
/// How it ends when a library of the system is: that error has no number.
const NO_LIBRARY: i32 = 4;

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
    /// The interpreter of an environment that was whole does not run any more.
    #[error("{} cannot be run ({reason}): remove {}, and the next run makes it anew", python.display(), folder.display())]
    Interpreter {
        /// The interpreter.
        python: PathBuf,
        /// The environment.
        folder: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// Something has removed packages from an environment that was whole.
    #[error("{} lacks {lost}: remove that folder, and the next run makes it anew", folder.display())]
    Incomplete {
        /// The environment.
        folder: PathBuf,
        /// The module that is not there, or what one of them misses.
        lost: String,
    },
    /// A library of the system is missing that no wheel carries.
    #[error(
        "WeasyPrint does not load ({0}): on Debian, apt-get install libpango-1.0-0 libpangoft2-1.0-0 fonts-dejavu-core"
    )]
    Pango(String),
    /// It does not load for another reason.
    #[error(
        "it does not load ({complaint}): run from a complete checkout, or remove {}, which the next run makes anew",
        folder.display()
    )]
    Loading {
        /// The environment.
        folder: PathBuf,
        /// What Python said last.
        complaint: String,
    },
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
        let source = self.script.parent().unwrap_or(Path::new("."));
        let mut python = Command::new(&self.python);
        python.args(["-E", "-c", CHECK]).arg(source);
        // Fonts are listed once, where the service looks for the list.
        python
            .env("HOME", &self.home)
            .env("MPLCONFIGDIR", &self.home);
        let output = python.stdin(Stdio::null()).output();
        let output = output.map_err(|reason| NotMeasured::Interpreter {
            python: self.python.clone(),
            folder: folder.to_owned(),
            reason,
        })?;
        if output.status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let last = complaint.trim().lines().next_back();
        let last = last.map_or_else(|| output.status.to_string(), |line| line.trim().to_owned());
        Err(match output.status.code() {
            Some(LOST) => NotMeasured::Incomplete {
                folder: folder.to_owned(),
                lost: last,
            },
            Some(NO_LIBRARY) => NotMeasured::Pango(last),
            _ => NotMeasured::Loading {
                folder: folder.to_owned(),
                complaint: last,
            },
        })
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

    /// What the check says of a service of these files, with stand-ins for the packages.
    fn checked(app: &str, pdf: &str) -> Option<NotMeasured> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        for package in ["gunicorn", "gunicorn/app", "service"] {
            fs::create_dir(at(package)).expect("writable");
            fs::write(at(package).join("__init__.py"), "").expect("writable");
        }
        for (module, code) in [
            ("a2wsgi", ""),
            ("asyncpg", ""),
            ("python_multipart", ""),
            ("uvicorn_worker", ""),
            ("gunicorn/app/base", ""),
            ("service/app", app),
            ("service/pdf", pdf),
        ] {
            fs::write(at(module).with_extension("py"), code).expect("writable");
        }
        let environment = Environment {
            python: PathBuf::from("python3"),
            script: at("serve.py"),
            home: at("home"),
            image: None,
        };
        environment.check(Path::new("/cache/reference")).err()
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "a test that is skipped says why")]
    fn what_does_not_load_is_told_apart_by_its_remedy() {
        if Command::new("python3").arg("--version").output().is_err() {
            eprintln!("not run: there is no Python here");
            return;
        }
        let works = "def warm_up(): pass";
        let reason = |app, pdf| {
            let found = checked(app, pdf);
            found.map_or_else(String::new, |reason| reason.to_string())
        };
        assert_eq!(reason("", works), "");
        let anew = "remove that folder, and the next run makes it anew";
        assert_eq!(
            reason("import service_lost.inner", works),
            format!("/cache/reference lacks service_lost: {anew}")
        );
        let found = reason("", "def warm_up():\n    from json import lost");
        let part = "/cache/reference lacks a part of json (cannot import name 'lost'";
        assert!(found.starts_with(part) && found.ends_with(anew), "{found}");
        let pango = "def warm_up(): raise OSError(\"cannot load library 'libpango-1.0-0'\")";
        let found = reason("", pango);
        assert!(
            found.contains("(cannot load library 'libpango-1.0-0')"),
            "{found}"
        );
        assert!(found.contains("apt-get install libpango-1.0-0"), "{found}");
        for code in ["import service.lost", "open('/lost')", "1 / 0"] {
            let found = reason(code, works);
            assert!(found.contains("run from a complete checkout"), "{found}");
        }
    }

    #[test]
    fn an_interpreter_that_cannot_be_run_is_named_with_its_folder() {
        let environment = Environment {
            python: PathBuf::from("/nonexistent/bin/python"),
            script: PathBuf::from("serve.py"),
            home: PathBuf::from("/nonexistent/home"),
            image: None,
        };
        let reason = environment.check(Path::new("/nonexistent"));
        let reason = reason.expect_err("there is none").to_string();
        let (python, remedy) = ("/nonexistent/bin/python cannot", "remove /nonexistent,");
        assert!(
            reason.contains(python) && reason.contains(remedy),
            "{reason}"
        );
    }
}
