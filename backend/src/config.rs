//! Reads the whole configuration from the environment, once: every variable and its default is here or in a module below.

mod generations;
mod limits;
mod stores;
mod traces;
mod variables;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::variables::Variables;
use crate::limits::Quota;
use crate::retry::Backoff;

pub use generations::{AllowanceConfig, WebhookConfig};
pub use stores::{DatabaseConfig, SessionConfig, StaticCredentials, StorageConfig};
pub use traces::TraceConfig;
pub use variables::ConfigError;

/// Everything the service can be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The HTTP side.
    pub http: HttpConfig,
    /// Postgres.
    pub database: DatabaseConfig,
    /// Where sessions live and for how long.
    pub sessions: SessionConfig,
    /// How often things may be done.
    pub limits: LimitConfig,
    /// S3.
    pub storage: StorageConfig,
    /// The Responses API.
    pub openai: OpenAiConfig,
    /// The generation workers.
    pub worker: WorkerConfig,
    /// What a user may use.
    pub allowance: AllowanceConfig,
    /// Webhooks.
    pub webhooks: WebhookConfig,
    /// Documents and the process that reads them.
    pub documents: DocumentConfig,
    /// Cost of a password hash.
    pub passwords: PasswordConfig,
    /// Delays between tries of S3, OpenAI and Postgres.
    pub backoff: Backoff,
    /// Where traces go; `None` makes none.
    pub traces: Option<TraceConfig>,
    /// `SHUTDOWN_DRAIN_MS`: from readiness off to the closing of the listener.
    pub shutdown_drain: Duration,
    /// `SHUTDOWN_TIMEOUT_MS`: what an orderly stop may take altogether.
    pub shutdown_timeout: Duration,
}

/// The HTTP side.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// `LISTEN_ADDR`; port 0 picks a free one.
    pub listen_addr: SocketAddr,
    /// `POLL_RETRY_AFTER_MS`: when clients are told to poll again.
    pub poll_retry_after: Duration,
    /// `SSE_KEEP_ALIVE_MS`: how often a silent stream of events is given a comment.
    pub event_keep_alive: Duration,
    /// `REQUEST_TIMEOUT_MS`: what a request other than an upload may take.
    pub request_timeout: Duration,
    /// `UPLOAD_TIMEOUT_MS`: what an upload may take.
    pub upload_timeout: Duration,
    /// `TRUSTED_PROXY_HOPS`: proxies in front that each append the address they were asked from to
    /// `X-Forwarded-For`: 0 without any, 1 behind a load balancer, 2 behind CloudFront and one.
    pub trusted_proxy_hops: usize,
}

/// How often things may be done; `None` is as often as one likes.
#[derive(Debug, Clone)]
pub struct LimitConfig {
    /// `RATE_LIMIT_SESSION`: requests of one session.
    pub session: Option<Quota>,
    /// `RATE_LIMIT_LOGIN_ADDRESS`: logins from one address.
    pub login_address: Option<Quota>,
    /// `RATE_LIMIT_LOGIN_ACCOUNT`: logins to one account.
    pub login_account: Option<Quota>,
    /// `RATE_LIMIT_REGISTER_ADDRESS`: registrations from one address.
    pub register_address: Option<Quota>,
    /// `RATE_LIMIT_REGISTER_ACCOUNT`: registrations of one email address.
    pub register_account: Option<Quota>,
    /// `RATE_LIMIT_GENERATIONS`: generations one user asks for.
    pub generations: Option<Quota>,
}

/// The Responses API.
#[derive(Clone)]
pub struct OpenAiConfig {
    /// `OPENAI_BASE_URL`, with its version segment and without a slash at the end.
    pub base_url: String,
    /// `OPENAI_API_KEY`.
    pub api_key: String,
    /// `OPENAI_MODEL`.
    pub model: String,
    /// `OPENAI_POLL_INTERVAL_MS`: the cadence at which a response is asked for that may end at any time.
    pub poll_interval: Duration,
    /// `OPENAI_REQUEST_TIMEOUT_MS`: what one HTTP call may take.
    pub request_timeout: Duration,
    /// `OPENAI_STEP_TIMEOUT_MS`: what one response may take from its creation to its end.
    pub step_timeout: Duration,
}

impl std::fmt::Debug for OpenAiConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("OpenAiConfig")
            .field("base_url", &self.base_url)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

