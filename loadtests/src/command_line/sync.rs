//! Options of `sizing sync`.

use std::path::PathBuf;

use clap::Args;

use super::{numbers, program};

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
    #[arg(long, value_name = "FILE", value_parser = program::backend)]
    pub backend: Option<PathBuf>,
    /// Folder for sync.json.
    #[arg(long, value_name = "DIR", default_value = "target/sizing")]
    pub out: PathBuf,
    /// Print the measurement as JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}
