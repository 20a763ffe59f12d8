//! The fleet as a state machine, one module per component.
//!
//! ```text
//! arrivals --> load balancer (sync) --> backlog of a task --+
//!         \--> queue (queue mode) --------------------------+--> worker of a task --> done
//!                   ^                                       |
//!                   +-- front: scale-in, out of memory -----+--> lost, by cause (sync)
//! autoscaler -- desired --> service -- starts and stops --> tasks
//! ```
//!
//! Invariants: a generation is in exactly one place; submitted = completed + lost + in the system, at any moment;
//! nothing here reads a clock, a file or the environment; no event allocates once the buffers have grown.

mod arrivals;
mod autoscaler;
mod credits;
mod fleet;
mod generation;
mod gunicorn;
mod load_balancer;
mod meter;
mod misfortune;
mod place;
mod pools;
mod rate_limit;
mod service;
mod sessions;
mod task;
mod upstream;

use crate::cost::Metered;
use crate::engine::Engine;
use crate::outcome::Outcome;
use crate::scenario::{InvalidScenario, Scenario};
use crate::time::Instant;
use crate::trace::Sink;

/// A run with what prices it again for a fleet that differs in its surroundings only.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) outcome: Outcome,
    /// What the measured window is billed for.
    pub(crate) metered: Metered,
    /// The most that the generations of one task ever asked of its CPU, in vCPU.
    pub(crate) demand_peak_vcpu: f64,
}

/// Runs a checked scenario to its horizon.
pub(crate) fn run<'a>(scenario: &'a Scenario, sink: Sink<'a>) -> Result<Run, InvalidScenario> {
    let end = Instant::START.after(scenario.horizon);
    let (fleet, queue) = fleet::Fleet::at_start(scenario, sink);
    let mut engine = Engine::new(fleet, queue);
    engine.step_until(end);
    engine.into_model().finish(end)
}
