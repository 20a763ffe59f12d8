//! Starts either service the same way: own process group, own limits, own sandbox, same waits.

use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::openai::{Latency, LoadOpenAi, Script};
use harness::poll::{self, Progress};
use harness::{ContainerImage, PythonImage, Sandbox, Stack, Template};
use serde::{Deserialize, Serialize};

use crate::backend_process::{BackendError, BackendProcess, BackendSpec, chain};
use crate::measurement::VcpuLimit;
use crate::reference::cells::Cell;
use crate::reference::environment::Environment;
use crate::reference::process_tree::{ProcessTree, memory_of_kib};
use crate::reference::user::{UserError, client};

/// How long all workers of a service may take to answer: on a busy machine six Pythons load slowly.
const READY_TIMEOUT: Duration = Duration::from_secs(180);
/// OpenAI calls of one generation: the outline and four sections.
pub const CALLS_PER_GENERATION: u32 = 5;
/// Length of a generation in real time, in seconds: the proposal's time-out.
pub const GENERATION_S: f64 = 900.0;
/// Real seconds between two polls of a client, and between two polls of OpenAI.
pub const POLL_S: f64 = 5.0;
/// How often the backend asks to be polled on average over such a generation: 24 times.
pub(super) const SELDOM_POLL_S: f64 = 37.5;
/// What a pool of the proposal's opens beyond its size, as `loadtests/reference/service/settings.py` has it.
pub(super) const POOL_OVERFLOW: u32 = 20;
/// The least compressed time between two polls of a client, in milliseconds: `FastAPI` answers about 1500 polls a second,
/// and 24 generations would send 1200.
const POLL_MS_MIN: f64 = 20.0;
/// More requests, and more generations of one user, than any measurement asks for.
const NO_LIMIT: &str = "1000000";

/// A service under comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The backend of this repository.
    Rust,
    /// The proposal's stack as the proposal has it: six workers, PDFs in the event loop, a database
    /// connection for each generation.
    FastApi,
    /// The same stack with three changes: a worker per vCPU, PDFs in processes beside the workers, short
    /// transactions.
    FastApiTuned,
}

impl Kind {
    /// Its name in tables.
    pub fn label(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::FastApi => "FastAPI, as proposed",
            Self::FastApiTuned => "FastAPI, tuned",
        }
    }

    fn slug(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::FastApi => "fastapi",
            Self::FastApiTuned => "fastapi-tuned",
        }
    }

    /// How often its clients poll when they poll as those of the other service, in real seconds; `None` where that is not
    /// looked at.
    pub(super) fn polled_alike_every_s(self) -> Option<f64> {
        match self {
            Self::Rust => Some(POLL_S),
            Self::FastApi => Some(SELDOM_POLL_S),
            Self::FastApiTuned => None,
        }
    }
}

/// What all services of a comparison are given alike.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// `GENERATION_WORKERS`: generations at a time in Rust, Gunicorn workers in Python.
    pub workers: u32,
    /// vCPU, but in the cells that say another.
    pub vcpu: f64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Factor by which every wait is divided.
    pub speedup: f64,
    /// Generations in flight at a time, but in the cells that say another number.
    pub generations: u32,
    /// Batches that are measured of each cell at least.
    pub repetitions: u32,
    /// Starts at which idle memory and that of generations in flight are measured.
    pub rounds: u32,
    /// Seed of the scripted OpenAI.
    pub seed: u64,
}

impl Conditions {
    /// A wait of so many real seconds, as it runs.
    pub fn compressed(&self, real_s: f64) -> Duration {
        Duration::from_secs_f64(real_s / self.speedup)
    }

    /// How long a generation is waited for: twice as long as it takes, and what a busy machine may add.
    pub(super) fn patience(&self) -> Duration {
        self.generation() * 2 + Duration::from_secs(120)
    }

    /// The cell of the grid in which all else is measured.
    pub fn base(&self) -> Cell {
        Cell {
            generations: self.generations,
            vcpu: self.vcpu,
        }
    }

    /// Batches of one cell at most, where they differ.
    pub fn repetitions_max(&self) -> u32 {
        match self.repetitions {
            1 => 1,
            more => more + 2,
        }
    }

    /// Refuses a speed-up at which no client could poll as often as in real time.
    ///
    /// # Errors
    /// With the largest that would do.
    pub fn check_speedup(&self) -> Result<(), String> {
        let poll_ms = POLL_S * 1000.0 / self.speedup;
        if poll_ms >= POLL_MS_MIN {
            return Ok(());
        }
        Err(format!(
            "at --speedup {} clients would poll every {poll_ms:.0} ms, faster than a busy service answers: take {} at most",
            self.speedup,
            POLL_S * 1000.0 / POLL_MS_MIN
        ))
    }

