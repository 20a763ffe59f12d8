//! Options of `sizing gate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{REPLICATIONS, numbers};

/// Options of `gate`.
#[derive(Debug, Args)]
pub struct GateArguments {
    /// What to judge.
    #[command(flatten)]
    pub subject: GateSubject,
    /// Every other value of the stage; the file of the same name in `settings/` when not given.
    #[arg(long, value_name = "FILE", conflicts_with = "plan")]
    pub settings: Option<PathBuf>,
    /// The sizing it replaces, to show before and after; held to the SLO of the new one.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// The SLO, the budget and the load; `loadtests/slo/STAGE.toml`, else `loadtests/slo.toml`, when not given.
    #[arg(long, value_name = "FILE")]
    pub slo: Option<PathBuf>,
    /// The cost of one generation, as `sizing measure` wrote it.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "loadtests/results/calibration.json"
    )]
    pub calibration: PathBuf,
    /// Measure the cost of one generation now, instead of reading the calibration: a few minutes.
    #[arg(long, conflicts_with = "calibration")]
    pub measure: bool,
    /// Score of the deployment's vCPU, as `sizing cpu-score` printed it there; without it a vCPU counts as
    /// a core of the machine that was measured.
    #[arg(long, value_name = "SCORE", value_parser = numbers::score)]
    pub vcpu_score: Option<f64>,
    /// Seeds to simulate each sizing with; figures are their means.
    #[arg(long, value_name = "N", default_value_t = REPLICATIONS, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    pub replications: u32,
    /// How to print the verdict.
    #[arg(long, value_enum, default_value_t = GateFormat::Text)]
    pub format: GateFormat,
}

/// What the gate judges: one of the two.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct GateSubject {
    /// The sizing to judge: a tfvars or tfvars.json file.
    #[arg(long, value_name = "FILE")]
    pub sizing: Option<PathBuf>,
    /// The plan to judge, as `terraform show -json` prints it.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
}

/// Formats of `gate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GateFormat {
    /// For a terminal.
    Text,
    /// For a pull-request comment.
    Markdown,
    /// For programs.
    Json,
}
