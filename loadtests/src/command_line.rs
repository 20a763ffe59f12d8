//! The arguments of `sizing`; each command's stand in the file of its name, and what it does in `commands/`.

mod axes;
mod calibrate;
mod compare;
mod cpu_score;
mod gate;
mod main_job;
mod measure;
mod merge;
mod numbers;
mod plan;
mod program;
mod review;
mod serve;
mod simulate;
mod storm;
mod sync;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

pub use calibrate::CalibrateArguments;
pub use compare::{CompareArguments, CompareTarget};
pub use cpu_score::CpuScoreArguments;
pub use gate::{GateArguments, GateFormat, GateSubject};
pub use main_job::{GridArguments, MainArguments};
pub use measure::{Aim, MeasureArguments, MeasureTarget};
pub use merge::MergeArguments;
pub use plan::{AxisArguments, CaseArgument, PlanArguments};
pub use review::{ReviewArguments, ReviewFormat};
pub use serve::ServeArguments;
pub use simulate::{PlatformArgument, SimulateArguments};
pub use storm::StormArguments;
pub use sync::SyncArguments;

/// Seeds that a sizing is simulated with when nobody says otherwise.
pub const REPLICATIONS: u32 = 10;

/// Measures the service under compressed 15-minute generations and judges a Fargate sizing.
///
/// Without a command: starts the stack, measures a grid of worker and vCPU counts, calibrates,
/// simulates the proposed sizing and its alternatives, prints the verdict, and writes report.html,
/// report.md and results.json.
///
/// Exit codes: 0 done (gate: the sizing holds; storm: all went well), 1 gate: the SLO or the budget is
/// missed or a finding breaks the sizing, storm: something was lost, duplicated or billed twice, 2 the
/// input, the machine or the stack is at fault, the result could not be printed, or a measurement was
/// interrupted (what measures nothing ends by the signal). A reader who has read enough, such as head,
/// changes no exit code.
#[derive(Debug, Parser)]
#[command(
    name = "sizing",
    version,
    override_usage = "sizing [OPTIONS]\n       sizing [--quiet] <COMMAND>",
    max_term_width = 80
)]
pub struct CommandLine {
    /// What to do; the main job when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of the main job.
    #[command(flatten)]
    pub main: MainArguments,
    /// Print the result alone: no progress, and nothing about the run itself, such as what was written where.
    /// What limits the result (doubts, marks, assumptions) is part of it and stays; errors are still printed.
    #[arg(long, global = true)]
    pub quiet: bool,
}

impl CommandLine {
    /// What the words of a command line ask for; the first of them is the program.
    ///
    /// # Errors
    /// When they ask for nothing that there is, or for help or the version, which clap returns as errors.
    pub fn of(
        words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let mut command = with_negative_numbers(Self::command());
        let matches = command.try_get_matches_from_mut(words)?;
        if let Some(name) = matches.subcommand_name() {
            let of_main_job = command.get_arguments().find(|argument| {
                let id = argument.get_id().as_str();
                !argument.is_global_set()
                    && matches.value_source(id) == Some(ValueSource::CommandLine)
            });
            if let Some(argument) = of_main_job {
                let argument = argument.get_long().unwrap_or_default();
                let message = format!(
                    "--{argument} before `{name}` is an option of the main job; the options of `{name}` stand behind it"
                );
                return Err(command.error(ErrorKind::ArgumentConflict, message));
            }
        }
        let parsed =
            Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        let fits = match &parsed.command {
            Some(Command::Measure(measure)) => measure.aim().map(drop),
            Some(Command::Compare(compare)) if !compare.recorded => compare.plan().map(drop),
            None => parsed.main.grid.generations_min().map(drop),
            Some(_) => Ok(()),
        };
        match fits {
            Ok(()) => Ok(parsed),
            Err(message) => Err(command.error(ErrorKind::ArgumentConflict, message)),
        }
    }
}

/// Lets `-5` be the value of an option, so that the option's own range refuses it and not a name that it lacks.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    command
        .mut_args(|argument| {
            let takes_values = argument.get_action().takes_values();
            argument.allow_negative_numbers(takes_values)
        })
        .mut_subcommands(with_negative_numbers)
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure a grid of worker and vCPU counts.
    Measure(MeasureArguments),
    /// Calibrate from a measurement that is there already, and say how well that predicts it.
    Calibrate(CalibrateArguments),
    /// See what becomes of requests that stay open behind a load balancer, beside what the simulator says.
    Sync(SyncArguments),
    /// Measure the proposal's own Python stack beside the backend.
    Compare(CompareArguments),
    /// Simulate one scenario file: exit 0 whatever its verdict is, for the gate is the command that fails.
    Simulate(SimulateArguments),
    /// List the cheapest sizings that meet the SLO, and why the others fail.
    Plan(PlanArguments),
    /// Answer every question of the infrastructure review with numbers of this checkout.
    Review(ReviewArguments),
    /// Serve a page on this machine on which a sizing can be tried out.
    Serve(ServeArguments),
    /// Join the results of several processes or machines: histograms and counts add up exactly.
    Merge(MergeArguments),
    /// Score one core of this machine at the kind of work that a generation is made of.
    CpuScore(CpuScoreArguments),
    /// Let faults loose on two backends and audit what became of their generations: exit 0 when nothing
    /// was lost, duplicated or billed twice, 1 when something was.
    Storm(StormArguments),
    /// Judge a sizing: exit 0 when it holds, 1 when it does not, 2 when the input is bad. On 1 it names the
    /// nearest sizing that would pass: of those with the fewest variables changed (at most three), the cheapest.
    Gate(GateArguments),
}

