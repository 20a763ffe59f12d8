//! The machine and the software that a measurement ran on, so that a reader can judge its numbers.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// Fingerprint of a run's surroundings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// CPU model as the kernel names it.
    pub cpu_model: String,
    /// Logical cores.
    pub cpu_cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Kernel release.
    pub kernel: String,
    /// `docker` or `native`.
    pub provider: String,
    /// Version of the Postgres server.
    pub postgres: String,
    /// Version of the Redis server.
    pub redis: String,
    /// What answered as S3.
    pub s3: String,
    /// Commit of this checkout, with `-dirty` when files were changed; `unknown` outside git.
    pub commit: String,
}

impl Hardware {
    /// Reads the fingerprint; what cannot be read is `unknown` or 0, never an error.
    pub fn read(stack: &harness::Stack, workspace: &Path) -> Self {
        let cpu_model = std::fs::read_to_string("/proc/cpuinfo")
            .ok()
            .and_then(|text| {
                let line = text.lines().find(|line| line.starts_with("model name"))?;
                Some(line.split_once(':')?.1.trim().to_owned())
            })
            .unwrap_or_else(unknown);
        let memory_mib = std::fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| {
                let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
                line.split_whitespace().nth(1)?.parse::<u64>().ok()
            })
            .map_or(0, |kib| kib / 1024);
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .map_or_else(|_| unknown(), |text| text.trim().to_owned());
        Self {
            cpu_model,
            cpu_cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib,
            kernel,
            provider: stack.provider().to_string(),
            postgres: stack.postgres_version().to_owned(),
            redis: stack.redis_version().to_owned(),
            s3: stack.s3_name().to_owned(),
            commit: commit(workspace).unwrap_or_else(unknown),
        }
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// Commit of the checkout at `workspace`; `None` when git is missing or this is no repository.
fn commit(workspace: &Path) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(workspace)
        .args([
            "describe",
            "--always",
            "--dirty",
            "--abbrev=12",
            "--exclude=*",
        ])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
