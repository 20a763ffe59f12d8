//! What single mechanisms do to a fleet, seen in its outcome.

use simulator::capacity::Resource;
use simulator::judge;
use simulator::outcome::LossCause;
use simulator::scenario::{
    Arrivals, Autoscaling, Case, GenerationLength, Metric, Mode, Scenario, StopOrder, Tasks,
    Workload,
};
use simulator::time::Duration;

use crate::{light_profile, lost, run};

fn file(name: &str) -> Scenario {
    let text = match name {
        "proposal" => include_str!("../../scenarios/proposal.toml"),
        "fastapi" => include_str!("../../scenarios/fastapi.toml"),
        "proposal-sync" => include_str!("../../scenarios/proposal-sync.toml"),
        _ => include_str!("../../scenarios/mvp.toml"),
    };
    Scenario::from_toml(text).expect("the example scenarios are valid")
}

/// Generations of 10 minutes, one every 10 minutes / `in_flight`, on a fleet of one task.
fn steady(in_flight: f64, workers: u32) -> Scenario {
    let workload = Workload::new(
        Arrivals::Deterministic {
            per_hour: 6.0 * in_flight,
        },
        GenerationLength::Deterministic {
            length: Duration::from_minutes(10),
        },
    );
    let fleet = simulator::scenario::Fleet::new(1.0, 2.0, workers, Tasks::fixed(1));
    Scenario::new(workload, light_profile(), fleet)
}

#[test]
fn the_proposal_in_sync_mode_loses_every_generation_to_the_idle_timeout() {
    let outcome = run(&file("proposal-sync"));
    assert_eq!(outcome.completed, 0);
    assert!(outcome.submitted > 400);
    assert_eq!(
        lost(&outcome, LossCause::AlbIdleTimeout),
        outcome.lost_total()
    );
    assert_eq!(outcome.bottleneck, Resource::AlbIdleTimeout);
    assert_eq!(
        outcome.capacity_per_hour[&Resource::AlbIdleTimeout].to_bits(),
        0
    );
    let verdict = judge(&outcome, &file("proposal-sync").slo);
    assert!(
        verdict
            .failures
            .iter()
            .any(|failure| failure.key == "lost_max"),
        "{verdict:?}"
    );
}

#[test]
fn the_proposal_in_queue_mode_scales_in_on_idle_cpu_and_never_out_while_its_queue_grows() {
    let busy = file("proposal");
    let mut quiet = busy.clone();
    quiet.workload.arrivals = Arrivals::Poisson { per_hour: 20.0 };
    let outcome = run(&quiet);
    assert_eq!((outcome.scale_in_count, outcome.scale_out_count), (1, 0));
    assert_eq!(outcome.tasks_at_end, 1);
    assert_eq!(outcome.lost_total(), 0);
    // Six workers of 12.5 minutes: 28.8 per hour, 20 come. At 69 % of its workers it hardly uses its CPU.
    assert_eq!(outcome.bottleneck, Resource::Workers);
    assert!(
        outcome.cpu_utilization < 0.001,
        "{}",
        outcome.cpu_utilization
    );
    // The 40 that the file asks are beyond one task, and still nothing scales out.
    let outcome = run(&busy);
    assert_eq!(outcome.scale_out_count, 0);
    assert!(outcome.wait_s.p95 > 3600.0, "{:?}", outcome.wait_s);
    assert!(outcome.censored_waits > 0);
    assert!(!judge(&outcome, &busy.slo).pass);
}

#[test]
fn the_queue_as_metric_scales_the_same_fleet_out() {
    let mut scenario = file("proposal");
    scenario.fleet.autoscaling = Autoscaling::on(vec![Metric::QueueDepth]);
    let outcome = run(&scenario);
    assert!(outcome.scale_out_count > 0);
    assert!(outcome.wait_s.p95 < 1800.0, "{:?}", outcome.wait_s);
}

