//! Options of `sizing cpu-score`.

use clap::Args;

use super::numbers;

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
