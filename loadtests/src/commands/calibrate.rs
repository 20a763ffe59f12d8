//! `sizing calibrate`: what a measurement that is there already says a generation costs.

use std::path::Path;

use anyhow::{Context, Result, bail};
use loadtests::calibrate::{Calibration, calibrate_beside};
use loadtests::command_line::CalibrateArguments;
use loadtests::exit_code::Outcome;
use loadtests::fidelity::Fidelity;
use loadtests::measurement::Measurement;
use loadtests::report::{self, Document};

use super::console::{say, show};
use super::files::{CALIBRATION, existing, json, read, read_calibration, workspace, write};

pub(crate) fn run(arguments: &CalibrateArguments) -> Result<Outcome> {
    let file = existing(&arguments.measurement);
    let what = "a measurement.json of this version, as `cargo sizing measure` writes it";
    let text = read(&file, what)?;
    let measurement: Measurement = serde_json::from_str(&text)
        .with_context(|| format!("read {}, which must be {what}", file.display()))?;
    if !measurement.complete {
        bail!(
            "calibrate from {}: the run ended early ({}); measure again",
            file.display(),
            measurement
                .incomplete_because
                .as_deref()
                .unwrap_or("killed")
        );
    }
    let committed = read_calibration(Path::new(CALIBRATION))?;
    let calibration = calibrate_beside(&measurement, &committed)?;
    let fidelity = loadtests::fidelity::compare(&measurement, &calibration)?;
    if arguments.record {
        record(&text, &calibration, &fidelity)?;
    }
    if arguments.json {
        say(&json(&calibration)?)?;
        return Ok(Outcome::Success);
    }
    let mut document = Document {
        title: format!("What {} says", file.display()),
        blocks: vec![],
    };
    report::sections::calibration(&mut document, &calibration);
    document.heading("How well the simulator predicts what was measured");
    report::sections::fidelity(&mut document, &fidelity);
    show(&document)?;
    Ok(Outcome::Success)
}

/// Writes what this repository publishes; the measurement to the letter, for reading rounds its numbers.
pub(crate) fn record(
    measurement: &str,
    calibration: &Calibration,
    fidelity: &Fidelity,
) -> Result<()> {
    let folder = workspace().join("loadtests/results");
    let of_speedup = |what: &str| folder.join(format!("{what}-{}.json", fidelity.speedup));
    write(&of_speedup("measurement"), measurement)?;
    write(&of_speedup("fidelity"), &json(fidelity)?)?;
    // A single cell shows that speed-ups agree; verdicts rest on what was checked against others.
    if !fidelity.held_out.is_empty() {
        write(&folder.join("calibration.json"), &json(calibration)?)?;
    }
    Ok(())
}
