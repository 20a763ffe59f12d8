//! `sizing plan`: the cheapest sizings that hold, and why the others do not.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use loadtests::command_line::{PlanArguments, TableFormat};
use loadtests::exit_code::Outcome;
use loadtests::judgement::{cores, plan_on};
use loadtests::planning;
use loadtests::report;
use loadtests::requirements::Requirements;
use loadtests::terraform::read_sizing;
use loadtests::vcpu_factor::{VcpuFactor, profile_on};
use simulator::scenario::{Mode, ScenarioError};

use super::console::{say, show};
use super::files::{existing, json, read, read_calibration, read_scenario};

pub(crate) fn run(arguments: &PlanArguments) -> Result<Outcome> {
    let file = arguments.scenario.as_ref().unwrap_or(&arguments.slo);
    let (text, base, factor) = if arguments.scenario.is_some() {
        let (text, scenario) = read_scenario(file)?;
        (text, scenario.at(arguments.case.into()), None)
    } else {
        let requirements = Requirements::read(&existing(file))?;
        let calibration = read_calibration(&arguments.calibration)?;
        let vcpu = VcpuFactor::new(&calibration, arguments.vcpu_score);
        let profile = profile_on(&calibration, vcpu);
        let proposal = read_sizing(&existing(Path::new(
            "terraform/environments/proposal.tfvars",
        )))?;
        let base = requirements.scenario(proposal.fleet(Mode::Queue), profile)?;
        let factor = vcpu.statement(&calibration.cpu_model);
        (read(&existing(file), "an SLO file")?, base, Some(factor))
    };
    planning::check(&base, file)?;
    let request = planning::request(base, &arguments.axes, arguments.replications);
    let began = Instant::now();
    let plan = plan_on(
        &request,
        arguments.threads.unwrap_or_else(cores),
        arguments.vcpu_quota,
    )?;
    let elapsed_s = began.elapsed().as_secs_f64();
    if let Some(invalid) = planning::unanswerable(&plan, &request) {
        return Err(ScenarioError::located(&text, invalid))
            .with_context(|| format!("plan for {}", file.display()));
    }
    match arguments.format {
        TableFormat::Json => say(&json(&plan)?)?,
        TableFormat::Table => {
            let mut document = report::sections::searched_plan(
                &plan,
                &request,
                arguments.top,
                arguments.rejected,
                elapsed_s,
            );
            if let Some(factor) = factor {
                document.paragraph(factor);
            }
            show(&document)?;
        }
    }
    Ok(Outcome::Success)
}
