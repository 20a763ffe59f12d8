//! The gate: does a sizing hold under the load that is asked of it, and at what price?

pub mod calibration_age;
pub mod counter_example;
mod extras;
mod headroom;
mod nearest;
mod regional;
mod unjudged;
mod vacuity;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use simulator::capacity::capacity_per_hour;
use simulator::outcome::Outcome;
use simulator::precision::is_lower_bound;
use simulator::replications::{Interval, Replications};
use simulator::scenario::{GenerationLength, InvalidScenario, Mode, Profile, Scenario};
use simulator::slo::{Failure, judge_replications};

use crate::judgement::judge;
use crate::planning;
use crate::requirements::Requirements;
use crate::simulation::{lost_by_cause, over};
use crate::stats::count_u64_as_f64;
use crate::terraform::{Configuration, Finding, Settings, Sizing};
use crate::vcpu_factor::VcpuFactor;

pub use calibration_age::Age;
pub use counter_example::CounterExample;
pub use headroom::Headroom;
pub use nearest::{Change, Nearest};
pub use vacuity::Vacuous;

/// Raised whenever a key of [`GateResult`] changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// What the gate judges, and by what.
#[derive(Clone, Debug)]
pub struct GateRequest {
    /// The sizing that is to be deployed.
    pub after: Configuration,
    /// The sizing that it replaces.
    pub before: Option<Configuration>,
    /// Load, SLO and budget.
    pub requirements: Requirements,
    /// The file that states them; the sizing that is replaced is held to it as well.
    pub slo_file: PathBuf,
    /// The file that the stage of the sizing that is replaced has for itself, where that is another.
    pub before_slo_file: Option<PathBuf>,
    /// What one generation costs.
    pub profile: Profile,
    /// Where that was measured.
    pub calibration: CalibrationSource,
    /// Seeds to simulate with.
    pub replications: u32,
}

/// Where the cost of one generation comes from.
#[derive(Clone, Debug, Serialize)]
pub struct CalibrationSource {
    /// Its file; none when it was measured just now.
    pub file: Option<PathBuf>,
    /// Commit of the backend that was measured.
    pub commit: String,
    /// Whether that is still the backend's code.
    pub age: Age,
    /// CPU model of the machine that measured it.
    pub cpu_model: String,
    /// The most workers in a task that were measured; absent when too few counts were.
    pub workers_max: Option<f64>,
    /// What a vCPU of the deployment is taken for, against a core of that machine.
    pub vcpu: VcpuFactor,
}

/// The gate's answer; `--format json` is this, to the letter.
#[derive(Clone, Debug, Serialize)]
pub struct GateResult {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// Whether the sizing may be deployed.
    pub pass: bool,
    /// Why not: the keys of [`Cause`], each once; empty on a pass.
    pub causes: Vec<String>,
    /// The file that states load, SLO and budget.
    pub slo_file: PathBuf,
    /// Where the cost of one generation comes from.
    pub calibration: CalibrationSource,
    /// The sizing that is to be deployed.
    pub after: Candidate,
    /// The sizing that it replaces, under the same load and held to the same SLO.
    pub before: Option<Candidate>,
    /// The SLO file that the stage of that sizing has for itself, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_slo_file: Option<PathBuf>,
    /// How much more load the sizing holds.
    pub headroom: Headroom,
    /// For a failure of the SLO: when the simulated day broke.
    pub counter_example: Option<CounterExample>,
    /// For a failure: of the sizings that would pass with the fewest variables changed, the cheapest; none when none
    /// was found.
    pub nearest: Option<Nearest>,
}

/// One reason why a sizing does not pass.
#[derive(Clone, Debug, Serialize)]
pub struct Cause {
    /// `wait_p95`, `lost_max`, `budget_usd_month`, `throughput_per_hour_min`, `generations`, `worker_memory`,
    /// `generation_duration`, or the name of a finding of `findings.tf`.
    pub key: String,
    /// What is wrong, and for a finding the remedy.
    pub text: String,
    /// What was promised, where a figure was.
    pub limit: Option<f64>,
    /// What came.
    pub actual: Option<f64>,
}

