//! What happens to a fleet while it works: deployments, health checks, and the ways its jobs and its calls to the AI
//! provider are held.

use serde::{Deserialize, Serialize};

use super::defaults;
use crate::time::Duration;

/// How an ECS service replaces its tasks by those of a new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployments {
    /// Gap between two deployments, the first of which comes after one gap.
    pub every: Duration,
    /// How the new version takes over. Default rolling.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub strategy: DeploymentStrategy,
    /// Blue/green: how long the older version goes on with what it has once the newer one takes the requests. Default
    /// none.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub bake: Duration,
    /// Running tasks that a deployment must leave, in percent of the desired ones, rounded up. Default 100, ECS's own.
    #[serde(default = "defaults::minimum_healthy_percent")]
    pub minimum_healthy_percent: u32,
    /// Starting and running tasks that a deployment may reach, in percent of the desired ones, rounded down. Default
    /// 200, ECS's own.
    #[serde(default = "defaults::maximum_percent")]
    pub maximum_percent: u32,
}

impl Deployments {
    /// Deployments at this gap, within ECS's default bounds.
    pub fn every(every: Duration) -> Deployments {
        Deployments {
            every,
            strategy: DeploymentStrategy::default(),
            bake: Duration::ZERO,
            minimum_healthy_percent: defaults::minimum_healthy_percent(),
            maximum_percent: defaults::maximum_percent(),
        }
    }

    /// Running tasks that must be left of so many desired ones.
    pub fn tasks_min(&self, desired: u32) -> u32 {
        let tasks = u64::from(desired) * u64::from(self.minimum_healthy_percent);
        u32::try_from(tasks.div_ceil(100)).unwrap_or(u32::MAX)
    }

    /// Starting and running tasks that are allowed with so many desired ones.
    pub fn tasks_max(&self, desired: u32) -> u32 {
        let tasks = u64::from(desired) * u64::from(self.maximum_percent) / 100;
        u32::try_from(tasks).unwrap_or(u32::MAX)
    }
}

/// How a new version takes over from an older one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentStrategy {
    /// Task by task, within the two bounds.
    #[default]
    Rolling,
    /// A whole second fleet starts, takes all requests at once, and the first one stops after the bake time: as many
    /// tasks again for as long as that lasts.
    BlueGreen,
}

/// How the load balancer asks each task whether it is well, and when ECS replaces one that is not. A key that is left out
/// has AWS's default.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// Gap between two checks of a task. Default 30 s.
    #[serde(default = "defaults::health_check_interval")]
    pub interval: Duration,
    /// An answer that takes longer fails the check. Default 5 s, as the guide of the load balancer says.
    #[serde(default = "defaults::health_check_timeout")]
    pub timeout: Duration,
    /// Checks that a task fails one after the other until it is replaced. Default 2.
    #[serde(default = "defaults::health_check_unhealthy_count")]
    pub unhealthy_count: u32,
    /// How long a task that has just started is not looked at. Default not at all.
    #[serde(default)]
    pub grace: Duration,
    /// CPU-seconds of an answer. Default 0.0015, as measured on a `FastAPI` service that asks its database.
    #[serde(default = "defaults::health_check_cpu_s")]
    pub cpu_s: f64,
}

impl HealthCheck {
    /// With AWS's defaults.
    pub fn new() -> HealthCheck {
        HealthCheck {
            interval: defaults::health_check_interval(),
            timeout: defaults::health_check_timeout(),
            unhealthy_count: defaults::health_check_unhealthy_count(),
            grace: Duration::ZERO,
            cpu_s: defaults::health_check_cpu_s(),
        }
    }
}

impl Default for HealthCheck {
    fn default() -> HealthCheck {
        HealthCheck::new()
    }
}

/// Where an accepted job lives until it is done, in queue mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStore {
    /// In the database: another task goes on with it.
    #[default]
    Durable,
    /// In the memory of the task that accepted it, with which it dies.
    InProcess,
}

/// How a worker calls the AI provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamCall {
    /// Started, named by its response id, and polled: no connection is silent for long, and another worker can go on.
    #[default]
    Background,
    /// One silent connection per step: cut by a NAT gateway, and begun again by another worker.
    Blocking,
}

/// Tasks on spare capacity that AWS takes back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spot {
    /// How often a task is interrupted, on average. AWS publishes no figure for Fargate.
    pub interruptions_per_task_day: f64,
    /// What a task costs less than on demand, in percent; up to 70, and it varies. Default 0.
    #[serde(default)]
    pub discount_percent: u32,
}

/// An availability zone that fails once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AzLoss {
    /// When, after the start.
    pub at: Duration,
    /// How long no task can be started there.
    pub lasts: Duration,
    /// Zones that the tasks are spread over. Default 2.
    #[serde(default = "defaults::zones")]
    pub zones: u32,
}
