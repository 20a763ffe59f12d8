//! The machine and the software that a measurement ran on, so that a reader can judge its numbers.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// Fingerprint of a run's surroundings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// CPU model as the kernel names it.
    pub cpu_model: String,
    /// Logical cores.
    pub cpu_cores: usize,
    /// Cores that this process may use by its control group's quota; absent without one.
    pub cpu_quota_cores: Option<f64>,
    /// What `sizing cpu-score` says of one core of this machine.
    pub cpu_score: Option<f64>,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Kernel release.
    pub kernel: String,
    /// `docker` or `native`; `none` when the target was somebody else's.
    pub provider: String,
    /// Digests of the images of the stack's containers; empty on the native provider.
    pub images: Vec<Image>,
    /// Version of the Postgres server.
    pub postgres: String,
    /// Version of the Redis server.
    pub redis: String,
    /// What answered as S3.
    pub s3: String,
    /// Commit of this checkout, with `-dirty` when files were changed; `unknown` outside git.
    pub commit: String,
}

/// An image that a part of the stack ran from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Name and tag.
    pub name: String,
    /// `sha256:` and the digest of its configuration, which is the same wherever it was loaded from.
    pub id: String,
}

impl Hardware {
    /// A fingerprint of which nothing is known.
    pub fn unknown() -> Self {
        Self {
            cpu_model: unknown(),
            cpu_cores: 0,
            cpu_quota_cores: None,
            cpu_score: None,
            memory_mib: 0,
            kernel: unknown(),
            provider: "none".to_owned(),
            images: Vec::new(),
            postgres: unknown(),
            redis: unknown(),
            s3: unknown(),
            commit: unknown(),
        }
    }

    /// The fingerprint of a run on `stack`; what cannot be read is `unknown`, absent or 0, never an
    /// error.
    pub async fn of_stack(stack: &harness::Stack, workspace: &Path) -> Self {
        Self {
            provider: stack.provider().to_string(),
            images: images(stack).await,
            postgres: stack.postgres_version().to_owned(),
            redis: stack.redis_version().to_owned(),
            s3: stack.s3_name().to_owned(),
            ..Self::of_machine(workspace)
        }
    }

    /// The fingerprint of this machine and this checkout.
    pub fn of_machine(workspace: &Path) -> Self {
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
            cpu_quota_cores: crate::cgroup::own_quota_cores(),
            cpu_score: Some(crate::cpu_score::quick()),
            memory_mib,
            kernel,
            commit: commit(workspace).unwrap_or_else(unknown),
            ..Self::unknown()
        }
    }
}

/// The images that the run's containers were made from.
async fn images(stack: &harness::Stack) -> Vec<Image> {
    if stack.provider() == harness::Provider::Native {
        return Vec::new();
    }
    let containers = crate::services::containers_of(stack).await;
    let mut images = Vec::new();
    for (id, name) in containers {
        let arguments = ["inspect", "--format={{.Image}}", &id].map(str::to_owned);
        if let Some(text) = crate::services::docker(&arguments).await {
            images.push(Image {
                name,
                id: text.trim().to_owned(),
            });
        }
    }
    images.sort_by(|a, b| a.name.cmp(&b.name));
    images
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
