//! The stack: named start steps, each with a time-out, and the end of everything they started.

use std::error::Error;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::OnceCell;

use crate::cleanup::{self, CleanupError, Guardian};
use crate::container::{ContainerError, ContainerProcess, ContainerSpec};
use crate::development::{Ports, Wishes};
use crate::engine::{Engine, LABEL, LABEL_ROOT, LABEL_RUN};
use crate::places::Places;
use crate::postgres::{PostgresAddress, PostgresServer};
use crate::provider::{self, Decision, Means, Provider, ProviderChoice, Started, native};
use crate::redis::{RedisAddress, RedisServer};
use crate::run_directory::{DirectoryGuard, FirstSignal, Ownership, ProcessGuard, RunDirectory};
use crate::s3::{S3Server, S3StartError};
use crate::sandbox::{Sandbox, SandboxError};
use crate::shared::{self, Membership, Record, Turn};
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
    places: Arc<Places>,
    /// What this process started: all of it, or what belongs to one user of a shared stack.
    run: Arc<RunDirectory>,
    guardian: Guardian,
    reason: String,
    /// The engine that runs the containers; `None` natively.
    engine: Option<Engine>,
    /// Keeps a shared stack alive; `None` when the services are this run's own.
    membership: Option<Membership>,
    /// Keeps others away from kept state.
    _wishes: Wishes,
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
        Stack::start_as_wished(choice, Wishes::default()).await
    }

    /// Starts the services for development: on given ports, and with state that stays when it is
    /// to be kept. (LocalStack keeps none without a token.)
    ///
    /// # Errors
    /// The step that failed or took too long; a port that is in use. Nothing is left running.
    pub async fn start_for_development(
        choice: ProviderChoice,
        ports: Ports,
        keep: bool,
    ) -> Result<Stack, StackError> {
        let wishes = Wishes::development(ports, keep).map_err(|error| StackError::Step {
            step: "start the stack for development",
            source: Box::new(error),
        })?;
        Stack::start_as_wished(choice, wishes).await
    }

    async fn start_as_wished(choice: ProviderChoice, wishes: Wishes) -> Result<Stack, StackError> {
        in_background(async move {
            sweep_quietly().await;
            let decision = decide(choice).await?;
            let (run, guardian) = new_run()?;
            let started = async {
                let record = start_services(&run, &decision, &wishes).await?;
                let places = connect(&run, &record, &wishes).await?;
                create_records(&places).await?;
                Ok((record, places))
            };
            let engine = decision.engine();
            match started.await {
                Ok((record, places)) => Ok(Stack {
                    places: Arc::new(places),
                    run,
                    guardian,
                    reason: record.reason,
                    engine,
                    membership: None,
                    _wishes: wishes,
                }),
                Err(error) => {
                    // The failed step is the news; what is left now, the next start sweeps.
                    end(guardian, &run, engine.as_ref()).await.ok();
                    Err(error)
                }
            }
        })
        .await
    }

    /// The one stack of all tests of a run, in this process and in others: started by the first
    /// that asks, alive until the last has ended, and a few seconds longer. It is never dropped.
    ///
    /// # Errors
    /// As [`Stack::start`]; the next call tries again.
    pub async fn shared() -> Result<&'static Stack, StackError> {
        static SHARED: OnceCell<Stack> = OnceCell::const_new();
        SHARED
            .get_or_try_init(|| async {
                let choice = ProviderChoice::from_environment();
                let choice = choice.map_err(|error| StackError::Step {
                    step: "choose a provider",
                    source: Box::new(error),
                })?;
                in_background(Stack::join_or_start(choice)).await
            })
            .await
    }

    async fn join_or_start(choice: ProviderChoice) -> Result<Stack, StackError> {
        let (run, guardian) = new_run()?;
        let turn = blocking(move || Turn::take(choice)).await;
        let turn = turn.map_err(CleanupError::RunFolder)?;
        let joined = match turn.join() {
            Some((record, membership)) => match connect(&run, &record, &Wishes::default()).await {
                Ok(places) => Some((record, places, membership)),
                Err(error) => {
                    let error = crate::binaries::chain(&error);
                    tracing::warn!(error, "the shared stack does not answer: starting another");
                    None
                }
            },
            None => None,
        };
        let (record, places, membership) = match joined {
            Some(joined) => joined,
            None => found_shared(&turn, &run, choice).await?,
        };
        drop(turn);
        let engine = match record.provider {
            Provider::Native => None,
            Provider::Docker => {
                let limit = Duration::from_secs(10);
                Some(step("talk to the Docker engine", limit, Engine::connect()).await?)
            }
        };
        let places = Arc::new(places);
        let clearing = Arc::clone(&places);
        background().spawn(async move { clearing.clear_after_the_dead().await });
        Ok(Stack {
            places,
            run,
            guardian,
            reason: record.reason,
            engine,
            membership: Some(membership),
            _wishes: Wishes::default(),
        })
    }

    pub(crate) fn places(&self) -> Arc<Places> {
        Arc::clone(&self.places)
    }

    /// What runs the services.
    #[must_use]
    pub fn provider(&self) -> Provider {
        if self.engine.is_some() {
            Provider::Docker
        } else {
            Provider::Native
        }
    }

    /// Do other processes use it too?
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.membership.is_some()
    }

    /// Why this provider was taken, in one line.
    #[must_use]
    pub fn provider_reason(&self) -> &str {
        &self.reason
    }

    /// The id of this process's run, which all containers it starts carry as a label.
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
        self.places.postgres.version()
    }

    /// The version that the Redis server names.
    #[must_use]
    pub fn redis_version(&self) -> &str {
        self.places.redis.version()
    }

    /// Which S3 this is.
    #[must_use]
    pub fn s3_name(&self) -> &str {
        self.places.s3.name()
    }

    /// Makes an isolated place for one test. The template is prepared once per stack, and some
    /// copies of it are made in advance. When as many sandboxes exist as Postgres has connections
    /// for, it waits until one is dropped.
    ///
    /// # Errors
    /// When a service refuses, the template cannot be prepared, or no sandbox becomes free.
    pub async fn sandbox(&self, template: &Template) -> Result<Sandbox, SandboxError> {
        let places = Arc::clone(&self.places);
        let template = template.clone();
        in_background(async move { Sandbox::create(places, &template).await }).await
    }

    /// Ends all services and removes everything of this run. Dropping the stack does the same,
    /// without waiting for it.
    ///
    /// # Errors
    /// When something could not be removed.
    pub async fn stop(self) -> Result<(), StackError> {
        let Stack {
            places,
            run,
            guardian,
            engine,
            membership,
            ..
        } = self;
        places.stopped.store(true, Ordering::Release);
        places.postgres.disconnect().await;
        drop((places, membership));
        in_background(async move { end(guardian, &run, engine.as_ref()).await }).await
    }

    /// Runs a program of this machine in a container of this run, on this machine's network.
    ///
    /// # Errors
    /// When the provider is not Docker, the base image cannot be had, or the program ends at once.
    pub async fn run_in_container(
        &self,
        spec: ContainerSpec,
    ) -> Result<ContainerProcess, ContainerError> {
        let Some(engine) = self.engine.clone() else {
            let provider = self.provider();
            return Err(ContainerError::NotDocker {
                program: spec.program,
                provider,
            });
        };
        let labels = self.container_labels();
        // Tells the clean-up script that there are containers to look for.
        let marked = self.run.mark("containers");
        marked.map_err(|source| ContainerError::File {
            path: self.run.path().join("containers"),
            source,
        })?;
        in_background(ContainerProcess::start(engine, labels, spec)).await
    }
}