#[test]
fn a_stage_carries_its_assumptions_through_in_their_order() {
    for stage in [
        include_str!("../../scenarios/mvp.toml"),
        include_str!("../../scenarios/growth.toml"),
        include_str!("../../scenarios/scale.toml"),
    ] {
        let stated = Scenario::from_toml(stage).expect("the stages are valid");
        assert!(stated.has_cases());
        let again = Scenario::from_toml(&stated.to_toml().expect("it has a TOML form"));
        assert_eq!(again.as_ref(), Ok(&stated));
        let [low, mid, high] = Case::ALL.map(|case| run(&stated.at(case)));
        assert_eq!(run(&stated), mid, "a run takes the likeliest case");
        assert!(low.submitted < mid.submitted && mid.submitted < high.submitted);
        assert!(low.wait_s.mean <= mid.wait_s.mean && mid.wait_s.mean <= high.wait_s.mean);
        assert!(low.cost_usd_month.total() <= mid.cost_usd_month.total());
        assert!(mid.cost_usd_month.total() <= high.cost_usd_month.total());
    }
}

#[test]
fn the_scale_stage_is_20_000_generations_a_day_in_its_likeliest_case() {
    let text = include_str!("../../scenarios/scale.toml");
    let stated = Scenario::from_toml(text).expect("the stages are valid");
    let per_day = stated.workload.arrivals.mean_per_hour() * 24.0;
    assert!((per_day - 20_000.0).abs() < 1e-6, "{per_day}");
}

#[test]
fn the_small_task_holds_its_promise() {
    let scenario = file("mvp");
    let outcome = run(&scenario);
    let verdict = judge(&outcome, &scenario.slo);
    assert!(verdict.pass, "{verdict:?} {outcome:?}");
}

#[test]
fn a_request_just_as_long_as_the_idle_timeout_is_answered() {
    let mut scenario = steady(1.0, 6);
    scenario.fleet.mode = Mode::Sync;
    scenario.fleet.alb_idle_timeout = Duration::from_minutes(10);
    let outcome = run(&scenario);
    assert_eq!(outcome.lost_total(), 0);
    scenario.fleet.alb_idle_timeout = Duration::from_secs(599);
    let outcome = run(&scenario);
    assert_eq!(outcome.completed, 0);
}

#[test]
fn a_worker_is_not_freed_by_a_client_that_is_cut_off() {
    let mut scenario = steady(3.0, 6);
    scenario.fleet.mode = Mode::Sync;
    let outcome = run(&scenario);
    assert_eq!(outcome.completed, 0);
    assert!(
        (outcome.worker_utilization - 0.5).abs() < 0.01,
        "{}",
        outcome.worker_utilization
    );
}

#[test]
fn what_is_in_flight_when_the_drain_ends_is_lost_by_the_cause_that_came_first() {
    // Two tasks, idle by their CPU: one is given up after 15 minutes, with its generations in flight.
    let mut scenario = steady(8.0, 6);
    scenario.fleet.mode = Mode::Sync;
    scenario.fleet.alb_idle_timeout = Duration::from_secs(4000);
    scenario.fleet.tasks = Tasks {
        min: 1,
        desired: 2,
        max: 2,
    };
    scenario.fleet.autoscaling = Autoscaling::on(vec![Metric::Cpu]);
    scenario.workload.arrivals = Arrivals::Trace {
        at: (0..80)
            .map(|index| Duration::from_secs(75 * index))
            .collect(),
    };
    scenario.fleet.deregistration_delay = Duration::from_secs(30);
    let outcome = run(&scenario);
    assert_eq!(outcome.scale_in_count, 1);
    // A request every 75 s, every second one to this task: four in flight, one of which may end within the delay.
    let cut = lost(&outcome, LossCause::DeregisteredInFlight);
    assert!((3..=4).contains(&cut), "{:?}", outcome.lost);

    scenario.fleet.deregistration_delay = Duration::from_secs(900);
    assert_eq!(lost(&run(&scenario), LossCause::DeregisteredInFlight), 0);

    scenario.fleet.stop_order = StopOrder::SigtermAtDeregistration;
    let outcome = run(&scenario);
    assert!(
        (3..=4).contains(&lost(&outcome, LossCause::SigkillAfterStopTimeout)),
        "{:?}",
        outcome.lost
    );

    // The same in queue mode: they go back to the queue, and nothing is lost.
    scenario.fleet.mode = Mode::Queue;
    scenario.fleet.stop_order = StopOrder::default();
    let outcome = run(&scenario);
    assert!(outcome.requeued >= 3, "{}", outcome.requeued);
    assert_eq!(outcome.lost_total(), 0);
    assert_eq!(outcome.completed, outcome.submitted);
}

