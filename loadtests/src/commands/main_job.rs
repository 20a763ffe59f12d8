//! `sizing`: measure, calibrate, simulate, judge.

use std::path::Path;

use anyhow::Result;
use loadtests::command_line::{MainArguments, REPLICATIONS};
use loadtests::exit_code::Outcome;
use loadtests::grid::Grid;
use loadtests::pipeline::{self, Question};
use loadtests::progress::Progress;
use loadtests::report::{self, ResultsFile};
use loadtests::requirements::Requirements;
use loadtests::terraform::read_sizing;

use super::console::{say, show};
use super::files::{CALIBRATION, existing, json, out_dir, read_calibration, write};
use super::measuring::{grid_of, interruptible, measured};

pub(crate) fn run(arguments: &MainArguments, quiet: bool) -> Result<Outcome> {
    // Bad input is found before anything is started.
    let sizing_file = existing(&arguments.sizing);
    let sizing = read_sizing(&sizing_file)?;
    let requirements = Requirements::read(&existing(&arguments.slo))?;
    let committed = read_calibration(Path::new(CALIBRATION))?;
    let base = if arguments.quick {
        Grid::quick()
    } else {
        Grid::standard()
    };
    let grid = grid_of(base, &arguments.grid)?;
    let out = out_dir(&arguments.out)?;

    let progress = Progress::new(grid.expected_s(), quiet);
    let Some(measurement) = interruptible(&out, measured(&grid, &progress, &out))? else {
        return Ok(Outcome::Interrupted);
    };
    progress.say("simulating the proposal and its alternatives");
    let fallen = (measurement.load.speedup < grid.load.speedup).then_some(measurement.load.speedup);
    let results = pipeline::conclude(
        command(fallen),
        measurement,
        Question {
            sizing_file: &arguments.sizing,
            sizing: &sizing,
            requirements: &requirements,
            deployment_score: arguments.vcpu_score,
            replications: REPLICATIONS,
            committed: &committed,
        },
    )?;
    progress.finish();

    let figures = report::figures::of_results(&results);
    let mut document = report::sections::results(&results, &figures);
    document.paragraph(results.vcpu.statement(&results.calibration.cpu_model));
    let file = ResultsFile {
        results: &results,
        figures: &figures,
    };
    write(&out.join("results.json"), &json(&file)?)?;
    write(&out.join("report.md"), &report::markdown::render(&document))?;
    write(&out.join("report.html"), &report::html::render(&document))?;
    write(&out.join("calibration.json"), &json(&results.calibration)?)?;
    write(&out.join("fidelity.json"), &json(&results.fidelity)?)?;
    write(
        &out.join("proposed.toml"),
        &results.proposed.scenario.to_toml()?,
    )?;
    write(
        &out.join("queued.toml"),
        &results.queued.scenario.to_toml()?,
    )?;
    show(&document)?;
    if !quiet {
        say(&format!(
            "\n{}\nWritten: report.html, report.md, results.json in {}; the next run writes over them.",
            report::sections::in_a_line(&results),
            out.display()
        ))?;
    }
    Ok(Outcome::Success)
}

/// The command line, for whoever wants the same again: with the speed-up when the machine chose it.
fn command(fallen: Option<f64>) -> String {
    std::env::args()
        .skip(1)
        .chain(fallen.map(|speedup| format!("--speedup {speedup}")))
        .fold("cargo sizing".to_owned(), |command, argument| {
            format!("{command} {argument}")
        })
}
