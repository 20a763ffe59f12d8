//! Options of `sizing compare`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{numbers, program};
use crate::reference::comparison::Part;
use crate::reference::service::Kind;

/// Options of `compare`.
#[derive(Clone, Debug, Args)]
pub struct CompareArguments {
    /// Which services to measure.
    #[arg(long, value_enum, default_value_t = CompareTarget::Both)]
    pub target: CompareTarget,
    /// What to measure of each, separated by commas; everything when not given.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART,...")]
    pub parts: Option<Vec<Part>>,
    /// Also measure the reference tuned: a worker per vCPU, PDFs in processes of their own, short transactions.
    #[arg(long)]
    pub tuned: bool,
    /// `GENERATION_WORKERS`: generations at a time in Rust, Gunicorn workers in Python.
    #[arg(long, value_name = "N", default_value_t = DEFAULT.workers, value_parser = clap::value_parser!(u32).range(1..=10))]
    pub workers: u32,
    /// vCPU of each service.
    #[arg(long, value_name = "V", default_value_t = DEFAULT.vcpu, value_parser = numbers::vcpu)]
    pub vcpu: f64,
    /// Memory of each service, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = DEFAULT.memory_mib, value_parser = clap::value_parser!(u64).range(128..=1_048_576))]
    pub memory_mib: u64,
    /// Factor by which every wait is divided.
    #[arg(long, default_value_t = DEFAULT.speedup, value_parser = numbers::speedup)]
    pub speedup: f64,
    /// Generations in flight at a time.
    #[arg(long, value_name = "N", default_value_t = DEFAULT.generations, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub generations: u32,
    /// Batches of so many generations; two or more state an interval.
    #[arg(long, value_name = "N", default_value_t = DEFAULT.repetitions, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub repetitions: u32,
    /// Starts at which memory is measured; two or more state an interval.
    #[arg(long, value_name = "N", default_value_t = DEFAULT.rounds, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// The backend's binary; built by cargo when not given.
    #[arg(long, value_name = "FILE", value_parser = program::backend)]
    pub backend: Option<PathBuf>,
    /// Folder for comparison.json and comparison.md.
    #[arg(long, value_name = "DIR", default_value = "target/sizing")]
    pub out: PathBuf,
    /// Also put what was measured into the comparison that this repository publishes, loadtests/results/comparison.json:
    /// parts that were not measured stay there as they are.
    #[arg(long)]
    pub record: bool,
    /// Measure nothing: show the published comparison, what it says of the review's figures, and what each stage costs
    /// on either stack.
    #[arg(long, conflicts_with_all = ["parts", "record", "backend"])]
    pub recorded: bool,
    /// Print the comparison as JSON instead of tables.
    #[arg(long)]
    pub json: bool,
}

/// What is measured when nothing else is said.
struct Defaults {
    workers: u32,
    vcpu: f64,
    memory_mib: u64,
    speedup: f64,
    generations: u32,
    repetitions: u32,
    rounds: u32,
}

const DEFAULT: Defaults = Defaults {
    workers: 6,
    vcpu: 2.0,
    memory_mib: 4096,
    speedup: 100.0,
    generations: 6,
    repetitions: 5,
    rounds: 4,
};

impl CompareArguments {
    /// The costs of `target` alone, under the usual conditions.
    pub fn costs_of(target: CompareTarget) -> Self {
        Self {
            target,
            parts: Some(vec![Part::Costs]),
            tuned: false,
            workers: DEFAULT.workers,
            vcpu: DEFAULT.vcpu,
            memory_mib: DEFAULT.memory_mib,
            speedup: DEFAULT.speedup,
            generations: DEFAULT.generations,
            repetitions: DEFAULT.repetitions,
            rounds: DEFAULT.rounds,
            backend: None,
            out: PathBuf::from("target/sizing"),
            record: false,
            recorded: false,
            json: false,
        }
    }

    /// The services to measure, in that order.
    pub fn kinds(&self) -> Vec<Kind> {
        let mut kinds = vec![];
        if self.target != CompareTarget::Fastapi {
            kinds.push(Kind::Rust);
        }
        if self.target != CompareTarget::Rust {
            kinds.push(Kind::FastApi);
            if self.tuned {
                kinds.push(Kind::FastApiTuned);
            }
        }
        kinds
    }
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
