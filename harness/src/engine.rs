//! The Docker engine: is it there, which images has it, and the containers of runs.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use testcontainers::bollard::Docker;
use testcontainers::bollard::container::LogOutput;
use testcontainers::bollard::errors::Error as BollardError;
use testcontainers::bollard::models::ContainerState;
use testcontainers::bollard::query_parameters::{
    CreateImageOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptions,
    StopContainerOptionsBuilder,
};
use testcontainers::core::client::docker_client_instance;

use crate::images::{Pull, name_and_tag};
use crate::run_directory;

/// Marks the containers of every run.
pub(crate) const LABEL: &str = "org.h2o-allegiant.harness";
/// Marks the containers of one run with its id.
pub(crate) const LABEL_RUN: &str = "org.h2o-allegiant.harness.run";
/// Says in which folder the run lives, or lived.
pub(crate) const LABEL_ROOT: &str = "org.h2o-allegiant.harness.root";

/// A dead daemon's socket may accept and never answer.
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// An unreachable registry gives up within this.
const PULL_FIRST_TIMEOUT: Duration = Duration::from_secs(10);
/// A download that stands still this long is dead.
const PULL_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Why the engine did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The client's layers each add a cause that says the same; the innermost one tells what happened.
    #[error("reach a Docker engine at {place}: {why}")]
    Unreachable { place: String, why: String },
    #[error("{what} with the Docker engine")]
    Refused {
        what: &'static str,
        #[source]
        source: BollardError,
    },
    #[error("pull {image}")]
    Pull {
        image: String,
        #[source]
        source: BollardError,
    },
    #[error("pull {image}: nothing heard from the registry for {} s", after.as_secs())]
    PullSilent { image: String, after: Duration },
    #[error("pull {image}: not tried, because pulling failed a few minutes ago")]
    PullFailedBefore { image: String },
    #[error("use the folder of the runs")]
    RunFolder(#[source] std::io::Error),
}

fn refused(what: &'static str) -> impl FnOnce(BollardError) -> EngineError {
    move |source| EngineError::Refused { what, source }
}

/// What the innermost cause of an error says.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// An engine that has answered.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    docker: Docker,
}

impl Engine {
    /// The engine that `DOCKER_HOST` names or whose socket is at a usual place.
    pub(crate) async fn connect() -> Result<Engine, EngineError> {
        let unreachable = |why: String| EngineError::Unreachable {
            place: std::env::var("DOCKER_HOST").unwrap_or_else(|_| "the usual sockets".to_owned()),
            why,
        };
        let docker = docker_client_instance()
            .await
            .map_err(|error| unreachable(innermost(&error)))?;
        match tokio::time::timeout(PING_TIMEOUT, docker.version()).await {
            Ok(Ok(_)) => Ok(Engine { docker }),
            Ok(Err(error)) => Err(unreachable(innermost(&error))),
            Err(_) => {
                let limit_s = PING_TIMEOUT.as_secs();
                Err(unreachable(format!("no answer within {limit_s} s")))
            }
        }
    }

    /// Version and kind, for `doctor`.
    pub(crate) async fn version(&self) -> Result<String, EngineError> {
        let version = self
            .docker
            .version()
            .await
            .map_err(refused("ask for the version"))?;
        let (version, api) = (version.version.unwrap_or_default(), version.api_version);
        Ok(format!("{version}, API {}", api.unwrap_or_default()))
    }

