//! A program of this machine in a container of the run, with limits on its CPU and memory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use testcontainers::bollard::models::HostConfig;
use testcontainers::core::{AccessMode, Mount};
use testcontainers::{ContainerRequest, GenericImage, ImageExt};

use crate::background::{background, in_background};
use crate::engine::{Engine, EngineError};
use crate::images::{self, ImageError, Pull, name_and_tag};
use crate::provider::docker::{self, DockerError};
use crate::run_directory;

/// The account of Debian's `nobody`, for programs that root starts.
const NOBODY: u32 = 65534;

/// What to run in a container.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    /// The program: of this machine, mounted read-only, which has to run on the base image's libc; or of the image.
    pub program: PathBuf,
    /// The image whose program it is; `None` for a program of this machine.
    pub image: Option<ContainerImage>,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
    /// CPUs it may use, as a quota of time; `None` for all.
    pub cpus: Option<f64>,
    /// Memory it may use, without swap; the kernel kills it beyond. `None` for all.
    pub memory_mib: Option<u64>,
    /// Where its standard output and error go.
    pub log_file: PathBuf,
}

/// An image that brings the program along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerImage {
    /// Its name, which the engine has.
    pub name: String,
    /// A folder of this machine that the program reads, mounted read-only where it is.
    pub folder: PathBuf,
}

/// Why a program did not run in a container.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The stack is not on Docker.
    #[error("run {} in a container: the provider is {provider}, not docker", program.display())]
    NotDocker {
        /// The program.
        program: PathBuf,
        /// What the provider is.
        provider: crate::Provider,
    },
    /// A file is missing or cannot be written.
    #[error("open {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// A limit makes no sense.
    #[error("limit the container to {0} CPUs: it must be between 0.01 and 4096")]
    Cpus(f64),
    /// The engine or the image.
    #[error("{step}")]
    Docker {
        /// What was being done.
        step: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The program ended at once.
    #[error("run {} in a container: it ended with code {code}; its log ends with: {log}", program.display())]
    Ended {
        /// The program.
        program: PathBuf,
        /// Its exit code.
        code: i64,
        /// The last lines of its log.
        log: String,
    },
}

impl From<EngineError> for ContainerError {
    fn from(source: EngineError) -> ContainerError {
        ContainerError::Docker {
            step: "ask the Docker engine",
            source: Box::new(source),
        }
    }
}

impl From<ImageError> for ContainerError {
    fn from(source: ImageError) -> ContainerError {
        ContainerError::Docker {
            step: "choose the base image",
            source: Box::new(source),
        }
    }
}

impl From<DockerError> for ContainerError {
    fn from(source: DockerError) -> ContainerError {
        ContainerError::Docker {
            step: "start the container",
            source: Box::new(source),
        }
    }
}

/// How a container's program stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerStatus {
    /// It runs.
    pub running: bool,
    /// Its exit code, meaningful when it does not run.
    pub exit_code: i64,
    /// The kernel killed it for exceeding its memory.
    pub oom_killed: bool,
}

/// A program running in a container, on the network of this machine. Dropping it removes the
/// container in the background.
#[derive(Debug)]
pub struct ContainerProcess {
    engine: Engine,
    id: String,
    host_pid: u32,
}

impl ContainerProcess {
    pub(crate) async fn start(
        engine: Engine,
        labels: Vec<(String, String)>,
        spec: ContainerSpec,
    ) -> Result<ContainerProcess, ContainerError> {
        let image = match &spec.image {
            Some(image) => image.name.clone(),
            None => images::BASE.choose(&engine, Pull::Allowed).await?,
        };
        let request = request(&image, labels, &spec)?;
        let mut log = File::create(&spec.log_file).map_err(open(&spec.log_file))?;
        let id = docker::start_container(request, &image).await?;
        let mut process = ContainerProcess {
            engine,
            id,
            host_pid: 0,
        };
        let mut lines = process.engine.follow(&process.id);
        background().spawn(async move {
            while let Some(Ok(line)) = lines.next().await {
                // A reader polls this file: each piece is there as soon as it was printed.
                if log.write_all(line.as_ref()).is_err() {
                    break;
                }
            }
        });
        let state = process.engine.state(&process.id).await?;
        match state.pid.and_then(|pid| u32::try_from(pid).ok()) {
            Some(pid) if pid > 0 => process.host_pid = pid,
            _ => {
                let log = process.engine.log_tail(&process.id).await;
                let code = state.exit_code.unwrap_or_default();
                return Err(ContainerError::Ended {
                    program: spec.program,
                    code,
                    log,
                });
            }
        }
        Ok(process)
    }

