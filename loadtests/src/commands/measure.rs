//! `sizing measure`: the grid or open arrivals, here or at a deployment.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use loadtests::calibrate::calibrate_beside;
use loadtests::command_line::{Aim, MeasureArguments};
use loadtests::exit_code::Outcome;
use loadtests::fidelity::Fidelity;
use loadtests::grid::{Grid, OpenGrid};
use loadtests::hardware::Hardware;
use loadtests::measurement::{Measurement, Shard};
use loadtests::progress::Progress;
use loadtests::report::{self, Document};
use loadtests::result_file;
use loadtests::run::Target;
use loadtests::scenarios::proposal_writer::Accounts;

use super::calibrate::record;
use super::console::{say, show};
use super::files::{CALIBRATION, json, out_dir, read_calibration, workspace, write};
use super::measuring::{grid_of, interruptible, keep, measured};

pub(crate) fn run(arguments: &MeasureArguments, quiet: bool) -> Result<Outcome> {
    // Bad input is found before anything is started.
    let deployment = match arguments
        .aim()
        .map_err(|detail| anyhow!("measure: {detail}"))?
    {
        Aim::Services(compared) => return super::compare::run(&compared, quiet),
        Aim::Deployment(url) => Some(url),
        Aim::Grid => None,
    };
    if let Some(address) = &arguments.upload {
        result_file::check_address(address)?;
    }
    let mut grid = grid_of(Grid::standard(), &arguments.grid)?;
    grid.open = arguments.open.then(|| OpenGrid {
        rate_per_hour: arguments.rate,
        generations_long: arguments.length,
        every_shape: true,
        shard: arguments.shard.unwrap_or(Shard { index: 1, of: 1 }),
    });
    grid.saturated = !arguments.open;
    let out = out_dir(&arguments.out)?;
    let progress = Progress::new(grid.expected_s(), quiet);
    let work = async {
        let measurement = match &deployment {
            Some(url) => Box::pin(at_target(arguments, url, &grid, &progress, &out)).await?,
            None => Box::pin(measured(&grid, &progress, &out)).await?,
        };
        if let Some(address) = &arguments.upload {
            result_file::upload(address, &json(&measurement)?).await?;
        }
        Ok(measurement)
    };
    let Some(measurement) = interruptible(&out, work)? else {
        return Ok(Outcome::Interrupted);
    };
    progress.finish();
    let mut document = Document {
        title: "Measured grid".into(),
        blocks: vec![],
    };
    report::sections::measurement(&mut document, &measurement);
    if !measurement.cells.is_empty() {
        let committed = read_calibration(Path::new(CALIBRATION))?;
        let calibration = calibrate_beside(&measurement, &committed)?;
        let fidelity = loadtests::fidelity::compare(&measurement, &calibration)?;
        write(&out.join("calibration.json"), &json(&calibration)?)?;
        write(&out.join("fidelity.json"), &json(&fidelity)?)?;
        if arguments.record {
            record(&json(&measurement)?, &calibration, &fidelity)?;
        }
        report::sections::calibration(&mut document, &calibration);
        report::sections::fidelity(&mut document, &fidelity);
    } else if let Some(fidelity) = open_fidelity(&measurement)? {
        write(&out.join("fidelity.json"), &json(&fidelity)?)?;
        report::sections::fidelity(&mut document, &fidelity);
    }
    if arguments.json {
        say(&json(&measurement)?)?;
    } else {
        show(&document)?;
        if !quiet {
            say(&format!(
                "\nWritten: measurement.json and what follows from it, in {}",
                out.display()
            ))?;
        }
    }
    Ok(Outcome::Success)
}

/// The prediction error of open runs alone, by the committed calibration: nothing of it was measured here.
fn open_fidelity(measurement: &Measurement) -> Result<Option<Fidelity>> {
    if measurement.open_runs.iter().all(|run| run.shape.is_none()) {
        return Ok(None);
    }
    let calibration = read_calibration(Path::new(CALIBRATION))?;
    Ok(Some(loadtests::fidelity::compare(
        measurement,
        &calibration,
    )?))
}

/// Sends users to a deployment that is there already.
async fn at_target(
    arguments: &MeasureArguments,
    url: &str,
    grid: &Grid,
    progress: &Progress,
    out: &Path,
) -> Result<Measurement> {
    let accounts = match (&arguments.email, &arguments.password) {
        (Some(email), Some(password)) => Accounts::Given {
            email: email.clone(),
            password: password.clone(),
        },
        _ => Accounts::Own,
    };
    let mut load = grid.load.clone();
    load.speedup = arguments.grid.speedup.unwrap_or(1.0);
    let workers = grid.workers.iter().sum();
    let target = Target {
        url: url.to_owned(),
        accounts,
        workers,
    };
    let open = grid
        .open
        .clone()
        .context("plan the arrivals: --open is missing")?;
    let mut measurement = Measurement::begin(Hardware::of_machine(workspace()), load.clone());
    keep(out, &measurement)?;
    progress.say(&format!("sending users to {url}"));
    let expected_s = open.generations_long * load.compressed_generation_ms() / 1000.0;
    let tell = |share: f64| progress.at(share * expected_s);
    let run =
        loadtests::run::at_target(&target, &load, open.plan(&load, workers), open.shard, tell)
            .await;
    match run {
        Ok(run) => {
            measurement.open_runs.push(run);
            measurement.complete = true;
        }
        Err(error) => {
            measurement.incomplete_because = Some(loadtests::backend_process::chain(&error));
            keep(out, &measurement)?;
            return Err(error.into());
        }
    }
    keep(out, &measurement)?;
    Ok(measurement)
}