    /// One generation as it runs.
    pub fn generation(&self) -> Duration {
        self.compressed(GENERATION_S)
    }

    /// Generations in flight from which on their memory is counted: by then every worker has had some.
    pub(super) fn in_flight_few(&self) -> u32 {
        4 * self.workers
    }

    /// Generations in flight up to which it is counted.
    pub(super) fn in_flight_many(&self) -> u32 {
        20 * self.workers
    }

    /// Generations that are asked for in the end: more than the proposal's pools have connections, 30 for each worker.
    pub(super) fn in_flight_asked(&self) -> u32 {
        40 * self.workers
    }

    /// The OpenAI that every service meets.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn openai(&self) -> Result<LoadOpenAi, ServiceError> {
        let call_ms = GENERATION_S * 1000.0 / f64::from(CALLS_PER_GENERATION);
        let script = Script::default()
            .latency(Latency::Fixed { ms: call_ms })
            .speedup(self.speedup)
            .seed(self.seed);
        LoadOpenAi::start(script)
            .await
            .map_err(|error| ServiceError::OpenAi(chain(&error)))
    }
}

/// Why a service could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The sandbox could not be had.
    #[error("prepare a sandbox")]
    Sandbox(#[source] harness::SandboxError),
    /// The scripted OpenAI could not start.
    #[error("start the scripted OpenAI: {0}")]
    OpenAi(String),
    /// There is no load balancer to put in front of it.
    #[error(transparent)]
    Proxy(#[from] harness::ProxyError),
    /// The process could not be started.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// It never became ready.
    #[error("get {service} ready; its log is {log}")]
    NotReady {
        /// Which one.
        service: &'static str,
        /// Its log.
        log: PathBuf,
        /// How far it came.
        #[source]
        source: poll::PollError,
    },
    /// A user met an answer that the contract does not have.
    #[error(transparent)]
    User(#[from] UserError),
    /// Postgres could not be asked.
    #[error("read the database's statistics")]
    Database(#[from] sqlx::Error),
    /// Generations were accepted and did not ask OpenAI for anything.
    #[error("put generations in flight")]
    NotInFlight(#[source] poll::PollError),
    /// A measurement of no batch or no start.
    #[error("measure at least one batch and one start")]
    Nothing,
    /// The arrivals that were measured cannot be simulated.
    #[error("simulate what was measured")]
    Simulation(#[from] simulator::scenario::InvalidScenario),
    /// Generations failed, so what they cost says nothing.
    #[error("measure {service}: {failed} of {total} generations did not succeed ({reason})")]
    Failures {
        /// Which one.
        service: &'static str,
        /// How many.
        failed: usize,
        /// Of how many.
        total: usize,
        /// Why the first of them did not.
        reason: String,
    },
}

/// A service that can be started, as often as wanted.
#[derive(Debug)]
pub struct Service<'a> {
    /// Which one.
    pub kind: Kind,
    stack: &'a Stack,
    conditions: Conditions,
    program: PathBuf,
    script: Option<&'a Environment>,
}

impl<'a> Service<'a> {
    /// The backend's binary.
    pub fn rust(stack: &'a Stack, conditions: Conditions, binary: &Path) -> Self {
        Self {
            kind: Kind::Rust,
            stack,
            conditions,
            program: binary.to_owned(),
            script: None,
        }
    }

    /// The reference, as proposed or tuned.
    pub fn fastapi(
        stack: &'a Stack,
        conditions: Conditions,
        environment: &'a Environment,
        tuned: bool,
    ) -> Self {
        Self {
            kind: if tuned {
                Kind::FastApiTuned
            } else {
                Kind::FastApi
            },
            stack,
            conditions,
            program: environment.python.clone(),
            script: Some(environment),
        }
    }

    /// The same service under other conditions.
    #[must_use]
    pub fn under(&self, conditions: Conditions) -> Service<'a> {
        Service {
            conditions,
            program: self.program.clone(),
            ..*self
        }
    }

    /// Whether its workers are slots of one process, and not processes.
    pub(super) fn has_slots(&self) -> bool {
        self.script.is_none()
    }

    /// The numbers of generations in flight that one start may be asked for. Gunicorn's workers are the same for all. The
    /// backend gets a slot for each, and slots that are too many ask for work all the time: its cells share no start.
    pub(super) fn shared_starts<'n>(&self, generations: &'n [u32]) -> Vec<&'n [u32]> {
        match self.has_slots() {
            true => generations.chunks(1).collect(),
            false => vec![generations],
        }
    }

    /// Generations after which every process has had one, as a rule: which one accepts is the kernel's choice.
    pub(super) fn warm_up(&self) -> u32 {
        match self.has_slots() {
            true => self.conditions.workers,
            false => 2 * self.conditions.workers,
        }
    }

    /// The setting that gives so many generations room, wherever they come to be: slots in the backend; in the reference
    /// connections to Postgres, for which worker accepts a generation is the kernel's choice, and each holds one.
    pub(super) fn room_for(&self, generations: u32) -> (&'static str, String) {
        if self.has_slots() {
            let slots = generations.max(self.conditions.workers);
            ("GENERATION_WORKERS", slots.to_string())
        } else {
            let overflow = generations.max(POOL_OVERFLOW);
            ("DATABASE_POOL_OVERFLOW", overflow.to_string())
        }
    }

    /// The conditions it is started under.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// A database with its tables, an empty Redis and a bucket.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub async fn sandbox(&self) -> Result<Sandbox, ServiceError> {
        let script = self
            .script
            .map(|environment| environment.script.display().to_string());
        let arguments: Vec<&str> = script.as_deref().into_iter().chain(["migrate"]).collect();
        let digest = if self.script.is_some() {
            "reference"
        } else {
            "backend"
        };
        let template = Template::from_command(digest, &self.program, &arguments);
        self.stack
            .sandbox(&template)
            .await
            .map_err(ServiceError::Sandbox)
    }

    /// Starts it and waits until every worker answers. `name` is unique within the stack; `extra`
    /// variables win over the usual ones.
    ///
    /// # Errors
    /// When it does not start or never becomes ready.
    pub async fn start(
        &self,
        sandbox: &Sandbox,
        openai: &LoadOpenAi,
        name: &str,
        extra: &[(&str, String)],
    ) -> Result<Started, ServiceError> {
        let name = format!("{}-{name}", self.kind.slug());
        let mut environment = sandbox.environment();
        environment.extend(self.variables(openai));
        environment.extend(
            extra
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone())),
        );
        let script = self
            .script
            .map(|environment| environment.script.display().to_string());
        let arguments: Vec<&str> = script.as_deref().into_iter().chain(["serve"]).collect();
        let image = self.image();
        let program = match &image {
            Some(_) => Path::new(PythonImage::PYTHON),
            None => &self.program,
        };
        let spec = BackendSpec {
            binary: program,
            vcpu: self.conditions.vcpu,
            memory_mib: self.conditions.memory_mib,
            environment,
            name: name.clone(),
        };
        let process = BackendProcess::start_program(self.stack, &spec, &arguments, image).await?;
        let log = self.stack.run_dir().join(format!("{name}.log"));
        let leader = process.pid();
        let started = Started {
            leader,
            base_url: process.base_url().to_owned(),
            tree: ProcessTree::led_by(leader).metered_by(process.cpu_meter()),
            vcpu_limit: process.limit(),
            process: Some(process),
            log,
        };
        started
            .wait_until_ready(self.kind, self.worker_processes())
            .await?;
        Ok(started)
    }

    /// The image that it runs from, and the folder of its source; none natively.
    fn image(&self) -> Option<ContainerImage> {
        let environment = self.script?;
        Some(ContainerImage {
            name: environment.image.clone()?,
            folder: environment.script.parent()?.to_owned(),
        })
    }

    /// Processes that announce themselves when they are ready.
    fn worker_processes(&self) -> usize {
        match self.kind {
            Kind::Rust => 0,
            Kind::FastApi => usize::try_from(self.conditions.workers).unwrap_or(usize::MAX),
            // `--workers auto`: one for each vCPU, as Python rounds.
            Kind::FastApiTuned => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "vCPU counts are small and positive"
                )]
                let cores = self.conditions.vcpu.round_ties_even().max(1.0) as usize;
                cores
            }
        }
    }

    fn variables(&self, openai: &LoadOpenAi) -> Vec<(String, String)> {
        let compressed_ms = |real_s: f64| {
            self.conditions
                .compressed(real_s)
                .as_millis()
                .max(1)
                .to_string()
        };
        let mut variables = vec![
            ("LISTEN_ADDR", "127.0.0.1:0".to_owned()),
            ("OPENAI_BASE_URL", openai.base_url()),
            ("OPENAI_API_KEY", "scripted".to_owned()),
            ("GENERATION_WORKERS", self.conditions.workers.to_string()),
            (
                "GENERATION_SECTIONS",
                (CALLS_PER_GENERATION - 1).to_string(),
            ),
            ("POLL_RETRY_AFTER_MS", compressed_ms(POLL_S)),
        ];
        match self.script {
            None => variables.extend([
                ("RUST_LOG", "info".to_owned()),
                ("OPENAI_POLL_INTERVAL_MS", compressed_ms(POLL_S)),
                ("CLAIM_INTERVAL_MS", compressed_ms(10.0)),
                ("SHUTDOWN_DRAIN_MS", compressed_ms(1.0)),
                // Real, not compressed: a scheduling pause on a busy machine does not shrink.
                ("HEARTBEAT_MS", "1000".to_owned()),
                ("LEASE_MS", "5000".to_owned()),
                // One account and one address stand for all users in compressed time: their limits are never
                // reached. The reference has none.
                ("RATE_LIMIT_SESSION", format!("{NO_LIMIT}/1000")),
                ("RATE_LIMIT_GENERATIONS", format!("{NO_LIMIT}/1000")),
                ("GENERATION_RUNNING_MAX_PER_USER", NO_LIMIT.to_owned()),
                ("RATE_LIMIT_REGISTER_ADDRESS", "off".to_owned()),
                ("RATE_LIMIT_LOGIN_ADDRESS", "off".to_owned()),
            ]),
            Some(environment) => {
                let home = match &environment.image {
                    // Nothing of this machine but the source is there.
                    Some(_) => "/tmp".to_owned(),
                    None => environment.home.display().to_string(),
                };
                variables.extend([
                    ("PATH", std::env::var("PATH").unwrap_or_default()),
                    ("HOME", home.clone()),
                    ("MPLCONFIGDIR", home),
                    ("TASK_VCPU", self.conditions.vcpu.to_string()),
                    // Gunicorn's time-outs stay real, as the service has them: they guard against a worker
                    // that hangs, and rendering in its event loop does not shrink with the speed-up.
                    // So does the time-out of one response.
                    ("OPENAI_STEP_TIMEOUT_MS", "900000".to_owned()),
                ]);
                if self.kind == Kind::FastApiTuned {
                    variables.extend([
                        ("GENERATION_WORKERS", "auto".to_owned()),
                        ("REFERENCE_RENDERING", "pool".to_owned()),
                        ("REFERENCE_TRANSACTIONS", "short".to_owned()),
                    ]);
                }
            }
        }
        variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

/// A service that answers.
#[expect(
    missing_debug_implementations,
    reason = "a child process says nothing worth printing"
)]
pub struct Started {
    /// Taken when it is stopped.
    process: Option<BackendProcess>,
    leader: u32,
    base_url: String,
    vcpu_limit: VcpuLimit,
    /// All its processes.
    pub tree: ProcessTree,
    /// Its log.
    pub log: PathBuf,
}

