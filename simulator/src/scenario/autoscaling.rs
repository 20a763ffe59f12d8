//! How the number of tasks follows the load.

use serde::{Deserialize, Serialize};

use super::{defaults, text};
use crate::time::Duration;

/// How the number of tasks follows the load: target tracking, one policy per metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Autoscaling {
    /// What is tracked; empty is no autoscaling. TOML takes `"none"`, one name, or a list of names.
    #[serde(rename = "metric", default, with = "text::metric_names")]
    pub metrics: Vec<Metric>,
    /// Target of the CPU metric, in percent of the task's vCPU; also the share of the vCPU that the capacity
    /// formula counts on. Default 70.
    #[serde(default = "defaults::cpu_target_percent")]
    pub cpu_target_percent: f64,
    /// Target of the memory metric, in percent of the task's memory. Default 80.
    #[serde(default = "defaults::memory_target_percent")]
    pub memory_target_percent: f64,
    /// Target of the queue metric, in queued generations per running task. Default 1.
    #[serde(default = "defaults::queue_depth_per_task_target")]
    pub queue_depth_per_task_target: f64,
    /// Target of the requests metric, in requests per running task and minute. Default 1000.
    #[serde(
        default = "defaults::requests_per_task_target",
        skip_serializing_if = "defaults::are_usual_requests"
    )]
    pub requests_per_task_target: f64,
    /// Steps of a step-scaling policy, in ascending order; none is target tracking. With them, the target is the
    /// alarm's threshold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<ScalingStep>,
    /// After a scale-out, only a larger one may follow for so long. Default 60 s.
    #[serde(default = "defaults::scale_out_cooldown")]
    pub scale_out_cooldown: Duration,
    /// After a scaling, no scale-in may follow for so long. Default 300 s.
    #[serde(default = "defaults::scale_in_cooldown")]
    pub scale_in_cooldown: Duration,
}

/// One step of a step-scaling policy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScalingStep {
    /// How far the metric is above its threshold at least, in the metric's own unit.
    pub above: f64,
    /// Tasks to add then.
    pub add: u32,
}

/// What autoscaling tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Average CPU utilization of the tasks.
    Cpu,
    /// Average memory utilization of the tasks.
    Memory,
    /// Queued generations per running task.
    QueueDepth,
    /// Requests answered per running task and minute (`ALBRequestCountPerTarget`): polls and submissions in queue mode,
    /// finished generations in sync mode.
    Requests,
}

impl Autoscaling {
    /// No autoscaling.
    pub fn none() -> Autoscaling {
        Autoscaling::on(Vec::new())
    }

    /// Target tracking of one metric at this target (percent, or generations per task) and the default cooldowns.
    pub fn tracking(metric: Metric, target: f64) -> Autoscaling {
        let mut autoscaling = Autoscaling::on(vec![metric]);
        match metric {
            Metric::Cpu => autoscaling.cpu_target_percent = target,
            Metric::Memory => autoscaling.memory_target_percent = target,
            Metric::QueueDepth => autoscaling.queue_depth_per_task_target = target,
            Metric::Requests => autoscaling.requests_per_task_target = target,
        }
        autoscaling
    }

    /// Target tracking of these metrics at the default targets and cooldowns.
    pub fn on(metrics: Vec<Metric>) -> Autoscaling {
        Autoscaling {
            metrics,
            cpu_target_percent: defaults::cpu_target_percent(),
            memory_target_percent: defaults::memory_target_percent(),
            queue_depth_per_task_target: defaults::queue_depth_per_task_target(),
            requests_per_task_target: defaults::requests_per_task_target(),
            steps: Vec::new(),
            scale_out_cooldown: defaults::scale_out_cooldown(),
            scale_in_cooldown: defaults::scale_in_cooldown(),
        }
    }
}
