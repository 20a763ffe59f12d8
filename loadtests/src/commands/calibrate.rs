//! `sizing calibrate`: what a measurement that is there already says a generation costs.

use std::path::Path;

use anyhow::{Context, Result, bail};
use loadtests::calibrate::{Calibration, calibrate_along, calibrate_beside};
use loadtests::command_line::CalibrateArguments;
use loadtests::exit_code::Outcome;
use loadtests::fidelity::Fidelity;
use loadtests::measurement::Measurement;
use loadtests::merge;
use loadtests::report::{self, Document};

use super::console::{say, show};
use super::files::{CALIBRATION, existing, json, read, read_calibration, workspace, write};

pub(crate) fn run(arguments: &CalibrateArguments) -> Result<Outcome> {
    let (mut passes, mut texts) = (Vec::new(), Vec::new());
    for file in &arguments.measurements {
        let file = existing(file);
        let (text, measurement) = complete(&file)?;
        passes.push((file.display().to_string(), measurement));
        texts.push(text);
    }
    let names: Vec<_> = passes.iter().map(|(name, _)| name.clone()).collect();
    let (passes, others) = merge::by_speedup(passes)?;
    let one_pass = passes.len() == 1;
    let measurement = merge::passes(passes)?;
    let calibration = if others.is_empty() {
        let committed = read_calibration(Path::new(CALIBRATION))?;
        calibrate_beside(&measurement, &committed)?
    } else {
        calibrate_along(&measurement, &others)?
    };
    let fidelity = loadtests::fidelity::compare(&measurement, &calibration)?;
    if arguments.record {
        // One stays as it is to the letter, for reading rounds its numbers.
        let text = match texts.first() {
            Some(text) if one_pass => text.clone(),
            _ => json(&measurement)?,
        };
        record(&text, &calibration, &fidelity)?;
    }
    if arguments.json {
        say(&json(&calibration)?)?;
        return Ok(Outcome::Success);
    }
    let mut document = Document {
        title: format!("What {} says", names.join(" and ")),
        blocks: vec![],
    };
    report::sections::calibration(&mut document, &calibration);
    document.heading("How well the simulator predicts what was measured");
    report::sections::fidelity(&mut document, &fidelity);
    show(&document)?;
    Ok(Outcome::Success)
}

/// A measurement that came to its end, and its text.
fn complete(file: &Path) -> Result<(String, Measurement)> {
    let what = "a measurement.json of this version, as `cargo sizing measure` writes it";
    let text = read(file, what)?;
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
    Ok((text, measurement))
}

/// Writes what this repository publishes.
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