/// Starts the services of a shared stack and says where they are.
async fn found_shared(
    turn: &Turn,
    run: &Arc<RunDirectory>,
    choice: ProviderChoice,
) -> Result<(Record, Places, Membership), StackError> {
    sweep_quietly().await;
    let decision = decide(choice).await?;
    let servers = RunDirectory::create(Ownership::Shared).map_err(CleanupError::RunFolder)?;
    let servers = Arc::new(servers);
    // When starting fails, leaving is what orders the clean-up.
    let membership = shared::found(&servers).inspect_err(|_| {
        std::fs::remove_dir_all(servers.path()).ok();
    })?;
    let wishes = Wishes::default();
    let record = start_services(&servers, &decision, &wishes).await?;
    let places = connect(run, &record, &wishes).await?;
    create_records(&places).await?;
    turn.publish(&servers, &record)
        .map_err(CleanupError::RunFolder)?;
    Ok((record, places, membership))
}

/// What a dead run left is worth a line, not a failure of this run.
async fn sweep_quietly() {
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
}

async fn decide(choice: ProviderChoice) -> Result<Decision, StackError> {
    let limit = Duration::from_secs(900);
    let decision = step("choose a provider", limit, provider::decide(choice)).await?;
    if let Means::Docker { engine, .. } = &decision.means
        && let Err(error) = engine.remove_orphans().await
    {
        let error = crate::binaries::chain(&error);
        tracing::warn!(error, "a container of a dead run may still be there");
    }
    Ok(decision)
}

/// The folder of what this process starts, with the guardian that removes it.
fn new_run() -> Result<(Arc<RunDirectory>, Guardian), CleanupError> {
    let run = RunDirectory::create(Ownership::Alone).map_err(CleanupError::RunFolder)?;
    let guardian = Guardian::start(&run).inspect_err(|_| {
        std::fs::remove_dir_all(run.path()).ok();
    })?;
    Ok((Arc::new(run), guardian))
}

/// The engine removes containers itself, so that no docker program is needed; the guardian does
/// the rest.
async fn end(
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

async fn start_services(
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
async fn connect(
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

async fn create_records(places: &Places) -> Result<(), StackError> {
    let limit = Duration::from_secs(30);
    step(
        "create the records of the sandboxes",
        limit,
        places.create_records(),
    )
    .await
}
