//! Runs one cell of the grid: a real backend under a vCPU limit, real users, compressed time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use goose::GooseAttack;
use goose::config::GooseConfiguration;
use goose::metrics::GooseCoordinatedOmissionMitigation;
use harness::openai::{Latency, LoadOpenAi, Script};
use harness::{Sandbox, Stack, Template};
use sqlx::{Connection, PgConnection, Row};

use crate::backend_process::{BackendError, BackendProcess, BackendSpec, chain};
use crate::measurement::{Cell, Load};
use crate::reduce::{CellInput, DatabaseWork, reduce};
use crate::sampler::{self, Sampler};
use crate::scenarios::proposal_writer::{self, Campaign};
use crate::source_document::source_document;

/// Pages of the PDF that each user uploads.
const DOCUMENT_PAGES: usize = 12;

/// A pair of the grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellSpec {
    /// `GENERATION_WORKERS`.
    pub workers: u32,
    /// vCPU of the backend.
    pub vcpu: f64,
    /// Its memory in MiB.
    pub memory_mib: u64,
}

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
    /// Postgres could not be asked what it did.
    #[error("read the database's statistics")]
    Database(#[from] sqlx::Error),
    /// The document to upload could not be made.
    #[error("make the document to upload")]
    Document(#[from] lopdf::Error),
    /// Nothing, or too little, ended within the cell's time.
    #[error(
        "measure {workers} workers at {vcpu} vCPU: {ended} generations ended in {waited_s:.0} s, \
         {needed} are needed; first error: {first_error}; log: {log}"
    )]
    TooFew {
        /// Workers of the cell.
        workers: u32,
        /// Its vCPU.
        vcpu: f64,
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
}

