//! What is simulated: the workload, the cost of one generation, the fleet and the promise it is held to.
//!
//! A scenario is plain data. It is read from TOML ([`Scenario::from_toml`]), built in code from the
//! constructors that carry the documented defaults, and written back ([`Scenario::to_toml`]) so that any
//! verdict can be replayed.

mod assumption;
mod bill;
mod defaults;
mod gunicorn;
mod operations;
mod redis;
mod text;
mod validate;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use assumption::{Assumption, Case};
pub use bill::{Bill, Day, Tokens};
pub use gunicorn::{Gunicorn, WorkerModel};
pub use operations::{
    AzLoss, DeploymentStrategy, Deployments, HealthCheck, JobStore, Spot, UpstreamCall,
};
pub use redis::Redis;
pub use text::ScenarioError;

use crate::platform::{Platform, companions};
use crate::prices::price_book;
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

/// The generations that arrive, and how their clients behave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// When generations are submitted.
    pub arrivals: Arrivals,
    /// How long one generation takes when nothing slows it down.
    pub generation: GenerationLength,
    /// Gap between two status polls of one client, in queue mode. Default 2.5 s.
    #[serde(default = "defaults::poll_every")]
    pub poll_every: Duration,
    /// Persisted steps of a generation, equally long. A step that has begun at the AI provider goes on while
    /// no worker watches it. Default 5.
    #[serde(default = "defaults::steps_per_generation")]
    pub steps_per_generation: u32,
    /// Workers that one generation may lose to a crash before it counts as lost, in queue mode. Default 5.
    #[serde(default = "defaults::attempts_max")]
    pub attempts_max: u32,
    /// Tokens that the AI provider reads and writes for a generation, which its limit of tokens counts. Default 50,000.
    #[serde(
        default = "defaults::tokens_per_generation",
        skip_serializing_if = "defaults::are_usual_tokens"
    )]
    pub tokens_per_generation: u32,
    /// CPU-seconds of the database for one generation; without it, its CPU credits are not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_cpu_s_per_generation: Option<f64>,
    /// In sync mode, how long a client waits for its answer before it hangs up. Default: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_gives_up_after: Option<Duration>,
}

/// When generations are submitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Arrivals {
    /// Independent of each other: exponential gaps.
    Poisson {
        /// Mean submissions per hour.
        per_hour: f64,
    },
    /// One after the other at equal gaps, the first after one gap.
    Deterministic {
        /// Submissions per hour.
        per_hour: f64,
    },
    /// Poisson with a rate that follows the hour of the day; the run starts at midnight.
    Daily {
        /// Submissions per hour where the multiplier is 1.
        per_hour: f64,
        /// 24 multipliers of the rate, one per hour of the day.
        hourly: Vec<f64>,
    },
    /// Poisson with a rate that follows the hour of the day, from what is assumed of the users; the run starts at
    /// midnight. A run takes the likeliest values, unless [`Scenario::at`] says which.
    Users {
        /// People who use the service.
        users: Assumption<f64>,
        /// Generations that one of them asks for in a day.
        generations_per_user_day: Assumption<f64>,
        /// How the day is spread over its hours: 24 weights, whatever their sum.
        hourly: Assumption<Vec<f64>>,
    },
    /// At these moments after the start, in ascending order.
    Trace {
        /// Moments of submission.
        at: Vec<Duration>,
    },
}

