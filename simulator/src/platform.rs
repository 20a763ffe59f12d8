//! The platforms beside Fargate, as data: what they refuse, what they sell, what they cost, and what follows for a
//! scenario.

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::prices::fargate_pairs;
use crate::scenario::{CacheMode, DeploymentStrategy, Fleet, JobStore, Mode, Scenario, StopOrder};
use crate::time::Duration;

/// The longest idle time-out that a load balancer can be given, in seconds: botocore 1.44.5, `elbv2/LoadBalancerAttribute`.
pub const ALB_IDLE_TIMEOUT_S_MAX: u32 = 4000;

/// Where a fleet runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    /// ECS on Fargate behind an Application Load Balancer.
    #[default]
    Fargate,
    /// AWS App Runner.
    AppRunner,
    /// Google Cloud Run, billed by instance.
    CloudRun,
    /// Render web services.
    Render,
    /// Railway.
    Railway,
}

impl Platform {
    /// All of them.
    pub const ALL: [Platform; 5] = [
        Platform::Fargate,
        Platform::AppRunner,
        Platform::CloudRun,
        Platform::Render,
        Platform::Railway,
    ];

    /// The name that TOML, JSON and the command line use.
    pub fn key(self) -> &'static str {
        match self {
            Platform::Fargate => "fargate",
            Platform::AppRunner => "app_runner",
            Platform::CloudRun => "cloud_run",
            Platform::Render => "render",
            Platform::Railway => "railway",
        }
    }

    /// What is known of it; none for Fargate, whose facts are the scenario's own keys and the price book.
    pub fn offer(self) -> Option<&'static Offer> {
        BOOK.platform.iter().find(|offer| offer.key == self.key())
    }

    /// The name that its vendor uses.
    pub fn name(self) -> &'static str {
        self.offer().map_or("AWS Fargate", |offer| &offer.name)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// What a platform sells and refuses.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// [`Platform::key`].
    pub key: String,
    /// The vendor's name for it.
    pub name: String,
    /// A request that takes longer is closed, whether bytes flow or not.
    pub request_max: Duration,
    /// A request without bytes for longer is closed; none if silence alone closes nothing.
    pub silence_max: Option<Duration>,
    /// From SIGTERM to SIGKILL.
    pub stop_grace: Duration,
    /// Whether an instance has its CPU while no request is open.
    pub background_cpu: bool,
    /// Whether an account may begin to use it.
    pub open_to_new_customers: bool,
    /// Most instances of a service.
    pub instances_max: u32,
    /// The least that an instance may have, as (vCPU, GiB).
    pub smallest: (f64, f64),
    /// The most that an instance may have, as (vCPU, GiB).
    pub largest: (f64, f64),
    /// What is paid for.
    pub billed: Billed,
    /// Price of a vCPU-hour, in billionths of a dollar.
    #[serde(default)]
    pub vcpu_hour_usd_nanos: u64,
    /// Price of a GiB-hour, in billionths of a dollar.
    #[serde(default)]
    pub gib_hour_usd_nanos: u64,
    /// Price of a vCPU-month, in billionths of a dollar, where months are the unit.
    #[serde(default)]
    pub vcpu_month_usd_nanos: u64,
    /// Price of a GiB-month, in billionths of a dollar, where months are the unit.
    #[serde(default)]
    pub gib_month_usd_nanos: u64,
    /// Fee of a month, which counts towards the usage, in billionths of a dollar.
    #[serde(default)]
    pub fee_month_usd_nanos: u64,
    /// Price of a GB out to the internet, in billionths of a dollar.
    #[serde(default)]
    pub egress_gb_usd_nanos: u64,
    /// Its fixed sizes, where it sells no others.
    #[serde(default)]
    pub plans: Vec<OfferPlan>,
    /// Where its limits and prices were read.
    pub source: String,
    /// When they were read, as `YYYY-MM-DD`.
    pub date: String,
    /// What is assumed or not sourced.
    pub note: String,
}

/// One size at a fixed price.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferPlan {
    /// Its vCPU.
    pub vcpu: f64,
    /// Its memory.
    pub memory_gib: f64,
    /// Price of an instance-month, in billionths of a dollar.
    pub month_usd_nanos: u64,
}

/// What a platform's bill is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Billed {
    /// CPU and memory of instances for as long as they exist.
    Provisioned,
    /// CPU and memory that are used.
    Used,
    /// A price per instance.
    Plan,
}

/// What stands beside these platforms for RDS, `ElastiCache` and S3.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Companions {
    /// Price of a month of Supabase, in billionths of a dollar.
    pub supabase_month_usd_nanos: u64,
    /// Connections that its smallest database takes without its pooler.
    pub supabase_direct_connections: u32,
    /// Where that was read.
    pub supabase_source: String,
    /// Price of a month of Upstash, in billionths of a dollar.
    pub upstash_month_usd_nanos: u64,
    /// Where that was read.
    pub upstash_source: String,
    /// Price of a month of stored PDFs, in billionths of a dollar.
    pub object_storage_month_usd_nanos: u64,
    /// When they were read, as `YYYY-MM-DD`.
    pub date: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlatformBook {
    platform: Vec<Offer>,
    companions: Companions,
}

