//! The search finds the cheapest fleet that holds, and says why the others do not.

use proptest::prelude::*;
use simulator::plan::{Evaluated, Plan, PlanRequest, TieBreak, candidates, evaluate, plan, rank};
use simulator::scenario::{
    Architecture, Arrivals, Autoscaling, CacheMode, Fleet, GenerationLength, Metric, Scenario,
    Tasks, UpstreamCall, Workload,
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

/// The fleets of a list with what was said of each.
fn verdicts(list: &[Evaluated]) -> Vec<(String, bool)> {
    let mut verdicts: Vec<(String, bool)> = list
        .iter()
        .map(|candidate| {
            (
                format!("{:?}", candidate.fleet),
                candidate.failures.is_empty(),
            )
        })
        .collect();
    verdicts.sort();
    verdicts
}

/// A grid in which memory, CPU, gateways and instruction sets sometimes matter and sometimes do not.
fn crowded_grid(seed: u64, cpu_s: f64, memory_kib: f64, blocking: bool) -> PlanRequest {
    let mut request = small_grid();
    request.base.seed = seed;
    request.base.horizon = Duration::from_hours(6);
    request.base.profile.cpu_s_per_generation = cpu_s;
    request.base.profile.memory_per_generation_kib = memory_kib;
    if blocking {
        request.base.fleet.upstream_call = UpstreamCall::Blocking;
        request.base.workload.steps_per_generation = 2;
    }
    request.pairs = vec![(0.25, 0.5), (0.25, 2.0), (1.0, 2.0), (2.0, 4.0)];
    request.workers = vec![6, 24];
    request.autoscaling = vec![
        Autoscaling::none(),
        Autoscaling::tracking(Metric::Cpu, 50.0),
        Autoscaling::tracking(Metric::Memory, 50.0),
    ];
    request.nat_gateways = vec![0, 2];
    request.architectures = vec![Architecture::X86, Architecture::Arm];
    request.replications = 3;
    request
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn sparing_runs_changes_no_verdict_and_no_accepted_figure(
        seed in 0_u64..1_000_000,
        cpu_s in prop_oneof![Just(0.05), 1.0..120.0],
        memory_kib in prop_oneof![Just(200.0), 10_000.0..200_000.0],
        blocking in any::<bool>(),
    ) {
        let request = crowded_grid(seed, cpu_s, memory_kib, blocking);
        let spared = plan(&request).expect("the base is valid");
        let exhaustive = PlanRequest { early_refusal: false, ..request.clone() };
        let alone = candidates(&exhaustive)
            .iter()
            .map(|fleet| evaluate(&exhaustive, fleet).expect("a candidate of the grid"))
            .collect();
        let alone = rank(alone);
        let text = request.base.to_toml().expect("a small seed has a TOML form");
        prop_assert_eq!(verdicts(&spared.rejected), verdicts(&alone.rejected), "{}", text);
        let accepted = |found: &[Evaluated]| -> Vec<Evaluated> {
            found.iter().map(|one| Evaluated { runs_made: 0, ..one.clone() }).collect()
        };
        prop_assert_eq!(accepted(&spared.accepted), accepted(&alone.accepted), "{}", text);
        let runs = |found: &Plan| -> usize {
            found.accepted.iter().chain(&found.rejected).map(|one| one.runs_made).sum()
        };
        prop_assert!(runs(&spared) < runs(&alone), "{}", text);
    }
}

#[test]
fn candidates_of_one_cost_say_what_decided() {
    let mut request = small_grid();
    request.pairs = vec![(1.0, 2.0)];
    request.workers = vec![10, 12, 24, 48];
    request.tasks = vec![Tasks::fixed(1)];
    let found = plan(&request).expect("the base is valid");
    let ties: Vec<_> = found
        .accepted
        .iter()
        .map(|candidate| (candidate.fleet.workers, candidate.tie))
        .collect();
    // 24 and 48 workers never keep anybody waiting for long, the fewer the better; 12 do, a little.
    assert_eq!(ties.first(), Some(&(24, None)), "{ties:?}");
    assert!(
        ties.contains(&(48, Some(TieBreak::Workers)))
            || ties.contains(&(48, Some(TieBreak::WaitP95))),
        "{ties:?}"
    );
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