impl Started {
    /// Where it listens.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// What enforces its vCPU.
    pub(super) fn limit(&self) -> VcpuLimit {
        self.vcpu_limit
    }

    /// Memory of its first process alone, in KiB.
    pub(super) fn first_process_kib(&self) -> u64 {
        i32::try_from(self.leader).map_or(0, |leader| memory_of_kib(&[leader]))
    }

    async fn wait_until_ready(&self, kind: Kind, workers: usize) -> Result<(), ServiceError> {
        let http = client(Duration::from_secs(5))?;
        let url = format!("{}/ready", self.base_url());
        let ready = poll::until("the service to be ready", READY_TIMEOUT, || {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let announced = log.matches("\"worker ready\"").count();
            let question = http.get(&url).send();
            async move {
                if announced < workers {
                    return Progress::NotYet(format!("{announced} of {workers} workers loaded"));
                }
                match question.await {
                    Ok(answer) if answer.status().is_success() => Progress::Ready(()),
                    Ok(answer) => Progress::NotYet(format!("/ready answers {}", answer.status())),
                    Err(error) => Progress::NotYet(chain(&error)),
                }
            }
        })
        .await;
        ready.map_err(|source| ServiceError::NotReady {
            service: kind.label(),
            log: self.log.clone(),
            source,
        })
    }

