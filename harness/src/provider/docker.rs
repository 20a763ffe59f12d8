//! The Docker provider: pinned images in containers that publish their ports on loopback only.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;
use testcontainers::bollard::models::{HostConfig, PortBinding};
use testcontainers::core::Mount;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerRequest, GenericImage, ImageExt, TestcontainersError};

use crate::development::{POSTGRES_VOLUME, REDIS_VOLUME, Wishes, container_name};
use crate::engine::{Engine, EngineError};
use crate::images::{self, ImageError, Pull, name_and_tag};
use crate::poll::{self, PollError, Progress};
use crate::postgres::{self, PostgresAddress};
use crate::provider::Started;
use crate::redis::{self, RedisAddress};
use crate::run_directory::RunDirectory;
use crate::s3::S3Access;
use crate::stack::steps::{StackError, container_labels, step};

/// LocalStack imports a great deal of Python before it answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);
/// What creates the resources inside LocalStack; also mounted by compose.yaml.
const INIT_SCRIPT: &str = include_str!("../../../localstack/init/ready.d/10-resources.py");
/// Where LocalStack looks for it.
const INIT_PATH: &str = "/etc/localstack/init/ready.d/10-resources.py";

/// The images of one run.
#[derive(Debug, Clone)]
pub(crate) struct Images {
    postgres: String,
    redis: String,
    localstack: String,
}

impl Images {
    pub(crate) async fn choose(engine: &Engine, pull: Pull) -> Result<Images, ImageError> {
        // One after the other: the first that cannot be had spares the wait for the others.
        Ok(Images {
            postgres: images::POSTGRES.choose(engine, pull).await?,
            redis: images::REDIS.choose(engine, pull).await?,
            localstack: images::LOCALSTACK.choose(engine, pull).await?,
        })
    }
}

/// Why a container did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DockerError {
    #[error("start a container of {image}")]
    Start {
        image: String,
        #[source]
        source: TestcontainersError,
    },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("find the port of {service}: the engine published none")]
    NoPort { service: &'static str },
    #[error("hear from {service}, whose log ends with: {log}")]
    NoAnswer {
        service: &'static str,
        log: String,
        #[source]
        source: PollError,
    },
}

/// A container that runs and publishes its port.
#[derive(Debug)]
struct Running {
    service: &'static str,
    id: String,
    port: u16,
}

/// Starts the three services at once.
pub(crate) async fn start(
    engine: &Engine,
    images: &Images,
    run: &RunDirectory,
    wishes: &Wishes,
) -> Result<Started, StackError> {
    // Tells the clean-up script that there are containers to look for.
    let mark = run.mark("containers");
    step(
        "note that there are containers",
        Duration::from_secs(5),
        async { mark },
    )
    .await?;
    let limit = Duration::from_secs(120);
    let (postgres, redis, s3) = tokio::try_join!(
        step(
            "start Postgres",
            limit,
            start_postgres(engine, &images.postgres, run, wishes)
        ),
        step(
            "start Redis",
            limit,
            start_redis(engine, &images.redis, run, wishes)
        ),
        step(
            "start LocalStack",
            limit,
            start_localstack(engine, &images.localstack, run, wishes)
        ),
    )?;
    let (s3, version) = s3;
    Ok(Started {
        postgres,
        redis,
        s3: Some(s3),
        s3_name: format!("LocalStack {version}"),
    })
}

