//! `sizing simulate`: every case of a scenario's assumptions at every seed, on all cores, and what it says together.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use simulator::outcome::Outcome;
use simulator::platform::{Finding, Platform, findings};
use simulator::precision::{Doubt, doubts};
use simulator::replications::{Interval, Replications, at_replication, combine};
use simulator::scenario::{Case, Scenario};

use crate::judgement::{parallel, timed_simulation};
use crate::stats::count_u64_as_f64;
use crate::trace::{TraceError, simulate_to_file};

/// What became of a scenario: one case when all its assumptions are exact, else three in ascending order.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// The scenario as it was stated.
    pub scenario: Scenario,
    /// Each case with its runs at consecutive seeds.
    pub cases: Vec<(Case, Replications)>,
    /// What its platform has against it.
    pub findings: Vec<Finding>,
    /// What the runs of the likeliest case do not show well enough.
    pub doubts: Vec<Doubt>,
}

/// Simulates every case of `scenario` at `replications` consecutive seeds on so many threads. The likeliest case's
/// first run is written to `trace`, event by event.
///
/// # Errors
/// When the scenario is impossible or the trace cannot be written.
pub fn simulate(
    scenario: &Scenario,
    replications: u32,
    threads: usize,
    trace: Option<&Path>,
) -> Result<Simulation, TraceError> {
    let cases: &[Case] = if scenario.has_cases() {
        &Case::ALL
    } else {
        &[Case::Mid]
    };
    let runs: Vec<(Case, u32)> = cases
        .iter()
        .flat_map(|case| (0..replications).map(|index| (*case, index)))
        .collect();
    let mut outcomes = parallel(threads, &runs, |(case, index)| {
        let run = at_replication(&scenario.at(*case), *index);
        match trace {
            Some(file) if (*case, *index) == (Case::Mid, 0) => simulate_to_file(&run, file),
            _ => Ok(timed_simulation(&run)?),
        }
    })?
    .into_iter();
    let per_case = usize::try_from(replications).unwrap_or(usize::MAX);
    let cases: Vec<(Case, Replications)> = cases
        .iter()
        .map(|case| (*case, combine(outcomes.by_ref().take(per_case).collect())))
        .collect();
    let mut simulation = Simulation {
        scenario: scenario.clone(),
        cases,
        findings: findings(scenario),
        doubts: Vec::new(),
    };
    simulation.doubts = doubts(&simulation.mid().outcomes);
    Ok(simulation)
}

/// A figure of a run by the name that reports give it.
type Figure = (&'static str, fn(&Outcome) -> f64);

/// What an interval of assumptions is carried through to.
pub(crate) const FIGURES: [Figure; 10] = [
    ("throughput_per_hour", |run| run.throughput_per_hour),
    ("wait_mean_s", |run| run.wait_s.mean),
    ("wait_p95_s", |run| run.wait_s.p95),
    ("sojourn_mean_s", |run| run.sojourn_s.mean),
    ("sojourn_p95_s", |run| run.sojourn_s.p95),
    ("probability_of_wait", |run| run.probability_of_wait),
    ("lost", |run| count_u64_as_f64(run.lost_total())),
    ("worker_utilization", |run| run.worker_utilization),
    ("tasks_mean", |run| run.tasks_mean),
    ("cost_usd_month", |run| run.cost_usd_month.total().as_usd()),
];

/// The mean of a figure over runs, with its 95 % confidence interval.
pub(crate) fn over(runs: &Replications, figure: impl Fn(&Outcome) -> f64) -> Interval {
    Interval::of(&runs.outcomes.iter().map(figure).collect::<Vec<f64>>())
}

/// Generations lost per run, by cause; causes that never struck are left out.
pub(crate) fn lost_by_cause(runs: &Replications) -> BTreeMap<String, Interval> {
    let causes = runs
        .outcomes
        .iter()
        .flat_map(|run| &run.lost)
        .filter(|(_, count)| **count > 0)
        .map(|(cause, _)| *cause);
    causes
        .map(|cause| {
            let count =
                |run: &Outcome| count_u64_as_f64(run.lost.get(&cause).copied().unwrap_or(0));
            (cause.to_string(), over(runs, count))
        })
        .collect()
}

impl Simulation {
    /// The runs of the likeliest case.
    ///
    /// # Panics
    /// Never: every simulation has that case.
    pub fn mid(&self) -> &Replications {
        self.cases
            .iter()
            .find(|(case, _)| *case == Case::Mid)
            .map(|(_, runs)| runs)
            .expect("every simulation has the likeliest case")
    }

    /// The JSON form: the outcome of the likeliest case's first run, and, where there are several runs or cases, the
    /// figures over them.
    pub fn json(&self) -> impl Serialize {
        let runs = self.mid();
        let several_runs = runs.outcomes.len() > 1;
        let several_cases = self.cases.len() > 1;
        Json {
            outcome: &runs.outcomes[0],
            replications: several_runs.then(|| {
                FIGURES
                    .into_iter()
                    .map(|(name, figure)| (name, over(runs, figure)))
                    .collect()
            }),
            intervals: several_cases.then(|| {
                let by_case = |figure| {
                    let means = self.cases.iter();
                    means
                        .map(|(case, runs)| (case.name(), over(runs, figure).mean))
                        .collect()
                };
                FIGURES
                    .into_iter()
                    .map(|(name, figure)| (name, by_case(figure)))
                    .collect()
            }),
            cases: several_cases.then(|| {
                let others = self.cases.iter().filter(|(case, _)| *case != Case::Mid);
                others
                    .map(|(case, runs)| (case.name(), &runs.outcomes[0]))
                    .collect()
            }),
            findings: &self.findings,
            doubts: &self.doubts,
        }
    }
}

#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    outcome: &'a Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    replications: Option<BTreeMap<&'static str, Interval>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intervals: Option<BTreeMap<&'static str, BTreeMap<&'static str, f64>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cases: Option<BTreeMap<&'static str, &'a Outcome>>,
    #[serde(skip_serializing_if = "<[Finding]>::is_empty")]
    findings: &'a [Finding],
    #[serde(skip_serializing_if = "<[Doubt]>::is_empty")]
    doubts: &'a [Doubt],
}

/// Simulations of one workload on several platforms, as JSON by the platform's name.
pub fn json_by_platform(simulations: &[Simulation]) -> impl Serialize {
    let by_platform: BTreeMap<Platform, _> = simulations
        .iter()
        .map(|simulation| (simulation.scenario.fleet.platform, simulation.json()))
        .collect();
    BTreeMap::from([("platforms", by_platform)])
}
