//! The steps in which a stack starts and ends, each with its name and its time-out.

use std::error::Error;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::background::blocking;
use crate::binaries::{chain, wheel};
use crate::cleanup::{self, CleanupError, Guardian};
use crate::development::Wishes;
use crate::engine::{Engine, LABEL, LABEL_ROOT, LABEL_RUN};
use crate::memory;
use crate::places::Places;
use crate::postgres::{PostgresAddress, PostgresServer};
use crate::provider::{self, Decision, Means, Provider, ProviderChoice, Started, native};
use crate::redis::{RedisAddress, RedisServer};
use crate::run_directory::{Ownership, RunDirectory};
use crate::s3::{S3Server, S3StartError};
use crate::shared::Record;

/// Why the stack did not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// A step failed.
    #[error("{step}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A step failed for want of room on a disk.
    #[error("{step}: a disk is full; {remedy}")]
    Full {
        /// What was being done.
        step: &'static str,
        /// Where room is needed, and how to take another place.
        remedy: String,
        /// What the system said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A step took too long.
    #[error("{step}: not done within {} s", limit.as_secs())]
    TimedOut {
        /// What was being done.
        step: &'static str,
        /// How long it may take.
        limit: Duration,
    },
    /// Something is left.
    #[error("clean up")]
    Cleanup(#[from] CleanupError),
}

/// Gives a part of the start its name and its time-out.
pub(crate) async fn step<T, E: Error + Send + Sync + 'static>(
    step: &'static str,
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, StackError> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(value)) => Ok(value),
        // Servers and pip are heard in words only.
        Ok(Err(error)) if chain(&error).contains("No space left on device") => {
            Err(StackError::Full {
                step,
                remedy: room_needed(),
                source: Box::new(error),
            })
        }
        Ok(Err(error)) => Err(StackError::Step {
            step,
            source: Box::new(error),
        }),
        Err(_) => Err(StackError::TimedOut { step, limit }),
    }
}

/// The folders in which the harness writes and there is little room, each with the variable that
/// moves it; all of them when the room has come back since.
fn room_needed() -> String {
    const LITTLE_BYTES: u64 = 256 << 20;
    let little = |folder: &Path| {
        let nearest = folder.ancestors().find(|above| above.exists())?;
        let found = rustix::fs::statfs(nearest).ok()?;
        let block_bytes = u64::try_from(found.f_bsize).ok()?;
        Some(found.f_bavail.checked_mul(block_bytes)? < LITTLE_BYTES)
    };
    let folders = [
        (std::env::temp_dir(), "TMPDIR"),
        (PathBuf::from(memory::MEMORY), "TMPDIR"),
        (wheel::cache_folder(), wheel::CACHE_VARIABLE),
    ];
    let full = folders
        .iter()
        .filter(|(folder, _)| little(folder) == Some(true));
    let mut full: Vec<_> = full.collect();
    if full.is_empty() {
        full.extend(&folders);
    }
    let full = full.into_iter().map(|(folder, variable)| {
        format!(
            "free some room in {} or set {variable} to another folder",
            folder.display()
        )
    });
    full.collect::<Vec<_>>().join(", ")
}

/// What `HARNESS_PROVIDER` asks for.
pub(super) fn choice_of_the_user() -> Result<ProviderChoice, StackError> {
    ProviderChoice::from_environment().map_err(|error| StackError::Step {
        step: "choose a provider",
        source: Box::new(error),
    })
}

/// What a dead run left is worth a line, not a failure of this run.
pub(super) async fn sweep_quietly() {
    match blocking(cleanup::sweep).await {
        Ok(swept) => {
            for run in swept.runs {
                tracing::info!(run = run.id, "removed what a dead run had left");
            }
        }
        // Whoever makes a run there next meets the same, and tells.
        Err(CleanupError::RunFolder(_)) => {}
        Err(error) => tracing::warn!(
            error = chain(&error),
            "something of a dead run is still there"
        ),
    }
}

pub(super) async fn decide(choice: ProviderChoice) -> Result<Decision, StackError> {
    let limit = Duration::from_secs(900);
    let decision = step("choose a provider", limit, provider::decide(choice)).await?;
    if let Means::Docker { engine, .. } = &decision.means
        && let Err(error) = engine.remove_orphans().await
    {
        let error = chain(&error);
        tracing::warn!(error, "a container of a dead run may still be there");
    }
    Ok(decision)
}

/// The folder of what this process starts, with the guardian that removes it.
pub(super) fn new_run() -> Result<(Arc<RunDirectory>, Guardian), CleanupError> {
    let run = RunDirectory::create(Ownership::Alone).map_err(CleanupError::RunFolder)?;
    let guardian = Guardian::start(&run).inspect_err(|_| {
        std::fs::remove_dir_all(run.path()).ok();
    })?;
    Ok((Arc::new(run), guardian))
}

/// The engine removes containers itself, so that no docker program is needed; the guardian does
/// the rest.
pub(super) async fn end(
    guardian: Guardian,
    run: &RunDirectory,
    engine: Option<&Engine>,
) -> Result<(), StackError> {
    if let Some(engine) = engine {
        step(
            "remove the containers",
            Duration::from_secs(60),
            engine.remove_run(run.id()),
        )
        .await?;
    }
    Ok(blocking(move || guardian.finish()).await?)
}

pub(crate) fn container_labels(run: &RunDirectory) -> Vec<(String, String)> {
    let root = run.path().parent().unwrap_or(run.path());
    vec![
        (LABEL.to_owned(), "run".to_owned()),
        (LABEL_RUN.to_owned(), run.id().to_owned()),
        (LABEL_ROOT.to_owned(), root.display().to_string()),
    ]
}

pub(super) async fn start_services(
    run: &Arc<RunDirectory>,
    decision: &Decision,
    wishes: &Wishes,
) -> Result<Record, StackError> {
    let (provider, started) = match &decision.means {
        Means::Native => (Provider::Native, native::start(run, wishes).await?),
        Means::Docker { engine, images } => {
            let started = provider::docker::start(engine, images, run, wishes).await?;
            (Provider::Docker, started)
        }
    };
    let Started {
        postgres,
        redis,
        s3,
        s3_name,
    } = started;
    Ok(Record {
        provider,
        reason: decision.reason.clone(),
        postgres_port: postgres.port,
        redis_port: redis.port,
        secret: redis.secret,
        s3,
        s3_name,
    })
}

/// Connects this process to running services; natively it serves its own S3.
pub(super) async fn connect(
    run: &RunDirectory,
    record: &Record,
    wishes: &Wishes,
) -> Result<Places, StackError> {
    let limit = Duration::from_secs(30);
    let redis = RedisAddress {
        port: record.redis_port,
        secret: record.secret.clone(),
    };
    let postgres = PostgresAddress {
        port: record.postgres_port,
    };
    let name = record.s3_name.clone();
    let s3 = async {
        Ok(match record.s3.clone() {
            Some(access) => S3Server::shared(access, name),
            None => S3Server::in_process(native::start_s3(run, wishes).await?, name),
        })
    };
    let (postgres, redis, s3) = tokio::try_join!(
        step(
            "connect to Postgres",
            limit,
            PostgresServer::connect(postgres)
        ),
        step("connect to Redis", limit, RedisServer::connect(redis)),
        step::<_, S3StartError>("start S3", limit, s3),
    )?;
    Ok(Places::new(postgres, redis, s3, run.id().to_owned()))
}

pub(super) async fn create_records(places: &Places) -> Result<(), StackError> {
    let limit = Duration::from_secs(30);
    step(
        "create the records of the sandboxes",
        limit,
        places.create_records(),
    )
    .await
}
