//! Options of `sizing measure`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{CompareArguments, CompareTarget, GridArguments, numbers};
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
    /// `rust`, `fastapi` or `both`: what a generation costs this backend, the proposal's own stack, or both side by
    /// side: as `compare --parts costs` with its defaults (6 workers, 6 generations at a time, 2 vCPU, 4 GiB, 100 times
    /// faster), which has more options; results are comparison.json and comparison.md. Or, with --open and --rate, the
    /// URL of a deployment to send users to, instead of starting one here: --speedup then says by how much its own
    /// waits are compressed, 1 when not given.
    #[arg(long, value_name = "rust|fastapi|both|URL", value_parser = MeasureTarget::parse)]
    pub target: Option<MeasureTarget>,
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
    /// Folder for measurement.json, calibration.json and fidelity.json; of services, for comparison.json and .md.
    #[arg(long, value_name = "DIR", default_value = "target/sizing")]
    pub out: PathBuf,
    /// Also put the measurement at an address in S3, `s3://BUCKET/KEY`: `sizing merge` joins what several
    /// processes have put there.
    #[arg(long, value_name = "s3://...")]
    pub upload: Option<String>,
    /// Also write the results that this repository publishes, to loadtests/results: measurement-SPEEDUP.json,
    /// fidelity-SPEEDUP.json and, when cells were held out to check it, calibration.json; of services, comparison.json.
    #[arg(long, conflicts_with = "open")]
    pub record: bool,
    /// Print the measurement as JSON (loadtests/schemas/measurement.schema.json) instead of a table; of services, the
    /// comparison.
    #[arg(long)]
    pub json: bool,
}

/// What `measure` measures, where it is not the grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeasureTarget {
    /// Services that are started here.
    Services(CompareTarget),
    /// A deployment that is there already.
    Deployment(String),
}

impl MeasureTarget {
    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(target) = CompareTarget::from_str(text, false) {
            return Ok(Self::Services(target));
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            return Ok(Self::Deployment(text.to_owned()));
        }
        Err("a target is rust, fastapi, both, or the URL of a deployment".to_owned())
    }
}

/// What `measure --target` asks for, once its other options are known to fit.
#[derive(Clone, Debug)]
pub enum Aim {
    /// The grid, or open arrivals, on a backend that is started here.
    Grid,
    /// Open arrivals at a deployment.
    Deployment(String),
    /// The costs of the services under comparison.
    Services(Box<CompareArguments>),
}

impl MeasureArguments {
    /// What is to be measured.
    ///
    /// # Errors
    /// With what does not fit the target.
    pub fn aim(&self) -> Result<Aim, String> {
        let grid = &self.grid;
        match &self.target {
            None => {
                grid.generations_min()?;
                Ok(Aim::Grid)
            }
            Some(MeasureTarget::Deployment(url)) => {
                if !self.open || self.rate.is_none() {
                    return Err(
                        "a deployment takes open arrivals: --open --rate PER_HOUR".to_owned()
                    );
                }
                let foreign = [
                    ("--backend", grid.backend.is_some()),
                    ("--vcpus", grid.vcpus.is_some()),
                    ("--memory-gib", grid.memory_gib.is_some()),
                    ("--generations", grid.generations.is_some()),
                ];
                refuse(&foreign, "is of a backend that is started here")?;
                Ok(Aim::Deployment(url.clone()))
            }
            Some(MeasureTarget::Services(target)) => {
                let foreign = [
                    ("--open", self.open),
                    ("--email", self.email.is_some()),
                    ("--upload", self.upload.is_some()),
                ];
                refuse(&foreign, "goes with a deployment or the grid")?;
                let mut arguments = CompareArguments::costs_of(*target);
                arguments.workers = one("--workers", grid.workers.as_ref(), arguments.workers)?;
                arguments.vcpu = grid.vcpus.clone().unwrap_or(arguments.vcpu);
                let memory_gib = one("--memory-gib", grid.memory_gib.as_ref(), 4.0)?;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a memory size is a small positive number of GiB"
                )]
                let memory_mib = (memory_gib * 1024.0).round() as u64;
                arguments.memory_mib = memory_mib;
                arguments.speedup = grid.speedup.unwrap_or(arguments.speedup);
                arguments.generations = grid.generations.clone().unwrap_or(arguments.generations);
                arguments.backend.clone_from(&grid.backend);
                arguments.out.clone_from(&self.out);
                (arguments.record, arguments.json) = (self.record, self.json);
                arguments.plan()?;
                Ok(Aim::Services(Box::new(arguments)))
            }
        }
    }
}

fn refuse(foreign: &[(&str, bool)], why: &str) -> Result<(), String> {
    match foreign.iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(format!("{option} {why}")),
        None => Ok(()),
    }
}

/// The one value of a grid's axis.
fn one<T: Copy>(option: &str, values: Option<&Vec<T>>, usual: T) -> Result<T, String> {
    match values.map(Vec::as_slice) {
        None => Ok(usual),
        Some([value]) => Ok(*value),
        Some(_) => Err(format!(
            "{option} takes one value where services are compared"
        )),
    }
}
