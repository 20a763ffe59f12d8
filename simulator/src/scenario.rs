//! What is simulated: the workload, the cost of one generation, the fleet and the promise it is held to.
//!
//! A scenario is plain data. It is read from TOML ([`Scenario::from_toml`]), built in code from the
//! constructors that carry the documented defaults, and written back ([`Scenario::to_toml`]) so that any
//! verdict can be replayed.

mod assumption;
mod autoscaling;
mod bill;
mod defaults;
mod fleet;
mod gunicorn;
mod kinds;
mod operations;
mod reading;
mod redis;
mod text;
mod validate;
mod workload;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use assumption::{Assumption, Case};
pub use autoscaling::{Autoscaling, Metric, ScalingStep};
pub use bill::{Bill, Day, Tokens};
pub use fleet::{Architecture, CacheMode, Fleet, LoadBalancing, Mode, StopOrder, Tasks};
pub use gunicorn::{Gunicorn, WorkerModel};
pub use operations::{
    AzLoss, DeploymentStrategy, Deployments, HealthCheck, JobStore, Spot, UpstreamCall,
};
pub use redis::Redis;
pub use text::ScenarioError;
pub use workload::{Arrivals, GenerationLength, Workload};

pub(crate) use workload::lognormal_sigma;

use crate::slo::Slo;
use crate::time::Duration;

/// A whole simulation input. The same scenario always gives the same outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Seed of every random stream. Default 42.
    #[serde(default = "defaults::seed")]
    pub seed: u64,
    /// How long the simulated fleet runs. Default 24 h.
    #[serde(default = "defaults::horizon")]
    pub horizon: Duration,
    /// How much of the start is left out of the statistics. Default 1 h.
    #[serde(default = "defaults::warmup")]
    pub warmup: Duration,
    /// What is asked of the fleet.
    pub workload: Workload,
    /// What one generation costs.
    pub profile: Profile,
    /// What serves it.
    pub fleet: Fleet,
    /// What the fleet is held to. Default: nothing.
    #[serde(default)]
    pub slo: Slo,
    /// What is billed beside the fleet. Default: nothing but what the review's table has.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bill: Bill,
}

/// What one generation costs the task that runs it, as calibration measures it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// CPU-seconds of one generation, spread evenly over its length.
    pub cpu_s_per_generation: f64,
    /// Memory of an idle task, in MiB.
    pub memory_base_mib: f64,
    /// Memory of one generation in flight, in KiB.
    pub memory_per_generation_kib: f64,
    /// CPU-seconds of one status poll; 0 when `cpu_s_per_generation` has the polls in it. Default 0.
    #[serde(default)]
    pub cpu_s_per_poll: f64,
}

/// Whether a key is left out when a scenario is written: those of models that are off, so that a scenario without them
/// reads as it always did.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// An input that cannot be simulated: which key, what is wrong with it, and what to do.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("key `{key}`: {problem}; {remedy}")]
pub struct InvalidScenario {
    /// Path of the key, such as `fleet.memory_gib`.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

impl InvalidScenario {
    pub(crate) fn new(
        key: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> InvalidScenario {
        InvalidScenario {
            key: key.to_owned(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

impl Scenario {
    /// A scenario with the default seed, horizon and warm-up, held to nothing.
    pub fn new(workload: Workload, profile: Profile, fleet: Fleet) -> Scenario {
        Scenario {
            seed: defaults::seed(),
            horizon: defaults::horizon(),
            warmup: defaults::warmup(),
            workload,
            profile,
            fleet,
            slo: Slo::default(),
            bill: Bill::default(),
        }
    }

    /// The scenario with every assumption at its value of this case.
    #[must_use]
    pub fn at(&self, case: Case) -> Scenario {
        let mut scenario = self.clone();
        if let Arrivals::Users {
            users,
            generations_per_user_day,
            hourly,
        } = &self.workload.arrivals
        {
            scenario.workload.arrivals = Arrivals::Users {
                users: Assumption::exactly(*users.at(case)),
                generations_per_user_day: Assumption::exactly(*generations_per_user_day.at(case)),
                hourly: Assumption::exactly(hourly.at(case).clone()),
            };
        }
        scenario
    }

    /// Whether an assumption has more than one value, so that the cases differ.
    pub fn has_cases(&self) -> bool {
        match &self.workload.arrivals {
            Arrivals::Users {
                users,
                generations_per_user_day,
                hourly,
            } => !(users.is_exact() && generations_per_user_day.is_exact() && hourly.is_exact()),
            _ => false,
        }
    }

    /// Checks every number, and every pair of numbers that must fit together.
    ///
    /// # Errors
    /// The first key that cannot be simulated, with a remedy.
    pub fn validate(&self) -> Result<(), InvalidScenario> {
        validate::scenario(self)
    }
}
