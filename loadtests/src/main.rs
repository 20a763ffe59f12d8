//! `sizing`: parses, calls, exits. Its commands print by `commands::console`, and nothing else of this crate does.
// A whole run is one future, which nests deeper than the compiler follows by itself.
#![recursion_limit = "256"]

mod commands;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Result;
use commands::console::{complain, no_color, printed};
use commands::{
    calibrate, compare, cpu_score, gate, main_job, measure, merge, plan, review, serve, simulate,
    storm, sync,
};
use loadtests::command_line::{Command, CommandLine};
use loadtests::exit_code::Outcome;

fn main() -> ExitCode {
    let arguments = match CommandLine::of(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(answer) => return answered(&answer),
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !no_color())
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                // goose reports what it stops as errors; the campaign judges its users itself. sqlx
                // warns of connections that end with the server at the end of a run.
                .unwrap_or_else(|_| "warn,goose=off,sqlx=error,sqlx_core=error".into()),
        )
        .init();
    let outcome = run(arguments).unwrap_or_else(|error| {
        complain(&format!("error: failed to {error:#}"));
        Outcome::Failed
    });
    outcome.into()
}

/// Help or the version, on standard output, or what is wrong with the arguments, on standard error.
fn answered(answer: &clap::Error) -> ExitCode {
    let written = answer.print();
    if !answer.use_stderr()
        && let Err(error) = printed(written)
    {
        complain(&format!("error: failed to {error:#}"));
        return Outcome::Failed.into();
    }
    ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(Outcome::Failed.number()))
}

fn run(arguments: CommandLine) -> Result<Outcome> {
    match arguments.command {
        None => main_job::run(&arguments.main, arguments.quiet),
        Some(Command::Measure(of)) => measure::run(&of, arguments.quiet),
        Some(Command::Sync(of)) => sync::run(&of, arguments.quiet),
        Some(Command::Compare(of)) => compare::run(&of, arguments.quiet),
        Some(Command::Simulate(arguments)) => simulate::run(&arguments),
        Some(Command::Plan(arguments)) => plan::run(&arguments),
        Some(Command::Review(of)) => review::run(&of, arguments.quiet),
        Some(Command::Serve(arguments)) => serve::run(&arguments),
        Some(Command::Calibrate(arguments)) => calibrate::run(&arguments),
        Some(Command::Merge(arguments)) => merge::run(&arguments),
        Some(Command::CpuScore(arguments)) => cpu_score::run(&arguments),
        Some(Command::Storm(of)) => storm::run(&of, arguments.quiet),
        Some(Command::Gate(of)) => gate::run(&of, arguments.quiet),
    }
}
