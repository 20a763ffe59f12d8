//! Simulates a sizing with several seeds and judges the outcome; the seeds run on all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde::Serialize;
use simulator::cost;
use simulator::outcome::Outcome;
use simulator::plan::{
    Evaluated, Plan, PlanRequest, assemble, by_merit, candidates, cost_floor, evaluate_family,
    families, rank,
};
use simulator::prices::MicroUsd;
use simulator::replications::{Replications, combine};
use simulator::scenario::{Fleet, InvalidScenario, Scenario};
use simulator::simulate;
use simulator::slo::{Verdict, judge_replications};

use crate::planning::refusals;

/// A sizing, what became of it, and whether that is good enough.
#[derive(Clone, Debug, Serialize)]
pub struct Judgement {
    /// What was simulated, with the first of its seeds; `sizing simulate` replays it.
    pub scenario: Scenario,
    /// The outcomes and their means.
    pub replications: Replications,
    /// Pass or fail, with every reason.
    pub verdict: Verdict,
}

/// Simulates `scenario` with the seeds `seed`, `seed + 1`, ... and judges the outcome.
///
/// # Errors
/// When the scenario is impossible.
pub fn judge(scenario: &Scenario, replications: u32) -> Result<Judgement, InvalidScenario> {
    let seeds: Vec<u64> = (0..u64::from(replications))
        .map(|i| scenario.seed.wrapping_add(i))
        .collect();
    let outcomes = parallel(cores(), &seeds, |seed| {
        let mut seeded = scenario.clone();
        seeded.seed = *seed;
        timed_simulation(&seeded)
    })?;
    let replications = combine(outcomes);
    let verdict = judge_replications(&replications, &scenario.slo);
    Ok(Judgement {
        scenario: scenario.clone(),
        replications,
        verdict,
    })
}

/// One simulation, with its events per second of wall time.
///
/// # Errors
/// When the scenario is impossible.
pub fn timed_simulation(scenario: &Scenario) -> Result<Outcome, InvalidScenario> {
    timed(|| simulate(scenario))
}

/// The outcome of `run` with its events per second of wall time: the only figure the pure simulator
/// cannot know.
pub(crate) fn timed<E>(run: impl FnOnce() -> Result<Outcome, E>) -> Result<Outcome, E> {
    let began = Instant::now();
    let mut outcome = run()?;
    let elapsed_s = began.elapsed().as_secs_f64();
    outcome.events_per_second =
        (elapsed_s > 0.0).then(|| crate::stats::count_u64_as_f64(outcome.events) / elapsed_s);
    Ok(outcome)
}

/// Searches the candidates of `request` on all cores.
///
/// # Errors
/// When a candidate is impossible, which would be a defect of the candidate list.
pub fn plan(request: &PlanRequest) -> Result<Plan, InvalidScenario> {
    plan_on(request, cores(), None)
}

/// Searches the candidates of `request` on so many threads. What the gate would refuse whatever a simulation says is
/// rejected without one; the account may run `vcpu_quota` vCPU at once, or what the settings say.
///
/// # Errors
/// As [`plan`].
pub fn plan_on(
    request: &PlanRequest,
    threads: usize,
    vcpu_quota: Option<f64>,
) -> Result<Plan, InvalidScenario> {
    let all = candidates(request);
    let refusals = refusals(&request.base, vcpu_quota, &all);
    let mut fleets = Vec::new();
    let mut refused = Vec::new();
    for (fleet, failures) in all.into_iter().zip(refusals) {
        if failures.is_empty() {
            fleets.push(fleet);
        } else {
            let fewest = cost::monthly(&fleet, fleet.tasks.min.into())?;
            refused.push(Evaluated::refused(&fleet, fewest.total(), failures));
        }
    }
    let families = families(request, &fleets);
    let found = parallel(threads, &families, |family| {
        let kin: Vec<&Fleet> = family.iter().map(|index| &fleets[*index]).collect();
        evaluate_family(request, &kin)
    })?;
    let Plan { accepted, rejected } = assemble(&families, found);
    Ok(rank([accepted, rejected, refused].concat()))
}

