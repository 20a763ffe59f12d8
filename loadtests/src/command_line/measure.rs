//! Options of `sizing measure`.

use std::path::PathBuf;

use clap::Args;

use super::{GridArguments, numbers};
use crate::measurement::Shard;

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
