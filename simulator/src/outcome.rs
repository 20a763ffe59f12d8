//! What a run shows: plain data with a stable JSON form.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::capacity::Resource;
use crate::cost::Cost;
use crate::scenario::Mode;
use crate::time::Duration;

/// Changes when a key of [`Outcome`] changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// The result of one run.
///
/// Counts (`submitted`, `completed`, `lost`, `in_flight_at_end`, `requeued`, the scaling counts) are of the whole
/// run, so that submitted = completed + lost + in flight. Rates, utilizations and costs are of the window after
/// the warm-up. Waits and sojourns are of the generations that arrive in that window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// Seed of the run.
    pub seed: u64,
    /// Length of the run.
    pub horizon: Duration,
    /// The part of it that the statistics leave out.
    pub warmup: Duration,
    /// How clients waited.
    pub mode: Mode,
    /// Generations completed per hour of the window.
    pub throughput_per_hour: f64,
    /// Submitted until first started, in seconds. Who was lost in the queue counts with the time until then, who
    /// still queued at the end with the time so far.
    pub wait_s: Distribution,
    /// Submitted until finished, in seconds, of the completed ones.
    pub sojourn_s: Distribution,
    /// Share of the waits above zero.
    pub probability_of_wait: f64,
    /// Generations submitted.
    pub submitted: u64,
    /// Generations completed.
    pub completed: u64,
    /// Generations lost, by cause.
    pub lost: BTreeMap<LossCause, u64>,
    /// Generations neither completed nor lost when the run ended, queued ones included.
    pub in_flight_at_end: u64,
    /// Waits in `wait_s` of generations that were lost before they started; left out where there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub never_started: u64,
    /// Waits in `wait_s` that the end of the run cut short.
    pub censored_waits: u64,
    /// How often a generation lost its worker and went back to the front of the queue.
    pub requeued: u64,
    /// Busy share of the workers of running tasks.
    pub worker_utilization: f64,
    /// Used share of the vCPU of running tasks.
    pub cpu_utilization: f64,
    /// Used share of the memory of running tasks.
    pub memory_utilization: f64,
    /// Generations in the system, queued or running, on average.
    pub in_system_mean: f64,
    /// Tasks that exist, and cost, on average.
    pub tasks_mean: f64,
    /// Most tasks running at once, in the whole run.
    pub tasks_max: u32,
    /// Tasks running at the end.
    pub tasks_at_end: u32,
    /// Scale-outs.
    pub scale_out_count: u64,
    /// Scale-ins.
    pub scale_in_count: u64,
    /// Deployments whose last task of an older version stopped taking work; none where the scenario deploys nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployments_completed: Option<u64>,
    /// What limits the throughput first, by formula.
    pub bottleneck: Resource,
    /// Each limit in generations per hour, for the tasks that ran on average.
    pub capacity_per_hour: BTreeMap<Resource, f64>,
    /// The bill of a month of such a fleet.
    pub cost_usd_month: Cost,
    /// Seconds, summed over the tasks and the whole run, in which none of a task's async workers accepted a connection;
    /// none where workers are not async.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswering_s: Option<f64>,
    /// Seconds of the whole run in which no database connection was free, so that every request failed; none where
    /// workers are not async.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_exhausted_s: Option<f64>,
    /// Starts of tasks that found too few connections left in the database or in Redis; none where neither is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_refused: Option<u64>,
    /// Seconds of the whole run in which Redis had no memory left for a session, and limits let every request pass; none
    /// where it is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis_full_s: Option<f64>,
    /// Tasks that were replaced because they did not answer; none where nobody asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy_replaced: Option<u64>,
    /// Lowest balance of the database's CPU credits; none where the workload does not say what a generation takes of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_credits_min: Option<f64>,
    /// Events simulated.
    pub events: u64,
    /// Events simulated per second of real time: this crate has no clock, so the caller measures and fills it in.
    pub events_per_second: Option<f64>,
}

impl Outcome {
    /// Generations lost, whatever the cause.
    pub fn lost_total(&self) -> u64 {
        self.lost.values().sum()
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A distribution in brief. All zeros when `count` is zero.
///
/// Mean and maximum are exact; quantiles are within 0.05 % of the exact order statistic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// Values counted.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 95 % quantile.
    pub p95: f64,
    /// 99 % quantile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

/// Why a generation was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossCause {
    /// The load balancer cut the silent connection.
    AlbIdleTimeout,
    /// A platform other than Fargate closed the connection.
    PlatformRequestLimit,
    /// The task was deregistered and the delay ran out.
    DeregisteredInFlight,
    /// The task was killed after its stop time-out.
    SigkillAfterStopTimeout,
    /// The task ran out of memory.
    Oom,
    /// No task was registered to take the request.
    NoTarget,
    /// The worker ran longer than its time-out allows and was killed.
    WorkerTimeout,
    /// The NAT gateway dropped the silent connection to the AI provider.
    NatIdleReset,
    /// The client hung up.
    ClientGaveUp,
    /// The worker got no database connection for it.
    DbConnections,
    /// The AI provider refused its requests for longer than its client tries.
    OpenaiRateLimit,
    /// AWS took the task's spare capacity back.
    SpotInterruption,
    /// The task's availability zone failed.
    AzLoss,
    /// The task did not answer its health checks and was replaced.
    HealthCheck,
    /// Redis had no memory left for the session of its client, who was not let in.
    SessionStore,
}

impl LossCause {
    /// Whether it takes the worker without notice, so that a durable job has lost an attempt by it.
    pub(crate) fn is_crash(self) -> bool {
        matches!(
            self,
            LossCause::Oom | LossCause::WorkerTimeout | LossCause::NatIdleReset | LossCause::AzLoss
        )
    }

    /// The name that JSON uses.
    pub fn name(self) -> &'static str {
        match self {
            LossCause::AlbIdleTimeout => "alb_idle_timeout",
            LossCause::PlatformRequestLimit => "platform_request_limit",
            LossCause::DeregisteredInFlight => "deregistered_in_flight",
            LossCause::SigkillAfterStopTimeout => "sigkill_after_stop_timeout",
            LossCause::Oom => "oom",
            LossCause::NoTarget => "no_target",
            LossCause::WorkerTimeout => "worker_timeout",
            LossCause::NatIdleReset => "nat_idle_reset",
            LossCause::ClientGaveUp => "client_gave_up",
            LossCause::DbConnections => "db_connections",
            LossCause::OpenaiRateLimit => "openai_rate_limit",
            LossCause::SpotInterruption => "spot_interruption",
            LossCause::AzLoss => "az_loss",
            LossCause::HealthCheck => "health_check",
            LossCause::SessionStore => "session_store",
        }
    }
}

impl fmt::Display for LossCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