/// How long one generation takes when nothing slows it down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum GenerationLength {
    /// Always the same.
    Deterministic {
        /// The length.
        length: Duration,
    },
    /// Memoryless.
    Exponential {
        /// The mean length.
        mean: Duration,
    },
    /// Equally likely between two bounds.
    Uniform {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// Skewed to the right, as times of work usually are.
    Lognormal {
        /// Half of the generations are shorter.
        median: Duration,
        /// 95 % of the generations are shorter.
        p95: Duration,
    },
    /// These, in order and over again.
    Trace {
        /// The lengths.
        lengths: Vec<Duration>,
    },
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

/// The fleet and everything around it that Terraform sets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// Where it runs. Default fargate.
    #[serde(default, skip_serializing_if = "is_default")]
    pub platform: Platform,
    /// How a client waits for its generation. Default queue.
    #[serde(default)]
    pub mode: Mode,
    /// vCPU of one task.
    pub vcpu: f64,
    /// Memory of one task, in GiB.
    pub memory_gib: f64,
    /// Generations that one task runs at a time.
    pub workers: u32,
    /// How many tasks there may be.
    pub tasks: Tasks,
    /// From the decision to start a task until it serves. Default 55 s: 53 to 62 s measured for a 413 MB image,
    /// <https://elasticscale.com/blog/reduce-aws-fargate-pull-times-with-soci>.
    #[serde(default = "defaults::start_delay")]
    pub start_delay: Duration,
    /// How the number of tasks follows the load. Default: not at all.
    #[serde(default = "Autoscaling::none")]
    pub autoscaling: Autoscaling,
    /// How the load balancer picks a task, in sync mode. Default `round_robin`, as AWS does.
    #[serde(default)]
    pub load_balancing: LoadBalancing,
    /// A connection that is silent for longer is cut by the load balancer. Default 60 s, AWS's own.
    #[serde(default = "defaults::alb_idle_timeout")]
    pub alb_idle_timeout: Duration,
    /// How long a deregistered task may go on answering. Default 300 s, AWS's own.
    #[serde(default = "defaults::deregistration_delay")]
    pub deregistration_delay: Duration,
    /// From SIGTERM to SIGKILL. Default 30 s, Fargate's own; at most 120 s.
    #[serde(default = "defaults::stop_timeout")]
    pub stop_timeout: Duration,
    /// Whether SIGTERM waits for the load balancer to drain. Sources disagree. Default `drain_then_sigterm`.
    #[serde(default)]
    pub stop_order: StopOrder,
    /// NAT gateways; 0 puts the tasks in public subnets. Default 1.
    #[serde(default = "defaults::nat_gateways")]
    pub nat_gateways: u32,
    /// RDS instance class. Default db.t4g.micro.
    #[serde(default = "defaults::db_instance_class")]
    pub db_instance_class: String,
    /// Whether RDS keeps a standby. Default false.
    #[serde(default)]
    pub db_multi_az: bool,
    /// Storage of the database in GB. Default 20.
    #[serde(default = "defaults::db_storage_gb")]
    pub db_storage_gb: u32,
    /// Connections that the database takes from the service. Default: those of its class, or, on another platform, of the
    /// database that stands beside it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_connections_max: Option<u32>,
    /// Connections to the database that one task opens at its start, without which it does not serve; an async worker's
    /// generation opens its own. Default: not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_pool_connections: Option<u32>,
    /// Where sessions and limits live. Default elasticache.
    #[serde(default)]
    pub cache_mode: CacheMode,
    /// What the managed Redis holds. Default: not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// Instruction set of the tasks. Default x86.
    #[serde(default)]
    pub architecture: Architecture,
    /// Where an accepted job lives, in queue mode. Default durable.
    #[serde(default, skip_serializing_if = "is_default")]
    pub job_store: JobStore,
    /// A worker that runs one generation for longer is killed, as Gunicorn's `timeout` does to a sync worker. Default:
    /// never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_timeout: Option<Duration>,
    /// Whether a task that has work is spared by scale-in and deployment (ECS task protection, renewed for as long as
    /// it works). Default false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub task_protection: bool,
    /// How a worker calls the AI provider. Default background.
    #[serde(default, skip_serializing_if = "is_default")]
    pub upstream_call: UpstreamCall,
    /// Whether a blocking call keeps its connection alive by TCP probes. Default false, as the AI provider's own client.
    #[serde(default, skip_serializing_if = "is_default")]
    pub upstream_keep_alive: bool,
    /// Requests that the AI provider accepts per minute; a step of a generation is one. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_requests_per_minute: Option<f64>,
    /// Tokens that the AI provider accepts per minute; a step takes its share of the generation's. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_tokens_per_minute: Option<f64>,
    /// How many generations one worker runs at a time. Default sync: one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub worker_model: WorkerModel,
    /// What async workers do. Default: that of [`Gunicorn::new`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gunicorn: Option<Gunicorn>,
    /// How tasks that do not answer are replaced. Default: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// Rolling deployments. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployments: Option<Deployments>,
    /// Spot capacity. Default: on demand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot: Option<Spot>,
    /// The loss of a zone. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub az_loss: Option<AzLoss>,
}

