//! The arguments of `sizing`; what they do is in the module of the same name as the command.

mod axes;
mod numbers;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use simulator::platform::Platform;
use simulator::scenario::{Architecture, Autoscaling, CacheMode, Case, Tasks};

use crate::review::Language;

use crate::measurement::Shard;

/// Seeds that a sizing is simulated with when nobody says otherwise.
pub const REPLICATIONS: u32 = 10;

/// Measures the service under compressed 15-minute generations and judges a Fargate sizing.
///
/// Without a command: starts the stack, measures a grid of worker and vCPU counts, calibrates,
/// simulates the proposed sizing and its alternatives, prints the verdict, and writes report.html,
/// report.md and results.json.
///
/// Exit codes: 0 done (gate: the sizing holds; storm: all went well), 1 gate: the SLO or the budget is
/// missed or a finding breaks the sizing, storm: something was lost, duplicated or billed twice, 2 the input, the machine or the stack is at fault, or the run was interrupted.
#[derive(Debug, Parser)]
#[command(
    name = "sizing",
    version,
    args_conflicts_with_subcommands = true,
    max_term_width = 80
)]
pub struct CommandLine {
    /// What to do; the main job when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of the main job.
    #[command(flatten)]
    pub main: MainArguments,
    /// Print the result alone: no progress, and nothing about the run itself, such as what was written where.
    /// What limits the result (doubts, marks, assumptions) is part of it and stays; errors are still printed.
    #[arg(long, global = true)]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure a grid of worker and vCPU counts.
    Measure(MeasureArguments),
    /// Calibrate from a measurement that is there already, and say how well that predicts it.
    Calibrate(CalibrateArguments),
    /// See what becomes of requests that stay open behind a load balancer, beside what the simulator says.
    Sync(SyncArguments),
    /// Measure the proposal's own Python stack beside the backend.
    Compare(CompareArguments),
    /// Simulate one scenario file: exit 0 whatever its verdict is, for the gate is the command that fails.
    Simulate(SimulateArguments),
    /// List the cheapest sizings that meet the SLO, and why the others fail.
    Plan(PlanArguments),
    /// Answer every question of the infrastructure review with numbers of this checkout.
    Review(ReviewArguments),
    /// Serve a page on this machine on which a sizing can be tried out.
    Serve(ServeArguments),
    /// Join the results of several processes or machines: histograms and counts add up exactly.
    Merge(MergeArguments),
    /// Score one core of this machine at the kind of work that a generation is made of.
    CpuScore(CpuScoreArguments),
    /// Let faults loose on two backends and audit what became of their generations: exit 0 when nothing
    /// was lost, duplicated or billed twice, 1 when something was.
    Storm(StormArguments),
    /// Judge a sizing: exit 0 when it holds, 1 when it does not, 2 when the input is bad.
    Gate(GateArguments),
}

/// Options of the main job.
#[derive(Debug, Args)]
pub struct MainArguments {
    /// A smoke run under a minute: fewer cells, fewer cycles.
    #[arg(long)]
    pub quick: bool,
    /// The sizing to judge.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "terraform/environments/proposal.tfvars"
    )]
    pub sizing: PathBuf,
    /// The SLO, the budget and the load to judge it by.
    #[arg(long, value_name = "FILE", default_value = "loadtests/slo.toml")]
    pub slo: PathBuf,
    /// Score of the deployment's vCPU, as `sizing cpu-score` printed it there; without it a vCPU counts as
    /// a core of the machine that was measured.
    #[arg(long, value_name = "SCORE", value_parser = numbers::score)]
    pub vcpu_score: Option<f64>,
    /// The grid to measure.
    #[command(flatten)]
    pub grid: GridArguments,
    /// Folder for report.html, report.md and results.json.
    #[arg(long, value_name = "DIR", default_value = "target/sizing")]
    pub out: PathBuf,
}

/// The grid of a measurement.
#[derive(Clone, Debug, Args)]
pub struct GridArguments {
    /// Worker counts, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "N,...", value_parser = numbers::workers)]
    pub workers: Option<Vec<u32>>,
    /// vCPU counts, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "V,...", value_parser = numbers::vcpu)]
    pub vcpus: Option<Vec<f64>>,
    /// Memory sizes in GiB, separated by commas; the least that Fargate sells with each vCPU when not given.
    #[arg(long, value_delimiter = ',', value_name = "GIB,...", value_parser = numbers::memory)]
    pub memory_gib: Option<Vec<f64>>,
    /// Factor by which every wait is divided; 1 runs the real 15 minutes.
    #[arg(long, value_parser = numbers::speedup)]
    pub speedup: Option<f64>,
    /// Generations that each cell measures at least.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub generations: Option<u32>,
    /// The backend's binary; built by cargo when not given.
    #[arg(long, value_name = "FILE")]
    pub backend: Option<PathBuf>,
}