    /// The process id on this machine (or in the engine's virtual machine, where there is one).
    #[must_use]
    pub fn host_pid(&self) -> u32 {
        self.host_pid
    }

    /// The container's id.
    #[must_use]
    pub fn container_id(&self) -> &str {
        &self.id
    }

    /// How the program stands now.
    ///
    /// # Errors
    /// When the engine does not tell.
    pub async fn status(&self) -> Result<ContainerStatus, ContainerError> {
        let (engine, id) = (self.engine.clone(), self.id.clone());
        let state = in_background(async move { engine.state(&id).await }).await?;
        Ok(ContainerStatus {
            running: state.running.unwrap_or_default(),
            exit_code: state.exit_code.unwrap_or_default(),
            oom_killed: state.oom_killed.unwrap_or_default(),
        })
    }

    /// Asks the program to end (TERM), kills it after `grace` (whole seconds), and removes the
    /// container. Gives how it ended.
    ///
    /// # Errors
    /// When the engine refuses; the run's end removes the container then.
    pub async fn stop(self, grace: Duration) -> Result<ContainerStatus, ContainerError> {
        let (engine, id) = (self.engine.clone(), self.id.clone());
        in_background(async move { engine.stop(&id, grace).await }).await?;
        let status = self.status().await?;
        let (engine, id) = (self.engine.clone(), self.id.clone());
        in_background(async move { engine.remove(&id).await }).await?;
        Ok(status)
    }
}

impl Drop for ContainerProcess {
    fn drop(&mut self) {
        let (engine, id) = (self.engine.clone(), std::mem::take(&mut self.id));
        background().spawn(async move {
            if let Err(error) = engine.remove(&id).await {
                tracing::debug!(id, %error, "a container stays until the run ends");
            }
        });
    }
}

fn open(path: &Path) -> impl FnOnce(io::Error) -> ContainerError {
    move |source| ContainerError::File {
        path: path.to_owned(),
        source,
    }
}

fn request(
    image: &str,
    labels: Vec<(String, String)>,
    spec: &ContainerSpec,
) -> Result<ContainerRequest<GenericImage>, ContainerError> {
    let (entrypoint, outside, inside) = match &spec.image {
        Some(image) => {
            let folder = fs::canonicalize(&image.folder).map_err(open(&image.folder))?;
            let inside = image.folder.display().to_string();
            (spec.program.display().to_string(), folder, inside)
        }
        None => {
            let program = fs::canonicalize(&spec.program).map_err(open(&spec.program))?;
            let inside = "/usr/local/bin/program".to_owned();
            (inside.clone(), program, inside)
        }
    };
    let nano_cpus = spec.cpus.map(nano_cpus).transpose()?;
    let memory = spec
        .memory_mib
        .map(|mib| i64::try_from(mib.saturating_mul(1 << 20)).unwrap_or(i64::MAX));
    // The same account as ours reads the program's /proc entries; root reads everybody's.
    let account = match run_directory::effective_uid() {
        Ok(uid) if uid != 0 => uid,
        _ => NOBODY,
    };
    let (name, tag) = name_and_tag(image);
    let mount = Mount::bind_mount(outside.display().to_string(), inside);
    let mut request = GenericImage::new(name, tag)
        .with_entrypoint(&entrypoint)
        .with_mount(mount.with_access_mode(AccessMode::ReadOnly))
        .with_user(format!("{account}:{account}"))
        .with_labels(labels)
        // The services listen on this machine's loopback, and so shall the program.
        .with_network("host")
        .with_host_config_modifier(move |config: &mut HostConfig| {
            config.publish_all_ports = Some(false);
            config.nano_cpus = nano_cpus;
            config.memory = memory;
            config.memory_swap = memory;
        });
    for (name, value) in &spec.environment {
        request = request.with_env_var(name, value);
    }
    // An empty command would be replaced by the image's own, which becomes an argument.
    Ok(request.with_cmd(&spec.arguments))
}

/// Billionths of a CPU, as the engine counts.
fn nano_cpus(cpus: f64) -> Result<i64, ContainerError> {
    if !(0.01..=4096.0).contains(&cpus) {
        return Err(ContainerError::Cpus(cpus));
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "at most 4096e9, checked above"
    )]
    Ok((cpus * 1e9).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_become_billionths() {
        assert_eq!(nano_cpus(0.25).expect("a quarter is fine"), 250_000_000);
        assert!(nano_cpus(0.0).is_err());
        assert!(nano_cpus(f64::NAN).is_err());
        assert!(nano_cpus(-1.0).is_err());
    }
}