/// Formats of `simulate` and `plan`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn bad_numbers_are_refused() {
        for arguments in [
            ["sizing", "--speedup", "0"],
            ["sizing", "--speedup", "NaN"],
            ["sizing", "--workers", "0"],
            ["sizing", "--vcpus", "-1"],
            ["sizing", "--unknown", "1"],
            ["sizing", "--vcpu-score", "0"],
            ["sizing", "--memory-gib", "-1"],
        ] {
            let error = CommandLine::of(arguments).expect_err("bad input");
            assert_eq!(error.exit_code(), 2, "{arguments:?}");
        }
        for arguments in [
            "measure --rate 10",
            "measure --open --rate 0",
            "measure --open --shard 3/2",
            "measure --open --shard 0/2",
            "measure --open --target http://localhost",
            "measure --target http://localhost --rate 3",
            "measure --target python",
            "measure --target both --open",
            "measure --target both --workers 1,6",
            "measure --target rust --upload s3://bucket/key",
            "measure --open --rate 3 --target http://localhost --vcpus 1",
            "compare --recorded --parts costs",
            "compare --recorded --target rust",
            "compare --recorded --tuned",
            "compare --recorded --generations 6",
            "compare --recorded --out target",
            "compare --recorded --record",
            "compare --target rust --parts costs,open",
            "merge",
        ] {
            let words = std::iter::once("sizing").chain(arguments.split(' '));
            let error = CommandLine::of(words).expect_err("bad input");
            assert_eq!(error.exit_code(), 2, "{arguments}");
        }
    }

    #[test]
    fn a_target_by_name_is_compared_and_one_by_address_is_sent_users() {
        let aim = |arguments: &str| {
            let words = std::iter::once("sizing").chain(arguments.split(' '));
            match CommandLine::of(words).expect("good input").command {
                Some(Command::Measure(measure)) => measure.aim().expect("good input"),
                other => panic!("{other:?}"),
            }
        };
        let arguments = "measure --target both --workers 4 --vcpus 1 --memory-gib 2 --json";
        match aim(arguments) {
            Aim::Services(compare) => {
                assert_eq!(compare.target, CompareTarget::Both);
                assert_eq!((compare.workers, compare.memory_mib), (4, 2048));
                assert!(compare.json && !compare.record);
            }
            other => panic!("{other:?}"),
        }
        match aim("measure --open --rate 3 --target http://localhost:1") {
            Aim::Deployment(url) => assert_eq!(url, "http://localhost:1"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(aim("measure"), Aim::Grid));
    }

    #[test]
    fn what_was_published_is_shown_without_a_word_of_what_would_be_measured() {
        for arguments in ["compare --recorded", "compare --recorded --json"] {
            let words = std::iter::once("sizing").chain(arguments.split(' '));
            CommandLine::of(words).expect("good input");
        }
    }

    fn refusal(arguments: &str) -> String {
        let words = std::iter::once("sizing").chain(arguments.split(' '));
        let error = CommandLine::of(words).expect_err("bad input");
        assert_eq!(error.exit_code(), 2, "{arguments}");
        error.to_string()
    }

    #[test]
    fn a_negative_number_is_refused_by_the_range_of_its_option() {
        for (arguments, said) in [
            ("--vcpu-score -5", "a score is the number"),
            ("gate --sizing f --vcpu-score -5", "a score is the number"),
            ("measure --speedup -1", "a speedup is a number from 1"),
            ("storm --generations -3", "-3 is not in 1..=1000000"),
        ] {
            let refusal = refusal(arguments);
            assert!(refusal.contains(said), "{arguments}: {refusal}");
        }
    }

    #[test]
    fn quiet_may_stand_before_the_command_and_other_options_of_the_main_job_may_not() {
        for arguments in ["--quiet plan", "plan --quiet", "--quiet"] {
            let words = std::iter::once("sizing").chain(arguments.split(' '));
            let parsed = CommandLine::of(words).expect("it may stand there");
            assert!(parsed.quiet, "{arguments}");
        }
        let refusal = refusal("--quick plan");
        assert!(
            refusal.contains("--quick before `plan` is an option of the main job"),
            "{refusal}"
        );
    }
}