static BOOK: LazyLock<PlatformBook> = LazyLock::new(|| {
    toml::from_str(include_str!("../prices/platforms.toml"))
        .expect("the embedded platforms are parsed by a test")
});

/// What stands beside the platforms for database, cache and object storage.
pub fn companions() -> &'static Companions {
    &BOOK.companions
}

impl Offer {
    /// The smallest instance sold that has at least so much, or else the largest.
    pub fn size_for(&self, vcpu: f64, memory_gib: f64) -> (f64, f64) {
        let plans = &self.plans;
        if plans.is_empty() {
            return (
                vcpu.clamp(self.smallest.0, self.largest.0),
                memory_gib.clamp(self.smallest.1, self.largest.1),
            );
        }
        plans
            .iter()
            .find(|plan| plan.vcpu >= vcpu && plan.memory_gib >= memory_gib)
            .or(plans.last())
            .map_or(self.largest, |plan| (plan.vcpu, plan.memory_gib))
    }

    /// Whether it sells instances of this size.
    pub fn sells(&self, vcpu: f64, memory_gib: f64) -> bool {
        let (size, memory) = self.size_for(vcpu, memory_gib);
        (size - vcpu).abs() < 1e-9 && (memory - memory_gib).abs() < 1e-9
    }

    /// The first of its sources: that of its limits.
    fn source_of_limits(&self) -> &str {
        self.source.split(';').next().unwrap_or(&self.source)
    }

    /// How long a silent request lives.
    pub fn silent_request_max(&self) -> Duration {
        self.silence_max
            .map_or(self.request_max, |silence| silence.min(self.request_max))
    }
}

/// How long a silent request lives on the fleet's platform.
pub(crate) fn silent_request_max(fleet: &Fleet) -> Duration {
    fleet
        .platform
        .offer()
        .map_or(fleet.alb_idle_timeout, Offer::silent_request_max)
}

/// The same scenario on another platform: the size sold there that has at least as much, as many instances as are
/// allowed, its way to stop one, no NAT gateway, no Spot and no loss of a zone ([`left_out`] says so). Load, cost of a
/// generation, workers and promise stay.
#[must_use]
pub fn moved(scenario: &Scenario, platform: Platform) -> Scenario {
    let mut scenario = scenario.clone();
    let fleet = &mut scenario.fleet;
    fleet.platform = platform;
    let Some(offer) = platform.offer() else {
        let fits = |pair: &(f64, f64)| pair.0 >= fleet.vcpu && pair.1 >= fleet.memory_gib;
        if let Some((vcpu, memory_gib)) = fargate_pairs().into_iter().find(fits) {
            (fleet.vcpu, fleet.memory_gib) = (vcpu, memory_gib);
        }
        return scenario;
    };
    (fleet.vcpu, fleet.memory_gib) = offer.size_for(fleet.vcpu, fleet.memory_gib);
    fleet.stop_timeout = offer.stop_grace;
    // Only an open request has to be drained.
    if fleet.mode == Mode::Sync {
        fleet.stop_order = StopOrder::SigtermAtDeregistration;
    }
    fleet.nat_gateways = 0;
    fleet.spot = None;
    fleet.az_loss = None;
    let tasks = &mut fleet.tasks;
    tasks.max = tasks.max.min(offer.instances_max);
    tasks.desired = tasks.desired.min(tasks.max);
    tasks.min = tasks.min.min(tasks.max);
    scenario
}

/// What of a scenario [`moved`] leaves out: interruptions and zones are modelled as those of Fargate.
pub fn left_out(scenario: &Scenario, platform: Platform) -> Vec<Finding> {
    let fleet = &scenario.fleet;
    let stated = [
        ("[fleet.spot]", fleet.spot.is_some()),
        ("[fleet.az_loss]", fleet.az_loss.is_some()),
    ];
    let names: Vec<_> = stated
        .into_iter()
        .filter_map(|(name, is_stated)| is_stated.then_some(name))
        .collect();
    if names.is_empty() || platform == Platform::Fargate {
        return Vec::new();
    }
    vec![Finding {
        key: "left_out".to_owned(),
        fatal: false,
        text: format!(
            "{} left out on {}, which has them in another way or not at all: its losses are those of calmer days than \
             Fargate's",
            names.join(" and "),
            platform.name()
        ),
    }]
}

/// Something that a reader must know of a scenario on its platform before its figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Which: `request_limit`, `closed_to_new_customers`, `no_background_cpu`, `stop_grace`, `db_connections`,
    /// `vcpu_quota`, `left_out`.
    pub key: String,
    /// Whether generations are lost by it in this scenario, or the fleet cannot be had.
    pub fatal: bool,
    /// What and why, as a sentence without its full stop.
    pub text: String,
}

