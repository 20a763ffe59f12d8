//! The values of the root module that size the service, under the names of its variables.

use serde::{Deserialize, Serialize};
use simulator::scenario::{Architecture, Autoscaling, Fleet, Metric, Mode, Tasks};
use simulator::time::Duration;

use crate::stats::count_u64_as_f64;

/// What autoscaling follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoscalingMetric {
    /// The task count stays at `tasks_desired`.
    None,
    /// CPU utilisation.
    Cpu,
    /// Memory utilisation.
    Memory,
    /// Both; the larger capacity wins.
    CpuAndMemory,
    /// Queued generations per task.
    QueueDepth,
}

/// Where sessions and limits live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheMode {
    /// A managed node.
    Elasticache,
    /// A Redis beside each task.
    Sidecar,
    /// In process.
    None,
}

/// Instruction set of the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CpuArchitecture {
    /// Intel and AMD.
    #[serde(rename = "X86_64")]
    X86,
    /// Graviton.
    #[serde(rename = "ARM64")]
    Arm,
}

/// Everything that sizes the service; the names are those of the Terraform variables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sizing {
    /// CPU units of one task; 1024 are one vCPU.
    pub task_cpu: u32,
    /// Memory of one task in MiB.
    pub task_memory_mib: u64,
    /// Instruction set.
    pub cpu_architecture: CpuArchitecture,
    /// Generations that one task runs at a time.
    pub generation_workers: u32,
    /// Fewest tasks.
    pub tasks_min: u32,
    /// Tasks at the start.
    pub tasks_desired: u32,
    /// Most tasks.
    pub tasks_max: u32,
    /// What autoscaling follows.
    pub autoscaling_metric: AutoscalingMetric,
    /// Target of CPU tracking in percent.
    pub autoscaling_cpu_target_percent: f64,
    /// Target of memory tracking in percent.
    pub autoscaling_memory_target_percent: f64,
    /// Target of queue-depth tracking, in queued generations per task.
    pub autoscaling_queue_depth_target: f64,
    /// Seconds between two scale-outs.
    pub scale_out_cooldown_s: u64,
    /// Seconds between two scale-ins.
    pub scale_in_cooldown_s: u64,
    /// NAT gateways.
    pub nat_gateways: u32,
    /// Seconds without a byte after which the load balancer cuts.
    pub alb_idle_timeout_s: u64,
    /// Seconds that a deregistered task may go on answering.
    pub deregistration_delay_s: u64,
    /// Seconds between SIGTERM and SIGKILL.
    pub stop_timeout_s: u64,
    /// RDS instance class.
    pub db_instance_class: String,
    /// Whether RDS has a standby.
    pub db_multi_az: bool,
    /// Where sessions and limits live.
    pub cache_mode: CacheMode,
}

impl Sizing {
    /// vCPU of one task.
    pub fn vcpu(&self) -> f64 {
        f64::from(self.task_cpu) / 1024.0
    }

    /// Memory of one task in GiB.
    pub fn memory_gib(&self) -> f64 {
        count_u64_as_f64(self.task_memory_mib) / 1024.0
    }

    /// The fleet that this sizing starts, with requests held (`Sync`) or queued (`Queue`).
    pub fn fleet(&self, mode: Mode) -> Fleet {
        let tasks = Tasks {
            min: self.tasks_min,
            desired: self.tasks_desired,
            max: self.tasks_max,
        };
        let metrics = match self.autoscaling_metric {
            AutoscalingMetric::None => vec![],
            AutoscalingMetric::Cpu => vec![Metric::Cpu],
            AutoscalingMetric::Memory => vec![Metric::Memory],
            AutoscalingMetric::CpuAndMemory => vec![Metric::Cpu, Metric::Memory],
            AutoscalingMetric::QueueDepth => vec![Metric::QueueDepth],
        };
        let mut fleet = Fleet::new(
            self.vcpu(),
            self.memory_gib(),
            self.generation_workers,
            tasks,
        );
        fleet.mode = mode;
        fleet.autoscaling = Autoscaling {
            metrics,
            cpu_target_percent: self.autoscaling_cpu_target_percent,
            memory_target_percent: self.autoscaling_memory_target_percent,
            queue_depth_per_task_target: self.autoscaling_queue_depth_target,
            scale_out_cooldown: Duration::from_secs(self.scale_out_cooldown_s),
            scale_in_cooldown: Duration::from_secs(self.scale_in_cooldown_s),
            ..Autoscaling::none()
        };
        fleet.nat_gateways = self.nat_gateways;
        fleet.alb_idle_timeout = Duration::from_secs(self.alb_idle_timeout_s);
        fleet.deregistration_delay = Duration::from_secs(self.deregistration_delay_s);
        fleet.stop_timeout = Duration::from_secs(self.stop_timeout_s);
        fleet.db_instance_class.clone_from(&self.db_instance_class);
        fleet.db_multi_az = self.db_multi_az;
        fleet.cache_mode = match self.cache_mode {
            CacheMode::Elasticache => simulator::scenario::CacheMode::Elasticache,
            CacheMode::Sidecar => simulator::scenario::CacheMode::Sidecar,
            CacheMode::None => simulator::scenario::CacheMode::None,
        };
        fleet.architecture = match self.cpu_architecture {
            CpuArchitecture::X86 => Architecture::X86,
            CpuArchitecture::Arm => Architecture::Arm,
        };
        fleet
    }
}