/// One sizing before the gate. Every figure is a mean over the seeds with its 95 % interval.
#[derive(Clone, Debug, Serialize)]
pub struct Candidate {
    /// Its file.
    pub file: PathBuf,
    /// Where the values come from that are not in it.
    pub settings: Settings,
    /// What stands in it.
    pub sizing: Sizing,
    /// Whether requests stay open or are queued.
    pub mode: Mode,
    /// Whether it holds.
    pub pass: bool,
    /// Why it does not.
    pub causes: Vec<Cause>,
    /// What costs money or time and breaks nothing.
    pub warnings: Vec<Finding>,
    /// Generations per hour that the tasks that ran could carry: the smallest of the resources' capacities.
    pub capacity_per_hour: Interval,
    /// The same of `tasks_max` tasks.
    pub capacity_per_hour_at_tasks_max: f64,
    /// What limits it.
    pub bottleneck: String,
    /// Generations completed per hour.
    pub throughput_per_hour: Interval,
    /// 95 % quantile of the wait in seconds.
    pub wait_p95_s: Interval,
    /// Whether so many still waited in the end that it would be greater, had the day gone on.
    pub wait_p95_is_lower_bound: bool,
    /// Mean wait in seconds.
    pub wait_mean_s: Interval,
    /// Generations lost per run.
    pub lost: Interval,
    /// The same by cause; causes without a loss are left out.
    pub lost_by_cause: BTreeMap<String, Interval>,
    /// Busy share of the workers.
    pub worker_utilization: Interval,
    /// Used share of the vCPU.
    pub cpu_utilization: Interval,
    /// Tasks that exist on average.
    pub tasks_mean: Interval,
    /// The monthly bill in dollars by line, in the order of the bill, and `total`.
    pub cost_usd_month: Vec<CostLine>,
    /// What was simulated, with the first of its seeds; `sizing simulate` replays it.
    pub scenario: Scenario,
}

/// One line of the monthly bill.
#[derive(Clone, Debug, Serialize)]
pub struct CostLine {
    /// Its name; the last is `total`.
    pub line: String,
    /// Dollars a month.
    pub usd: Interval,
}

impl Candidate {
    /// The whole bill.
    pub fn total_usd(&self) -> Interval {
        self.cost_usd_month
            .last()
            .map_or(Interval::of(&[]), |line| line.usd)
    }
}

/// Why the gate gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// A sizing cannot be simulated.
    #[error("simulate {file}")]
    Scenario {
        /// The sizing's file.
        file: PathBuf,
        /// What is impossible.
        #[source]
        source: InvalidScenario,
    },
    /// A rule that no sizing can break.
    #[error("judge by {file}")]
    Vacuous {
        /// The SLO file.
        file: PathBuf,
        /// The rule.
        #[source]
        source: Vacuous,
    },
}

/// Judges the sizing of `request`, and the one it replaces beside it.
///
/// # Errors
/// When a sizing cannot be simulated, or when a rule is one that no sizing can break.
pub fn gate(request: &GateRequest) -> Result<GateResult, GateError> {
    let failed = |configuration: &Configuration| {
        let file = configuration.file.clone();
        move |source| GateError::Scenario { file, source }
    };
    let rules = vacuity::check(
        &request.requirements,
        &request.profile,
        request.replications,
    )
    .map_err(failed(&request.after))?;
    rules.map_err(|source| GateError::Vacuous {
        file: request.slo_file.clone(),
        source,
    })?;
    let judged = |configuration: &Configuration| {
        candidate(request, configuration, request.replications).map_err(failed(configuration))
    };
    let (after, replications) = judged(&request.after)?;
    let before = request.before.as_ref().map(judged).transpose()?;
    let headroom = headroom::headroom(&after.scenario, request.replications)
        .map_err(failed(&request.after))?;
    let counter_example =
        counter_example::find(&after.scenario, &replications).map_err(failed(&request.after))?;
    let nearest = if after.pass {
        None
    } else {
        nearest::search(request, &after.causes).map_err(failed(&request.after))?
    };
    Ok(GateResult {
        schema_version: SCHEMA_VERSION,
        pass: after.pass,
        causes: after.causes.iter().map(|cause| cause.key.clone()).collect(),
        slo_file: request.slo_file.clone(),
        calibration: request.calibration.clone(),
        after,
        before: before.map(|(candidate, _)| candidate),
        before_slo_file: request.before_slo_file.clone(),
        headroom,
        counter_example,
        nearest,
    })
}

