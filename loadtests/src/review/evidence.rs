//! What the answers rest on: simulated fleets, each by its name, and the plan.

use std::collections::BTreeMap;
use std::path::Path;

use simulator::cost::Cost;
use simulator::plan::{Plan, PlanRequest};
use simulator::prices::price_book;
use simulator::scenario::{
    Arrivals, Autoscaling, AzLoss, CacheMode, Deployments, Fleet, InvalidScenario, Metric, Mode,
    Profile, Scenario, ScenarioError, Tasks, UpstreamCall,
};
use simulator::time::Duration;

use crate::calibrate::Calibration;
use crate::judgement::{Judgement, judge, plan};
use crate::requirements::{Requirements, RequirementsError};
use crate::stages::{PROPOSAL, SLO_USERS, STAGE_SLOS, STAGES};
use crate::terraform::{Configuration, Sizing, TerraformError, parse_sizing};

/// Workers per task that question after question comes back to: enough for the proposal's tasks under the load of the MVP.
pub(super) const ROOMY_WORKERS: u32 = 24;
/// Workers per task that are tried for the proposal's two tasks.
pub(super) const WORKER_STEPS: [u32; 8] = [4, 6, 7, 8, 9, 10, 12, 16];
/// Workers per task with which two tasks that follow the queue keep the promised wait: one more than the proposal's.
pub(super) const QUEUE_DEPTH_WORKERS: u32 = 7;
/// The proposal's own kind of stack as it was measured.
const FASTAPI: &str = include_str!("../../../simulator/scenarios/fastapi.toml");

/// When a zone or a gateway fails, and for how long.
const FAILS_AT_H: u64 = 12;
const FAILS_FOR_H: u64 = 1;
/// The same in minutes.
pub(super) const GATEWAY_OUT_MIN: f64 = 60.0;

