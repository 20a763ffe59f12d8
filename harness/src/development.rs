//! The stack for development: ports that stay, state that may, and a description for a person.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use crate::background::in_background;
use crate::binaries::{chain, wheel};
use crate::provider::Provider;
use crate::run_directory;
use crate::stack::steps::step;
use crate::stack::{Stack, StackError};

/// The database, the bucket and the password of a stack for development.
const DATABASE: &str = "allegiant";
const BUCKET: &str = "allegiant-documents";
const SECRET: &str = "development";
/// Says in a folder that it is the harness's to delete.
const OURS: &str = "kept-by-harness-up";
/// Says in a run's folder that `up` started it, with the process to ask for its end.
pub(crate) const OWNER: &str = "development";
/// Names in a run's folder the file into which `up` has written the environment.
const ENVIRONMENT: &str = "environment";
/// Volumes that hold the state of containers.
pub(crate) const VOLUMES: [&str; 2] = [POSTGRES_VOLUME, REDIS_VOLUME];
pub(crate) const POSTGRES_VOLUME: &str = "h2o-allegiant-development-postgres";
pub(crate) const REDIS_VOLUME: &str = "h2o-allegiant-development-redis";

/// Where the services listen; 0 is any free port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ports {
    /// Of Postgres.
    pub postgres: u16,
    /// Of Redis.
    pub redis: u16,
    /// Of S3.
    pub s3: u16,
}

/// How a stack differs from one for tests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    pub(crate) ports: Ports,
    /// Where the state is kept; `None`: in the run's folder, gone with it.
    pub(crate) keep: Option<PathBuf>,
    /// Of Redis and S3; `None`, as for tests: drawn at random.
    pub(crate) secret: Option<String>,
    _kept: Option<std::sync::Arc<File>>,
}

/// Why the wishes cannot be granted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WishError {
    #[error(
        "listen on 127.0.0.1:{port} for {service}: the port is in use; `harness down` ends an earlier `up`, {flag} takes another port"
    )]
    Occupied {
        service: &'static str,
        port: u16,
        flag: &'static str,
    },
    #[error("keep the state in {} (set HARNESS_CACHE_DIR to another folder)", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("keep the state in {}: another `up --keep` is using it; `harness down` ends it", path.display())]
    InUse { path: PathBuf },
}

impl Wishes {
    /// Those of `harness up`.
    pub(crate) fn development(ports: Ports, keep: bool) -> Result<Wishes, WishError> {
        for (service, port, flag) in [
            ("Postgres", ports.postgres, "--postgres-port"),
            ("Redis", ports.redis, "--redis-port"),
            ("S3", ports.s3, "--s3-port"),
        ] {
            if port != 0 && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
                return Err(WishError::Occupied {
                    service,
                    port,
                    flag,
                });
            }
        }
        let mut wishes = Wishes {
            ports,
            secret: Some(SECRET.to_owned()),
            ..Wishes::default()
        };
        if keep {
            let path = state_folder();
            let open = || {
                wheel::create_open(&path)?;
                File::create(path.join(OURS))
            };
            let lock = open().map_err(|source| WishError::Folder {
                path: path.clone(),
                source,
            })?;
            if lock.try_lock().is_err() {
                return Err(WishError::InUse { path });
            }
            wishes.keep = Some(path);
            wishes._kept = Some(lock.into());
        }
        Ok(wishes)
    }

    /// Notes in the folder of a stack for development which process to ask for its end: before anything is
    /// started, so that `harness down` also ends one that is starting.
    pub(crate) fn note_owner(&self, run: &Path) -> io::Result<()> {
        if self.secret.is_none() {
            return Ok(());
        }
        let id = std::process::id();
        fs::write(
            run.join(OWNER),
            format!("{id} {}", run_directory::start_time(id)),
        )
    }

    /// Whether what the services have is kept for the next time.
    pub(crate) fn keeps(&self) -> bool {
        self.keep.is_some()
    }

    /// The folder for the files of a service.
    pub(crate) fn folder(&self, run: &Path, service: &str) -> PathBuf {
        self.keep.as_deref().unwrap_or(run).join(service)
    }

    pub(crate) fn secret(&self) -> String {
        let random = || uuid::Uuid::new_v4().simple().to_string();
        self.secret.clone().unwrap_or_else(random)
    }
}

/// Where `up --keep` keeps the state of native services.
fn state_folder() -> PathBuf {
    wheel::cache_folder().join("development")
}