/// The candidate that stands first in the plan of `request`, if one holds, without simulating those that cannot come
/// before it: what costs more than one that holds, tasks at their fewest, does not. Of several requests, `below` is the
/// cheapest that the others found, which only a cheaper one comes before.
///
/// # Errors
/// As [`plan`].
pub fn cheapest(
    request: &PlanRequest,
    below: Option<MicroUsd>,
) -> Result<Option<Evaluated>, InvalidScenario> {
    let mut fleets = Vec::new();
    let mut floors = Vec::new();
    for fleet in candidates(request) {
        if let Some(floor) = cost_floor(request, &fleet)? {
            fleets.push(fleet);
            floors.push(floor);
        }
    }
    let mut families = families(request, &fleets);
    families.sort_by_key(|family| family.iter().map(|index| floors[*index]).min());
    let mut first: Option<(usize, Evaluated)> = None;
    // A few at a time, so that each core has one and what they found bounds the next.
    for few in families.chunks(cores()) {
        let most = first.as_ref().map(|(_, found)| found.cost_usd_month);
        let could_be_first = |index: &usize| {
            most.is_none_or(|most| floors[*index] <= most)
                && below.is_none_or(|below| floors[*index] < below)
        };
        let few: Vec<Vec<usize>> = few
            .iter()
            .map(|family| family.iter().copied().filter(could_be_first).collect())
            .filter(|family: &Vec<usize>| !family.is_empty())
            .collect();
        let found = parallel(cores(), &few, |family| {
            let kin: Vec<&Fleet> = family.iter().map(|index| &fleets[*index]).collect();
            evaluate_family(request, &kin)
        })?;
        let found = few
            .iter()
            .flatten()
            .copied()
            .zip(found.into_iter().flatten());
        let mut holding: Vec<(usize, Evaluated)> = first
            .into_iter()
            .chain(found.filter(|(_, candidate)| candidate.failures.is_empty()))
            .collect();
        // Where nothing tells them apart, in the order of the axes.
        holding.sort_by(|(one, by_one), (other, by_other)| {
            by_merit(by_one, by_other).then(one.cmp(other))
        });
        // Of a dozen that hold, the gate is asked about the first: its answer takes longer than their runs.
        first = holding.into_iter().find(|(_, candidate)| {
            let refused = refusals(&request.base, None, std::slice::from_ref(&candidate.fleet));
            refused.iter().all(Vec::is_empty)
        });
    }
    Ok(first
        .map(|(_, found)| found)
        .filter(|found| below.is_none_or(|below| found.cost_usd_month < below)))
}

/// Threads that can run at the same time.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Maps `items` on so many threads; results keep the order of the items, so they do not depend on timing.
pub(crate) fn parallel<T: Sync, R: Send, E: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let threads = threads.clamp(1, items.len().max(1));
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Result<R, E>)>> = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((index, item)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    items.get(index).map(|item| (index, item))
                } {
                    let result = work(item);
                    results
                        .lock()
                        .expect("no worker panics while it pushes")
                        .push((index, result));
                }
            });
        }
    });
    let mut results = results
        .into_inner()
        .expect("no worker panicked while it pushed");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_depend_on_threads() {
        let items: Vec<u32> = (0..1000).collect();
        let doubled =
            parallel(cores(), &items, |item| Ok::<_, ()>(item * 2)).expect("no item fails");
        assert_eq!(
            doubled,
            items.iter().map(|item| item * 2).collect::<Vec<_>>()
        );
    }

    #[test]
    fn the_first_failure_is_the_answer() {
        let failed = parallel(2, &[1, 2, 3], |item| match item {
            2 => Err(*item),
            _ => Ok(*item),
        });
        assert_eq!(failed, Err(2));
    }

    #[test]
    fn the_cheapest_is_the_first_of_the_plan() {
        use simulator::scenario::{Autoscaling, CacheMode, Tasks};

        let text = include_str!("../../simulator/scenarios/growth.toml");
        let base = Scenario::from_toml(text).expect("the committed scenario");
        let mut holds = 0;
        for workers in [&[2_u32][..], &[24, 64], &[48, 96, 192]] {
            let request = PlanRequest {
                pairs: vec![(0.25, 0.5), (0.5, 1.0), (1.0, 2.0)],
                workers: workers.to_vec(),
                tasks: [1, 2, 3].map(Tasks::fixed).to_vec(),
                autoscaling: vec![Autoscaling::none()],
                cache_modes: vec![CacheMode::Sidecar, CacheMode::Elasticache],
                replications: 2,
                ..PlanRequest::around(base.clone())
            };
            let planned = plan(&request).expect("possible").accepted;
            let shown = |found: &Evaluated| (found.fleet.clone(), found.cost_usd_month);
            let first = cheapest(&request, None).expect("possible");
            assert_eq!(first.as_ref().map(shown), planned.first().map(shown));
            if let Some(first) = first {
                holds += 1;
                let as_dear = cheapest(&request, Some(first.cost_usd_month));
                assert_eq!(as_dear.expect("possible"), None, "nothing is cheaper");
            }
        }
        assert!(
            (1..3).contains(&holds),
            "some hold and some do not: {holds}"
        );
    }
}
