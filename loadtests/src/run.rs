//! Runs one cell of the grid: a real backend under a vCPU limit, real users, compressed time.

mod open;
mod sync;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use goose::GooseAttack;
use goose::config::GooseConfiguration;
use goose::metrics::GooseCoordinatedOmissionMitigation;
use harness::openai::{Latency, LoadOpenAi, Script};
use harness::{FaultProxy, NetworkFault, Sandbox, Stack, Template};

use crate::backend_process::{BackendError, BackendProcess, BackendSpec, chain};
use crate::measurement::{Cell, Load, Role, Shape, VcpuLimit};
use crate::observation::{ci95_share, round_throughputs_per_hour, rounds};
use crate::reduce::{CI95_SHARE_MAX, CellInput, Watched, reduce};
use crate::sampler::{self, Sampler};
use crate::scenarios::goose_users;
use crate::scenarios::proposal_writer::{Accounts, Campaign};
use crate::services::ServiceSampler;
use crate::source_document::source_document;

pub use open::{OpenSpec, Target, at_target};

/// Pages of the PDF that each user uploads.
const DOCUMENT_PAGES: usize = 12;

/// Why a cell could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The sandbox (database, Redis, bucket) could not be had.
    #[error("prepare a sandbox")]
    Sandbox(#[source] harness::SandboxError),
    /// The scripted OpenAI could not start.
    #[error("start the scripted OpenAI: {0}")]
    OpenAi(String),
    /// The backend could not be built or started.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// goose refused its configuration or its run.
    #[error("run the load test: {0}")]
    Goose(String),
    /// The document to upload could not be made.
    #[error("make the document to upload")]
    Document(#[from] lopdf::Error),
    /// Nothing, or too little, ended within the cell's time.
    #[error(
        "measure {} workers at {} vCPU: {ended} generations ended in {waited_s:.0} s, \
         {needed} are needed; first error: {first_error}; log: {log}", shape.workers, shape.vcpu
    )]
    TooFew {
        /// What was measured.
        shape: Shape,
        /// Generations that ended.
        ended: usize,
        /// Generations needed.
        needed: usize,
        /// How long the cell waited.
        waited_s: f64,
        /// What a user saw go wrong first.
        first_error: String,
        /// The backend's last words.
        log: String,
    },
    /// The backend ended in the middle of its cell: killed, out of memory, or by a defect.
    #[error(
        "measure {} workers at {} vCPU: the backend ended in mid-run; first error of a user: \
         {first_error}; end of its log: {log}", shape.workers, shape.vcpu
    )]
    BackendEnded {
        /// What was measured.
        shape: Shape,
        /// What a user saw go wrong first.
        first_error: String,
        /// The backend's last words.
        log: String,
    },
    /// The services told nothing about what they did.
    #[error(
        "measure {} workers at {} vCPU: Postgres did not answer while the cell ran; see whether the \
         stack is alive with `cargo run -p harness -- doctor`", shape.workers, shape.vcpu
    )]
    Unwatched {
        /// What was measured.
        shape: Shape,
    },
    /// The target of an open run is down or refuses its users.
    #[error("send users to {target}: {reason}")]
    Target {
        /// Its address.
        target: String,
        /// What it answered, or why it did not.
        reason: String,
    },
}

/// The pieces that all cells of a run share.
#[derive(Debug)]
pub struct Runner<'a> {
    /// The services.
    pub stack: &'a Stack,
    /// The backend's binary.
    pub binary: &'a Path,
    /// The load.
    pub load: Load,
    generations_min: usize,
    template: Template,
    document: Vec<u8>,
    /// Backends started so far: no two of them share a name.
    started: AtomicUsize,
    /// From here on no cell repeats more often than it must.
    repeat_until: tokio::time::Instant,
}

