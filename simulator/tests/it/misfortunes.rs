//! What Spot interruptions, a lost zone and the AI provider's rate limit cost a fleet, by cause.

use simulator::capacity::Resource;
use simulator::outcome::LossCause;
use simulator::scenario::{
    Arrivals, AzLoss, Fleet, GenerationLength, JobStore, Mode, Scenario, Spot, Tasks, Workload,
};
use simulator::time::Duration;

use crate::{light_profile, lost, run};

/// A request a minute for ten hours, each of ten minutes, on two tasks of twelve workers: five in flight on each.
fn requests() -> Scenario {
    let workload = Workload::new(
        Arrivals::Trace {
            at: (0..600).map(Duration::from_minutes).collect(),
        },
        GenerationLength::Deterministic {
            length: Duration::from_minutes(10),
        },
    );
    let mut fleet = Fleet::new(1.0, 2.0, 12, Tasks::fixed(2));
    fleet.mode = Mode::Sync;
    fleet.alb_idle_timeout = Duration::from_secs(4000);
    Scenario::new(workload, light_profile(), fleet)
}

#[test]
fn a_spot_interruption_loses_open_requests_and_jobs_in_process_but_no_durable_job() {
    let mut scenario = requests();
    scenario.fleet.spot = Some(Spot {
        interruptions_per_task_day: 24.0,
        discount_percent: 70,
    });
    // Two tasks for ten hours, an interruption an hour each, five in flight: a hundred, if every one were so.
    let sync = run(&scenario);
    let interrupted = lost(&sync, LossCause::SpotInterruption);
    assert!((50..150).contains(&interrupted), "{:?}", sync.lost);
    // The longest stop time-out there is saves one in five.
    scenario.fleet.stop_timeout = Duration::from_secs(120);
    let patient = lost(&run(&scenario), LossCause::SpotInterruption);
    assert!(patient < interrupted && patient > 0, "{patient}");
    // ECS lets no task protection hold against it.
    scenario.fleet.task_protection = true;
    assert_eq!(lost(&run(&scenario), LossCause::SpotInterruption), patient);

    scenario.fleet.mode = Mode::Queue;
    let durable = run(&scenario);
    assert_eq!((durable.lost_total(), durable.completed), (0, 600));
    assert!(durable.requeued > 50, "{}", durable.requeued);
    scenario.fleet.job_store = JobStore::InProcess;
    assert!(lost(&run(&scenario), LossCause::SpotInterruption) > 0);
}

#[test]
fn spot_tasks_cost_what_the_discount_leaves() {
    let mut scenario = requests();
    let on_demand = run(&scenario).cost_usd_month;
    scenario.fleet.spot = Some(Spot {
        interruptions_per_task_day: 0.0,
        discount_percent: 70,
    });
    let spot = run(&scenario).cost_usd_month;
    let ratio = spot.fargate().as_usd() / on_demand.fargate().as_usd();
    assert!((ratio - 0.3).abs() < 1e-5, "{ratio}");
    let saved = on_demand.total().as_usd() - spot.total().as_usd();
    assert!((saved - 0.7 * on_demand.fargate().as_usd()).abs() < 1e-4);
}

#[test]
fn a_lost_zone_takes_its_tasks_and_what_they_hold() {
    let mut scenario = requests();
    scenario.fleet.tasks = Tasks::fixed(4);
    // At half a minute, so that no request comes or goes at that moment.
    let loss = AzLoss {
        at: Duration::from_secs(4 * 3600 + 30),
        lasts: Duration::from_hours(1),
        zones: 2,
    };
    scenario.fleet.az_loss = Some(loss);
    // Ten in flight on four tasks; half of the tasks are gone.
    let sync = run(&scenario);
    assert_eq!(lost(&sync, LossCause::AzLoss), 5, "{:?}", sync.lost);
    assert_eq!((sync.lost_total(), sync.tasks_at_end), (5, 4));
    // Over four zones only one task is gone.
    scenario.fleet.az_loss = Some(AzLoss { zones: 4, ..loss });
    let spread = lost(&run(&scenario), LossCause::AzLoss);
    assert!((2..=3).contains(&spread), "{spread}");
    // A durable job costs the crash an attempt, and goes on.
    scenario.fleet.mode = Mode::Queue;
    let durable = run(&scenario);
    assert_eq!((durable.lost_total(), durable.completed), (0, 600));
    scenario.workload.attempts_max = 1;
    assert!(lost(&run(&scenario), LossCause::AzLoss) > 0);
}

