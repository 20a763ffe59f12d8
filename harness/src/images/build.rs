//! Builds the pinned images from the distribution's packages, where no registry can be reached.
//!
//! `mmdebstrap` makes a folder tree of Debian 12, `docker import` makes an image of it. LocalStack
//! comes from the Python package index.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::background::{blocking, in_background};
use crate::binaries::on_path;
use crate::engine::{Engine, EngineError};
use crate::errand::Errand;
use crate::images::{self, Image};

/// Debian 12, the release of all images.
const RELEASE: &str = "bookworm";
const POSTGRES_ENTRYPOINT: &str = include_str!("postgres-entrypoint.sh");
const LOCALSTACK_HOOK: &str = include_str!("localstack-hook.sh");

/// Why an image could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A program is missing.
    #[error("find {program}: install it with `{remedy}`")]
    MissingProgram {
        /// The program.
        program: &'static str,
        /// What installs it.
        remedy: &'static str,
    },
    /// No engine.
    #[error("build images: start a Docker engine, or say where it is with DOCKER_HOST")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Files or processes.
    #[error("{0}")]
    Io(&'static str, #[source] io::Error),
    /// No certificates for the package index.
    #[error("find a file of certificates: set PIP_CERT or SSL_CERT_FILE to one")]
    NoCertificates,
    /// A program failed.
    #[error("build {image}: {program} failed: {output}")]
    Failed {
        /// The image.
        image: String,
        /// The program.
        program: &'static str,
        /// The last lines it printed.
        output: String,
    },
}

impl From<EngineError> for BuildError {
    fn from(error: EngineError) -> BuildError {
        BuildError::Engine(Box::new(error))
    }
}

/// What happened to one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageResult {
    /// It was there already, under this name.
    Present(&'static str),
    /// It was built under this name, in this time.
    Built(&'static str, Duration),
}

/// How one image differs from a bare Debian.
struct Recipe {
    image: Image,
    packages: &'static str,
    changes: &'static [&'static str],
}

const RECIPES: [Recipe; 4] = [
    Recipe {
        image: images::BASE,
        packages: "",
        changes: &[r#"CMD ["bash"]"#],
    },
    Recipe {
        image: images::POSTGRES,
        packages: "postgresql",
        changes: &[
            r#"ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]"#,
            r#"CMD ["postgres"]"#,
            "EXPOSE 5432",
        ],
    },
    Recipe {
        image: images::REDIS,
        packages: "redis-server",
        changes: &[
            "USER redis",
            "WORKDIR /var/lib/redis",
            r#"CMD ["redis-server", "--protected-mode", "no"]"#,
            "EXPOSE 6379",
        ],
    },
    Recipe {
        image: images::LOCALSTACK,
        packages: "python3,python3-venv,ca-certificates",
        changes: &[
            "ENV GATEWAY_LISTEN=0.0.0.0:4566 PYTHONUNBUFFERED=1 AWS_DEFAULT_REGION=us-east-1",
            // Without the working folder in its path, whose time of change differs between containers, LocalStack finds the
            // index of its plugins again.
            "ENV PYTHONSAFEPATH=1",
            "ENV PATH=/opt/localstack/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            r#"CMD ["/opt/localstack/bin/python", "-m", "localstack.runtime.main"]"#,
            "EXPOSE 4566",
        ],
    },
];

/// Builds the images that the engine has under neither of their names; all of them with `force`.
///
/// `report` hears of each image when it is done. Takes some minutes.
///
/// # Errors
/// The first image that cannot be built, and why.
pub async fn build(
    force: bool,
    report: impl Fn(ImageResult) + Send + 'static,
) -> Result<(), BuildError> {
    in_background(async move {
        let engine = Engine::connect().await?;
        for recipe in RECIPES {
            if !force && let Some(name) = recipe.image.present(&engine).await? {
                report(ImageResult::Present(name));
                continue;
            }
            let name = recipe.image.local;
            let started = Instant::now();
            blocking(move || recipe.build()).await?;
            report(ImageResult::Built(name, started.elapsed()));
        }
        Ok(())
    })
    .await
}

impl Recipe {
    fn build(&self) -> Result<(), BuildError> {
        let assembly = Assembly {
            name: self.image.local,
            packages: self.packages,
            changes: self.changes,
        };
        assembly.build(|command, scratch| self.customize(command, scratch))
    }

    /// What is put into the folder tree beside packages.
    fn customize(&self, command: &mut Command, scratch: &Path) -> Result<(), BuildError> {
        if self.image == images::POSTGRES {
            let entrypoint = write_program(scratch, "postgres-entrypoint.sh", POSTGRES_ENTRYPOINT)?;
            let path = "/usr/local/bin/docker-entrypoint.sh";
            command.arg(format!(
                "--customize-hook=upload {} {path}",
                entrypoint.display()
            ));
            command.arg(format!("--customize-hook=chmod 755 \"$1{path}\""));
            // The cluster that the package made; the entrypoint makes the one that is used.
            command.arg("--customize-hook=rm -rf \"$1\"/var/lib/postgresql/*/main");
        }
        if self.image == images::LOCALSTACK {
            add_hook(command, scratch, LOCALSTACK_HOOK)?;
        }
        Ok(())
    }
}

/// An image that is made of packages and of what a hook adds.
pub(super) struct Assembly<'a> {
    pub(super) name: &'a str,
    pub(super) packages: &'a str,
    pub(super) changes: &'a [&'a str],
}