/// Where the evidence comes from.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// The committed cost of one generation.
    pub calibration: &'a Calibration,
    /// The load, the SLO and the budget.
    pub requirements: &'a Requirements,
    /// Seeds that each fleet is simulated with.
    pub replications: u32,
}

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// A fleet cannot be simulated.
    #[error(transparent)]
    Invalid(#[from] InvalidScenario),
    /// A scenario file of this repository cannot be read.
    #[error("read the measured FastAPI stack: {0}")]
    Scenario(#[from] ScenarioError),
    /// An SLO file of this repository cannot be read.
    #[error(transparent)]
    Requirements(#[from] RequirementsError),
    /// A tfvars file of this repository cannot be read.
    #[error(transparent)]
    Terraform(#[from] TerraformError),
    /// No fleet has this name.
    #[error("find the scenario `{name}`: take one of {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
}

/// Everything simulated for the review.
#[derive(Clone, Debug)]
pub struct Evidence {
    pub(super) calibration: Calibration,
    pub(super) proposal: Sizing,
    /// vCPU that a rolling deployment of the proposal wants for a while.
    pub(super) deployment_vcpu: f64,
    pub(super) load: Scenario,
    pub(super) plan: Plan,
    pub(super) replications: u32,
    runs: BTreeMap<String, Judgement>,
}

impl Evidence {
    /// Simulates every fleet that the answers speak of.
    ///
    /// # Errors
    /// When one of them cannot be simulated.
    pub fn gather(input: &Input<'_>) -> Result<Evidence, EvidenceError> {
        let scenarios = scenarios(input)?;
        let runs = scenarios
            .iter()
            .map(|(name, scenario)| Ok((name.clone(), judge(scenario, input.replications)?)))
            .collect::<Result<_, EvidenceError>>()?;
        let load = scenarios["queued"].clone();
        let request = PlanRequest {
            replications: input.replications,
            ..PlanRequest::around(load.clone())
        };
        Ok(Evidence {
            calibration: input.calibration.clone(),
            proposal: proposal()?.sizing,
            deployment_vcpu: proposal()?.deployment_vcpu(),
            plan: plan(&request)?,
            load,
            replications: input.replications,
            runs,
        })
    }

    /// Simulates the one fleet of this name.
    ///
    /// # Errors
    /// When there is none, or it cannot be simulated.
    pub fn one(input: &Input<'_>, name: &str) -> Result<Judgement, EvidenceError> {
        let scenarios = scenarios(input)?;
        let scenario = scenarios.get(name).ok_or_else(|| EvidenceError::Unknown {
            name: name.to_owned(),
            known: scenarios.keys().cloned().collect::<Vec<_>>().join(", "),
        })?;
        Ok(judge(scenario, input.replications)?)
    }

    /// What became of the fleet of this name.
    pub(super) fn run(&self, name: &str) -> &Judgement {
        &self.runs[name]
    }

    /// The proposal with its desired tasks always on, priced.
    pub(super) fn proposal_bill(&self) -> Cost {
        self.bill(|_| {}, self.proposal.tasks_desired)
    }

    /// Dollars of the proposal's bill with the tasks that its own alarms leave, as the gate meters it.
    pub(super) fn proposal_metered_usd(&self) -> f64 {
        self.run("proposed").replications.cost_usd_month.mean
    }

    /// The proposal changed, with so many tasks always on, priced.
    pub(super) fn bill(&self, change: impl FnOnce(&mut Fleet), tasks: u32) -> Cost {
        let mut fleet = self.load.fleet.clone();
        change(&mut fleet);
        simulator::cost::monthly(&fleet, f64::from(tasks))
            .expect("the price book has the proposal's database")
    }

    /// Dollars of the whole bill of [`Evidence::bill`].
    pub(super) fn total(&self, change: impl FnOnce(&mut Fleet), tasks: u32) -> f64 {
        self.bill(change, tasks).total().as_usd()
    }

    /// Generations per hour that `slo.toml` asks for.
    pub(super) fn asked_per_hour(&self) -> f64 {
        self.load.workload.arrivals.mean_per_hour()
    }

    /// Seconds of a generation on average.
    pub(super) fn generation_s(&self) -> f64 {
        self.load.workload.generation.mean().as_secs_f64()
    }

    /// Share of the generations that end within so many seconds.
    pub(super) fn share_within_s(&self, limit_s: u64) -> f64 {
        self.load
            .workload
            .generation
            .share_within(Duration::from_secs(limit_s))
    }
}

fn proposal() -> Result<Configuration, TerraformError> {
    Configuration::parse(
        Path::new("terraform/environments/proposal.tfvars"),
        PROPOSAL,
    )
}

/// Generations per hour that so many users ask for, by the rule of `slo.toml`.
pub(super) fn peak_per_hour(load: &Scenario, users: f64) -> f64 {
    load.workload.arrivals.mean_per_hour() * users / SLO_USERS
}

fn scenarios(input: &Input<'_>) -> Result<BTreeMap<String, Scenario>, EvidenceError> {
    let profile = crate::vcpu_factor::profile(input.calibration);
    let proposal = proposal()?.sizing;
    let queued = input
        .requirements
        .scenario(proposal.fleet(Mode::Queue), profile.clone())?;
    let mut all = BTreeMap::new();
    let mut add = |name: &str, scenario: Scenario| {
        all.insert(name.to_owned(), scenario);
    };
    let with = |change: &dyn Fn(&mut Scenario)| {
        let mut scenario = queued.clone();
        change(&mut scenario);
        scenario
    };
    add("queued", queued.clone());
    add(
        "proposed",
        input
            .requirements
            .scenario(proposal.fleet(Mode::Sync), profile.clone())?,
    );
    add("queue_depth", with(&by_queue_depth));
    add("queue_depth_two", with(&by_queue_depth_from_two));
    add(
        "fixed_two",
        with(&|s| fixed(&mut s.fleet, 2, proposal.generation_workers)),
    );
    for workers in WORKER_STEPS {
        add(
            &format!("workers_{workers:02}"),
            with(&|s| fixed(&mut s.fleet, 2, workers)),
        );
    }
    for (name, vcpu, memory_gib) in [
        ("task_2_vcpu", 2.0, 4.0),
        ("task_1_vcpu", 1.0, 2.0),
        ("task_quarter_vcpu", 0.25, 0.5),
    ] {
        add(
            name,
            with(&|s| {
                fixed(&mut s.fleet, 1, ROOMY_WORKERS);
                (s.fleet.vcpu, s.fleet.memory_gib) = (vcpu, memory_gib);
            }),
        );
    }
    // Sync as well as it can be made: the balancer waits longer than any generation.
    let patient = |s: &mut Scenario| {
        fixed(&mut s.fleet, 2, ROOMY_WORKERS);
        s.fleet.mode = Mode::Sync;
        s.fleet.alb_idle_timeout = Duration::from_secs(1_000);
    };
    let deployed = Deployments::every(Duration::from_hours(6));
    add(
        "sync_deployed",
        with(&|s| {
            patient(s);
            s.fleet.deployments = Some(deployed);
        }),
    );
    add(
        "queue_deployed",
        with(&|s| {
            fixed(&mut s.fleet, 2, ROOMY_WORKERS);
            s.fleet.deployments = Some(deployed);
        }),
    );
    add(
        "sync_one_silent_call",
        with(&|s| {
            patient(s);
            s.fleet.upstream_call = UpstreamCall::Blocking;
            s.workload.steps_per_generation = 1;
        }),
    );
    add("zone_lost", with(&|s| fails(s, true)));
    add("gateway_lost", with(&|s| fails(s, false)));
    let recycled = fastapi(&queued, 100)?;
    add("fastapi_recycled", recycled);
    add("fastapi_not_recycled", fastapi(&queued, 0)?);
    for ((name, users, text), (file, slo)) in STAGES.into_iter().zip(STAGE_SLOS) {
        let sizing = parse_sizing(Path::new(name), text)?;
        let promised = Requirements::parse(Path::new(file), slo)?;
        let mut scenario = stage(&queued, users, &sizing)?;
        scenario.slo = promised
            .scenario(scenario.fleet.clone(), profile.clone())?
            .slo;
        add(name, scenario);
    }
    add(
        "proposal_at_growth",
        with(&|s| {
            s.workload.arrivals = Arrivals::Poisson {
                per_hour: peak_per_hour(&queued, STAGES[1].1),
            };
        }),
    );
    Ok(all)
}

fn by_queue_depth(scenario: &mut Scenario) {
    scenario.fleet.autoscaling.metrics = vec![Metric::QueueDepth];
}

/// The queue followed by a fleet that need not wait for its second task.
fn by_queue_depth_from_two(scenario: &mut Scenario) {
    by_queue_depth(scenario);
    scenario.fleet.tasks.min = scenario.fleet.tasks.desired;
    scenario.fleet.workers = QUEUE_DEPTH_WORKERS;
}

fn fixed(fleet: &mut Fleet, tasks: u32, workers: u32) {
    fleet.tasks = Tasks::fixed(tasks);
    fleet.workers = workers;
    fleet.autoscaling = Autoscaling {
        metrics: vec![],
        ..fleet.autoscaling.clone()
    };
}

/// Two roomy tasks in two zones, one arrival after the other. A zone that is lost takes its task. A gateway that is lost
/// takes nothing but the way to OpenAI: who comes while it is out starts when it is back, so they arrive then.
fn fails(scenario: &mut Scenario, zone: bool) {
    let per_hour = scenario.workload.arrivals.mean_per_hour();
    let gap_s = 3600.0 / per_hour;
    fixed(&mut scenario.fleet, 2, ROOMY_WORKERS);
    let at = Duration::from_hours(FAILS_AT_H);
    let back = Duration::from_hours(FAILS_AT_H + FAILS_FOR_H);
    let arrivals = std::iter::successors(Some(gap_s), |at_s| Some(at_s + gap_s))
        .map(|at_s| Duration::from_nanos(nanos(at_s)))
        .take_while(|moment| *moment < scenario.horizon)
        .map(|moment| {
            if !zone && moment >= at && moment < back {
                back
            } else {
                moment
            }
        });
    scenario.workload.arrivals = Arrivals::Trace {
        at: arrivals.collect(),
    };
    if zone {
        scenario.fleet.az_loss = Some(AzLoss {
            at,
            lasts: Duration::from_hours(FAILS_FOR_H),
            zones: 2,
        });
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a day in nanoseconds is far below 2^53, and times are not negative"
)]
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

/// The measured `FastAPI` stack under this load on the proposal's two tasks, without autoscaling, Spot and lost zones.
fn fastapi(queued: &Scenario, max_requests: u32) -> Result<Scenario, EvidenceError> {
    let measured = Scenario::from_toml(FASTAPI)?;
    let gunicorn = measured.fleet.gunicorn.map(|gunicorn| {
        let mut gunicorn = gunicorn;
        gunicorn.max_requests = max_requests;
        gunicorn.max_requests_jitter = max_requests / 5;
        if max_requests == 0 {
            // They count towards a worker's requests and nothing else.
            gunicorn.other_requests_per_s = 0.0;
        }
        gunicorn
    });
    let fleet = Fleet {
        tasks: Tasks::fixed(2),
        autoscaling: Autoscaling::none(),
        deployments: None,
        spot: None,
        az_loss: None,
        gunicorn,
        ..measured.fleet
    };
    Ok(Scenario {
        seed: queued.seed,
        horizon: queued.horizon,
        warmup: queued.warmup,
        workload: simulator::scenario::Workload {
            poll_every: measured.workload.poll_every,
            ..queued.workload.clone()
        },
        profile: measured.profile,
        fleet,
        slo: queued.slo.clone(),
        bill: queued.bill.clone(),
    })
}

/// A stage's own sizing under the load of its users.
fn stage(queued: &Scenario, users: f64, sizing: &Sizing) -> Result<Scenario, EvidenceError> {
    let mut fleet = sizing.fleet(Mode::Queue);
    if price_book().rds_nanos(&fleet.db_instance_class).is_none() {
        // The dearest class that the book has stands in for one that it lacks; the stage's row says so.
        fleet.db_instance_class = dearest_database();
    }
    let scenario = Scenario {
        workload: simulator::scenario::Workload {
            arrivals: Arrivals::Poisson {
                per_hour: peak_per_hour(queued, users),
            },
            ..queued.workload.clone()
        },
        profile: Profile::clone(&queued.profile),
        fleet,
        ..queued.clone()
    };
    scenario.validate()?;
    Ok(scenario)
}

fn dearest_database() -> String {
    price_book()
        .rds_instance
        .iter()
        .max_by_key(|row| row.price_usd_nanos)
        .map_or_else(String::new, |row| row.class.clone())
}

/// Whether the stage's own database class has a price.
pub(super) fn database_is_priced(name: &str, text: &str) -> Option<String> {
    let sizing = parse_sizing(Path::new(name), text).ok()?;
    price_book()
        .rds_nanos(&sizing.db_instance_class)
        .is_none()
        .then_some(sizing.db_instance_class)
}

/// In process: the cache mode that costs nothing.
pub(super) const IN_PROCESS: CacheMode = CacheMode::None;