/// Whether a key is left out when a scenario is written: those of models that are off, so that a scenario without them
/// reads as it always did.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How many tasks there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tasks {
    /// Fewest that autoscaling may leave.
    pub min: u32,
    /// How many the run starts with.
    pub desired: u32,
    /// Most that autoscaling may start.
    pub max: u32,
}

/// How a client waits for its generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Answered at once; the job is durable and the client polls.
    #[default]
    Queue,
    /// The request stays open, silent, until the generation is done.
    Sync,
}

/// How the load balancer picks a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadBalancing {
    /// In turn, however busy.
    #[default]
    RoundRobin,
    /// The one with the fewest open requests.
    LeastOutstandingRequests,
}

/// Whether SIGTERM waits for the load balancer to drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopOrder {
    /// Deregister, wait until drained or the delay is over, then SIGTERM: AWS's best-practices guide.
    #[default]
    DrainThenSigterm,
    /// Both at the same time, so that SIGKILL may come before the delay is over: third-party observations.
    SigtermAtDeregistration,
}

/// Where sessions and limits live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheMode {
    /// A managed node.
    #[default]
    Elasticache,
    /// A Redis beside each task.
    Sidecar,
    /// In process.
    None,
}

/// Instruction set of the tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// `X86_64`.
    #[default]
    X86,
    /// ARM64, about a fifth cheaper.
    Arm,
}

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

impl Workload {
    /// A workload whose clients poll as the default says.
    pub fn new(arrivals: Arrivals, generation: GenerationLength) -> Workload {
        Workload {
            arrivals,
            generation,
            poll_every: defaults::poll_every(),
            steps_per_generation: defaults::steps_per_generation(),
            attempts_max: defaults::attempts_max(),
            tokens_per_generation: defaults::tokens_per_generation(),
            db_cpu_s_per_generation: None,
            client_gives_up_after: None,
        }
    }
}

impl Arrivals {
    /// Mean submissions per hour over a day, or over the trace.
    pub fn mean_per_hour(&self) -> f64 {
        match self {
            Arrivals::Poisson { per_hour } | Arrivals::Deterministic { per_hour } => *per_hour,
            Arrivals::Daily { per_hour, hourly } => {
                per_hour * hourly.iter().sum::<f64>() / hourly.len().max(1) as f64
            }
            Arrivals::Users {
                users,
                generations_per_user_day,
                ..
            } => users.mid * generations_per_user_day.mid / 24.0,
            Arrivals::Trace { at } => match at.last() {
                Some(last) if !last.is_zero() => at.len() as f64 / last.as_hours_f64(),
                _ => 0.0,
            },
        }
    }
}

/// The 95 % quantile of the standard normal distribution (NIST/SEMATECH handbook, section 1.3.6.7.1).
pub(crate) const NORMAL_P95: f64 = 1.644_853_626_951_472_2;

impl GenerationLength {
    /// The mean length.
    pub fn mean(&self) -> Duration {
        match self {
            GenerationLength::Deterministic { length } => *length,
            GenerationLength::Exponential { mean } => *mean,
            GenerationLength::Uniform { min, max } => {
                Duration::from_nanos(min.as_nanos().midpoint(max.as_nanos()))
            }
            GenerationLength::Lognormal { median, p95 } => {
                // exp(mu + sigma^2 / 2) with mu = ln(median).
                let sigma = lognormal_sigma(*median, *p95);
                let nanos = median.as_nanos() as f64 * libm::exp(sigma * sigma / 2.0);
                Duration::from_nanos(crate::time::nanos_from_f64(nanos))
            }
            GenerationLength::Trace { lengths } => {
                let sum: u128 = lengths
                    .iter()
                    .map(|length| u128::from(length.as_nanos()))
                    .sum();
                let mean = sum / lengths.len().max(1) as u128;
                Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
            }
        }
    }