#[test]
fn a_task_without_memory_for_its_workers_dies_and_its_generations_die_with_it_in_the_end() {
    let mut scenario = steady(10.0, 10);
    // 1008 MiB free: room for four.
    scenario.profile.memory_base_mib = 1040.0;
    scenario.profile.memory_per_generation_kib = 250.0 * 1024.0;
    let outcome = run(&scenario);
    assert_eq!(outcome.bottleneck, Resource::Memory);
    assert!(outcome.requeued > 0);
    assert!(lost(&outcome, LossCause::Oom) > 0, "{:?}", outcome.lost);
    scenario.fleet.mode = Mode::Sync;
    scenario.fleet.alb_idle_timeout = Duration::from_secs(4000);
    // A request a minute, and the next task takes two to start: one of them finds nobody.
    scenario.fleet.start_delay = Duration::from_secs(125);
    let outcome = run(&scenario);
    assert!(
        lost(&outcome, LossCause::Oom) > 0 && lost(&outcome, LossCause::NoTarget) > 0,
        "{:?}",
        outcome.lost
    );
    // Room for all, nobody dies.
    scenario.profile.memory_base_mib = 40.0;
    scenario.profile.memory_per_generation_kib = 200.0;
    assert_eq!(run(&scenario).lost_total(), 0);
}

#[test]
fn a_saturated_cpu_carries_what_its_cpu_seconds_allow() {
    let mut scenario = steady(200.0, 1000);
    scenario.profile.cpu_s_per_generation = 6.0;
    scenario.warmup = Duration::from_hours(12);
    let outcome = run(&scenario);
    // One vCPU for 6 CPU-seconds each: 600 per hour of the 1200 that come.
    assert!(
        (outcome.throughput_per_hour - 600.0).abs() < 6.0,
        "{}",
        outcome.throughput_per_hour
    );
    assert!(
        (outcome.cpu_utilization - 1.0).abs() < 1e-6,
        "{}",
        outcome.cpu_utilization
    );
    assert_eq!(outcome.bottleneck, Resource::Cpu);
}

#[test]
fn polls_take_their_share_of_the_cpu() {
    let mut scenario = steady(10.0, 100);
    scenario.profile.cpu_s_per_generation = 0.0;
    scenario.profile.cpu_s_per_poll = 0.0024;
    scenario.warmup = Duration::from_hours(2);
    // Ten clients, a poll of 2.4 ms every 2.5 s each.
    let outcome = run(&scenario);
    assert!(
        (outcome.cpu_utilization - 0.0096).abs() < 1e-6,
        "{}",
        outcome.cpu_utilization
    );
}

#[test]
fn an_always_on_fleet_costs_what_the_table_says() {
    let mut scenario = file("proposal");
    scenario.fleet.autoscaling = Autoscaling::none();
    let outcome = run(&scenario);
    assert_eq!(outcome.cost_usd_month.fargate().to_string(), "144.16");
    assert_eq!(outcome.cost_usd_month.total().to_string(), "278.23");
}

#[test]
fn the_outcome_of_the_proposal_is_this_to_the_byte() {
    let outcome = run(&file("proposal"));
    insta::assert_json_snapshot!(outcome);
}

/// With every model on; the same bytes also in a release build, where this test runs as well.
#[test]
fn the_outcome_of_the_measured_stack_is_this_to_the_byte() {
    let outcome = run(&file("fastapi"));
    insta::assert_json_snapshot!(outcome);
}

#[test]
fn four_threads_at_once_give_the_bytes_of_one() {
    let scenario = file("fastapi");
    let json = || serde_json::to_string(&run(&scenario)).expect("an outcome is plain data");
    let alone = json();
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..4).map(|_| scope.spawn(json)).collect();
        for other in others {
            assert_eq!(other.join().expect("the run does not panic"), alone);
        }
    });
}
