//! What a run measured: plain data, written to `results.json` and read back by calibration.

use serde::{Deserialize, Serialize};

use crate::cgroup::CpuTime;
use crate::hardware::Hardware;
use crate::histogram::Latencies;
use crate::stats::Mean;

/// Version of the JSON form of [`Measurement`]; raised whenever a field changes its meaning.
pub const SCHEMA_VERSION: u32 = 2;

/// Everything one grid run measured, and on what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// [`SCHEMA_VERSION`] at the time of writing.
    pub schema_version: u32,
    /// The machine, and what ran on it.
    pub hardware: Hardware,
    /// What every cell had in common.
    pub load: Load,
    /// Saturated cells: one per combination of workers, vCPU and memory, in the order in which they ran.
    pub cells: Vec<Cell>,
    /// Runs under Poisson arrivals, in the order in which they ran.
    pub open_runs: Vec<OpenRun>,
    /// False when the run ended early: such a result is kept but never judged.
    pub complete: bool,
    /// Why it ended early; absent when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete_because: Option<String>,
}

impl Measurement {
    /// Cells and open runs that it holds.
    pub fn found(&self) -> usize {
        self.cells.len() + self.open_runs.len()
    }

    /// A run that has measured nothing yet.
    pub fn begin(hardware: Hardware, load: Load) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            hardware,
            load,
            cells: Vec::new(),
            open_runs: Vec::new(),
            complete: false,
            incomplete_because: None,
        }
    }
}

/// The load that every cell of a grid carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Length of one generation in real time, in seconds: the sum of its OpenAI calls.
    pub generation_s: f64,
    /// OpenAI calls of one generation: an outline and its sections.
    pub calls_per_generation: u32,
    /// Factor by which every wait is divided.
    pub speedup: f64,
    /// Seconds between two polls of a waiting user, before compression.
    pub client_poll_s: f64,
    /// Seconds between two polls of OpenAI, before compression.
    pub openai_poll_s: f64,
    /// Repetitions that a saturated cell measures at least; one is a whole round of its workers.
    pub repetitions_min: u32,
    /// Repetitions after which it ends, however wide its confidence interval still is.
    pub repetitions_max: u32,
    /// Seed of the scripted OpenAI and of planned arrivals.
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

/// What a cell is for, settled before it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The cost of a generation is computed from it.
    Calibration,
    /// The cost of a generation is checked against it, and never sees it.
    HeldOut,
}

/// Why a cell says something else than the capacity of its workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Compressed CPU use passed 60 % of the vCPU: the cell measures CPU time at saturation.
    CpuBound,
    /// Work that does not shrink with the speed-up took 1 % of the generation or more.
    OverheadBound,
    /// The machine itself was out of CPU, so the backend was not what was measured.
    HostSaturated,
    /// A thread of the load generator was busy all the time, so the backend was not what was measured.
    LoadGeneratorBound,
    /// Generations failed, so throughput counts less than the load that ran.
    Failures,
    /// After the last repetition the confidence interval of the throughput was still wider than ± 3 %.
    Unsettled,
}

impl Mark {
    /// The mark as it stands in a table.
    pub fn label(self) -> &'static str {
        match self {
            Mark::CpuBound => "cpu-bound",
            Mark::OverheadBound => "overhead",
            Mark::HostSaturated => "host busy",
            Mark::LoadGeneratorBound => "load generator busy",
            Mark::Failures => "failures",
            Mark::Unsettled => "unsettled",
        }
    }

    /// What it says, in a clause.
    pub fn meaning(self) -> &'static str {
        match self {
            Mark::CpuBound => {
                "compressed CPU use passed 60 % of the vCPU, so that CPU and no longer the workers bound the cell"
            }
            Mark::OverheadBound => {
                "work that does not shrink with the speed-up took 1 % of the generation or more"
            }
            Mark::HostSaturated => {
                "the machine was out of CPU, so that something else than the backend was measured"
            }
            Mark::LoadGeneratorBound => {
                "a thread of the load generator was busy all the time, so that it was measured, not the backend"
            }
            Mark::Failures => "generations failed, so that fewer were counted than ran",
            Mark::Unsettled => {
                "after the last repetition the 95 % interval of gen/h was still wider than ± 3 %"
            }
        }
    }

    /// Whether something else than the backend was measured, so that not even the cost of a
    /// generation can be learned.
    pub fn spoils(self) -> bool {
        matches!(
            self,
            Mark::HostSaturated | Mark::LoadGeneratorBound | Mark::Failures
        )
    }
}