/// Judges one configuration with so many seeds.
fn candidate(
    request: &GateRequest,
    configuration: &Configuration,
    replications: u32,
) -> Result<(Candidate, Replications), InvalidScenario> {
    let scenario = request
        .requirements
        .scenario(configuration.fleet(), request.profile.clone())?;
    let replications = judge(&scenario, replications)?.replications;
    Ok(judged(configuration, scenario, replications))
}

/// Judges what became of a configuration in these runs of `scenario`; they come back with the bill of its region.
pub(crate) fn judged(
    configuration: &Configuration,
    scenario: Scenario,
    replications: Replications,
) -> (Candidate, Replications) {
    let replications = regional::priced(configuration, replications);
    let cost_usd_month = bill(configuration, &replications);
    let total_usd = cost_usd_month.last().map_or(0.0, |line| line.usd.mean);
    let failures = failures(&scenario, &replications, total_usd);
    let (findings, mut warnings) = configuration.findings();
    warnings.extend(regional::warning(
        configuration,
        replications.outcomes.first(),
    ));
    warnings.extend(unjudged::warnings(configuration));
    warnings.extend(unjudged::doubtful_days(&scenario, &replications));
    let causes: Vec<Cause> = failures
        .iter()
        .map(Cause::of_failure)
        .chain(findings.into_iter().map(Cause::of_finding))
        .chain(worker_memory(configuration, &scenario.profile))
        .chain(generation_duration(configuration, &scenario))
        .collect();
    let over = |figure: fn(&Outcome) -> f64| over(&replications, figure);
    let at_tasks_max = capacity_per_hour(&scenario, scenario.fleet.tasks.max.into());
    let bottleneck = replications
        .outcomes
        .first()
        .map_or_else(String::new, |outcome| outcome.bottleneck.to_string());
    let candidate = Candidate {
        file: configuration.file.clone(),
        settings: configuration.settings.clone(),
        sizing: configuration.sizing.clone(),
        mode: configuration.mode(),
        pass: causes.is_empty(),
        causes,
        warnings,
        capacity_per_hour: over(capacity),
        capacity_per_hour_at_tasks_max: smallest(&at_tasks_max),
        bottleneck,
        throughput_per_hour: replications.throughput_per_hour,
        wait_p95_s: replications.wait_p95_s,
        wait_p95_is_lower_bound: is_lower_bound(&replications.outcomes, 95),
        wait_mean_s: replications.wait_mean_s,
        lost: replications.lost,
        lost_by_cause: lost_by_cause(&replications),
        worker_utilization: over(|outcome| outcome.worker_utilization),
        cpu_utilization: over(|outcome| outcome.cpu_utilization),
        tasks_mean: replications.tasks_mean,
        cost_usd_month,
        scenario,
    };
    (candidate, replications)
}

impl Cause {
    fn of_failure(failure: &Failure) -> Self {
        Self {
            key: failure.key.clone(),
            text: failure.to_string(),
            limit: Some(failure.limit),
            actual: Some(failure.actual),
        }
    }

    fn of_finding(finding: Finding) -> Self {
        Self {
            key: finding.name,
            text: finding.remedy,
            limit: None,
            actual: None,
        }
    }
}

