//! `sizing compare`: the backend beside the proposal's own stack.

use anyhow::Result;
use loadtests::command_line::{CompareArguments, CompareTarget};
use loadtests::exit_code::Outcome;
use loadtests::progress::Progress;
use loadtests::reference::service::{Conditions, Kind};
use loadtests::report::{self, Document};

use super::console::{say, show};
use super::files::{json, out_dir, workspace, write};
use super::measuring::until_interrupted;

pub(crate) fn run(arguments: &CompareArguments, quiet: bool) -> Result<Outcome> {
    let out = out_dir(&arguments.out)?;
    let conditions = Conditions {
        workers: arguments.workers,
        vcpu: arguments.vcpu,
        memory_mib: arguments.memory_mib,
        speedup: arguments.speedup,
        generations: arguments.generations,
        repetitions: arguments.repetitions,
        seed: 42,
    };
    let mut kinds = vec![];
    if arguments.target != CompareTarget::Fastapi {
        kinds.push(Kind::Rust);
    }
    if arguments.target != CompareTarget::Rust {
        kinds.push(Kind::FastApi);
        if arguments.tuned {
            kinds.push(Kind::FastApiTuned);
        }
    }
    // Only said, not counted: most of the time goes to starting and stopping.
    let progress = Progress::new(1.0, quiet);
    let compared = loadtests::reference::run::run(
        workspace(),
        conditions,
        &kinds,
        arguments.backend.as_deref(),
        &progress,
    );
    let Some(comparison) = until_interrupted(async { Ok(compared.await?) })? else {
        return Ok(Outcome::Interrupted);
    };
    progress.finish();
    let mut document = Document {
        title: "Rust and FastAPI, side by side".into(),
        blocks: vec![],
    };
    loadtests::reference::table::add(&mut document, &comparison);
    write(&out.join("comparison.json"), &json(&comparison)?)?;
    write(
        &out.join("comparison.md"),
        &report::markdown::render(&document),
    )?;
    show(&document)?;
    if !quiet {
        say(&format!(
            "\nWritten: comparison.json, comparison.md in {}",
            out.display()
        ))?;
    }
    Ok(Outcome::Success)
}
