//! `sizing gate`: pass or fail.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use loadtests::calibrate::calibrate_beside;
use loadtests::command_line::{GateArguments, GateFormat};
use loadtests::exit_code::Outcome;
use loadtests::gate::{Age, CalibrationSource, GateRequest, calibration_age, gate};
use loadtests::grid::Grid;
use loadtests::progress::Progress;
use loadtests::report;
use loadtests::requirements::Requirements;
use loadtests::terraform::{Configuration, Settings, settings_of};
use loadtests::vcpu_factor::{VcpuFactor, profile_on};

use super::console::{print, say, show};
use super::files::{existing, json, out_dir, read_calibration, workspace};
use super::measuring::{interruptible, measured};

pub(crate) fn run(arguments: &GateArguments, quiet: bool) -> Result<Outcome> {
    // Bad input is found before anything is measured.
    let (after, settings) = subject(arguments)?;
    let before = arguments
        .baseline
        .as_deref()
        .map(|file| {
            let file = existing(file);
            let own = settings_of(&file, workspace()).or(settings);
            Configuration::read(&file, own.as_deref())
        })
        .transpose()?;
    let slo_file = match &arguments.slo {
        Some(file) => file.clone(),
        None => Requirements::file_of(after.stage(), workspace()),
    };
    let requirements = Requirements::read(&existing(&slo_file))?;
    let before_slo_file = before
        .as_ref()
        .map(|before| Requirements::file_of(before.stage(), workspace()))
        .filter(|own| existing(own) != existing(&slo_file));
    let (calibration, file) = if arguments.measure {
        let grid = Grid::standard();
        let progress = Progress::new(grid.expected_s(), quiet);
        let out = out_dir(Path::new("target/sizing"))?;
        let Some(measurement) = interruptible(&out, measured(&grid, &progress, &out))? else {
            return Ok(Outcome::Interrupted);
        };
        progress.finish();
        let committed = read_calibration(&arguments.calibration)?;
        (calibrate_beside(&measurement, &committed)?, None)
    } else {
        let file = &arguments.calibration;
        (read_calibration(file)?, Some(file.clone()))
    };
    let vcpu = VcpuFactor::new(&calibration, arguments.vcpu_score);
    let source = CalibrationSource {
        age: match file {
            Some(_) => calibration_age::age(workspace(), &calibration.commit),
            None => Age::Current,
        },
        file,
        commit: calibration.commit.clone(),
        cpu_model: calibration.cpu_model.clone(),
        workers_max: calibration.workers_max(),
        vcpu,
    };
    let result = gate(&GateRequest {
        after,
        before,
        requirements,
        slo_file,
        before_slo_file,
        profile: profile_on(&calibration, vcpu),
        calibration: source,
        replications: arguments.replications,
    })?;
    let document = report::sections::gate(&result);
    match arguments.format {
        GateFormat::Text => show(&document)?,
        GateFormat::Markdown => print(&report::markdown::render(&document))?,
        GateFormat::Json => say(&json(&result)?)?,
    }
    Ok(if result.pass {
        Outcome::Success
    } else {
        Outcome::Refused
    })
}

/// What is judged, with the settings that it was read with.
fn subject(arguments: &GateArguments) -> Result<(Configuration, Option<PathBuf>)> {
    if let Some(plan) = &arguments.subject.plan {
        return Ok((Configuration::read_plan(&existing(plan))?, None));
    }
    let sizing = arguments
        .subject
        .sizing
        .as_deref()
        .context("read the sizing: give --sizing or --plan")?;
    let file = existing(sizing);
    let settings = match &arguments.settings {
        Some(settings) => Some(existing(settings)),
        None => settings_of(&file, workspace()),
    };
    let mut configuration = Configuration::read(&file, settings.as_deref())?;
    configuration.file = sizing.to_owned();
    if let Settings::File(file) = &mut configuration.settings
        && let Ok(below) = file.strip_prefix(workspace())
    {
        *file = below.to_owned();
    }
    Ok((configuration, settings))
}