/// What ran, whatever the load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// `GENERATION_WORKERS` of the backend.
    pub workers: u32,
    /// vCPU given to it.
    pub vcpu: f64,
    /// Memory given to it, in MiB.
    pub memory_mib: u64,
}

/// One repetition: as many generations as there are workers ended in it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repetition {
    /// Its length in compressed seconds.
    pub window_s: f64,
    /// Generations per compressed hour.
    pub throughput_per_hour: f64,
    /// CPU seconds of the backend for one generation.
    pub cpu_s_per_generation: f64,
}

/// What the services and the load generator did for one generation. Absent where this machine does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceUse {
    /// CPU seconds of Postgres, all its processes, per generation.
    pub postgres_cpu_per_generation: Option<CpuTime>,
    /// CPU seconds of Redis per generation, by its own account.
    pub redis_cpu_per_generation: Option<CpuTime>,
    /// CPU seconds of S3 per generation.
    pub s3_cpu_per_generation: Option<CpuTime>,
    /// Connections to the backend's database, on average.
    pub db_connections_mean: Option<f64>,
    /// The most connections seen at once.
    pub db_connections_max: Option<u64>,
    /// Transactions that Postgres committed per generation.
    pub db_transactions_per_generation: Option<f64>,
    /// Time that Postgres spent executing per generation, in milliseconds.
    pub db_ms_per_generation: Option<f64>,
    /// Statements that Postgres executed per generation; absent without `pg_stat_statements`.
    pub db_statements_per_generation: Option<f64>,
    /// Commands that Redis executed per generation.
    pub redis_commands_per_generation: Option<f64>,
    /// Bytes that Redis received per generation.
    pub redis_bytes_in_per_generation: Option<f64>,
    /// Bytes that Redis sent per generation.
    pub redis_bytes_out_per_generation: Option<f64>,
    /// Bytes of the bodies that users sent per generation.
    pub client_bytes_in_per_generation: f64,
    /// Bytes of the bodies that users received per generation.
    pub client_bytes_out_per_generation: f64,
    /// OpenAI responses created per generation.
    pub openai_calls_per_generation: f64,
    /// Polls of OpenAI per generation.
    pub openai_polls_per_generation: f64,
}

/// The CPU of the machine and of the processes that measured, in cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observer {
    /// Share of the machine's CPU that was busy, 0 to 1.
    pub host_cpu_utilization: f64,
    /// Cores that the simulated users and the measuring itself took.
    pub users_cores: f64,
    /// Cores that the scripted OpenAI took; it has one thread.
    pub openai_cores: f64,
    /// Cores that the busiest single thread of all of them took: near 1 the load generator, not the
    /// backend, sets the pace.
    pub busiest_thread_cores: f64,
}

/// What the users of a run went through, in compressed time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experience {
    /// Instants at which generations were accepted, in seconds after the first.
    pub arrivals_s: Vec<f64>,
    /// The measured window, in seconds after the first arrival.
    pub window_s: (f64, f64),
    /// Accepted until started, of the generations that ended within the window.
    pub wait: Latencies,
    /// Accepted until ended, of the same.
    pub sojourn: Latencies,
    /// Busy share of the workers within the window, 0 to 1.
    pub worker_utilization: f64,
}

