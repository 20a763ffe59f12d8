//! Options of `sizing simulate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use simulator::platform::Platform;

use super::{TableFormat, numbers};

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
