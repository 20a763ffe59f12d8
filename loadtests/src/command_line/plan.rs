//! Options of `sizing plan`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use simulator::scenario::{Architecture, Autoscaling, CacheMode, Case, Tasks};

use super::{REPLICATIONS, TableFormat, axes, numbers};

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
    /// vCPU that the account may run at once; the default of terraform/settings.tf when not given. A sizing that
    /// breaks this or another finding of terraform/findings.tf does not hold.
    #[arg(long, value_name = "V", value_parser = numbers::vcpu_quota)]
    pub vcpu_quota: Option<f64>,
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

/// The axes of a plan; one that is not given takes its default grid, to which the base's own value belongs.
#[derive(Clone, Debug, Default, Args)]
pub struct AxisArguments {
    /// Task sizes as vCPU x GiB; by default those up to 4 vCPU, each with its smallest memory.
    #[arg(long, value_delimiter = ',', value_name = "1x2,...", value_parser = axes::size)]
    pub sizes: Option<Vec<(f64, f64)>>,
    /// Workers per task; by default 1, 2, 4, 6, 8, 12, 16, 24, 32, 64, 128.
    #[arg(long, value_delimiter = ',', value_name = "N,...", value_parser = numbers::workers)]
    pub workers: Option<Vec<u32>>,
    /// Task counts: fixed ones, or min-max, which starts with min; by default 1, 2, 3, 4, 1-3, 2-4.
    #[arg(long, value_delimiter = ',', value_name = "2,1-3,...", value_parser = axes::tasks)]
    pub tasks: Option<Vec<Tasks>>,
    /// Ways to scale: none, or metric=target with cpu, memory (percent), `queue_depth` or
    /// requests (per task); by default none, cpu=50, cpu=70 and `queue_depth` of 0.5, 1 and 4.
    #[arg(long, value_delimiter = ',', value_name = "none,cpu=70,...", value_parser = axes::autoscaling)]
    pub autoscaling: Option<Vec<Autoscaling>>,
    /// NAT gateways; 0 gives each task a public address; by default 0, 1, 2.
    #[arg(long, value_delimiter = ',', value_name = "N,...", value_parser = clap::value_parser!(u32).range(0..=2))]
    pub nat_gateways: Option<Vec<u32>>,
    /// Cache modes: elasticache, sidecar, none; by default elasticache, and sidecar for a single task.
    #[arg(long, value_delimiter = ',', value_name = "MODE,...", value_parser = axes::cache_mode)]
    pub cache_modes: Option<Vec<CacheMode>>,
    /// Instruction sets: x86, arm; by default the base's.
    #[arg(long, value_delimiter = ',', value_name = "ISA,...", value_parser = axes::architecture)]
    pub architectures: Option<Vec<Architecture>>,
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