async fn start_postgres(
    engine: &Engine,
    image: &str,
    run: &RunDirectory,
    wishes: &Wishes,
) -> Result<PostgresAddress, DockerError> {
    let mut arguments = vec!["postgres".to_owned()];
    // Somebody's own image may lack the library, and then would not start.
    let counting = images::POSTGRES
        .is_pinned(image)
        .then_some(postgres::COUNT_STATEMENTS);
    for setting in postgres::SETTINGS.into_iter().chain(counting) {
        arguments.extend(["-c".to_owned(), setting.to_owned()]);
    }
    let request = request(image)
        .with_cmd(arguments)
        // Only this machine reaches the port, and scram costs every connection milliseconds.
        .with_env_var("POSTGRES_HOST_AUTH_METHOD", "trust")
        .with_mount(if wishes.keep.is_some() {
            Mount::volume_mount(POSTGRES_VOLUME, "/var/lib/postgresql/data")
        } else {
            Mount::tmpfs_mount("/var/lib/postgresql/data")
        });
    let port = Port {
        inside: "5432/tcp",
        outside: wishes.ports.postgres,
    };
    let running = run_service(engine, run, "Postgres", image, request, port).await?;
    let address = PostgresAddress { port: running.port };
    wait(engine, &running, || async {
        match postgres::data_directory(&address).await {
            Ok(_) => Progress::Ready(()),
            Err(error) => Progress::NotYet(error.to_string()),
        }
    })
    .await?;
    Ok(address)
}

async fn start_redis(
    engine: &Engine,
    image: &str,
    run: &RunDirectory,
    wishes: &Wishes,
) -> Result<RedisAddress, DockerError> {
    let secret = wishes.secret();
    let arguments = [
        "redis-server",
        "--bind",
        "0.0.0.0",
        "--protected-mode",
        "no",
    ];
    let arguments = arguments.into_iter().chain(redis::ARGUMENTS);
    let arguments = arguments.chain(["--requirepass", &secret]);
    let mut arguments: Vec<&str> = arguments.collect();
    let mut request = request(image);
    if wishes.keep.is_some() {
        // A new volume belongs to whom the folder in the image belongs to, which has to be the server's user.
        let folder = match image == images::REDIS.local {
            true => "/var/lib/redis",
            false => "/data",
        };
        arguments.extend(["--appendonly", "yes", "--dir", folder]);
        request = request.with_mount(Mount::volume_mount(REDIS_VOLUME, folder));
    }
    let request = request.with_cmd(arguments);
    let port = Port {
        inside: "6379/tcp",
        outside: wishes.ports.redis,
    };
    let running = run_service(engine, run, "Redis", image, request, port).await?;
    let address = RedisAddress {
        port: running.port,
        secret,
    };
    wait(engine, &running, || async {
        match redis::info(&address, "redis_version").await {
            Ok(_) => Progress::Ready(()),
            Err(error) => Progress::NotYet(error.to_string()),
        }
    })
    .await?;
    Ok(address)
}

/// What LocalStack answers at `/_localstack/init/ready`.
#[derive(Debug, Deserialize)]
struct InitState {
    completed: bool,
    scripts: Vec<InitScript>,
}

#[derive(Debug, Deserialize)]
struct InitScript {
    name: String,
    state: String,
}

/// What LocalStack answers at `/_localstack/health`; the rest is the state of its services.
#[derive(Debug, Deserialize)]
struct Health {
    version: String,
}

async fn start_localstack(
    engine: &Engine,
    image: &str,
    run: &RunDirectory,
    wishes: &Wishes,
) -> Result<(S3Access, String), DockerError> {
    let mut request = request(image)
        .with_env_var("SERVICES", "s3,sqs,secretsmanager")
        .with_env_var("SKIP_SSL_CERT_DOWNLOAD", "1")
        .with_env_var("DISABLE_EVENTS", "1")
        // As AWS does: a forged presigned URL is refused.
        .with_env_var("S3_SKIP_SIGNATURE_VALIDATION", "0")
        .with_copy_to(INIT_PATH, INIT_SCRIPT.as_bytes().to_vec());
    // Releases after 4.9 do not start without one.
    if let Ok(token) = std::env::var("LOCALSTACK_AUTH_TOKEN") {
        request = request.with_env_var("LOCALSTACK_AUTH_TOKEN", token);
    }
    let port = Port {
        inside: "4566/tcp",
        outside: wishes.ports.s3,
    };
    let running = run_service(engine, run, "LocalStack", image, request, port).await?;
    let endpoint = format!("http://127.0.0.1:{}", running.port);
    let version = wait(engine, &running, || async {
        match localstack_state(&endpoint).await {
            Ok(progress) => progress,
            Err(error) => Progress::NotYet(error.to_string()),
        }
    })
    .await?;
    // The one pair of keys whose signatures LocalStack can check.
    let access = S3Access {
        endpoint,
        access_key_id: "test".to_owned(),
        secret_access_key: "test".to_owned(),
    };
    Ok((access, version))
}

