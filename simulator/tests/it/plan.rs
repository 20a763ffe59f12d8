//! The search finds the cheapest fleet that holds, and says why the others do not.

use simulator::plan::{PlanRequest, candidates, plan};
use simulator::scenario::{
    Arrivals, Autoscaling, CacheMode, Fleet, GenerationLength, Metric, Scenario, Tasks, Workload,
};
use simulator::slo::Slo;
use simulator::time::Duration;
use simulator::{MicroUsd, simulate};

use crate::light_profile;

fn base() -> Scenario {
    let workload = Workload::new(
        Arrivals::Poisson { per_hour: 40.0 },
        GenerationLength::Uniform {
            min: Duration::from_minutes(10),
            max: Duration::from_minutes(15),
        },
    );
    let mut scenario = Scenario::new(
        workload,
        light_profile(),
        Fleet::new(2.0, 4.0, 6, Tasks::fixed(2)),
    );
    scenario.slo = Slo {
        wait_p95: Some(Duration::from_secs(60)),
        lost_max: Some(0),
        budget_usd_month: Some(MicroUsd::from_usd(200.0)),
        throughput_per_hour_min: None,
    };
    scenario
}

fn small_grid() -> PlanRequest {
    PlanRequest {
        pairs: vec![(0.25, 0.5), (1.0, 2.0), (2.0, 4.0)],
        workers: vec![1, 6, 12, 24],
        tasks: vec![
            Tasks::fixed(1),
            Tasks::fixed(2),
            Tasks {
                min: 1,
                desired: 1,
                max: 3,
            },
        ],
        autoscaling: vec![
            Autoscaling::none(),
            Autoscaling::on(vec![Metric::QueueDepth]),
        ],
        replications: 2,
        ..PlanRequest::around(base())
    }
}

#[test]
fn the_cheapest_fleet_that_holds_comes_first_and_holds_when_replayed() {
    let request = small_grid();
    let found = plan(&request).expect("the base is valid");
    assert_eq!(
        found.accepted.len() + found.rejected.len(),
        candidates(&request).len()
    );
    assert!(
        found
            .accepted
            .is_sorted_by_key(|candidate| candidate.cost_usd_month)
    );
    let best = found
        .accepted
        .first()
        .expect("24 workers on the smallest task carry 40 per hour");
    assert_eq!(
        (best.fleet.vcpu, best.fleet.memory_gib, best.fleet.tasks.max),
        (0.25, 0.5, 1)
    );
    let replayed = simulate(&Scenario {
        fleet: best.fleet.clone(),
        ..base()
    })
    .expect("valid");
    assert!(simulator::judge(&replayed, &base().slo).pass);
}

#[test]
fn every_rejected_candidate_has_its_reason() {
    let found = plan(&small_grid()).expect("the base is valid");
    assert!(
        found
            .rejected
            .iter()
            .all(|candidate| !candidate.failures.is_empty())
    );
    let reasons: Vec<&str> = found
        .rejected
        .iter()
        .flat_map(|candidate| {
            candidate
                .failures
                .iter()
                .map(|failure| failure.key.as_str())
        })
        .collect();
    for expected in ["capacity_per_hour", "budget_usd_month", "wait_p95"] {
        assert!(reasons.contains(&expected), "{expected} in {reasons:?}");
    }
}

#[test]
fn what_a_bound_refuses_a_simulation_would_refuse_too() {
    let mut request = small_grid();
    request.replications = 1;
    let refused: Vec<_> = plan(&request).expect("the base is valid").rejected;
    for candidate in refused.iter().filter(|candidate| !candidate.simulated) {
        let outcome = simulate(&Scenario {
            fleet: candidate.fleet.clone(),
            ..request.base.clone()
        })
        .expect("valid");
        let verdict = simulator::judge(&outcome, &request.base.slo);
        assert!(!verdict.pass, "{candidate:?}");
    }
}

#[test]
fn a_cache_of_its_own_in_each_of_two_tasks_is_refused() {
    let mut request = small_grid();
    request.cache_modes = vec![CacheMode::Sidecar];
    let found = plan(&request).expect("the base is valid");
    assert!(
        found
            .accepted
            .iter()
            .all(|candidate| candidate.fleet.tasks.max == 1)
    );
    assert!(!found.accepted.is_empty());
}

#[test]
fn a_load_that_nothing_carries_leaves_only_reasons() {
    let mut request = small_grid();
    request.base.workload.arrivals = Arrivals::Poisson {
        per_hour: 100_000.0,
    };
    let found = plan(&request).expect("the base is valid");
    assert!(found.accepted.is_empty());
    assert!(found.rejected.iter().all(|candidate| !candidate.simulated));
}
