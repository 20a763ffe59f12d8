//! Pure discrete-event simulation of the fleet: what a sizing carries, how long its users wait, what it loses and why,
//! what limits it, and what it costs a month.
//!
//! The road through it: a [`Scenario`] goes in, [`simulate`] gives an [`Outcome`], [`judge`] holds it against an
//! [`Slo`]; [`replicate`] does so at several seeds, [`plan`](plan::plan) for many fleets.
//!
//! What the crate never has: a clock, a file, a socket, a thread, an environment variable, an order that differs from
//! run to run. Time and money are integers, and randomness is seeded, so that the same scenario gives the same bytes on
//! every machine. Its `clippy.toml` and a test on its dependencies hold it to that.

pub mod capacity;
pub mod cost;
pub mod engine;
pub mod erlang;
pub mod event_queue;
mod heap;
mod histogram;
mod logarithm;
mod model;
pub mod outcome;
pub mod plan;
pub mod platform;
pub mod precision;
pub mod prices;
pub mod replications;
pub mod rng;
pub mod scenario;
pub mod slo;
pub mod time;
pub mod trace;

pub use outcome::Outcome;
pub use plan::{Plan, PlanRequest, plan};
pub use prices::MicroUsd;
pub use replications::{Replications, replicate};
pub use scenario::{InvalidScenario, Scenario, ScenarioError};
pub use slo::{Slo, Verdict, judge};

/// Runs a scenario from an idle fleet to its horizon.
///
/// # Errors
/// When the scenario cannot be simulated; the error names the key and the remedy.
pub fn simulate(scenario: &Scenario) -> Result<Outcome, InvalidScenario> {
    scenario.validate()?;
    Ok(model::run(scenario, trace::Sink::default())?.outcome)
}

/// Runs a scenario as [`simulate`] does, and hands over each event as it happens.
///
/// # Errors
/// When the scenario cannot be simulated; the error names the key and the remedy.
pub fn simulate_traced(
    scenario: &Scenario,
    take: &mut dyn FnMut(trace::TraceEvent),
) -> Result<Outcome, InvalidScenario> {
    scenario.validate()?;
    Ok(model::run(scenario, trace::Sink::to(take))?.outcome)
}