    pub(crate) async fn has_image(&self, image: &str) -> Result<bool, EngineError> {
        match self.docker.inspect_image(image).await {
            Ok(_) => Ok(true),
            Err(BollardError::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(false),
            Err(source) => Err(EngineError::Refused {
                what: "look for an image",
                source,
            }),
        }
    }

    /// Whether a registry has an image; nothing of it is downloaded.
    pub(crate) async fn offered(&self, image: &str) -> Result<(), EngineError> {
        let asked = self.docker.inspect_registry_image(image, None);
        match tokio::time::timeout(PULL_FIRST_TIMEOUT, asked).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(source)) => Err(EngineError::Refused {
                what: "ask the registry",
                source,
            }),
            Err(_) => Err(EngineError::PullSilent {
                image: image.to_owned(),
                after: PULL_FIRST_TIMEOUT,
            }),
        }
    }

    pub(crate) async fn pull_if(&self, image: &str, pull: Pull) -> Result<(), EngineError> {
        match pull {
            Pull::Allowed => self.pull(image).await,
            Pull::FailedRecently => Err(EngineError::PullFailedBefore {
                image: image.to_owned(),
            }),
        }
    }

    /// Downloads an image. Gives up after 10 s without a first word from the registry, and after
    /// 60 s of silence later on; a download that makes progress takes the time it needs.
    async fn pull(&self, image: &str) -> Result<(), EngineError> {
        let (name, tag) = name_and_tag(image);
        let options = CreateImageOptionsBuilder::new()
            .from_image(name)
            .tag(tag)
            .build();
        tracing::info!(image, "pulling an image");
        let mut progress = self.docker.create_image(Some(options), None, None);
        let mut limit = PULL_FIRST_TIMEOUT;
        loop {
            match tokio::time::timeout(limit, progress.next()).await {
                Ok(Some(Ok(_))) => limit = PULL_IDLE_TIMEOUT,
                Ok(Some(Err(source))) => {
                    return Err(EngineError::Pull {
                        image: image.to_owned(),
                        source,
                    });
                }
                Ok(None) => return Ok(()),
                Err(_) => {
                    return Err(EngineError::PullSilent {
                        image: image.to_owned(),
                        after: limit,
                    });
                }
            }
        }
    }

    pub(crate) async fn state(&self, container: &str) -> Result<ContainerState, EngineError> {
        let inspected = self
            .docker
            .inspect_container(container, None::<InspectContainerOptions>);
        let inspected = inspected.await.map_err(refused("inspect a container"))?;
        Ok(inspected.state.unwrap_or_default())
    }

    /// The port of this machine at which a port of a container is published.
    pub(crate) async fn published_port(
        &self,
        container: &str,
        port: &str,
    ) -> Result<Option<u16>, EngineError> {
        let inspected = self
            .docker
            .inspect_container(container, None::<InspectContainerOptions>);
        let inspected = inspected.await.map_err(refused("inspect a container"))?;
        let ports = inspected.network_settings.and_then(|network| network.ports);
        let bindings = ports.and_then(|mut ports| ports.remove(port)?);
        Ok(bindings
            .into_iter()
            .flatten()
            .find_map(|binding| binding.host_port?.parse().ok()))
    }

    /// What a container prints, from its first line on, until it ends.
    pub(crate) fn follow(
        &self,
        container: &str,
    ) -> impl futures::Stream<Item = Result<LogOutput, BollardError>> + Send + use<> {
        let options = LogsOptionsBuilder::new()
            .follow(true)
            .stdout(true)
            .stderr(true)
            .build();
        self.docker.logs(container, Some(options))
    }

    /// The last lines of a container's log, on one line.
    pub(crate) async fn log_tail(&self, container: &str) -> String {
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .tail("5")
            .build();
        let lines = self
            .docker
            .logs(container, Some(options))
            .collect::<Vec<_>>()
            .await;
        let lines = lines
            .into_iter()
            .flatten()
            .map(|line| line.to_string().trim().to_owned());
        lines.collect::<Vec<_>>().join(" | ")
    }

    /// TERM, then KILL after `grace`.
    pub(crate) async fn stop(&self, container: &str, grace: Duration) -> Result<(), EngineError> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        let stopped = self.docker.stop_container(container, Some(options)).await;
        stopped.map_err(refused("stop a container"))
    }

    /// Removes a container with its anonymous volumes, running or not. One that is gone, or is
    /// just being removed by somebody else, is as good.
    pub(crate) async fn remove(&self, container: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        match self.docker.remove_container(container, Some(options)).await {
            Ok(())
            | Err(BollardError::DockerResponseServerError {
                status_code: 404 | 409,
                ..
            }) => Ok(()),
            Err(source) => Err(EngineError::Refused {
                what: "remove a container",
                source,
            }),
        }
    }

    /// Removes a volume; `false` when there is none of this name.
    pub(crate) async fn remove_volume(&self, volume: &str) -> Result<bool, EngineError> {
        match self
            .docker
            .remove_volume(volume, None::<RemoveVolumeOptions>)
            .await
        {
            Ok(()) => Ok(true),
            Err(BollardError::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(false),
            Err(source) => Err(EngineError::Refused {
                what: "remove a volume",
                source,
            }),
        }
    }

    /// Removes all containers of one run.
    pub(crate) async fn remove_run(&self, run: &str) -> Result<(), EngineError> {
        for (container, _) in self.labelled(&format!("{LABEL_RUN}={run}")).await? {
            self.remove(&container).await?;
        }
        Ok(())
    }

    /// Removes this user's containers whose run has no folder any more: the engine was creating
    /// them while their owner died, or there was no docker program to remove them.
    pub(crate) async fn remove_orphans(&self) -> Result<Vec<String>, EngineError> {
        let root = run_directory::root().map_err(EngineError::RunFolder)?;
        let mut removed = Vec::new();
        let label = format!("{LABEL_ROOT}={}", root.display());
        for (container, run) in self.labelled(&label).await? {
            if !run.is_empty() && !Path::new(&root).join(&run).exists() {
                self.remove(&container).await?;
                removed.push(container);
            }
        }
        Ok(removed)
    }

    /// Containers with a label, and their runs.
    async fn labelled(&self, label: &str) -> Result<Vec<(String, String)>, EngineError> {
        let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let listed = self.docker.list_containers(Some(options)).await;
        let listed = listed.map_err(refused("list containers"))?;
        Ok(listed
            .into_iter()
            .filter_map(|container| {
                let run = container
                    .labels
                    .and_then(|mut labels| labels.remove(LABEL_RUN));
                Some((container.id?, run.unwrap_or_default()))
            })
            .collect())
    }
}
