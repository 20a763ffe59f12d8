//! Options of the main job, and the grid that it shares with `measure`.

use std::path::PathBuf;

use clap::Args;

use super::{numbers, program};

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
    /// Factor by which every wait is divided; 1 runs the real 15 minutes. When not given 130, or less where a first
    /// cell shows that this machine is too slow for it.
    #[arg(long, value_parser = numbers::speedup)]
    pub speedup: Option<f64>,
    /// Generations that each cell measures at least. With `measure --target`, which compares services, numbers of
    /// generations in flight, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "N,...", value_parser = numbers::generations)]
    pub generations: Option<Vec<u32>>,
    /// The backend's binary; built by cargo when not given.
    #[arg(long, value_name = "FILE", value_parser = program::backend)]
    pub backend: Option<PathBuf>,
}

impl GridArguments {
    /// Generations that each cell measures at least.
    ///
    /// # Errors
    /// When there is more than one number.
    pub fn generations_min(&self) -> Result<Option<u32>, String> {
        match self.generations.as_deref() {
            None => Ok(None),
            Some([count]) => Ok(Some(*count)),
            Some(_) => Err(
                "--generations takes one number, but where services are compared (measure --target)"
                    .to_owned(),
            ),
        }
    }
}
