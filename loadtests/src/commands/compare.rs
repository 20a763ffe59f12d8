//! `sizing compare`: the backend beside the proposal's own stack.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use loadtests::command_line::CompareArguments;
use loadtests::exit_code::Outcome;
use loadtests::progress::Progress;
use loadtests::reference::comparison::{Asked, Comparison, Part};
use loadtests::reference::promises::WithPromises;
use loadtests::reference::recorded;
use loadtests::report::{self, Document};
use loadtests::review::{Language, Stacks};

use super::console::{say, show};
use super::files::{CALIBRATION, json, out_dir, read_calibration, workspace, write};
use super::measuring::until_interrupted;

pub(crate) fn run(arguments: &CompareArguments, quiet: bool) -> Result<Outcome> {
    if arguments.recorded {
        return show_recorded(arguments.json);
    }
    let out = out_dir(&arguments.out)?;
    let plan = arguments.plan();
    let (cells, conditions) = plan.map_err(|detail| anyhow!("compare: {detail}"))?;
    let kinds = arguments.kinds();
    let parts = arguments
        .parts
        .clone()
        .unwrap_or_else(|| Part::ALL.to_vec());
    // Only said, not counted: most of the time goes to starting and stopping.
    let progress = Progress::new(1.0, quiet);
    let compared = loadtests::reference::run::run(
        workspace(),
        conditions,
        Asked {
            kinds: &kinds,
            parts: &parts,
            cells: &cells,
            polled_alike: arguments.polled_alike,
        },
        arguments.backend.as_deref(),
        &progress,
    );
    let Some(comparison) = until_interrupted(async { Ok(compared.await?) })? else {
        return Ok(Outcome::Interrupted);
    };
    progress.finish();
    let document = document(&comparison);
    write(&out.join("comparison.json"), &json(&comparison)?)?;
    write(
        &out.join("comparison.md"),
        &report::markdown::render(&document),
    )?;
    if arguments.record {
        record(comparison.clone())?;
    }
    if arguments.json {
        say(&json(&WithPromises::of(&comparison))?)?;
        return Ok(Outcome::Success);
    }
    show(&document)?;
    if !quiet {
        say(&format!(
            "\nWritten: comparison.json, comparison.md in {}",
            out.display()
        ))?;
    }
    Ok(Outcome::Success)
}

fn document(comparison: &Comparison) -> Document {
    let mut document = Document {
        title: "The proposal's stack beside this backend".into(),
        blocks: vec![],
    };
    loadtests::reference::table::add(&mut document, comparison);
    document
}

/// Joins what was measured into the published comparison.
fn record(comparison: Comparison) -> Result<()> {
    let path = workspace().join(recorded::FILE);
    let joined = match std::fs::read_to_string(&path) {
        Ok(text) => {
            let known: Comparison = serde_json::from_str(&text)
                .with_context(|| format!("read {}: remove it to record anew", path.display()))?;
            recorded::join(known, comparison)
                .with_context(|| format!("record into {}", path.display()))?
        }
        Err(_) => comparison,
    };
    write(&path, &json(&joined)?)
}

fn show_recorded(as_json: bool) -> Result<Outcome> {
    let comparison = recorded::comparison();
    if as_json {
        say(&json(&WithPromises::of(comparison))?)?;
        return Ok(Outcome::Success);
    }
    let calibration = read_calibration(Path::new(CALIBRATION))?;
    let mut document = document(comparison);
    if let Some(stacks) = Stacks::new(comparison, &calibration)? {
        stacks.add(&mut document, Language::En);
    }
    show(&document)?;
    Ok(Outcome::Success)
}
