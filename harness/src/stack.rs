//! The stack: services of its own or shared ones, the sandboxes in them, and what ends with them.

pub(crate) mod steps;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::background::{background, blocking, in_background};
use crate::binaries::chain;
use crate::cleanup::{CleanupError, Guardian};
use crate::container::{ContainerError, ContainerProcess, ContainerSpec};
use crate::development::{Ports, Wishes};
use crate::engine::Engine;
use crate::places::Places;
use crate::provider::{Provider, ProviderChoice};
use crate::run_directory::{DirectoryGuard, FirstSignal, Ownership, ProcessGuard, RunDirectory};
use crate::sandbox::{Sandbox, SandboxError};
use crate::shared::{self, Membership, Record, Turn};
use crate::template::Template;

pub use steps::StackError;
use steps::{
    choice_of_the_user, connect, container_labels, create_records, decide, end, new_run,
    start_services, step, sweep_quietly,
};

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

impl Stack {
    /// Starts the services with the provider that `HARNESS_PROVIDER` names, and waits until all
    /// of them answer.
    ///
    /// # Errors
    /// The step that failed or took too long. Nothing is left running.
    pub async fn start() -> Result<Stack, StackError> {
        Stack::start_with(choice_of_the_user()?).await
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
            let noted = wishes.note_owner(run.path());
            noted.map_err(CleanupError::RunFolder)?;
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
                in_background(Stack::join_or_start(choice_of_the_user()?)).await
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
                    let error = chain(&error);
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