/// Options of `measure`.
#[derive(Debug, Args)]
pub struct MeasureArguments {
    /// The grid to measure.
    #[command(flatten)]
    pub grid: GridArguments,
    /// Poisson arrivals on a planned schedule instead of saturation.
    #[arg(long)]
    pub open: bool,
    /// Arrivals per hour of real time; 80 % of the workers when not given.
    #[arg(long, value_name = "PER_HOUR", requires = "open", value_parser = numbers::rate)]
    pub rate: Option<f64>,
    /// Length of the schedule, in generations.
    #[arg(long, value_name = "N", requires = "open", default_value_t = 6.0, value_parser = numbers::schedule)]
    pub length: f64,
    /// The part of the schedule that this process sends, such as 2/5; all parts together are the whole.
    #[arg(long, value_name = "I/N", requires = "open", value_parser = numbers::shard)]
    pub shard: Option<Shard>,
    /// A deployment to send users to, instead of starting one here. --speedup says by how much its own
    /// waits are compressed; 1 when not given.
    #[arg(long, value_name = "URL", requires = "open", requires = "rate", conflicts_with_all = ["backend", "vcpus", "memory_gib", "generations"])]
    pub target: Option<String>,
    /// An account of the target; without it, accounts are registered there.
    #[arg(long, value_name = "EMAIL", requires = "target", requires = "password")]
    pub email: Option<String>,
    /// The password of the account.
    #[arg(
        long,
        env = "SIZING_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD"
    )]
    pub password: Option<String>,
    /// Folder for measurement.json, calibration.json and fidelity.json.
    #[arg(long, value_name = "DIR", default_value = "target/sizing")]
    pub out: PathBuf,
    /// Also put the measurement at an address in S3, `s3://BUCKET/KEY`: `sizing merge` joins what several
    /// processes have put there.
    #[arg(long, value_name = "s3://...")]
    pub upload: Option<String>,
    /// Also write the results that this repository publishes, to loadtests/results: measurement-SPEEDUP.json,
    /// fidelity-SPEEDUP.json and, when cells were held out to check it, calibration.json.
    #[arg(long, conflicts_with = "open")]
    pub record: bool,
    /// Print the measurement as JSON (loadtests/schemas/measurement.schema.json) instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Options of `sync`.
