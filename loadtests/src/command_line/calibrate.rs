//! Options of `sizing calibrate`.

use std::path::PathBuf;

use clap::Args;

/// Options of `calibrate`.
#[derive(Debug, Args)]
pub struct CalibrateArguments {
    /// A measurement.json that `measure` or `merge` wrote; several are passes over the same grid, and after them those of
    /// other speed-ups, which tell what a generation costs at the rates of real time.
    #[arg(value_name = "FILE", required = true)]
    pub measurements: Vec<PathBuf>,
    /// Also write the results that this repository publishes, as `measure --record` does.
    #[arg(long)]
    pub record: bool,
    /// Print the calibration as JSON (loadtests/schemas/calibration.schema.json) instead of tables.
    #[arg(long)]
    pub json: bool,
}