    /// The share of generations that are at most this long.
    pub fn share_within(&self, limit: Duration) -> f64 {
        let limit_s = limit.as_secs_f64();
        match self {
            GenerationLength::Deterministic { length } => f64::from(u8::from(*length <= limit)),
            GenerationLength::Exponential { mean } => {
                1.0 - libm::exp(-limit_s / mean.as_secs_f64())
            }
            GenerationLength::Uniform { min, max } => {
                if limit < *min {
                    0.0
                } else if limit >= *max {
                    1.0
                } else {
                    (limit_s - min.as_secs_f64()) / (max.as_secs_f64() - min.as_secs_f64())
                }
            }
            GenerationLength::Lognormal { median, p95 } => {
                let sigma = lognormal_sigma(*median, *p95);
                if sigma <= 0.0 {
                    return f64::from(u8::from(*median <= limit));
                }
                let z = libm::log(limit_s / median.as_secs_f64()) / sigma;
                0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
            }
            GenerationLength::Trace { lengths } => {
                let within = lengths.iter().filter(|length| **length <= limit).count();
                within as f64 / lengths.len().max(1) as f64
            }
        }
    }
}

/// The shape of a lognormal distribution with this median and this 95 % quantile.
pub(crate) fn lognormal_sigma(median: Duration, p95: Duration) -> f64 {
    libm::log(p95.as_secs_f64() / median.as_secs_f64()) / NORMAL_P95
}

impl Fleet {
    /// A fleet of this shape with the documented default of everything else.
    pub fn new(vcpu: f64, memory_gib: f64, workers: u32, tasks: Tasks) -> Fleet {
        Fleet {
            platform: Platform::default(),
            mode: Mode::default(),
            vcpu,
            memory_gib,
            workers,
            tasks,
            start_delay: defaults::start_delay(),
            autoscaling: Autoscaling::none(),
            load_balancing: LoadBalancing::default(),
            alb_idle_timeout: defaults::alb_idle_timeout(),
            deregistration_delay: defaults::deregistration_delay(),
            stop_timeout: defaults::stop_timeout(),
            stop_order: StopOrder::default(),
            nat_gateways: defaults::nat_gateways(),
            db_instance_class: defaults::db_instance_class(),
            db_multi_az: false,
            db_storage_gb: defaults::db_storage_gb(),
            db_connections_max: None,
            db_pool_connections: None,
            cache_mode: CacheMode::default(),
            redis: None,
            architecture: Architecture::default(),
            job_store: JobStore::default(),
            worker_timeout: None,
            task_protection: false,
            upstream_call: UpstreamCall::default(),
            upstream_keep_alive: false,
            upstream_requests_per_minute: None,
            upstream_tokens_per_minute: None,
            worker_model: WorkerModel::default(),
            gunicorn: None,
            health_check: None,
            deployments: None,
            spot: None,
            az_loss: None,
        }
    }

    /// What the async workers do, where workers are async.
    pub fn async_workers(&self) -> Option<Gunicorn> {
        match self.worker_model {
            WorkerModel::Sync => None,
            WorkerModel::Async => Some(self.gunicorn.unwrap_or_default()),
        }
    }

    /// Connections that the database takes from the service.
    pub fn db_connections(&self) -> u32 {
        self.db_connections_max
            .unwrap_or_else(|| match self.platform.offer() {
                Some(_) => companions().supabase_direct_connections,
                // A class without a price is refused before.
                None => price_book()
                    .rds_connections(&self.db_instance_class)
                    .unwrap_or(0),
            })
    }

    /// Generations that the workers of one task run at a time.
    pub fn generations_per_task(&self) -> f64 {
        let per_worker = self
            .async_workers()
            .map_or(1, |settings| settings.pool_connections_max);
        f64::from(self.workers) * f64::from(per_worker)
    }
}

impl Tasks {
    /// Always so many.
    pub fn fixed(tasks: u32) -> Tasks {
        Tasks {
            min: tasks,
            desired: tasks,
            max: tasks,
        }
    }
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