#[derive(Debug, Args)]
pub struct SyncArguments {
    /// Idle time-outs of the load balancer in real seconds, separated by commas; a run for each. 60 is what
    /// AWS starts with, 4000 the most that it allows.
    #[arg(long, value_delimiter = ',', value_name = "S,...", default_value = "60,350,960,4000", value_parser = numbers::idle_timeout)]
    pub idle_timeouts: Vec<f64>,
    /// Generations that the backend runs at a time.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub workers: u32,
    /// Its vCPU.
    #[arg(long, value_name = "V", default_value_t = 2.0, value_parser = numbers::vcpu)]
    pub vcpu: f64,
    /// Factor by which every wait is divided, the time-outs too.
    #[arg(long, default_value_t = 100.0, value_parser = numbers::speedup)]
    pub speedup: f64,
    /// Arrivals per hour of real time; 80 % of the workers when not given.
    #[arg(long, value_name = "PER_HOUR", value_parser = numbers::rate)]
    pub rate: Option<f64>,
    /// Length of the schedule, in generations.
    #[arg(long, value_name = "N", default_value_t = 5.0, value_parser = numbers::schedule)]
    pub length: f64,
    /// The backend's binary; built by cargo when not given.
    #[arg(long, value_name = "FILE")]
    pub backend: Option<PathBuf>,
    /// Folder for sync.json.
    #[arg(long, value_name = "DIR", default_value = "target/sizing")]
    pub out: PathBuf,
    /// Print the measurement as JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Options of `calibrate`.
#[derive(Debug, Args)]
pub struct CalibrateArguments {
    /// A measurement.json that `measure` or `merge` wrote.
    #[arg(value_name = "FILE")]
    pub measurement: PathBuf,
    /// Also write the results that this repository publishes, as `measure --record` does.
    #[arg(long)]
    pub record: bool,
    /// Print the calibration as JSON (loadtests/schemas/calibration.schema.json) instead of tables.
    #[arg(long)]
    pub json: bool,
}

/// Options of `merge`.
#[derive(Debug, Args)]
pub struct MergeArguments {
    /// Files that `measure` wrote: paths, `s3://BUCKET/KEY`, or `s3://BUCKET/PREFIX/` for all below.
    #[arg(required = true, value_name = "FILE|s3://...")]
    pub sources: Vec<String>,
    /// Where to write the joined result; standard output when not given.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Options of `cpu-score`.
#[derive(Debug, Args)]
pub struct CpuScoreArguments {
    /// Seconds of each of five repetitions.
    #[arg(long, value_name = "S", default_value_t = 2.0, value_parser = numbers::length)]
    pub seconds: f64,
    /// Print the score as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Options of `compare`.
#[derive(Debug, Args)]
pub struct CompareArguments {
    /// Which services to measure.
    #[arg(long, value_enum, default_value_t = CompareTarget::Both)]
    pub target: CompareTarget,
    /// Also measure the reference tuned: a worker per vCPU, PDFs in processes of their own, short transactions.
    #[arg(long)]
    pub tuned: bool,
    /// `GENERATION_WORKERS`: generations at a time in Rust, Gunicorn workers in Python.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub workers: u32,
    /// vCPU of each service.
    #[arg(long, value_name = "V", default_value_t = 2.0, value_parser = numbers::vcpu)]
    pub vcpu: f64,
    /// Memory of each service, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(128..=1_048_576))]
    pub memory_mib: u64,
    /// Factor by which every wait is divided.
    #[arg(long, default_value_t = 100.0, value_parser = numbers::speedup)]
    pub speedup: f64,
    /// Generations in flight at a time.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub generations: u32,
    /// Batches of so many generations.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub repetitions: u32,
    /// The backend's binary; built by cargo when not given.
    #[arg(long, value_name = "FILE")]
    pub backend: Option<PathBuf>,
    /// Folder for comparison.json and comparison.md.
    #[arg(long, value_name = "DIR", default_value = "target/sizing")]
    pub out: PathBuf,
}

/// Options of `storm`.
#[derive(Debug, Args)]
pub struct StormArguments {
    /// Generations to order.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub generations: u32,
    /// Of these, at most so many that have not ended yet.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub in_flight: u32,
    /// Seed of what goes wrong, and of what the scripted OpenAI does: the same seed is the same schedule.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Factor by which the 15 minutes of a generation are divided. Leases, faults and outages are not: they last
    /// milliseconds to seconds at any speed-up.
    #[arg(long, default_value_t = 300.0, value_parser = numbers::speedup)]
    pub speedup: f64,
    /// Seconds after which no generation is ordered any more and nothing goes wrong any more; what was ordered is
    /// waited for and audited.
    #[arg(long, value_name = "S", default_value_t = 3_600, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub timeout: u64,
    /// The backend's binary; built by cargo when not given.
    #[arg(long, value_name = "FILE")]
    pub backend: Option<PathBuf>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub format: TableFormat,
    /// Folder for storm.json and storm.md, and for the backends' logs when something went wrong.
    #[arg(long, value_name = "DIR", default_value = "target/sizing")]
    pub out: PathBuf,
}

/// Services of `compare`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompareTarget {
    /// The backend of this repository.
    Rust,
    /// The reference on the proposal's stack.
    Fastapi,
    /// One after the other.
    Both,
}

/// Options of `simulate`.
#[derive(Debug, Args)]
pub struct SimulateArguments {
    /// The scenario, a TOML file (simulator/README.md lists its keys).
    #[arg(long, value_name = "FILE")]
    pub scenario: PathBuf,
    /// Seed to use instead of the file's.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Runs at consecutive seeds; figures are their means, with 95 % confidence intervals.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub replications: u32,
    /// Platform to move the scenario to, at the size sold there that has at least as much; `all` sets
    /// them side by side.
    #[arg(long, value_enum)]
    pub platform: Option<PlatformArgument>,
    /// Threads to simulate on; the result does not depend on it. All cores when not given.
    #[arg(long, value_name = "N", value_parser = numbers::threads)]
    pub threads: Option<usize>,
    /// File to write every event of the first run to, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// How to print the outcome.
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub format: TableFormat,
}

/// Options of `plan`.
#[derive(Debug, Args)]
pub struct PlanArguments {
    /// Take load, cost of a generation, fleet and SLO from this scenario instead of the SLO file, the
    /// calibration and the proposal.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["slo", "calibration"])]
    pub scenario: Option<PathBuf>,
    /// Case of the scenario's assumptions to plan for.
    #[arg(long, value_enum, default_value_t = CaseArgument::Mid, requires = "scenario")]
    pub case: CaseArgument,
    /// What to search.
    #[command(flatten)]
    pub axes: AxisArguments,
    /// How many of the cheapest sizings that do not hold to list, with their reasons.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub rejected: usize,
    /// Threads to search on; the result does not depend on it. All cores when not given.
    #[arg(long, value_name = "N", value_parser = numbers::threads)]
    pub threads: Option<usize>,
    /// The SLO, the budget and the load.
    #[arg(long, value_name = "FILE", default_value = "loadtests/slo.toml")]
    pub slo: PathBuf,
    /// The cost of one generation, as `sizing measure` wrote it.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "loadtests/results/calibration.json"
    )]
    pub calibration: PathBuf,
    /// How many of the sizings that hold to list.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub top: usize,
    /// Score of the deployment's vCPU, as `sizing cpu-score` printed it there; without it a vCPU counts as
    /// a core of the machine that was measured.
    #[arg(long, value_name = "SCORE", value_parser = numbers::score, conflicts_with = "scenario")]
    pub vcpu_score: Option<f64>,
    /// Seeds to simulate each sizing with; figures are their means.
    #[arg(long, value_name = "N", default_value_t = REPLICATIONS, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    pub replications: u32,
    /// How to print the plan.
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub format: TableFormat,
}

