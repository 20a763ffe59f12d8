//! Options of `sizing compare`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{numbers, program};
use crate::reference::cells::Cells;
use crate::reference::comparison::Part;
use crate::reference::service::{Conditions, Kind};
use crate::stats::count_as_f64;

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
    #[arg(long, value_name = "N", default_value_t = DEFAULT.workers, value_parser = clap::value_parser!(u32).range(1..))]
    pub workers: u32,
    /// vCPU counts of each service, no more than this machine has cores, separated by commas. The CPU of a generation is
    /// measured on each, all else on the most.
    #[arg(long, alias = "vcpus", value_delimiter = ',', value_name = "V,...", default_values_t = [DEFAULT.vcpu], value_parser = numbers::vcpu)]
    pub vcpu: Vec<f64>,
    /// Memory of each service, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = DEFAULT.memory_mib, value_parser = clap::value_parser!(u64).range(128..=1_048_576))]
    pub memory_mib: u64,
    /// Factor by which every wait is divided.
    #[arg(long, default_value_t = DEFAULT.speedup, value_parser = numbers::speedup)]
    pub speedup: f64,
    /// Numbers of generations in flight at a time, separated by commas. The CPU of a generation is measured with each, all
    /// else with one for each worker where that is among them, else with the fewest.
    #[arg(long, value_delimiter = ',', value_name = "N,...", default_values_t = DEFAULT.generations, value_parser = numbers::generations_at_a_time)]
    pub generations: Vec<u32>,
    /// Batches of each number of generations on each vCPU count, and up to two more where they differ; two or more state an
    /// interval.
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
    #[arg(long, conflicts_with_all = MEASURING)]
    pub recorded: bool,
    /// Print the comparison as JSON instead of tables, with how each promise stands.
    #[arg(long)]
    pub json: bool,
    /// Whether costs are also measured with clients that poll as often as those of the other service: not by `measure`,
    /// which has five minutes.
    #[arg(skip = true)]
    pub polled_alike: bool,
}

/// Options that only a measurement uses.
const MEASURING: [&str; 13] = [
    "target",
    "parts",
    "tuned",
    "workers",
    "vcpu",
    "memory_mib",
    "speedup",
    "generations",
    "repetitions",
    "rounds",
    "backend",
    "out",
    "record",
];
/// Workers whose generations in flight, twenty for each, the harness's Postgres has connections for.
const WORKERS_MAX: u32 = 10;
/// Seed of the scripted OpenAI and of arrivals.
const SEED: u64 = 42;

/// What is measured when nothing else is said.
struct Defaults {
    workers: u32,
    vcpu: f64,
    memory_mib: u64,
    speedup: f64,
    generations: [u32; 1],
    repetitions: u32,
    rounds: u32,
}

const DEFAULT: Defaults = Defaults {
    workers: 6,
    vcpu: 2.0,
    memory_mib: 4096,
    speedup: 100.0,
    // As many as the proposal has workers: about five minutes on two idle cores, even where batches differ.
    generations: [6],
    repetitions: 3,
    rounds: 3,
};

impl CompareArguments {
    /// The costs of `target` alone, under the usual conditions.
    pub fn costs_of(target: CompareTarget) -> Self {
        Self {
            target,
            parts: Some(vec![Part::Costs]),
            tuned: false,
            workers: DEFAULT.workers,
            vcpu: vec![DEFAULT.vcpu],
            memory_mib: DEFAULT.memory_mib,
            speedup: DEFAULT.speedup,
            generations: DEFAULT.generations.to_vec(),
            repetitions: DEFAULT.repetitions,
            rounds: DEFAULT.rounds,
            backend: None,
            out: PathBuf::from("target/sizing"),
            record: false,
            recorded: false,
            json: false,
            polled_alike: false,
        }
    }

    /// The grid and the conditions to measure under.
    ///
    /// # Errors
    /// With what is wrong with the grid or the parts, why the speed-up is too large, or that this machine is too small.
    pub fn plan(&self) -> Result<(Cells, Conditions), String> {
        if self.workers > WORKERS_MAX {
            return Err(format!(
                "{} workers are more than a comparison can fill with generations in flight: take {WORKERS_MAX} at most",
                self.workers
            ));
        }
        let cells = Cells::new(self.generations.clone(), self.vcpu.clone());
        let cells = cells.map_err(|error| error.to_string())?;
        let base = cells.base(self.workers);
        let conditions = Conditions {
            workers: self.workers,
            vcpu: base.vcpu,
            memory_mib: self.memory_mib,
            speedup: self.speedup,
            generations: base.generations,
            repetitions: self.repetitions,
            rounds: self.rounds,
            seed: SEED,
        };
        conditions.check_speedup()?;
        let asks_for = |part| {
            self.parts
                .as_ref()
                .is_some_and(|parts| parts.contains(&part))
        };
        if self.target == CompareTarget::Rust && asks_for(Part::Open) {
            return Err(
                "--parts open holds the simulator against the reference, which --target rust leaves out: take fastapi or both"
                    .to_owned(),
            );
        }
        if let Ok(cores) = std::thread::available_parallelism() {
            check_cores(base.vcpu, cores.get())?;
        }
        Ok((cells, conditions))
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

/// Refuses more vCPU than a machine of so many cores can give.
fn check_cores(vcpu: f64, cores: usize) -> Result<(), String> {
    if vcpu <= count_as_f64(cores) {
        return Ok(());
    }
    Err(format!(
        "{vcpu} vCPU cannot be measured here: this machine has {}",
        crate::plural(cores as u64, "core")
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_vcpu_is_measured_than_the_machine_has_cores() {
        assert_eq!(check_cores(2.0, 2), Ok(()));
        let refused = check_cores(2.5, 2).expect_err("too much");
        assert!(refused.ends_with("this machine has 2 cores"), "{refused}");
        let mut arguments = CompareArguments::costs_of(CompareTarget::Both);
        arguments.vcpu = vec![100_000.0];
        let refused = arguments.plan().expect_err("no machine is so large");
        assert!(refused.contains("this machine has"), "{refused}");
    }
}