/// Ready with its version once LocalStack is healthy and its init scripts have run.
async fn localstack_state(endpoint: &str) -> Result<Progress<String>, reqwest::Error> {
    let health = reqwest::get(format!("{endpoint}/_localstack/health")).await?;
    let health: Health = health.error_for_status()?.json().await?;
    let init = reqwest::get(format!("{endpoint}/_localstack/init/ready")).await?;
    let init: InitState = init.error_for_status()?.json().await?;
    let scripts = &init.scripts;
    if let Some(script) = scripts.iter().find(|script| script.state == "ERROR") {
        let reason = format!("its init script {} failed", script.name);
        return Ok(Progress::Failed(reason));
    }
    let successful = scripts.iter().all(|script| script.state == "SUCCESSFUL");
    Ok(if init.completed && successful && !scripts.is_empty() {
        Progress::Ready(health.version)
    } else {
        Progress::NotYet("its init scripts have not run yet".to_owned())
    })
}

fn request(image: &str) -> ContainerRequest<GenericImage> {
    let (name, tag) = name_and_tag(image);
    GenericImage::new(name, tag).into()
}

/// The port of a service in its container, and on this machine; 0 is any free one.
#[derive(Debug, Clone, Copy)]
struct Port {
    inside: &'static str,
    outside: u16,
}

/// Starts a container that publishes one port on loopback only.
async fn run_service(
    engine: &Engine,
    run: &RunDirectory,
    service: &'static str,
    image: &str,
    request: ContainerRequest<GenericImage>,
    port: Port,
) -> Result<Running, DockerError> {
    let Port { inside, outside } = port;
    let request = request
        .with_container_name(container_name(run.id(), service))
        .with_labels(container_labels(run))
        .with_host_config_modifier(move |config: &mut HostConfig| {
            let loopback = PortBinding {
                host_ip: Some("127.0.0.1".to_owned()),
                host_port: (outside != 0).then(|| outside.to_string()),
            };
            let bindings = HashMap::from([(inside.to_owned(), Some(vec![loopback]))]);
            config.port_bindings = Some(bindings);
            config.publish_all_ports = Some(false);
        });
    let id = start_container(request, image).await?;
    let port = engine.published_port(&id, inside).await?;
    Ok(Running {
        service,
        id,
        port: port.ok_or(DockerError::NoPort { service })?,
    })
}

/// Starts a container and gives it over to the run: its label is what removes it.
pub(crate) async fn start_container(
    request: ContainerRequest<GenericImage>,
    image: &str,
) -> Result<String, DockerError> {
    let started = request.start().await;
    let container = started.map_err(|source| DockerError::Start {
        image: image.to_owned(),
        source,
    })?;
    let id = container.id().to_owned();
    // Its destructor would remove the container, and panics outside a runtime.
    std::mem::forget(container);
    Ok(id)
}

async fn wait<T, F>(
    engine: &Engine,
    running: &Running,
    mut question: impl FnMut() -> F,
) -> Result<T, DockerError>
where
    F: Future<Output = Progress<T>>,
{
    let answered = poll::until(running.service, ANSWER_TIMEOUT, || {
        let asked = question();
        async move {
            match asked.await {
                Progress::NotYet(status) => match engine.state(&running.id).await {
                    Ok(state) if state.running == Some(false) => {
                        let code = state.exit_code.unwrap_or_default();
                        Progress::Failed(format!("its container ended with code {code}"))
                    }
                    _ => Progress::NotYet(status),
                },
                answer => answer,
            }
        }
    })
    .await;
    match answered {
        Ok(value) => Ok(value),
        Err(source) => {
            let log = engine.log_tail(&running.id).await;
            Err(DockerError::NoAnswer {
                service: running.service,
                log,
                source,
            })
        }
    }
}