/// The generation workers.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// `GENERATION_WORKERS`: generations this process runs at a time.
    pub slots: NonZeroUsize,
    /// `GENERATION_SECTIONS`: sections an outline is asked for.
    pub sections: NonZeroUsize,
    /// `GENERATION_ATTEMPTS_MAX`: attempts before a generation fails.
    pub attempts_max: u32,
    /// `LEASE_MS`: how long a claim lasts without a heartbeat.
    pub lease: Duration,
    /// `HEARTBEAT_MS`: how often leases are renewed, and expired ones of other processes looked for.
    pub heartbeat: Duration,
    /// `CLAIM_INTERVAL_MS`: how often work is looked for when no notification comes.
    pub claim_interval: Duration,
}

/// Documents and the process that reads them.
#[derive(Debug, Clone)]
pub struct DocumentConfig {
    /// `DOCUMENT_SIZE_MAX_BYTES`.
    pub size_max_bytes: u64,
    /// `EXTRACTOR_PATH`: the program whose `extract-text` subcommand reads a PDF.
    pub extractor_path: PathBuf,
    /// `EXTRACTOR_TIMEOUT_MS`: wall-clock time after which it is killed.
    pub extractor_timeout: Duration,
    /// `SPOOL_DIR`: where an upload is spooled before it goes to S3.
    pub spool_dir: PathBuf,
}

/// Cost of a password hash: the defaults are the OWASP recommendation for argon2id (19 MiB, 2 passes, 1 lane).
#[derive(Debug, Clone, Copy)]
pub struct PasswordConfig {
    /// `ARGON2_MEMORY_KIB`.
    pub memory_kib: u32,
    /// `ARGON2_ITERATIONS`.
    pub iterations: u32,
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// The first variable that is missing or cannot be read.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(&|name| std::env::var(name).ok())
    }

    /// Reads the configuration from any source of variables; tests use a map.
    ///
    /// # Errors
    /// The first variable that is missing or cannot be read.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let variables = Variables { lookup };
        let (shutdown_drain, shutdown_timeout) = shutdown_times(&variables)?;
        Ok(Self {
            http: HttpConfig::read(&variables)?,
            database: DatabaseConfig::read(&variables)?,
            sessions: SessionConfig::read(&variables)?,
            limits: LimitConfig::read(&variables)?,
            storage: StorageConfig::read(&variables)?,
            openai: OpenAiConfig::read(&variables)?,
            worker: WorkerConfig::read(&variables)?,
            allowance: AllowanceConfig::read(&variables)?,
            webhooks: WebhookConfig::read(&variables)?,
            documents: DocumentConfig::read(&variables)?,
            passwords: PasswordConfig::read(&variables)?,
            backoff: Backoff {
                base: variables.duration("RETRY_BASE_MS", "first delay before a retry", 500)?,
                max: variables.duration("RETRY_MAX_MS", "longest delay before a retry", 8_000)?,
            },
            traces: TraceConfig::read(&variables)?,
            shutdown_drain,
            shutdown_timeout,
        })
    }
}

fn shutdown_times(variables: &Variables<'_>) -> Result<(Duration, Duration), ConfigError> {
    let (variable, meaning) = ("SHUTDOWN_DRAIN_MS", "time from unready to closed");
    let drain = variables.duration(variable, meaning, 1_000)?;
    let timeout = variables.duration("SHUTDOWN_TIMEOUT_MS", "time for an orderly stop", 5_000)?;
    if drain >= timeout {
        let problem = format!(
            "{} ms do not leave room within SHUTDOWN_TIMEOUT_MS={}",
            drain.as_millis(),
            timeout.as_millis()
        );
        return Err(ConfigError::new(variable, meaning, problem, "1000"));
    }
    Ok((drain, timeout))
}

fn listen_addr(variables: &Variables<'_>) -> Result<SocketAddr, ConfigError> {
    let (variable, example) = ("LISTEN_ADDR", "0.0.0.0:8000");
    let text = variables.text(variable);
    let text = text.as_deref().unwrap_or(example);
    text.parse().map_err(|_| {
        let problem = format!("{text:?} is not an address and a port");
        ConfigError::new(variable, "where to listen", problem, example)
    })
}

impl HttpConfig {
    /// Reads only where the service listens, which is all that a health check needs.
    ///
    /// # Errors
    /// When the variable cannot be read.
    pub fn listen_addr_from_env() -> Result<SocketAddr, ConfigError> {
        listen_addr(&Variables {
            lookup: &|name| std::env::var(name).ok(),
        })
    }

