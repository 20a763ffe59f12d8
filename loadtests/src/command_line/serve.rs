//! Options of `sizing serve`.

use std::path::PathBuf;

use clap::Args;

use super::numbers;

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
    /// Score of the deployment's vCPU, as `sizing cpu-score` printed it there; without it a vCPU counts as a core of
    /// the machine that was measured.
    #[arg(long, value_name = "SCORE", value_parser = numbers::score)]
    pub vcpu_score: Option<f64>,
}