impl<'a> Runner<'a> {
    /// Prepares what all cells share.
    ///
    /// # Errors
    /// When the document to upload cannot be made or the binary cannot be read.
    pub fn new(
        stack: &'a Stack,
        binary: &'a Path,
        load: Load,
        generations_min: Option<u32>,
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
        })
    }

    /// Measures one cell; `progress` is told the share that is done, 0 to 1.
    ///
    /// # Errors
    /// When a part of the stack fails or too few generations end to say anything.
    pub async fn cell(&self, spec: CellSpec, progress: impl Fn(f64)) -> Result<Cell, RunError> {
        let sandbox = self
            .stack
            .sandbox(&self.template)
            .await
            .map_err(RunError::Sandbox)?;
        let openai = LoadOpenAi::start(self.script())
            .await
            .map_err(|error| RunError::OpenAi(chain(&error)))?;
        let name = format!("backend-{}w-{}vcpu", spec.workers, spec.vcpu);
        let backend = BackendProcess::start(
            self.stack,
            &BackendSpec {
                binary: self.binary,
                vcpu: spec.vcpu,
                memory_mib: spec.memory_mib,
                environment: self.environment(&sandbox, &openai, spec.workers),
                name: name.clone(),
            },
        )
        .await?;
        let memory_idle_kib = sampler::memory_kib(backend.pid()).unwrap_or(0);

        let campaign = Campaign::new(self.document.clone(), DOCUMENT_PAGES);
        let sampler = Sampler::start(backend.pid(), backend.cpu_meter());
        let began = tokio::time::Instant::now();
        let (attack, ended) = tokio::join!(
            attack(
                &campaign,
                self.attack_configuration(spec.workers, backend.base_url())
            ),
            self.wait_for_window(&campaign, spec.workers, &progress),
        );
        let waited_s = began.elapsed().as_secs_f64();
        let in_flight_at_end = campaign.in_flight();
        let samples = sampler.finish().await;
        let limit = backend.limit();
        backend.stop().await;
        let openai_stats = openai.stats();
        openai.stop().await;
        attack.map_err(RunError::Goose)?;
        if let Err(WindowError { ended, needed }) = ended {
            let log = self.stack.run_dir().join(format!("{name}.log"));
            return Err(RunError::TooFew {
                workers: spec.workers,
                vcpu: spec.vcpu,
                ended,
                needed,
                waited_s,
                first_error: campaign
                    .errors()
                    .into_iter()
                    .next()
                    .unwrap_or_else(|| "none".into()),
                log: last_lines(&log),
            });
        }
        let database = database_work(&sandbox).await?;
        Ok(reduce(&CellInput {
            spec,
            load: &self.load,
            vcpu_limit: limit,
            records: campaign.records(),
            request_errors: campaign.errors().len(),
            samples,
            in_flight_at_end,
            memory_idle_kib,
            openai: openai_stats,
            database,
        }))
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
        openai: &LoadOpenAi,
        workers: u32,
    ) -> Vec<(String, String)> {
        let compressed_ms = |real_s: f64| ms_text(real_s * 1000.0 / self.load.speedup);
        let mut environment = sandbox.environment();
        environment.extend(
            [
                ("LISTEN_ADDR", "127.0.0.1:0".to_owned()),
                ("LOG_FORMAT", "json".to_owned()),
                ("RUST_LOG", "info".to_owned()),
                ("OPENAI_BASE_URL", openai.base_url()),
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

    /// Waits until the cell has run its warm-up and its cycles and enough generations have ended,
    /// then stops the campaign.
    async fn wait_for_window(
        &self,
        campaign: &Campaign,
        workers: u32,
        progress: &impl Fn(f64),
    ) -> Result<(), WindowError> {
        let cycle = Duration::from_secs_f64(self.load.compressed_generation_ms() / 1000.0);
        // One generation to fill the workers, one in which the first ones end, then the cycles.
        let wanted = cycle.mul_f64(1.25 + self.load.cycles);
        // A CPU-bound cell takes longer by its own nature; this bounds it.
        let workers = usize::try_from(workers).unwrap_or(usize::MAX);
        let rounds = u32::try_from(self.generations_min / workers).unwrap_or(u32::MAX);
        let patience = (wanted + cycle.saturating_mul(rounds)) * 4 + Duration::from_secs(10);
        let needed = workers
            .saturating_add((workers / 2).max(2))
            .max(self.generations_min);
        let began = tokio::time::Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        let result = loop {
            ticks.tick().await;
            let elapsed = began.elapsed();
            let ended = campaign.records_count();
            progress((elapsed.as_secs_f64() / wanted.as_secs_f64()).min(1.0));
            if elapsed >= wanted && ended >= needed {
                break Ok(());
            }
            if elapsed >= patience {
                break Err(WindowError { ended, needed });
            }
        };
        campaign.stop();
        goose::trigger_killswitch("the measured window is complete");
        result
    }
}

/// Too few generations had ended when patience ran out.
struct WindowError {
    ended: usize,
    needed: usize,
}

async fn attack(campaign: &Arc<Campaign>, configuration: GooseConfiguration) -> Result<(), String> {
    let attack = GooseAttack::initialize_with_config(configuration)
        .map_err(|error| error.to_string())?
        .register_scenario(proposal_writer::scenario(campaign));
    attack
        .execute()
        .await
        .map(|_| ())
        .map_err(|error| error.to_string())
}

/// What Postgres did in this sandbox's database, read after the backend has gone: a server process
/// hands in its counts at the latest when its connection ends.
async fn database_work(sandbox: &Sandbox) -> Result<DatabaseWork, sqlx::Error> {
    let mut connection = PgConnection::connect(sandbox.database_url()).await?;
    let row = sqlx::query(
        "SELECT active_time, xact_commit::float8 FROM pg_stat_database WHERE datname = current_database()",
    )
    .fetch_one(&mut connection)
    .await?;
    let work = DatabaseWork {
        active_ms: row.try_get(0)?,
        transactions: row.try_get(1)?,
    };
    connection.close().await?;
    Ok(work)
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
