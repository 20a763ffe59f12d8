//! What serves the load, and everything around it that Terraform sets.

use serde::{Deserialize, Serialize};

use super::{
    Autoscaling, AzLoss, Deployments, Gunicorn, HealthCheck, JobStore, Redis, Spot, UpstreamCall,
    WorkerModel, defaults, is_default,
};
use crate::platform::{Platform, companions};
use crate::prices::price_book;
use crate::time::Duration;

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
