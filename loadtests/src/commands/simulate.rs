//! `sizing simulate`: one scenario, once or many times, on one platform or all.

use anyhow::{Result, bail};
use loadtests::command_line::{PlatformArgument, SimulateArguments, TableFormat};
use loadtests::exit_code::Outcome;
use loadtests::judgement::cores;
use loadtests::report;
use loadtests::simulation::{self, Simulation};
use simulator::platform::{Platform, left_out, moved};
use simulator::scenario::Scenario;

use super::console::{say, show};
use super::files::{json, read_scenario};

pub(crate) fn run(arguments: &SimulateArguments) -> Result<Outcome> {
    let (_, mut scenario) = read_scenario(&arguments.scenario)?;
    if let Some(seed) = arguments.seed {
        scenario.seed = seed;
    }
    if let Some(trace) = &arguments.trace
        && let (Ok(trace), Ok(read)) = (trace.canonicalize(), arguments.scenario.canonicalize())
        && trace == read
    {
        bail!(
            "write the events to {}: that is the scenario itself; give --trace another file",
            read.display()
        );
    }
    let threads = arguments.threads.unwrap_or_else(cores);
    let run = |scenario: &Scenario| {
        simulation::simulate(
            scenario,
            arguments.replications,
            threads,
            arguments.trace.as_deref(),
        )
    };
    let there = |platform: Platform| -> Result<Simulation> {
        let mut simulation = run(&moved(&scenario, platform))?;
        simulation.findings.extend(left_out(&scenario, platform));
        Ok(simulation)
    };
    match arguments
        .platform
        .map(PlatformArgument::platforms)
        .as_deref()
    {
        None => print_simulation(&run(&scenario)?, arguments.format)?,
        Some([one]) => print_simulation(&there(*one)?, arguments.format)?,
        Some(several) => {
            let simulations = several
                .iter()
                .map(|platform| there(*platform))
                .collect::<Result<Vec<Simulation>>>()?;
            match arguments.format {
                TableFormat::Json => {
                    say(&json(&simulation::json_by_platform(&simulations))?)?;
                }
                TableFormat::Table => show(&report::sections::platforms(&simulations))?,
            }
        }
    }
    Ok(Outcome::Success)
}

fn print_simulation(simulation: &Simulation, format: TableFormat) -> Result<()> {
    match format {
        TableFormat::Json => say(&json(&simulation.json())?)?,
        TableFormat::Table => show(&report::sections::simulation(simulation))?,
    }
    Ok(())
}
