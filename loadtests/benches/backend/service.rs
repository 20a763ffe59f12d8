//! A backend under a quota, with what it needs around it.

use std::path::PathBuf;

use anyhow::Context;
use harness::openai::{Latency, LoadOpenAi, Script};
use harness::{Sandbox, Stack, Template};
use loadtests::backend_process::{BackendProcess, BackendSpec};
use loadtests::cgroup::CpuMeter;
use procfs::process::Process;

/// Which backend.
#[derive(Debug)]
pub(crate) struct Subject {
    /// Its binary.
    pub(crate) binary: PathBuf,
    /// Changes of its environment, as `NAME=VALUE`.
    pub(crate) changes: Vec<String>,
}

/// What it is given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) vcpu: f64,
    pub(crate) memory_mib: u64,
    /// `GENERATION_WORKERS`.
    pub(crate) workers: u32,
    /// How long each of the five calls to OpenAI takes, in milliseconds.
    pub(crate) call_ms: f64,
}

/// A running backend.
pub(crate) struct Service {
    pub(crate) backend: BackendProcess,
    _openai: LoadOpenAi,
    _sandbox: Sandbox,
}

/// Resident memory in KiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// All of it.
    pub(crate) total_kib: u64,
    /// What the process has written: heap and stacks.
    pub(crate) anonymous_kib: u64,
}

impl Service {
    pub(crate) async fn start(
        stack: &Stack,
        subject: &Subject,
        name: &str,
        shape: Shape,
    ) -> anyhow::Result<Self> {
        let template = Template::from_command("backend", &subject.binary, &["migrate"]);
        let sandbox = stack.sandbox(&template).await?;
        let script = Script::default().latency(Latency::Fixed { ms: shape.call_ms });
        let openai = LoadOpenAi::start(script).await?;
        let mut environment = sandbox.environment();
        let workers = shape.workers.to_string();
        environment.extend(
            [
                ("LISTEN_ADDR", "127.0.0.1:0"),
                ("OPENAI_BASE_URL", &openai.base_url()),
                ("OPENAI_API_KEY", "scripted"),
                ("GENERATION_WORKERS", &workers),
                ("GENERATION_RUNNING_MAX_PER_USER", &workers),
                // Asked as in production, and never reached: few accounts stand for many users.
                ("RATE_LIMIT_SESSION", "1000000/1000"),
                ("RATE_LIMIT_GENERATIONS", "1000000/1000"),
                ("RATE_LIMIT_REGISTER_ADDRESS", "1000000/1000"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        for change in &subject.changes {
            let (name, value) = change
                .split_once('=')
                .with_context(|| format!("read --set {change:?}: it is not NAME=VALUE"))?;
            environment.push((name.to_owned(), value.to_owned()));
        }
        let spec = BackendSpec {
            binary: &subject.binary,
            vcpu: shape.vcpu,
            memory_mib: shape.memory_mib,
            environment,
            name: name.to_owned(),
        };
        Ok(Self {
            backend: BackendProcess::start(stack, &spec).await?,
            _openai: openai,
            _sandbox: sandbox,
        })
    }

    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let status = Process::new(i32::try_from(self.backend.pid())?)?.status()?;
        Ok(Memory {
            total_kib: status.vmrss.unwrap_or(0),
            anonymous_kib: status.rssanon.unwrap_or(0),
        })
    }

    /// CPU seconds of it and its children so far.
    pub(crate) fn cpu_s(&self) -> anyhow::Result<f64> {
        let meter: CpuMeter = self.backend.cpu_meter();
        Ok(meter
            .read()
            .context("read the backend's CPU time: it has ended")?
            .total_s())
    }

    pub(crate) async fn stop(self) {
        self.backend.stop().await;
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (total, anonymous) = (mib(self.total_kib), mib(self.anonymous_kib));
        write!(
            formatter,
            "{total:.1} MiB resident, {anonymous:.1} of them written"
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 KiB")]
pub(crate) fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