impl Assembly<'_> {
    pub(super) fn build(
        &self,
        customize: impl FnOnce(&mut Command, &Path) -> Result<(), BuildError>,
    ) -> Result<(), BuildError> {
        require(
            "mmdebstrap",
            "apt-get install mmdebstrap debian-archive-keyring",
        )?;
        require("unshare", "apt-get install util-linux")?;
        require("docker", "apt-get install docker.io")?;
        let made = |error| BuildError::Io("make a folder", error);
        let errand = Errand::begin().map_err(made)?;
        let scratch = errand.scratch().map_err(made)?;
        let archive = scratch.join("image.tar");
        // Its mounts are its own, and its tree lies in the folder of the errand: killed, it leaves neither behind.
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "mmdebstrap"]);
        command.env("TMPDIR", &scratch);
        command.args(["--quiet", "--variant=minbase"]);
        if !self.packages.is_empty() {
            command.arg(format!("--include={}", self.packages));
        }
        // Packages keep their documentation out of an image that only programs read.
        command.args([
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
        ]);
        customize(&mut command, &scratch)?;
        command.arg(RELEASE).arg(&archive);
        self.run(&errand, "mmdebstrap", &mut command)?;

        let before = self.image_id();
        let mut import = Command::new("docker");
        import.arg("import");
        for change in self.changes {
            import.args(["--change", change]);
        }
        import.arg(&archive).arg(self.name);
        self.run(&errand, "docker import", &mut import)?;
        if let Some(before) = before.filter(|before| Some(before) != self.image_id().as_ref()) {
            // Fails while a container still uses it; then it stays, without a name.
            Command::new("docker")
                .args(["image", "rm", &before])
                .output()
                .ok();
        }
        Ok(())
    }

    fn image_id(&self) -> Option<String> {
        let output = Command::new("docker")
            .args(["image", "inspect", "--format", "{{.Id}}", self.name])
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn run(
        &self,
        errand: &Errand,
        program: &'static str,
        command: &mut Command,
    ) -> Result<(), BuildError> {
        let Output {
            status,
            stdout,
            stderr,
        } = errand
            .output(command)
            .map_err(|error| BuildError::Io("start a program", error))?;
        if status.success() {
            return Ok(());
        }
        let text = [stdout, stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let output = lines[lines.len().saturating_sub(12)..].join(" | ");
        Err(BuildError::Failed {
            image: self.name.to_owned(),
            program,
            output,
        })
    }
}

/// Runs a script on the folder tree, with this machine's certificates and package index.
pub(super) fn add_hook(
    command: &mut Command,
    scratch: &Path,
    script: &str,
) -> Result<(), BuildError> {
    let hook = write_program(scratch, "hook.sh", script)?;
    let certificates = certificates().ok_or(BuildError::NoCertificates)?;
    command.env("HARNESS_CA_BUNDLE", certificates);
    command.envs(index_settings());
    command.arg(format!("--customize-hook={}", hook.display()));
    Ok(())
}

fn require(program: &'static str, remedy: &'static str) -> Result<PathBuf, BuildError> {
    on_path(program).ok_or(BuildError::MissingProgram { program, remedy })
}

fn write_program(folder: &Path, name: &str, text: &str) -> Result<PathBuf, BuildError> {
    let path = folder.join(name);
    fs::write(&path, text)
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
        .map_err(|error| BuildError::Io("write a script", error))?;
    Ok(path)
}

/// The certificates with which this machine reaches the package index.
fn certificates() -> Option<PathBuf> {
    let named = ["PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"]
        .into_iter()
        .filter_map(env::var_os);
    let configured = pip_configuration().into_iter();
    let configured = configured
        .filter(|(key, _)| key == "cert")
        .map(|(_, value)| value.into());
    let usual = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/cert.pem",
    ];
    named
        .chain(configured)
        .map(PathBuf::from)
        .chain(usual.into_iter().map(PathBuf::from))
        .find(|path| path.is_file())
}

