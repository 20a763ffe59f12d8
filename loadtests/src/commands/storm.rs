//! `sizing storm`: what becomes of generations while everything around them goes wrong.

use anyhow::Result;
use loadtests::command_line::{StormArguments, TableFormat};
use loadtests::exit_code::Outcome;
use loadtests::progress::Progress;
use loadtests::report::{self, Document};
use loadtests::storm::settings::Size;
use loadtests::storm::{run, table};

use super::console::{complain, say, show};
use super::files::{json, out_dir, workspace, write};
use super::measuring::until_interrupted;

pub(crate) fn run(arguments: &StormArguments, quiet: bool) -> Result<Outcome> {
    let out = out_dir(&arguments.out)?;
    let size = Size {
        generations: arguments.generations,
        in_flight: arguments.in_flight.min(arguments.generations),
        speedup: arguments.speedup,
        seed: arguments.seed,
        timeout_s: arguments.timeout,
    };
    // What the bar takes for seconds are generations here.
    let progress = Progress::new(f64::from(size.generations), quiet);
    let logs = out.join("storm-logs");
    // Those of an earlier storm say nothing about this one.
    if logs.exists() {
        std::fs::remove_dir_all(&logs)?;
    }
    let backend = arguments.backend.as_deref();
    let storming = run::run(workspace(), size, backend, &logs, &progress);
    let Some(storm) = until_interrupted(async { Ok(Box::pin(storming).await?) })? else {
        return Ok(Outcome::Interrupted);
    };
    progress.finish();
    let mut document = Document {
        title: "A storm, and what it left".into(),
        blocks: vec![],
    };
    table::add(&mut document, &storm);
    let mut whole = document.clone();
    table::add_events(&mut whole, &storm);
    write(&out.join("storm.json"), &json(&storm)?)?;
    write(&out.join("storm.md"), &report::markdown::render(&whole))?;
    match arguments.format {
        TableFormat::Table => {
            show(&document)?;
            say(&format!(
                "\nWritten: storm.json, storm.md in {}",
                out.display()
            ))?;
        }
        TableFormat::Json => say(&json(&storm)?)?,
    }
    if !storm.audit.is_clean() {
        complain(&format!("kept: the backends' logs in {}", logs.display()));
        return Ok(Outcome::Refused);
    }
    if storm.is_whole() {
        Ok(Outcome::Success)
    } else {
        complain("error: failed to order every generation in time: give it more with --timeout");
        Ok(Outcome::Failed)
    }
}
