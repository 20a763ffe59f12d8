//! Requests that stay open for their whole generation, behind a load balancer: how many of them are lost,
//! seen on the real backend and predicted by the simulator from the same arrivals.

use serde::Serialize;
use simulator::outcome::LossCause;
use simulator::scenario::{
    Arrivals, Fleet, GenerationLength, InvalidScenario, Mode, Profile, Scenario, Tasks, Workload,
};
use simulator::simulate;
use simulator::time::Duration;

use crate::calibrate::Calibration;
use crate::hardware::Hardware;
use crate::measurement::{Load, Plan, Shape};
use crate::stats::count_u64_as_f64;
use crate::vcpu_factor::profile;

/// Raised whenever a key of [`SyncMeasurement`] changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// What became of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fates {
    /// Answered with the finished generation.
    pub answered: u64,
    /// Cut by the load balancer because nothing had been said for too long.
    pub alb_idle_timeout: u64,
    /// Lost for any other reason, or without an answer at the end of the run.
    pub other: u64,
}

/// One run behind a load balancer with one idle time-out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SyncRun {
    /// The load balancer's idle time-out, in real seconds.
    pub idle_timeout_s: f64,
    /// Requests that were sent.
    pub requests: u64,
    /// When each was sent, in compressed seconds after the start.
    pub sent_s: Vec<f64>,
    /// What became of them.
    pub seen: Fates,
    /// What the simulator says of the same arrivals.
    pub predicted: Fates,
    /// The first thing that went wrong otherwise than by the load balancer.
    pub first_failure: Option<String>,
}

/// What `sizing sync` found out.
#[derive(Clone, Debug, Serialize)]
pub struct SyncMeasurement {
    /// Raised whenever a key changes its meaning.
    pub schema_version: u32,
    /// What ran, and where.
    pub hardware: Hardware,
    /// How long a generation takes, and how much faster the clock ran.
    pub load: Load,
    /// The backend.
    pub shape: Shape,
    /// The arrivals.
    pub plan: Plan,
    /// A run for each idle time-out.
    pub runs: Vec<SyncRun>,
}

/// What the simulator says of requests sent at these compressed seconds to a single task of this shape.
///
/// # Errors
/// When Fargate sells no such task, or a load balancer has no such idle time-out.
pub fn predict(
    calibration: &Calibration,
    load: &Load,
    shape: Shape,
    sent_s: &[f64],
    idle_timeout_s: f64,
) -> Result<Fates, InvalidScenario> {
    let real = |compressed_s: f64| seconds(compressed_s * load.speedup);
    let length_s = calibration.compressed_length_s(load, shape.vcpu);
    let workload = Workload::new(
        Arrivals::Trace {
            at: sent_s.iter().map(|at_s| real(*at_s)).collect(),
        },
        GenerationLength::Deterministic {
            length: real(length_s),
        },
    );
    // The backend's idle CPU is no part of a generation, and its share of a real second is nothing.
    let profile: Profile = profile(calibration);
    let memory_gib = count_u64_as_f64(shape.memory_mib) / 1024.0;
    let mut fleet = Fleet::new(shape.vcpu, memory_gib, shape.workers, Tasks::fixed(1));
    fleet.mode = Mode::Sync;
    fleet.alb_idle_timeout = seconds(idle_timeout_s);
    let mut scenario = Scenario::new(workload, profile, fleet);
    scenario.warmup = Duration::ZERO;
    // Until the last one that could be waiting has been served, one after the other.
    let last_s = sent_s.last().copied().unwrap_or_default();
    let rounds = sent_s.len() / usize::try_from(shape.workers).unwrap_or(1).max(1) + 2;
    scenario.horizon = real(last_s + crate::stats::count_as_f64(rounds) * length_s);
    scenario.validate()?;
    let outcome = simulate(&scenario)?;
    let cut = outcome.lost.get(&LossCause::AlbIdleTimeout).copied();
    let cut = cut.unwrap_or(0);
    Ok(Fates {
        answered: outcome.completed,
        alb_idle_timeout: cut,
        other: outcome.submitted - outcome.completed - cut,
    })
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::tests::{calibration, measurement};

    const SHAPE: Shape = Shape {
        workers: 2,
        vcpu: 2.0,
        memory_mib: 4096,
    };

    fn predicted(sent_s: &[f64], idle_timeout_s: f64) -> Fates {
        let load = measurement(vec![]).load;
        predict(&calibration(), &load, SHAPE, sent_s, idle_timeout_s).expect("a task that is sold")
    }

    #[test]
    fn a_time_out_below_the_generation_loses_all_and_one_above_it_loses_none() {
        let sent_s = [0.0, 0.5];
        assert_eq!(predicted(&sent_s, 60.0).alb_idle_timeout, 2);
        assert_eq!(predicted(&sent_s, 4000.0).answered, 2);
    }

    #[test]
    fn who_waits_for_a_worker_is_silent_as_well() {
        // The third comes when both workers have hardly begun, and needs two generations.
        let fates = predicted(&[0.0, 0.0, 0.01], 1200.0);
        assert_eq!((fates.answered, fates.alb_idle_timeout), (2, 1));
    }
}
