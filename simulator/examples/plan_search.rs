//! Measures the search of 1,000 candidates of the Growth stage at 10 seeds each, on one core, with and without what
//! spares it runs; `BENCHMARKS.md` has the figures.
#![expect(
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a benchmark needs a clock and a reader; the library has neither"
)]

use std::time::Instant;

use simulator::plan::{Plan, PlanRequest, candidates, evaluate, plan, rank};
use simulator::scenario::{Autoscaling, Case, Metric, Scenario, Tasks};

fn request(case: Case) -> PlanRequest {
    let text = include_str!("../scenarios/growth.toml");
    let base = Scenario::from_toml(text).expect("a test reads it too");
    let range = |min, max| Tasks {
        min,
        desired: min,
        max,
    };
    PlanRequest {
        pairs: vec![(0.25, 0.5), (0.5, 1.0), (1.0, 2.0), (2.0, 4.0), (4.0, 8.0)],
        workers: vec![8, 16, 24, 32, 48, 64, 96, 128, 192, 256],
        tasks: vec![Tasks::fixed(2), Tasks::fixed(3), range(2, 4), range(2, 6)],
        autoscaling: vec![
            Autoscaling::none(),
            Autoscaling::tracking(Metric::Cpu, 50.0),
            Autoscaling::tracking(Metric::Cpu, 70.0),
            Autoscaling::tracking(Metric::QueueDepth, 1.0),
            Autoscaling::tracking(Metric::QueueDepth, 4.0),
        ],
        nat_gateways: vec![1, 2],
        replications: 10,
        ..PlanRequest::around(base.at(case))
    }
}

/// Every candidate by itself, at every seed.
fn exhaustive(request: &PlanRequest) -> Plan {
    let request = PlanRequest {
        early_refusal: false,
        ..request.clone()
    };
    let evaluated = candidates(&request)
        .iter()
        .map(|fleet| evaluate(&request, fleet).expect("the candidate is valid"))
        .collect();
    rank(evaluated)
}

fn main() {
    println!("| load | search | candidates | hold | runs | s on one core |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for case in [Case::Mid, Case::High] {
        let request = request(case);
        for (name, exhaustively) in [("sharing and refusing early", false), ("every run", true)] {
            let start = Instant::now();
            let found = if exhaustively {
                exhaustive(&request)
            } else {
                plan(&request).expect("the base is valid")
            };
            let elapsed_s = start.elapsed().as_secs_f64();
            let all = found.accepted.iter().chain(&found.rejected);
            let runs: usize = all.map(|candidate| candidate.runs_made).sum();
            println!(
                "| {case} | {name} | {} | {} | {runs} | {elapsed_s:.1} |",
                found.accepted.len() + found.rejected.len(),
                found.accepted.len(),
            );
        }
    }
}