impl<'a> Runner<'a> {
    /// Prepares what all cells share. When `repeat_for` is over, cells no longer go beyond their
    /// `repetitions_min`, however unsettled.
    ///
    /// # Errors
    /// When the document to upload cannot be made or the binary cannot be read.
    pub fn new(
        stack: &'a Stack,
        binary: &'a Path,
        load: Load,
        generations_min: Option<u32>,
        repeat_for: Duration,
    ) -> Result<Self, RunError> {
        if !binary.is_file() {
            return Err(BackendError::Missing {
                path: binary.to_owned(),
            }
            .into());
        }
        Ok(Self {
            stack,
            binary,
            load,
            generations_min: generations_min
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(0),
            template: Template::from_command("backend", binary, &["migrate"]),
            document: source_document(DOCUMENT_PAGES)?,
            started: AtomicUsize::new(0),
            repeat_until: tokio::time::Instant::now() + repeat_for,
        })
    }

    /// Measures one saturated cell; `progress` is told the share that is done, 0 to 1.
    ///
    /// # Errors
    /// When a part of the stack fails or too few generations end to say anything.
    pub async fn cell(
        &self,
        shape: Shape,
        role: Role,
        progress: impl Fn(f64),
    ) -> Result<Cell, RunError> {
        let running = self
            .set_up(shape, "closed", &Surroundings::default())
            .await?;
        let campaign = Campaign::new(self.document.clone(), DOCUMENT_PAGES, Accounts::Own);
        let _stop = StopOnDrop(&campaign);
        let began = tokio::time::Instant::now();
        let (attack, ended) = tokio::join!(
            attack(
                &campaign,
                self.attack_configuration(shape.workers, running.backend.base_url())
            ),
            self.wait_for_rounds(&campaign, &running, shape.workers, &progress),
        );
        let waited_s = began.elapsed().as_secs_f64();
        let tracks = campaign.tracks();
        let (watched, log) = running.tear_down().await;
        attack.map_err(RunError::Goose)?;
        let first_error = || {
            let errors = campaign.errors();
            errors.into_iter().next().unwrap_or_else(|| "none".into())
        };
        match ended {
            Ok(()) => {}
            Err(WindowError::BackendEnded) => {
                return Err(RunError::BackendEnded {
                    shape,
                    first_error: first_error(),
                    log: last_lines(&log),
                });
            }
            Err(WindowError::TooFew { ended, needed }) => {
                return Err(RunError::TooFew {
                    shape,
                    ended,
                    needed,
                    waited_s,
                    first_error: first_error(),
                    log: last_lines(&log),
                });
            }
        }
        let input = CellInput {
            shape,
            role,
            load: &self.load,
            watched,
            records: campaign.records(),
            tracks,
            client_bytes: campaign.bytes(),
            request_errors: campaign.errors().len(),
        };
        reduce(&input).ok_or(RunError::Unwatched { shape })
    }

    /// Starts a backend of this shape with everything it needs and everything that watches it.
    async fn set_up(
        &self,
        shape: Shape,
        kind: &str,
        surroundings: &Surroundings<'_>,
    ) -> Result<Running, RunError> {
        let sandbox = self
            .stack
            .sandbox(&self.template)
            .await
            .map_err(RunError::Sandbox)?;
        let openai = LoadOpenAi::start(self.script())
            .await
            .map_err(|error| RunError::OpenAi(chain(&error)))?;
        let (way_to_openai, openai_url) = match surroundings.way_to_openai {
            None => (None, openai.base_url()),
            Some(fault) => {
                let (proxy, url) = FaultProxy::in_front_of(&openai.base_url())
                    .await
                    .map_err(|error| RunError::OpenAi(chain(&error)))?;
                proxy.set(fault);
                (Some(proxy), url)
            }
        };
        let name = format!(
            "{kind}-{}w-{}vcpu-{}mib-{}",
            shape.workers,
            shape.vcpu,
            shape.memory_mib,
            self.started.fetch_add(1, Ordering::Relaxed),
        );
        let mut environment = self.environment(&sandbox, openai_url, shape.workers);
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        environment.extend(surroundings.settings.iter().map(owned));
        let backend = BackendProcess::start(
            self.stack,
            &BackendSpec {
                binary: self.binary,
                vcpu: shape.vcpu,
                memory_mib: shape.memory_mib,
                environment,
                name: name.clone(),
            },
        )
        .await?;
        Ok(Running {
            memory_idle_kib: sampler::memory_kib(backend.pid()).unwrap_or(0),
            sampler: Sampler::start(backend.pid(), backend.cpu_meter()),
            services: ServiceSampler::start(self.stack, &sandbox).await,
            log: self.stack.run_dir().join(format!("{name}.log")),
            _sandbox: sandbox,
            _way_to_openai: way_to_openai,
            openai,
            backend,
        })
    }