    fn read(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            listen_addr: listen_addr(variables)?,
            poll_retry_after: variables.duration(
                "POLL_RETRY_AFTER_MS",
                "when clients poll again",
                5_000,
            )?,
            // A quarter of the 60 s after which a load balancer cuts what is silent:
            // facts on AWS, section 0.
            event_keep_alive: variables.duration(
                "SSE_KEEP_ALIVE_MS",
                "cadence of comments in a silent stream",
                15_000,
            )?,
            request_timeout: variables.duration(
                "REQUEST_TIMEOUT_MS",
                "time for one request",
                30_000,
            )?,
            upload_timeout: variables.duration(
                "UPLOAD_TIMEOUT_MS",
                "time for one upload",
                300_000,
            )?,
            trusted_proxy_hops: variables.number(
                "TRUSTED_PROXY_HOPS",
                "proxies that append to X-Forwarded-For",
                0,
            )?,
        })
    }
}

impl OpenAiConfig {
    fn read(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        let base_url = variables
            .url(
                "OPENAI_BASE_URL",
                "where OpenAI answers",
                "https://api.openai.com/v1",
            )?
            .unwrap_or_else(|| "https://api.openai.com/v1".to_owned());
        Ok(Self {
            base_url,
            api_key: variables.required(
                "OPENAI_API_KEY",
                "the key of the OpenAI project",
                "sk-...",
            )?,
            model: variables
                .text("OPENAI_MODEL")
                .unwrap_or_else(|| "gpt-5".to_owned()),
            poll_interval: variables.duration(
                "OPENAI_POLL_INTERVAL_MS",
                "cadence of polling a response",
                5_000,
            )?,
            request_timeout: variables.duration(
                "OPENAI_REQUEST_TIMEOUT_MS",
                "time for one call",
                30_000,
            )?,
            step_timeout: variables.duration(
                "OPENAI_STEP_TIMEOUT_MS",
                "time for one response",
                1_200_000,
            )?,
        })
    }
}

impl WorkerConfig {
    fn read(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        let config = Self {
            slots: variables.number(
                "GENERATION_WORKERS",
                "generations at a time",
                NonZeroUsize::MIN.saturating_add(5),
            )?,
            sections: variables.number(
                "GENERATION_SECTIONS",
                "sections of a proposal",
                NonZeroUsize::MIN.saturating_add(3),
            )?,
            attempts_max: variables
                .number::<u32>("GENERATION_ATTEMPTS_MAX", "attempts per generation", 5)?
                .max(1),
            lease: variables.duration("LEASE_MS", "life of a claim without heartbeat", 60_000)?,
            heartbeat: variables.duration("HEARTBEAT_MS", "cadence of renewing leases", 20_000)?,
            claim_interval: variables.duration(
                "CLAIM_INTERVAL_MS",
                "cadence of looking for work",
                10_000,
            )?,
        };
        if config.heartbeat >= config.lease {
            let problem = format!(
                "{} ms do not leave room within LEASE_MS={}",
                config.heartbeat.as_millis(),
                config.lease.as_millis()
            );
            return Err(ConfigError::new(
                "HEARTBEAT_MS",
                "cadence of renewing leases",
                problem,
                "20000",
            ));
        }
        Ok(config)
    }
}

impl DocumentConfig {
    fn read(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        let (variable, meaning) = ("EXTRACTOR_PATH", "the program that reads PDFs");
        let extractor_path = match variables.text(variable) {
            Some(path) => PathBuf::from(path),
            None => std::env::current_exe().map_err(|error| {
                ConfigError::new(
                    variable,
                    meaning,
                    error.to_string(),
                    "/usr/local/bin/allegiant-backend",
                )
            })?,
        };
        let spool_dir = variables
            .text("SPOOL_DIR")
            .map_or_else(std::env::temp_dir, PathBuf::from);
        if !spool_dir.is_dir() {
            let problem = format!("{} is not a directory", spool_dir.display());
            return Err(ConfigError::new(
                "SPOOL_DIR",
                "where uploads are spooled",
                problem,
                "/tmp",
            ));
        }
        Ok(Self {
            size_max_bytes: variables.number(
                "DOCUMENT_SIZE_MAX_BYTES",
                "largest document",
                10 * 1024 * 1024,
            )?,
            extractor_path,
            extractor_timeout: variables.duration(
                "EXTRACTOR_TIMEOUT_MS",
                "time for reading a document",
                30_000,
            )?,
            spool_dir,
        })
    }
}

impl PasswordConfig {
    fn read(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        let config = Self {
            memory_kib: variables.number(
                "ARGON2_MEMORY_KIB",
                "memory of a password hash",
                19_456,
            )?,
            iterations: variables.number("ARGON2_ITERATIONS", "passes of a password hash", 2)?,
        };
        if argon2::Params::new(config.memory_kib, config.iterations, 1, None).is_err() {
            let problem = format!(
                "{} KiB with {} passes is out of range",
                config.memory_kib, config.iterations
            );
            return Err(ConfigError::new(
                "ARGON2_MEMORY_KIB",
                "memory of a password hash",
                problem,
                "19456",
            ));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