#[test]
fn a_fleet_of_one_task_answers_nobody_until_the_zone_s_successor_serves() {
    let mut scenario = requests();
    scenario.fleet.tasks = Tasks::fixed(1);
    scenario.fleet.start_delay = Duration::from_minutes(5);
    scenario.fleet.az_loss = Some(AzLoss {
        at: Duration::from_secs(4 * 3600 + 30),
        lasts: Duration::from_minutes(1),
        zones: 2,
    });
    let outcome = run(&scenario);
    assert_eq!(lost(&outcome, LossCause::AzLoss), 10);
    assert_eq!(lost(&outcome, LossCause::NoTarget), 5);
}

#[test]
fn the_rate_limit_refuses_sync_requests_and_delays_durable_jobs() {
    let mut scenario = requests();
    scenario.workload.arrivals = Arrivals::Deterministic { per_hour: 60.0 };
    // Five steps a generation, one generation a minute.
    scenario.fleet.upstream_requests_per_minute = Some(5.0);
    assert_eq!(run(&scenario).lost_total(), 0);
    scenario.fleet.upstream_requests_per_minute = Some(4.0);
    let sync = run(&scenario);
    // Four of five requests are accepted: a fifth of the generations is refused, after the first quarter of an hour.
    let share = lost(&sync, LossCause::OpenaiRateLimit) as f64 / sync.submitted as f64;
    assert!((share - 0.2).abs() < 0.01, "{:?}", sync.lost);
    assert_eq!(sync.lost_total(), lost(&sync, LossCause::OpenaiRateLimit));
    // Those that are accepted have waited for two minutes at most.
    assert!(sync.sojourn_s.max <= 720.0, "{:?}", sync.sojourn_s);
    assert!(sync.sojourn_s.max > 690.0, "{:?}", sync.sojourn_s);
    assert!((sync.throughput_per_hour - 48.0).abs() < 0.5);
    assert_eq!(sync.bottleneck, Resource::UpstreamRequests);

    scenario.fleet.mode = Mode::Queue;
    let durable = run(&scenario);
    assert_eq!(durable.lost_total(), 0);
    assert!((durable.throughput_per_hour - 48.0).abs() < 0.5);
    // The workers that wait for the provider are busy: in the end the queue grows.
    assert!(durable.wait_s.max > 3600.0, "{:?}", durable.wait_s);
}

#[test]
fn the_limit_of_tokens_refuses_as_the_limit_of_requests_does() {
    let mut scenario = requests();
    scenario.workload.arrivals = Arrivals::Deterministic { per_hour: 60.0 };
    scenario.workload.tokens_per_generation = 50_000;
    scenario.fleet.upstream_requests_per_minute = Some(5.0);
    scenario.fleet.upstream_tokens_per_minute = Some(50_000.0);
    assert_eq!(run(&scenario).lost_total(), 0);
    scenario.fleet.upstream_tokens_per_minute = Some(40_000.0);
    let sync = run(&scenario);
    let share = lost(&sync, LossCause::OpenaiRateLimit) as f64 / sync.submitted as f64;
    assert!((share - 0.2).abs() < 0.01, "{:?}", sync.lost);
    assert_eq!(sync.bottleneck, Resource::UpstreamTokens);
    scenario.fleet.mode = Mode::Queue;
    assert_eq!(run(&scenario).lost_total(), 0);
}

#[test]
fn waiting_for_the_provider_takes_no_cpu() {
    let mut scenario = requests();
    scenario.workload.arrivals = Arrivals::Deterministic { per_hour: 60.0 };
    scenario.profile.cpu_s_per_generation = 6.0;
    scenario.warmup = Duration::from_hours(2);
    scenario.fleet.upstream_requests_per_minute = Some(4.0);
    // 48 generations an hour at 6 CPU-seconds on two tasks of one vCPU.
    let outcome = run(&scenario);
    let expected = 48.0 * 6.0 / 3600.0 / 2.0;
    assert!(
        (outcome.cpu_utilization / expected - 1.0).abs() < 0.02,
        "{} for {expected}",
        outcome.cpu_utilization
    );
}
