//! What a run measured: plain data, written to `results.json` and read back by calibration.

use serde::{Deserialize, Serialize};

use crate::hardware::Hardware;

/// Version of the JSON form of [`Measurement`]; raised whenever a field changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// Everything one grid run measured, and on what.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// [`SCHEMA_VERSION`] at the time of writing.
    pub schema_version: u32,
    /// The machine, and what ran on it.
    pub hardware: Hardware,
    /// What every cell had in common.
    pub load: Load,
    /// One entry per pair of workers and vCPU, in the order in which they ran.
    pub cells: Vec<Cell>,
    /// False when the run ended early: such a result is kept but never judged.
    pub complete: bool,
}

/// The load that every cell of a grid carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Length of one generation in real time, in seconds: the sum of its OpenAI calls.
    pub generation_s: f64,
    /// OpenAI calls of one generation: the outline and its sections.
    pub calls_per_generation: u32,
    /// Factor by which every wait is divided.
    pub speedup: f64,
    /// Real seconds between two polls of one client, before compression.
    pub client_poll_s: f64,
    /// Real seconds between two polls of OpenAI, before compression.
    pub openai_poll_s: f64,
    /// Cycles of `generation_s` that a cell measures after its warm-up.
    pub cycles: f64,
    /// Seed of the scripted OpenAI.
    pub seed: u64,
}

impl Load {
    /// Length of one generation as it runs, in milliseconds.
    pub fn compressed_generation_ms(&self) -> f64 {
        self.generation_s * 1000.0 / self.speedup
    }
}

/// How the vCPU axis of a cell was enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VcpuLimit {
    /// The backend ran in a container with `--cpus` and `--memory`.
    Container,
    /// The backend ran as a process under a cgroup quota.
    Cgroup,
    /// Nothing could enforce a limit: the backend had the whole machine, and what the
    /// vCPU count would have meant is computed from the measured CPU time.
    Modelled,
}

/// Why a cell says something else than the capacity of its workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Compressed CPU use passed 60 % of the vCPU: the cell measures CPU time at saturation.
    CpuBound,
    /// Work that does not shrink with the speed-up took 1 % of the generation or more.
    OverheadBound,
    /// The machine itself was out of CPU, so the backend was not what was measured.
    HostSaturated,
    /// Generations failed, so throughput counts less than the load that ran.
    Failures,
}

impl Mark {
    /// The mark as it stands in a table.
    pub fn label(self) -> &'static str {
        match self {
            Mark::CpuBound => "cpu-bound",
            Mark::OverheadBound => "overhead",
            Mark::HostSaturated => "host busy",
            Mark::Failures => "failures",
        }
    }
}

/// One cell of the grid.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// `GENERATION_WORKERS` of the backend.
    pub workers: u32,
    /// vCPU given to it.
    pub vcpu: f64,
    /// Memory given to it, in MiB.
    pub memory_mib: u64,
    /// What enforced the vCPU.
    pub vcpu_limit: VcpuLimit,
    /// Generations that ended within the measured window.
    pub generations: u64,
    /// Generations that ended `failed` or `cancelled`, or whose PDF was wrong.
    pub failures: u64,
    /// Generations still running when the cell ended: censored, counted nowhere else.
    pub censored: u64,
    /// Length of the measured window, in compressed seconds.
    pub window_s: f64,
    /// Generations per compressed hour: workers over the mean time a worker's slot took.
    pub throughput_per_hour: f64,
    /// Standard error of `throughput_per_hour`.
    pub throughput_per_hour_std_err: f64,
    /// `min(workers / generation, vcpu / cpu_s_per_generation)` per compressed hour.
    pub expected_per_hour: f64,
    /// CPU seconds of the backend and its child processes for one generation.
    pub cpu_s_per_generation: f64,
    /// CPU use over the vCPU given, 0 to 1, in compressed time.
    pub cpu_utilization: f64,
    /// Resident memory of the idle backend, in KiB.
    pub memory_idle_kib: u64,
    /// Mean resident memory within the window, in KiB.
    pub memory_mean_kib: u64,
    /// Greatest resident memory seen, in KiB.
    pub memory_max_kib: u64,
    /// Time that Postgres spent executing for one generation, in milliseconds.
    pub db_ms_per_generation: f64,
    /// Transactions that Postgres committed for one generation.
    pub db_transactions_per_generation: f64,
    /// Time of one generation that no wait explains, in milliseconds: it does not shrink.
    pub overhead_ms: f64,
    /// Mean delay between the end of an OpenAI response and the poll that saw it, in compressed
    /// milliseconds per generation: it shrinks with the speed-up, as it should.
    pub poll_lag_ms: f64,
    /// Polls of OpenAI for one generation.
    pub openai_polls_per_generation: f64,
    /// Share of the machine's CPU that was busy during the window, 0 to 1.
    pub host_cpu_utilization: f64,
    /// CPU seconds per second that the load generator used (goose, the scripted OpenAI and,
    /// on the native provider, S3: they share one process).
    pub load_generator_cpu: f64,
    /// What the cell must not be used for.
    pub marks: Vec<Mark>,
    /// The largest speed-up at which this cell would keep every bound.
    pub speedup_max: f64,
}

impl Cell {
    /// Whether the cell measures the capacity of its workers (design bounds kept).
    pub fn is_valid(&self) -> bool {
        self.marks.is_empty()
    }

    /// Measured over expected throughput; 1 is a perfect agreement.
    pub fn agreement(&self) -> f64 {
        self.throughput_per_hour / self.expected_per_hour
    }
}