/// The axes of a plan; one that is not given takes its default grid.
#[derive(Clone, Debug, Default, Args)]
pub struct AxisArguments {
    /// Task sizes as vCPU x GiB.
    #[arg(long, value_delimiter = ',', value_name = "1x2,...", value_parser = axes::size)]
    pub sizes: Option<Vec<(f64, f64)>>,
    /// Workers per task.
    #[arg(long, value_delimiter = ',', value_name = "N,...", value_parser = numbers::workers)]
    pub workers: Option<Vec<u32>>,
    /// Task counts: fixed ones, or min-max, which starts with min.
    #[arg(long, value_delimiter = ',', value_name = "2,1-3,...", value_parser = axes::tasks)]
    pub tasks: Option<Vec<Tasks>>,
    /// Ways to scale: none, or metric=target with cpu, memory (percent), `queue_depth` or
    /// requests (per task).
    #[arg(long, value_delimiter = ',', value_name = "none,cpu=70,...", value_parser = axes::autoscaling)]
    pub autoscaling: Option<Vec<Autoscaling>>,
    /// NAT gateways; 0 gives each task a public address.
    #[arg(long, value_delimiter = ',', value_name = "N,...", value_parser = clap::value_parser!(u32).range(0..=6))]
    pub nat_gateways: Option<Vec<u32>>,
    /// Cache modes: elasticache, sidecar, none.
    #[arg(long, value_delimiter = ',', value_name = "MODE,...", value_parser = axes::cache_mode)]
    pub cache_modes: Option<Vec<CacheMode>>,
    /// Instruction sets: x86, arm.
    #[arg(long, value_delimiter = ',', value_name = "ISA,...", value_parser = axes::architecture)]
    pub architectures: Option<Vec<Architecture>>,
}

/// Where a scenario is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum PlatformArgument {
    /// ECS on Fargate.
    Fargate,
    /// AWS App Runner.
    AppRunner,
    /// Google Cloud Run.
    CloudRun,
    /// Render.
    Render,
    /// Railway.
    Railway,
    /// Each of them.
    All,
}

impl PlatformArgument {
    /// The platforms that it stands for.
    pub fn platforms(self) -> Vec<Platform> {
        match self {
            PlatformArgument::Fargate => vec![Platform::Fargate],
            PlatformArgument::AppRunner => vec![Platform::AppRunner],
            PlatformArgument::CloudRun => vec![Platform::CloudRun],
            PlatformArgument::Render => vec![Platform::Render],
            PlatformArgument::Railway => vec![Platform::Railway],
            PlatformArgument::All => Platform::ALL.to_vec(),
        }
    }
}

/// A case of a scenario's assumptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CaseArgument {
    /// The lowest load of all assumptions together.
    Low,
    /// The likeliest of each.
    Mid,
    /// The highest load of all assumptions together.
    High,
}

impl From<CaseArgument> for Case {
    fn from(case: CaseArgument) -> Case {
        match case {
            CaseArgument::Low => Case::Low,
            CaseArgument::Mid => Case::Mid,
            CaseArgument::High => Case::High,
        }
    }
}

