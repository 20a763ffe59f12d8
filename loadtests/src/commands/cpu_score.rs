//! `sizing cpu-score`: one core, scored.

use anyhow::Result;
use loadtests::command_line::CpuScoreArguments;
use loadtests::exit_code::Outcome;
use loadtests::hardware::Hardware;

use super::console::say;
use super::files::{json, workspace};

pub(crate) fn run(arguments: &CpuScoreArguments) -> Result<Outcome> {
    let hardware = Hardware::of_machine(workspace());
    let length = std::time::Duration::from_secs_f64(arguments.seconds);
    let score = loadtests::cpu_score::measure(length, 5, &hardware);
    if arguments.json {
        say(&json(&score)?)?;
    } else {
        say(&format!("{:.1}", score.score))?;
    }
    Ok(Outcome::Success)
}