    /// Every OpenAI call takes the same share of the generation.
    fn script(&self) -> Script {
        let call_ms = self.load.generation_s * 1000.0 / f64::from(self.load.calls_per_generation);
        Script::default()
            .latency(Latency::Fixed { ms: call_ms })
            .speedup(self.load.speedup)
            .seed(self.load.seed)
    }

    /// The backend's configuration: every wait divided by the speed-up, nothing else changed.
    fn environment(
        &self,
        sandbox: &Sandbox,
        openai_url: String,
        workers: u32,
    ) -> Vec<(String, String)> {
        let compressed_ms = |real_s: f64| ms_text(real_s * 1000.0 / self.load.speedup);
        let mut environment = sandbox.environment();
        environment.extend(
            [
                ("LISTEN_ADDR", "127.0.0.1:0".to_owned()),
                ("LOG_FORMAT", "json".to_owned()),
                ("RUST_LOG", "info".to_owned()),
                ("OPENAI_BASE_URL", openai_url),
                ("OPENAI_API_KEY", "scripted".to_owned()),
                ("GENERATION_WORKERS", workers.to_string()),
                (
                    "GENERATION_SECTIONS",
                    (self.load.calls_per_generation - 1).to_string(),
                ),
                (
                    "OPENAI_POLL_INTERVAL_MS",
                    compressed_ms(self.load.openai_poll_s),
                ),
                (
                    "POLL_RETRY_AFTER_MS",
                    compressed_ms(self.load.client_poll_s),
                ),
                // The defaults of the backend, divided.
                ("HEARTBEAT_MS", compressed_ms(20.0)),
                ("CLAIM_INTERVAL_MS", compressed_ms(10.0)),
                // A lease guards against a dead process, and a scheduling pause on a busy machine
                // does not shrink with the speed-up: so this one wait stays real.
                ("LEASE_MS", "60000".to_owned()),
                // Few accounts stand for many users in compressed time, so these limits are asked
                // as in production, and never reached.
                ("RATE_LIMIT_SESSION", "1000000/1000".to_owned()),
                ("RATE_LIMIT_GENERATIONS", "1000000/1000".to_owned()),
                ("GENERATION_RUNNING_MAX_PER_USER", "1000000".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        environment
    }

    /// More users than workers, so that every worker always has a next generation.
    fn attack_configuration(&self, workers: u32, base_url: &str) -> GooseConfiguration {
        let users = workers + (workers / 4).max(2);
        // Users arrive over one generation, so that the workers end one after the other, as they do
        // in reality, and not all at once.
        let rate = f64::from(workers) / (self.load.compressed_generation_ms() / 1000.0);
        let mut configuration = GooseConfiguration::default();
        configuration.host = Some(base_url.to_owned());
        configuration.users = usize::try_from(users).ok();
        configuration.increase_rate = Some(format!("{:.3}", rate.max(2.0)));
        configuration.quiet = 3;
        configuration.no_print_metrics = true;
        configuration.no_error_summary = true;
        configuration.no_transaction_metrics = true;
        configuration.no_scenario_metrics = true;
        configuration.no_telnet = true;
        configuration.co_mitigation = Some(GooseCoordinatedOmissionMitigation::Disabled);
        // For one request, never for a generation; a CPU-bound cell answers late.
        configuration.timeout = Some("120".to_owned());
        configuration
    }

    /// Waits until the workers have filled and enough rounds of them have ended: at least
    /// `repetitions_min`, then until the throughput is known within [`CI95_SHARE_MAX`] or
    /// `repetitions_max` is reached. Then stops the campaign.
    async fn wait_for_rounds(
        &self,
        campaign: &Campaign,
        running: &Running,
        workers: u32,
        progress: &impl Fn(f64),
    ) -> Result<(), WindowError> {
        let cycle = Duration::from_secs_f64(self.load.compressed_generation_ms() / 1000.0);
        let slots = usize::try_from(workers).unwrap_or(usize::MAX);
        let rounds_min = usize::try_from(self.load.repetitions_min.max(1)).unwrap_or(usize::MAX);
        let needed = slots
            .saturating_mul(rounds_min)
            .saturating_add(1)
            .max(self.generations_min);
        // One generation to fill the workers, then the rounds.
        let wanted = cycle * (self.load.repetitions_min.max(1) + 1);
        // A CPU-bound cell is slow by its own nature, but never silent for so long.
        let patience = cycle * 4 + Duration::from_secs(15);
        let began = tokio::time::Instant::now();
        let mut last_end = (began, 0);
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        let result = loop {
            ticks.tick().await;
            let ended = campaign.records_count();
            progress((began.elapsed().as_secs_f64() / wanted.as_secs_f64()).min(1.0));
            if ended >= needed && self.is_settled(&campaign.finishes(), workers) {
                break Ok(());
            }
            if ended > last_end.1 {
                last_end = (tokio::time::Instant::now(), ended);
            }
            if sampler::memory_kib(running.backend.pid()).is_none() {
                break Err(WindowError::BackendEnded);
            }
            if last_end.0.elapsed() >= patience {
                break Err(WindowError::TooFew { ended, needed });
            }
        };
        campaign.stop();
        goose::trigger_killswitch("the measured window is complete");
        result
    }

    fn is_settled(&self, finished: &[f64], workers: u32) -> bool {
        let rounds = rounds(finished, workers);
        let enough = usize::try_from(self.load.repetitions_max).unwrap_or(usize::MAX);
        // Without an interval there is nothing to wait for.
        let share = ci95_share(&round_throughputs_per_hour(&rounds, workers)).unwrap_or(0.0);
        let is_late = tokio::time::Instant::now() >= self.repeat_until;
        rounds.len() >= enough || share <= CI95_SHARE_MAX || is_late
    }
}

/// Stops a campaign whose run is dropped in the middle: goose's users live in tasks of their own.
struct StopOnDrop<'a>(&'a Campaign);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Why a cell ended before it had been measured.
enum WindowError {
    BackendEnded,
    TooFew { ended: usize, needed: usize },
}

/// What is particular about a kind of run.
#[derive(Default)]
struct Surroundings<'a> {
    /// Settings of the backend, over those that all runs have.
    settings: &'a [(&'a str, &'a str)],
    /// What stands between the backend and OpenAI.
    way_to_openai: Option<NetworkFault>,
}

/// A backend at work, and what watches it.
struct Running {
    backend: BackendProcess,
    openai: LoadOpenAi,
    sampler: Sampler,
    services: ServiceSampler,
    memory_idle_kib: u64,
    log: PathBuf,
    // Both are cleared away when they are dropped.
    _sandbox: Sandbox,
    _way_to_openai: Option<FaultProxy>,
}

impl Running {
    /// Ends the run; what was watched, and where the backend's log is.
    async fn tear_down(self) -> (Watched, PathBuf) {
        let samples = self.sampler.finish().await;
        let services = self.services.finish().await;
        let vcpu_limit = self.backend.limit();
        // A process that was moved into its group had memory before, which the group does not count.
        let memory_peak_kib = (vcpu_limit == VcpuLimit::Container)
            .then(|| self.backend.cpu_meter().memory_peak_kib())
            .flatten();
        self.backend.stop().await;
        let openai = self.openai.stats();
        self.openai.stop().await;
        let watched = Watched {
            samples,
            services,
            vcpu_limit,
            memory_idle_kib: self.memory_idle_kib,
            memory_peak_kib,
            openai,
        };
        (watched, self.log)
    }
}

async fn attack(campaign: &Arc<Campaign>, configuration: GooseConfiguration) -> Result<(), String> {
    let attack = GooseAttack::initialize_with_config(configuration)
        .map_err(|error| error.to_string())?
        .register_scenario(goose_users::scenario(campaign));
    attack
        .execute()
        .await
        .map(|_| ())
        .map_err(|error| error.to_string())
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Whole milliseconds, at least one.
fn ms_text(ms: f64) -> String {
    format!("{:.0}", ms.max(1.0))
}