/// This machine's package index, in the variables of pip and of uv.
fn index_settings() -> Vec<(&'static str, String)> {
    let mut settings = Vec::new();
    for (key, value) in pip_configuration() {
        let names: &[&'static str] = match key.as_str() {
            "index-url" => &["PIP_INDEX_URL", "UV_DEFAULT_INDEX"],
            "extra-index-url" => &["PIP_EXTRA_INDEX_URL", "UV_INDEX"],
            "trusted-host" => &["PIP_TRUSTED_HOST", "UV_INSECURE_HOST"],
            "proxy" => &["PIP_PROXY", "HTTPS_PROXY"],
            _ => &[],
        };
        settings.extend(names.iter().map(|&name| (name, value.clone())));
    }
    settings
}

/// pip's settings from its files and from the environment, the latter last.
fn pip_configuration() -> Vec<(String, String)> {
    let output = Command::new("python3")
        .args(["-m", "pip", "config", "list"])
        .output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let mut settings: Vec<(String, String)> = String::from_utf8_lossy(&text)
        .lines()
        .filter_map(pip_setting)
        .collect();
    settings.dedup();
    settings
}

/// `global.index-url='https://…'` as a key and its value.
fn pip_setting(line: &str) -> Option<(String, String)> {
    let (key, value) = line.split_once('=')?;
    let key = key.rsplit('.').next()?;
    let value = value.trim().trim_matches(['\'', '"']).replace("\\n", " ");
    Some((key.to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pip_settings_are_read_whoever_set_them() {
        let pair = |key: &str, value: &str| Some((key.to_owned(), value.to_owned()));
        assert_eq!(
            pip_setting("global.index-url='https://index.example/simple'"),
            pair("index-url", "https://index.example/simple")
        );
        assert_eq!(
            pip_setting(r":env:.extra-index-url='\na\nb'"),
            pair("extra-index-url", "a b")
        );
        assert_eq!(pip_setting("nothing"), None);
    }

    #[test]
    fn every_pinned_image_has_a_recipe() {
        for image in images::ALL {
            assert!(
                RECIPES.iter().any(|recipe| recipe.image == image),
                "{}",
                image.service
            );
        }
    }
}
