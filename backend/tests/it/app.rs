//! The service under test: in this process, or as the real binary.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use backend::{AppState, Config, MIGRATOR, Role};
use harness::openai::{Latency, Script, WiremockOpenAi};
use harness::poll::{self, Progress};
use harness::{ProcessGuard, Sandbox, Stack, Template};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::client::Client;

/// How long anything in a test may take before it counts as never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The binary of this crate.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_allegiant-backend");

/// Sections of a test's proposals; with the outline one more call to OpenAI.
pub(crate) const SECTIONS: u64 = 2;
/// Calls to OpenAI of one generation.
pub(crate) const CALLS: u64 = SECTIONS + 1;

pub(crate) type Environment = HashMap<String, String>;

/// A script whose responses take so many milliseconds each.
pub(crate) fn script_ms(ms: f64) -> Script {
    Script::default()
        .latency(Latency::Fixed { ms })
        .section_words(120)
}

/// What surrounds the service: a sandbox and a scripted OpenAI.
pub(crate) struct World {
    pub(crate) stack: &'static Stack,
    pub(crate) sandbox: Sandbox,
    pub(crate) openai: WiremockOpenAi,
    changes: Vec<(String, String)>,
}

impl World {
    pub(crate) async fn new(script: Script) -> anyhow::Result<Self> {
        let stack = Stack::shared().await?;
        let sandbox = stack.sandbox(&Template::from_migrator(&MIGRATOR)).await?;
        let openai = WiremockOpenAi::start(script).await?;
        Ok(Self {
            stack,
            sandbox,
            openai,
            changes: Vec::new(),
        })
    }

    /// Sets a variable for every service started from here on.
    pub(crate) fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.changes.push((name.to_owned(), value.to_string()));
        self
    }

    /// The environment of the service: everything fast, passwords cheap. An empty value unsets.
    pub(crate) fn environment(&self) -> Environment {
        let mut environment: Environment = self.sandbox.environment().into_iter().collect();
        let base_url = self.openai.base_url();
        let fast = [
            ("LISTEN_ADDR", "127.0.0.1:0"),
            ("OPENAI_BASE_URL", &base_url),
            ("OPENAI_API_KEY", "sk-test"),
            ("OPENAI_POLL_INTERVAL_MS", "20"),
            ("OPENAI_REQUEST_TIMEOUT_MS", "5000"),
            ("GENERATION_SECTIONS", &SECTIONS.to_string()),
            ("GENERATION_ATTEMPTS_MAX", "3"),
            ("LEASE_MS", "1500"),
            ("HEARTBEAT_MS", "250"),
            ("CLAIM_INTERVAL_MS", "200"),
            ("POLL_RETRY_AFTER_MS", "20"),
            ("RETRY_BASE_MS", "10"),
            ("RETRY_MAX_MS", "100"),
            ("ARGON2_MEMORY_KIB", "64"),
            ("ARGON2_ITERATIONS", "1"),
            ("SHUTDOWN_DRAIN_MS", "50"),
            ("SHUTDOWN_TIMEOUT_MS", "4000"),
            ("EXTRACTOR_PATH", BINARY),
            // All users of a test share one address, and some ask for hundreds of generations.
            ("RATE_LIMIT_SESSION", "1000000/60000"),
            ("RATE_LIMIT_LOGIN_ADDRESS", "off"),
            ("RATE_LIMIT_REGISTER_ADDRESS", "off"),
            ("RATE_LIMIT_GENERATIONS", "off"),
        ];
        environment.extend(fast.map(|(name, value)| (name.to_owned(), value.to_owned())));
        environment.extend(self.changes.iter().cloned());
        environment
    }

    /// A connection to the sandbox's database.
    pub(crate) async fn database(&self) -> anyhow::Result<sqlx::PgPool> {
        Ok(sqlx::PgPool::connect(self.sandbox.database_url()).await?)
    }

    /// The service in this process.
    pub(crate) async fn serve(&self, role: Role) -> anyhow::Result<Service> {
        let environment = self.environment();
        let config = Config::from_lookup(&|name| environment.get(name).cloned())?;
        let state = AppState::new(config).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base_url = format!("http://{}", listener.local_addr()?);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(backend::serve(listener, state, role, shutdown.clone()));
        Ok(Service {
            base_url,
            shutdown,
            task,
        })
    }

    /// The service as its own process.
    pub(crate) async fn spawn(&self) -> anyhow::Result<Process> {
        Process::start(self.stack, &self.environment()).await
    }
}

/// The service in this process.
pub(crate) struct Service {
    pub(crate) base_url: String,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), backend::ServeError>>,
}

impl Service {
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.base_url)
    }

    /// Stops in order and waits for the end.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task).await???;
        Ok(())
    }
}

/// The service as its own process.
pub(crate) struct Process {
    pub(crate) base_url: String,
    child: tokio::process::Child,
    pid: u32,
    log: PathBuf,
    _guard: ProcessGuard,
}

impl Process {
    async fn start(stack: &Stack, environment: &Environment) -> anyhow::Result<Self> {
        let log = stack
            .run_dir()
            .join(format!("backend-{}.log", uuid::Uuid::new_v4()));
        let output = std::fs::File::create(&log)?;
        let mut child = tokio::process::Command::new(BINARY)
            .arg("serve")
            .env_clear()
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().context("the process ended at once")?;
        let guard = stack.guard_process(pid);
        let address = poll::until("the service to listen", PATIENCE, || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let ended = matches!(child.try_wait(), Ok(Some(_)));
            std::future::ready(match listening_address(&text) {
                Some(address) => Progress::Ready(address),
                None if ended => Progress::Failed(text),
                None => Progress::NotYet(text),
            })
        })
        .await?;
        Ok(Self {
            base_url: format!("http://{address}"),
            child,
            pid,
            log,
            _guard: guard,
        })
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.base_url)
    }

    /// `kill -9`.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        Ok(())
    }

    /// Sends a signal.
    pub(crate) async fn send(&self, name: &str) -> anyhow::Result<()> {
        let sent = tokio::process::Command::new("kill")
            .args([name, &self.pid.to_string()])
            .status()
            .await?;
        anyhow::ensure!(sent.success(), "kill {name} failed");
        Ok(())
    }

    /// Sends a signal and waits for the end. Returns how it ended and how long that took.
    pub(crate) async fn signal(mut self, name: &str) -> anyhow::Result<(ExitStatus, Duration)> {
        let started = Instant::now();
        self.send(name).await?;
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await??;
        Ok((status, started.elapsed()))
    }

    pub(crate) fn log(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }
}

fn listening_address(log: &str) -> Option<String> {
    log.lines().find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        (line["message"] == "listening").then(|| line["address"].as_str().map(str::to_owned))?
    })
}

/// Waits for a condition.
pub(crate) async fn until<F: Future<Output = bool>>(
    what: &str,
    condition: impl Fn() -> F,
) -> anyhow::Result<()> {
    let asked = poll::until(what, PATIENCE, || async {
        if condition().await {
            Progress::Ready(())
        } else {
            Progress::NotYet("not yet".to_owned())
        }
    });
    Ok(asked.await?)
}