/// vCPU that an AWS account may run on demand in a region without asking:
/// <https://docs.aws.amazon.com/general/latest/gr/ecs-service.html>, read 2026-10-01.
const FARGATE_VCPU_QUOTA: f64 = 6.0;

/// What the scenario's platform has against it.
pub fn findings(scenario: &Scenario) -> Vec<Finding> {
    let fleet = &scenario.fleet;
    let name = fleet.platform.name();
    let mut findings = Vec::new();
    let mut find = |key: &str, fatal: bool, text: String| {
        findings.push(Finding {
            key: key.to_owned(),
            fatal,
            text,
        });
    };
    request_limit(scenario, &mut find);
    stop_grace(scenario, &mut find);
    db_connections(fleet, &mut find);
    match fleet.platform.offer() {
        Some(offer) => {
            if !offer.open_to_new_customers {
                let text = format!(
                    "{name} takes no new customers ({})",
                    offer.source_of_limits()
                );
                find("closed_to_new_customers", true, text);
            }
            if !offer.background_cpu && fleet.mode == Mode::Queue {
                let text = format!(
                    "{name} throttles the CPU of an instance between its requests, so that a job that was answered at \
                     once does not run on; the figures are those of a CPU that is always there"
                );
                find("no_background_cpu", true, text);
            }
        }
        None => {
            let wanted = f64::from(fleet.tasks.max) * fleet.vcpu;
            if wanted > FARGATE_VCPU_QUOTA {
                let text = format!(
                    "{} tasks of {} vCPU want {wanted} vCPU, and an account has {FARGATE_VCPU_QUOTA} on demand until it \
                     asks for more",
                    fleet.tasks.max, fleet.vcpu
                );
                find("vcpu_quota", false, text);
            }
        }
    }
    findings
}

/// A request that stays open for its whole generation, and is silent, must live as long. In queue mode none does.
fn request_limit(scenario: &Scenario, find: &mut impl FnMut(&str, bool, String)) {
    let fleet = &scenario.fleet;
    let limit = silent_request_max(fleet);
    let held = scenario.workload.generation.share_within(limit);
    if fleet.mode == Mode::Queue || held > 1.0 - 1e-9 {
        return;
    }
    let why = match fleet.platform.offer() {
        None => {
            format!("the load balancer's idle time-out, settable up to {ALB_IDLE_TIMEOUT_S_MAX} s")
        }
        Some(offer) if offer.silent_request_max() < offer.request_max => format!(
            "without data, and after {} with data; {}",
            offer.request_max,
            offer.source_of_limits()
        ),
        Some(offer) => format!("whether data flows or not; {}", offer.source_of_limits()),
    };
    let text = format!(
        "{} cannot hold a request as long as a generation: it closes a silent one after {limit} ({why}), within which \
         {:.1} % of the generations end; the others are lost",
        fleet.platform.name(),
        held * 100.0
    );
    find("request_limit", true, text);
}

fn stop_grace(scenario: &Scenario, find: &mut impl FnMut(&str, bool, String)) {
    let fleet = &scenario.fleet;
    let lives_in_task = fleet.mode == Mode::Sync || fleet.job_store == JobStore::InProcess;
    let held = scenario
        .workload
        .generation
        .share_within(fleet.stop_timeout);
    let stops =
        fleet.deployments.is_some() || fleet.tasks.min < fleet.tasks.max || fleet.spot.is_some();
    if lives_in_task && stops && held < 1.0 - 1e-9 {
        let text = format!(
            "{} kills an instance {} after SIGTERM, within which {:.1} % of the generations end: each scale-in and \
             deployment may lose what is in flight",
            fleet.platform.name(),
            fleet.stop_timeout,
            held * 100.0
        );
        find("stop_grace", true, text);
    }
}

fn db_connections(fleet: &Fleet, find: &mut impl FnMut(&str, bool, String)) {
    let Some(pool) = fleet.db_pool_connections else {
        return;
    };
    // While a deployment runs, older and newer tasks each have their pool.
    let (tasks, when, until) = match fleet.deployments {
        None => (fleet.tasks.max, "", "for ever"),
        Some(stated) => (
            match stated.strategy {
                DeploymentStrategy::Rolling => stated.tasks_max(fleet.tasks.max),
                DeploymentStrategy::BlueGreen => fleet.tasks.max.saturating_mul(2),
            },
            " during a deployment",
            "until others have stopped",
        ),
    };
    let wanted = tasks.saturating_mul(pool);
    let most = fleet.db_connections();
    if wanted > most {
        let text = format!(
            "{tasks} tasks open {wanted} connections{when}, and the database takes {most}: those that come last do not \
             serve, and start again {until}"
        );
        find("db_connections", false, text);
    }
}

/// Whether the platform's bill has a managed cache in it.
pub(crate) fn has_managed_cache(fleet: &Fleet) -> bool {
    fleet.cache_mode == CacheMode::Elasticache
}