/// Deletes the kept state of native services, if there is some and nobody uses it.
///
/// # Errors
/// When a file cannot be deleted.
pub(crate) fn forget_state() -> io::Result<Option<PathBuf>> {
    let folder = state_folder();
    // Without the mark the folder is somebody else's.
    match File::open(folder.join(OURS)) {
        Ok(lock) if lock.try_lock().is_ok() => {
            fs::remove_dir_all(&folder)?;
            Ok(Some(folder))
        }
        Ok(_) => Err(io::Error::other("it is in use by `harness up --keep`")),
        Err(_) => Ok(None),
    }
}

/// A service of a running stack, for a person.
#[derive(Debug, Clone)]
pub struct ServiceStatus {
    /// What it is, with its version.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// `ok`, or what it answers instead.
    pub health: String,
    /// Where its log is, or the command that shows it.
    pub log: String,
}

impl Stack {
    /// Each service of the stack, asked just now.
    pub async fn services(&self) -> Vec<ServiceStatus> {
        let places = self.places();
        let (postgres, redis, s3) = (&places.postgres, &places.redis, &places.s3);
        let selected = sqlx::query_scalar::<_, i32>("SELECT 1").fetch_one(postgres.admin());
        let redis_answer = crate::redis::info(redis.address(), "redis_version").await;
        vec![
            ServiceStatus {
                name: format!("Postgres {}", self.postgres_version()),
                address: format!("127.0.0.1:{}", postgres.address().port),
                health: health(selected.await),
                log: self.log_of("postgres"),
            },
            ServiceStatus {
                name: format!("Redis {}", self.redis_version()),
                address: format!("127.0.0.1:{}", redis.address().port),
                health: health(redis_answer),
                log: self.log_of("redis"),
            },
            ServiceStatus {
                name: format!("S3 {}", self.s3_name()),
                address: s3.access().endpoint.clone(),
                health: health(s3.ask().await),
                log: self.log_of("localstack"),
            },
        ]
    }

    fn log_of(&self, service: &str) -> String {
        match self.provider() {
            Provider::Docker => format!("docker logs {}", container_name(self.id(), service)),
            Provider::Native if service == "localstack" => "stderr of this process".to_owned(),
            Provider::Native => {
                let log = self.run_dir().join("logs").join(format!("{service}.log"));
                log.display().to_string()
            }
        }
    }

    /// Has a file removed when this process dies, in whichever way, provided that a line `# run ID` in it
    /// names this stack's run.
    ///
    /// # Errors
    /// When it cannot be noted.
    pub fn guard_environment_file(&self, file: &Path) -> io::Result<()> {
        let file = std::path::absolute(file)?;
        fs::write(
            self.run_dir().join(ENVIRONMENT),
            format!("{}\n", file.display()),
        )
    }

    /// Makes the database and the bucket for development, unless kept state has them, and gives
    /// the environment of a program that uses them.
    ///
    /// # Errors
    /// When a service refuses.
    pub async fn development(&self) -> Result<Vec<(String, String)>, StackError> {
        let places = self.places();
        in_background(async move {
            let limit = std::time::Duration::from_secs(20);
            let made = places.postgres.create_database(DATABASE);
            step("create the database", limit, made).await?;
            let made = places.s3.create_bucket_unless_there(BUCKET);
            step("create the bucket", limit, made).await?;
            let access = places.s3.access();
            Ok([
                ("DATABASE_URL", places.postgres.address().url(DATABASE)),
                ("REDIS_URL", places.redis.address().url(0)),
                ("AWS_ENDPOINT_URL", access.endpoint.clone()),
                ("AWS_ACCESS_KEY_ID", access.access_key_id.clone()),
                ("AWS_SECRET_ACCESS_KEY", access.secret_access_key.clone()),
                ("AWS_REGION", crate::s3::REGION.to_owned()),
                ("S3_BUCKET", BUCKET.to_owned()),
                ("S3_FORCE_PATH_STYLE", "true".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec())
        })
        .await
    }
}

/// The name of a service's container.
pub(crate) fn container_name(run: &str, service: &str) -> String {
    format!("h2o-allegiant-{run}-{}", service.to_lowercase())
}

fn health<T, E: std::error::Error + 'static>(answer: Result<T, E>) -> String {
    match answer {
        Ok(_) => "ok".to_owned(),
        Err(error) => chain(&error),
    }
}
