//! The stack: named start steps, each with a time-out, and the end of everything they started.

use std::error::Error;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::OnceCell;

use crate::cleanup::{self, CleanupError, Guardian};
use crate::container::{ContainerError, ContainerProcess, ContainerSpec};
use crate::engine::{LABEL, LABEL_ROOT, LABEL_RUN};
use crate::postgres::PostgresServer;
use crate::provider::{self, Backing, Decision, Means, Provider, ProviderChoice, Started};
use crate::redis::RedisServer;
use crate::run_directory::{DirectoryGuard, FirstSignal, ProcessGuard, RunDirectory};
use crate::s3::S3Server;
use crate::sandbox::{Sandbox, SandboxError};
use crate::template::Template;

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

/// One Postgres, one Redis, one S3.
#[derive(Debug)]
pub struct Stack {
    services: Arc<Services>,
    run: Arc<RunDirectory>,
    guardian: Guardian,
    decision: Decision,
}

/// The connected services, shared with the sandboxes.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) postgres: PostgresServer,
    pub(crate) redis: RedisServer,
    pub(crate) s3: S3Server,
    /// Set when the stack stops: from then on sandboxes have nothing to clear away.
    pub(crate) stopped: AtomicBool,
    _backing: Backing,
}

/// Where the services' connections and servers live: they outlast the runtime of the test that
/// happens to come first.
pub(crate) fn background() -> &'static Runtime {
    static BACKGROUND: LazyLock<Runtime> = LazyLock::new(|| {
        Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("harness")
            .enable_all()
            .build()
            .expect("a process that can start servers can start two threads")
    });
    &BACKGROUND
}

/// Runs a future on the background runtime, whichever runtime waits for it.
pub(crate) async fn in_background<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> T {
    match background().spawn(future).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Runs what blocks on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match background().spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Gives a part of the start its name and its time-out.
pub(crate) async fn step<T, E: Error + Send + Sync + 'static>(
    step: &'static str,
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, StackError> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(StackError::Step {
            step,
            source: Box::new(error),
        }),
        Err(_) => Err(StackError::TimedOut { step, limit }),
    }
}

impl Stack {
    /// Starts the services with the provider that `HARNESS_PROVIDER` names, and waits until all
    /// of them answer.
    ///
    /// # Errors
    /// The step that failed or took too long. Nothing is left running.
    pub async fn start() -> Result<Stack, StackError> {
        let choice = ProviderChoice::from_environment();
        let choice = choice.map_err(|error| StackError::Step {
            step: "choose a provider",
            source: Box::new(error),
        })?;
        Stack::start_with(choice).await
    }

    /// Starts the services with a given choice of provider.
    ///
    /// # Errors
    /// The step that failed or took too long. Nothing is left running.
    pub async fn start_with(choice: ProviderChoice) -> Result<Stack, StackError> {
        in_background(async move {
            // What a dead run left is worth a line, not a failure of this run.
            match blocking(cleanup::sweep).await {
                Ok(swept) => {
                    for run in swept.runs {
                        tracing::info!(run = run.id, "removed what a dead run had left");
                    }
                }
                Err(error) => tracing::warn!(
                    error = crate::binaries::chain(&error),
                    "something of a dead run is still there"
                ),
            }
            let decision = step(
                "choose a provider",
                Duration::from_secs(900),
                provider::decide(choice),
            )
            .await?;
            if let Means::Docker { engine, .. } = &decision.means
                && let Err(error) = engine.remove_orphans().await
            {
                let error = crate::binaries::chain(&error);
                tracing::warn!(error, "a container of a dead run may still be there");
            }
            let run = RunDirectory::create().map_err(CleanupError::RunFolder)?;
            let guardian = Guardian::start(&run).inspect_err(|_| {
                std::fs::remove_dir_all(run.path()).ok();
            })?;
            let run = Arc::new(run);
            match start_services(&run, &decision).await {
                Ok(services) => Ok(Stack {
                    services: Arc::new(services),
                    run,
                    guardian,
                    decision,
                }),
                Err(error) => {
                    // The failed step is the news; what is left now, the next start sweeps.
                    end(guardian, &run, &decision.means).await.ok();
                    Err(error)
                }
            }
        })
        .await
    }