/// The promises that are missed; the budget is held against the whole bill, settings included.
fn failures(scenario: &Scenario, replications: &Replications, total_usd: f64) -> Vec<Failure> {
    let mut slo = scenario.slo.clone();
    let budget = slo.budget_usd_month.take();
    let mut failures = judge_replications(replications, &slo).failures;
    failures.extend(
        budget
            .map(simulator::MicroUsd::as_usd)
            .filter(|limit| total_usd > *limit)
            .map(|limit| Failure {
                key: "budget_usd_month".to_owned(),
                limit,
                actual: total_usd,
            }),
    );
    failures
}

/// Workers that the task's memory could never hold all at once.
fn worker_memory(configuration: &Configuration, profile: &Profile) -> Option<Cause> {
    let sizing = &configuration.sizing;
    let Failure {
        key,
        limit: fit,
        actual: workers,
    } = planning::worker_memory(
        count_u64_as_f64(sizing.task_memory_mib),
        sizing.generation_workers,
        profile,
    )?;
    let need_mib = profile.memory_base_mib + workers * profile.memory_per_generation_kib / 1024.0;
    Some(Cause {
        key,
        text: format!(
            "{workers} workers at once take {:.0} MiB, a task has {} MiB and would be killed: lower \
             generation_workers to {fit:.0} or less, or raise task_memory_mib.",
            need_mib.ceil(),
            sizing.task_memory_mib
        ),
        limit: Some(fit),
        actual: Some(workers),
    })
}

/// Requests that are held longer than the configuration says: its findings look at what it says.
fn generation_duration(configuration: &Configuration, scenario: &Scenario) -> Option<Cause> {
    let stated_s = configuration.number("generation_duration_s");
    let longest = match &scenario.workload.generation {
        GenerationLength::Deterministic { length } => *length,
        GenerationLength::Uniform { max, .. } => *max,
        GenerationLength::Lognormal { p95, .. } => *p95,
        // Memoryless ones have no longest that anybody could state.
        GenerationLength::Exponential { mean } => *mean,
        GenerationLength::Trace { lengths } => lengths.iter().copied().max()?,
    };
    let longest_s = longest.as_secs_f64();
    (configuration.mode() == Mode::Sync && stated_s < longest_s).then(|| Cause {
        key: "generation_duration".to_owned(),
        text: format!(
            "generation_duration_s is {stated_s}, but generations of this load take up to {longest_s:.0} s, so that \
             time-outs were held against too short a request: set it to at least {longest_s:.0}, or generation_mode \
             to queue."
        ),
        limit: Some(stated_s),
        actual: Some(longest_s),
    })
}

fn capacity(outcome: &Outcome) -> f64 {
    smallest(&outcome.capacity_per_hour)
}

fn smallest<K>(capacities: &BTreeMap<K, f64>) -> f64 {
    capacities.values().copied().fold(f64::INFINITY, f64::min)
}

/// Dollars a month that the settings add to what the simulator meters.
pub(crate) fn extra_usd(configuration: &Configuration) -> f64 {
    extras::lines(configuration)
        .iter()
        .map(|(_, usd)| usd)
        .sum()
}

/// The bill by line: what the simulator meters, and what only the settings know.
fn bill(configuration: &Configuration, replications: &Replications) -> Vec<CostLine> {
    let Some(first) = replications.outcomes.first() else {
        return vec![];
    };
    let mut lines: Vec<CostLine> = first
        .cost_usd_month
        .lines()
        .map(|(item, _)| CostLine {
            line: item.to_string(),
            usd: over(replications, |outcome| {
                outcome.cost_usd_month.get(item).as_usd()
            }),
        })
        .collect();
    let extras = extras::lines(configuration);
    let extra_usd = extra_usd(configuration);
    lines.extend(extras.into_iter().map(|(line, usd)| CostLine {
        line: line.to_owned(),
        usd: Interval {
            mean: usd,
            half_width: 0.0,
            n: replications.cost_usd_month.n,
        },
    }));
    lines.push(CostLine {
        line: "total".to_owned(),
        usd: Interval {
            mean: replications.cost_usd_month.mean + extra_usd,
            ..replications.cost_usd_month
        },
    });
    lines
}