/// One saturated cell of the grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// What the cell is for.
    pub role: Role,
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
    /// The rounds of the workers one by one; what the confidence intervals come from.
    pub repetitions: Vec<Repetition>,
    /// Half the 95 % confidence interval of the throughput, as a share of it; absent for one repetition.
    pub throughput_ci95_share: Option<f64>,
    /// `min(workers / generation, vcpu / cpu_s_per_generation)` per compressed hour.
    pub expected_per_hour: f64,
    /// CPU seconds of the backend and its child processes for one generation.
    pub cpu_s_per_generation: f64,
    /// The same, in the program and in the kernel.
    pub cpu_split_per_generation: CpuTime,
    /// CPU use over the vCPU given, 0 to 1, in compressed time.
    pub cpu_utilization: f64,
    /// Resident memory of the idle backend, in KiB.
    pub memory_idle_kib: u64,
    /// Mean resident memory within the window, in KiB.
    pub memory_mean_kib: u64,
    /// Greatest resident memory seen, in KiB.
    pub memory_max_kib: u64,
    /// Most memory that the backend and its children ever held together, page cache included, in KiB;
    /// absent without a control group.
    pub memory_peak_kib: Option<u64>,
    /// What one more generation in flight adds, in KiB, by regression over the levels in flight while
    /// the workers filled; absent with fewer than three levels.
    pub memory_per_generation_kib: Option<Mean>,
    /// Time that Postgres spent executing for one generation, in milliseconds.
    pub db_ms_per_generation: f64,
    /// Transactions that Postgres committed for one generation.
    pub db_transactions_per_generation: f64,
    /// Time of one generation that no wait explains, in milliseconds: it does not shrink.
    pub overhead_ms: f64,
    /// Mean delay between the end of an OpenAI response and the poll that saw it, in compressed
    /// milliseconds per generation: it shrinks with the speed-up, as it should.
    pub poll_lag_ms: f64,
    /// Time that a worker is without work although there is some, from the end of one generation to
    /// the start of the next, in compressed milliseconds.
    pub idle_gap_ms: f64,
    /// Polls of OpenAI for one generation.
    pub openai_polls_per_generation: f64,
    /// What the services did.
    pub services: ServiceUse,
    /// Share of the machine's CPU that was busy during the window, 0 to 1.
    pub host_cpu_utilization: f64,
    /// CPU seconds per second that the load generator used (goose, the scripted OpenAI and,
    /// on the native provider, S3: they share one process).
    pub load_generator_cpu: f64,
    /// The same by part, and its busiest thread.
    pub observer: Observer,
    /// What users went through.
    pub experience: Experience,
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

    /// What ran.
    pub fn shape(&self) -> Shape {
        Shape {
            workers: self.workers,
            vcpu: self.vcpu,
            memory_mib: self.memory_mib,
        }
    }
}

/// Which arrivals of a planned schedule a process sends: every `of`-th, from the `index`-th on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// From 1.
    pub index: u32,
    /// Processes that share the schedule.
    pub of: u32,
}

/// The arrivals that were planned before anything was sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Mean arrivals per hour of real time, all processes together.
    pub rate_per_hour: f64,
    /// Length of the schedule, in compressed seconds.
    pub length_s: f64,
    /// Arrivals at the start that are not judged, in compressed seconds.
    pub warmup_s: f64,
    /// Seed of the schedule.
    pub seed: u64,
}

/// One run under Poisson arrivals on a planned schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenRun {
    /// What ran; absent when the target was somebody else's.
    pub shape: Option<Shape>,
    /// Where the target was, when it was somebody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The schedule.
    pub plan: Plan,
    /// The parts of it in this result, in ascending order.
    pub shards: Vec<Shard>,
    /// Arrivals planned in these parts.
    pub planned: u64,
    /// Arrivals that the load generator could not send in time: sent late, and their latency counts
    /// from the planned instant all the same.
    pub dropped_arrivals: u64,
    /// Generations that ended well.
    pub completed: u64,
    /// Generations that failed, and requests that did.
    pub failures: u64,
    /// The first thing that went wrong.
    pub first_failure: Option<String>,
    /// Arrivals whose generation was not yet accepted, queued or running when the schedule ended: censored.
    pub censored: u64,
    /// Generations that ended within the window, per compressed hour.
    pub throughput_per_hour: f64,
    /// From the planned instant until the user knew that the generation had ended.
    pub latency: Latencies,
    /// From the planned instant until the request was sent: how late the load generator was.
    pub lateness: Latencies,
    /// What users went through, by the service's own instants.
    pub experience: Experience,
    /// CPU use of the backend over the vCPU given, 0 to 1; absent when the target was somebody else's.
    pub cpu_utilization: Option<f64>,
    /// CPU of the machine and of the processes that measured.
    pub observer: Observer,
    /// What the run must not be used for.
    pub marks: Vec<Mark>,
    /// Whether it ran to the end of its schedule; a part is never judged.
    pub complete: bool,
}