    /// Sends SIGTERM to the first process, as a container's engine does.
    pub async fn terminate(&self) {
        signal("-TERM", &self.leader.to_string()).await;
    }

    /// Sends SIGKILL to all processes, as a container's engine does.
    pub async fn kill(&self) {
        signal("-KILL", &format!("-{}", self.leader)).await;
    }

    /// Waits until the last process has gone; false when `timeout` comes first.
    pub async fn has_gone_within(&self, timeout: Duration) -> bool {
        let gone = poll::until("the service to end", timeout, || {
            let left = self.tree.count();
            std::future::ready(match left {
                0 => Progress::Ready(()),
                _ => Progress::NotYet(format!("{left} processes")),
            })
        });
        gone.await.is_ok()
    }

    /// Ends it for good, all its processes.
    pub async fn stop(mut self) {
        if let Some(process) = self.process.take() {
            process.stop().await;
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Gunicorn's workers outlive a first process that was killed.
        let _ = std::process::Command::new("kill")
            .args(["-KILL", "--", &format!("-{}", self.leader)])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status();
    }
}

/// By the `kill` command: the standard library knows no signals but SIGKILL to a child.
async fn signal(name: &str, target: &str) {
    // A process that has gone already is no error.
    let _ = tokio::process::Command::new("kill")
        .args([name, "--", target])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .await;
}