    /// One stack for all tests of this process. It is never dropped: it ends with the process.
    ///
    /// # Errors
    /// As [`Stack::start`]; the next call tries again.
    pub async fn shared() -> Result<&'static Stack, StackError> {
        static SHARED: OnceCell<Stack> = OnceCell::const_new();
        SHARED.get_or_try_init(Stack::start).await
    }

    /// What runs the services.
    #[must_use]
    pub fn provider(&self) -> Provider {
        match self.decision.means {
            Means::Native => Provider::Native,
            Means::Docker { .. } => Provider::Docker,
        }
    }

    /// Why this provider was taken, in one line.
    #[must_use]
    pub fn provider_reason(&self) -> &str {
        &self.decision.reason
    }

    /// The id of this run, which all its containers carry as a label.
    #[must_use]
    pub fn id(&self) -> &str {
        self.run.id()
    }

    /// A scratch folder that is removed with the run.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        self.run.path()
    }

    /// Puts a process on the list of what ends when this process dies, in whichever way: TERM
    /// first, KILL five seconds later (for its whole process group when it leads one).
    pub fn guard_process(&self, pid: u32) -> ProcessGuard {
        self.run.guard_process(pid, FirstSignal::Term)
    }

    /// Puts a folder on the list of what is removed with `rmdir` after all processes have ended:
    /// control groups, for instance.
    pub fn guard_directory(&self, path: PathBuf) -> DirectoryGuard {
        self.run.guard_directory(&path)
    }

    /// The labels by which this run's containers are found and removed. Every container that is
    /// started for this run has to carry them.
    #[must_use]
    pub fn container_labels(&self) -> Vec<(String, String)> {
        container_labels(&self.run)
    }

    /// The version that the Postgres server names.
    #[must_use]
    pub fn postgres_version(&self) -> &str {
        self.services.postgres.version()
    }

    /// The version that the Redis server names.
    #[must_use]
    pub fn redis_version(&self) -> &str {
        self.services.redis.version()
    }

    /// Which S3 this is.
    #[must_use]
    pub fn s3_name(&self) -> &str {
        self.services.s3.name()
    }

    /// Makes an isolated place for one test. The template is prepared once per run.
    ///
    /// # Errors
    /// When a service refuses or the template cannot be prepared.
    pub async fn sandbox(&self, template: &Template) -> Result<Sandbox, SandboxError> {
        let services = Arc::clone(&self.services);
        let template = template.clone();
        in_background(async move { Sandbox::create(services, &template).await }).await
    }

    /// Ends all services and removes everything of this run. Dropping the stack does the same,
    /// without waiting for it.
    ///
    /// # Errors
    /// When something could not be removed.
    pub async fn stop(self) -> Result<(), StackError> {
        let Stack {
            services,
            run,
            guardian,
            decision,
        } = self;
        services.stopped.store(true, Ordering::Release);
        services.postgres.disconnect().await;
        drop(services);
        in_background(async move { end(guardian, &run, &decision.means).await }).await
    }

    /// Runs a program of this machine in a container of this run, on this machine's network.
    ///
    /// # Errors
    /// When the provider is not Docker, the base image cannot be had, or the program ends at once.
    pub async fn run_in_container(
        &self,
        spec: ContainerSpec,
    ) -> Result<ContainerProcess, ContainerError> {
        let Means::Docker { engine, .. } = &self.decision.means else {
            let provider = self.provider();
            return Err(ContainerError::NotDocker {
                program: spec.program,
                provider,
            });
        };
        let (engine, labels) = (engine.clone(), self.container_labels());
        in_background(ContainerProcess::start(engine, labels, spec)).await
    }
}

/// The engine removes containers itself, so that no docker program is needed; the guardian does
/// the rest.
async fn end(guardian: Guardian, run: &RunDirectory, means: &Means) -> Result<(), StackError> {
    if let Means::Docker { engine, .. } = means {
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

async fn start_services(
    run: &Arc<RunDirectory>,
    decision: &Decision,
) -> Result<Services, StackError> {
    let Started {
        postgres,
        redis_port,
        s3,
        s3_name,
        backing,
    } = match &decision.means {
        Means::Native => provider::native::start(run).await?,
        Means::Docker { engine, images } => provider::docker::start(engine, images, run).await?,
    };
    let limit = Duration::from_secs(30);
    let (postgres, redis) = tokio::try_join!(
        step(
            "connect to Postgres",
            limit,
            PostgresServer::connect(postgres)
        ),
        step("connect to Redis", limit, RedisServer::connect(redis_port)),
    )?;
    Ok(Services {
        postgres,
        redis,
        s3: S3Server::new(s3, s3_name),
        stopped: AtomicBool::new(false),
        _backing: backing,
    })
}
