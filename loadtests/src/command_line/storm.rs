//! Options of `sizing storm`.

use std::path::PathBuf;

use clap::Args;

use super::{TableFormat, numbers, program};

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
    #[arg(long, value_name = "FILE", value_parser = program::backend)]
    pub backend: Option<PathBuf>,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub format: TableFormat,
    /// Folder for storm.json and storm.md, and for the backends' logs when something went wrong.
    #[arg(long, value_name = "DIR", default_value = "target/sizing")]
    pub out: PathBuf,
}