/// Options of `review`.
#[derive(Debug, Args)]
pub struct ReviewArguments {
    /// Language of the answers.
    #[arg(long, value_enum, default_value_t = Language::En)]
    pub lang: Language,
    /// How to print them; a text for the terminal when nothing is said.
    #[arg(long, value_enum)]
    pub format: Option<ReviewFormat>,
    /// Answer only the question of this number.
    #[arg(long, value_name = "N", conflicts_with_all = ["write", "simulate"])]
    pub question: Option<usize>,
    /// Simulate the one fleet of this name that the answers speak of.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["write", "lang"])]
    pub simulate: Option<String>,
    /// Write docs/review.md and docs/review.es.md.
    #[arg(long, conflicts_with_all = ["lang", "format"])]
    pub write: bool,
    /// The SLO, the budget and the load.
    #[arg(long, value_name = "FILE", default_value = "loadtests/slo.toml")]
    pub slo: PathBuf,
    /// The cost of one generation, as `sizing measure` wrote it.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "loadtests/results/calibration.json"
    )]
    pub calibration: PathBuf,
}

/// Options of `serve`.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// Port of 127.0.0.1 to listen on; 0 takes any free one.
    #[arg(long, value_name = "N", default_value_t = 8321)]
    pub port: u16,
    /// The SLO, the budget and the load.
    #[arg(long, value_name = "FILE", default_value = "loadtests/slo.toml")]
    pub slo: PathBuf,
    /// The cost of one generation, as `sizing measure` wrote it.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "loadtests/results/calibration.json"
    )]
    pub calibration: PathBuf,
}

/// Formats of `review`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReviewFormat {
    /// For a repository.
    Markdown,
    /// For a browser.
    Html,
    /// For programs.
    Json,
}

/// Options of `gate`.
#[derive(Debug, Args)]
pub struct GateArguments {
    /// What to judge.
    #[command(flatten)]
    pub subject: GateSubject,
    /// Every other value of the stage; the file of the same name in `settings/` when not given.
    #[arg(long, value_name = "FILE", conflicts_with = "plan")]
    pub settings: Option<PathBuf>,
    /// The sizing it replaces, to show before and after.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// The SLO, the budget and the load; `loadtests/slo/STAGE.toml`, else `loadtests/slo.toml`, when not given.
    #[arg(long, value_name = "FILE")]
    pub slo: Option<PathBuf>,
    /// The cost of one generation, as `sizing measure` wrote it.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "loadtests/results/calibration.json"
    )]
    pub calibration: PathBuf,
    /// Measure the cost of one generation now, instead of reading the calibration: a few minutes.
    #[arg(long, conflicts_with = "calibration")]
    pub measure: bool,
    /// Score of the deployment's vCPU, as `sizing cpu-score` printed it there; without it a vCPU counts as
    /// a core of the machine that was measured.
    #[arg(long, value_name = "SCORE", value_parser = numbers::score)]
    pub vcpu_score: Option<f64>,
    /// Seeds to simulate each sizing with; figures are their means.
    #[arg(long, value_name = "N", default_value_t = REPLICATIONS, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    pub replications: u32,
    /// How to print the verdict.
    #[arg(long, value_enum, default_value_t = GateFormat::Text)]
    pub format: GateFormat,
}

/// What the gate judges: one of the two.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct GateSubject {
    /// The sizing to judge: a tfvars or tfvars.json file.
    #[arg(long, value_name = "FILE")]
    pub sizing: Option<PathBuf>,
    /// The plan to judge, as `terraform show -json` prints it.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
}

/// Formats of `simulate` and `plan`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Formats of `gate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GateFormat {
    /// For a terminal.
    Text,
    /// For a pull-request comment.
    Markdown,
    /// For programs.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn bad_numbers_are_refused() {
        for arguments in [
            ["sizing", "--speedup", "0"],
            ["sizing", "--speedup", "NaN"],
            ["sizing", "--workers", "0"],
            ["sizing", "--vcpus", "-1"],
            ["sizing", "--unknown", "1"],
            ["sizing", "--vcpu-score", "0"],
            ["sizing", "--memory-gib", "-1"],
        ] {
            let error = CommandLine::try_parse_from(arguments).expect_err("bad input");
            assert_eq!(error.exit_code(), 2, "{arguments:?}");
        }
        for arguments in [
            "measure --rate 10",
            "measure --open --rate 0",
            "measure --open --shard 3/2",
            "measure --open --shard 0/2",
            "measure --open --target http://localhost",
            "merge",
        ] {
            let words = std::iter::once("sizing").chain(arguments.split(' '));
            let error = CommandLine::try_parse_from(words).expect_err("bad input");
            assert_eq!(error.exit_code(), 2, "{arguments}");
        }
    }
}
