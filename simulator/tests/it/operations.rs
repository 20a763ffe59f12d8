//! What deployments, time-outs and impatience cost a fleet, by cause.

use simulator::outcome::{LossCause, Outcome};
use simulator::platform::Platform;
use simulator::scenario::{
    Arrivals, Autoscaling, DeploymentStrategy, Deployments, Fleet, GenerationLength, JobStore,
    Metric, Mode, Scenario, StopOrder, Tasks, UpstreamCall, Workload,
};
use simulator::time::Duration;

use crate::{light_profile, lost, run};

/// A request a minute for ten hours, each of ten minutes, on two tasks of twelve workers: five in flight on each.
/// The load balancer never cuts.
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

/// Checks that so many are lost, all of them to this cause.
#[track_caller]
fn loses(outcome: &Outcome, cause: LossCause, count: std::ops::RangeInclusive<u64>) {
    let lost = lost(outcome, cause);
    assert!(count.contains(&lost), "{:?}", outcome.lost);
    assert_eq!(lost, outcome.lost_total(), "{:?}", outcome.lost);
}

/// Checks that everything ended well, however often it changed its worker.
#[track_caller]
fn loses_nothing(outcome: &Outcome) {
    assert_eq!(outcome.lost_total(), 0, "{:?}", outcome.lost);
    assert_eq!(outcome.completed, outcome.submitted);
}

#[test]
fn a_deployment_loses_what_the_deregistration_delay_does_not_cover() {
    let mut scenario = requests();
    // At half past, so that no request ends at that very moment; three times within the ten hours of requests.
    scenario.fleet.deployments = Some(Deployments::every(Duration::from_secs(3 * 3600 + 30)));
    scenario.fleet.deregistration_delay = Duration::from_secs(900);
    let patient = run(&scenario);
    loses_nothing(&patient);
    // Every three hours of 24.
    assert_eq!(patient.deployments_completed, Some(7));
    assert_eq!(patient.tasks_at_end, 2);

    // Ten in flight; in 300 s half of them end.
    scenario.fleet.deregistration_delay = Duration::from_secs(300);
    loses(
        &run(&scenario),
        LossCause::DeregisteredInFlight,
        3 * 4..=3 * 6,
    );
    scenario.fleet.stop_order = StopOrder::SigtermAtDeregistration;
    loses(
        &run(&scenario),
        LossCause::SigkillAfterStopTimeout,
        3 * 9..=3 * 10,
    );

    // A durable job goes on in another task by its response id.
    scenario.fleet.mode = Mode::Queue;
    scenario.fleet.stop_order = StopOrder::default();
    let durable = run(&scenario);
    loses_nothing(&durable);
    assert!(
        (27..=30).contains(&durable.requeued),
        "{}",
        durable.requeued
    );
    assert!(durable.sojourn_s.max < 600.1, "{:?}", durable.sojourn_s);
}

#[test]
fn a_job_in_process_gets_the_stop_timeout_and_no_more() {
    let mut scenario = requests();
    scenario.fleet.mode = Mode::Queue;
    scenario.fleet.job_store = JobStore::InProcess;
    // Nobody waits on a connection, so neither of these two matters.
    scenario.fleet.alb_idle_timeout = Duration::from_secs(60);
    scenario.fleet.deregistration_delay = Duration::from_secs(3600);
    loses_nothing(&run(&scenario));
    scenario.fleet.deployments = Some(Deployments::every(Duration::from_secs(3 * 3600 + 30)));
    loses(
        &run(&scenario),
        LossCause::SigkillAfterStopTimeout,
        3 * 9..=3 * 10,
    );
}

#[test]
fn a_rolling_deployment_keeps_between_its_bounds() {
    let mut scenario = requests();
    scenario.fleet.mode = Mode::Queue;
    scenario.fleet.tasks = Tasks::fixed(4);
    let mut deployments = Deployments::every(Duration::from_secs(3 * 3600 + 30));
    scenario.fleet.deployments = Some(deployments);
    let doubled = run(&scenario);
    // An old task goes as soon as a new one serves, so that only one too many ever runs. Four more are paid for during
    // each of seven start-ups.
    let tasks_mean = 4.0 + 7.0 * 4.0 * 55.0 / (23.0 * 3600.0);
    assert_eq!((doubled.tasks_max, doubled.tasks_at_end), (5, 4));
    assert!(
        (doubled.tasks_mean - tasks_mean).abs() < 1e-9,
        "{}",
        doubled.tasks_mean
    );

    // At most five: one at a time, four start-ups one after the other.
    deployments.maximum_percent = 125;
    scenario.fleet.deployments = Some(deployments);
    let one_more = run(&scenario);
    assert_eq!((one_more.tasks_max, one_more.tasks_at_end), (5, 4));
    assert!(
        (one_more.tasks_mean - tasks_mean).abs() < 1e-9,
        "{}",
        one_more.tasks_mean
    );
    assert_eq!(one_more.deployments_completed, Some(7));

    // Two go before two come: never more than four, and for a start-up time only two.
    deployments.maximum_percent = 100;
    deployments.minimum_healthy_percent = 50;
    scenario.fleet.deployments = Some(deployments);
    let within = run(&scenario);
    assert_eq!((within.tasks_max, within.tasks_at_end), (4, 4));
    assert!(
        (within.tasks_mean - 4.0).abs() < 1e-9,
        "{}",
        within.tasks_mean
    );
    assert_eq!(within.deployments_completed, Some(7));
    loses_nothing(&within);
}

#[test]
fn task_protection_saves_what_is_in_flight_and_lets_a_deployment_wait() {
    let mut scenario = requests();
    scenario.fleet.deployments = Some(Deployments::every(Duration::from_secs(3 * 3600 + 30)));
    scenario.fleet.deregistration_delay = Duration::from_secs(30);
    assert!(run(&scenario).lost_total() > 0);
    scenario.fleet.task_protection = true;
    let busy = run(&scenario);
    loses_nothing(&busy);
    // A busy task takes new work all the same: the three deployments of the busy hours end when the work does, after
    // seven hours of four tasks instead of two.
    assert_eq!(busy.deployments_completed, Some(7));
    let expected = 2.0 + 2.0 * 7.1 / 23.0;
    assert!(
        (busy.tasks_mean - expected).abs() < 0.05,
        "{}",
        busy.tasks_mean
    );
    assert_eq!(busy.tasks_at_end, 2);
}

#[test]
fn a_worker_timeout_kills_what_takes_longer_and_nothing_else() {
    let mut scenario = requests();
    scenario.fleet.worker_timeout = Some(Duration::from_minutes(10));
    loses_nothing(&run(&scenario));
    scenario.fleet.worker_timeout = Some(Duration::from_secs(30));
    let killed = run(&scenario);
    loses(&killed, LossCause::WorkerTimeout, 600..=600);
    // The worker is free again after 30 s: half a minute of work a minute, on 24 workers, in 9 of the 23 hours.
    let expected = 0.5 / 24.0 * 9.0 / 23.0;
    assert!(
        (killed.worker_utilization / expected - 1.0).abs() < 0.01,
        "{}",
        killed.worker_utilization
    );
    // A durable job is begun five times and then given up; what a step gained upstream is not lost in between.
    scenario.fleet.mode = Mode::Queue;
    scenario.workload.attempts_max = 5;
    let requeued = run(&scenario);
    loses(&requeued, LossCause::WorkerTimeout, 600..=600);
    assert_eq!(requeued.requeued, 4 * 600);
}

#[test]
fn a_blocking_call_dies_at_the_nat_gateway_unless_something_keeps_it_alive() {
    let mut scenario = requests();
    scenario.workload.steps_per_generation = 1;
    loses_nothing(&run(&scenario));
    scenario.fleet.upstream_call = UpstreamCall::Blocking;
    let reset = run(&scenario);
    loses(&reset, LossCause::NatIdleReset, 600..=600);
    // A durable job cannot go on by a response id that it never got.
    let mut durable = scenario.clone();
    durable.fleet.mode = Mode::Queue;
    let durable = run(&durable);
    loses(&durable, LossCause::NatIdleReset, 600..=600);
    assert_eq!(durable.requeued, 4 * 600);
    // Each of these alone saves them: probes, no NAT gateway, a platform that has none, five calls of two minutes.
    for mend in [
        |scenario: &mut Scenario| scenario.fleet.upstream_keep_alive = true,
        |scenario: &mut Scenario| scenario.fleet.nat_gateways = 0,
        |scenario: &mut Scenario| scenario.fleet.platform = Platform::Render,
        |scenario: &mut Scenario| scenario.workload.steps_per_generation = 5,
    ] {
        let mut mended = scenario.clone();
        mend(&mut mended);
        loses_nothing(&run(&mended));
    }
}

#[test]
fn a_blocking_step_begins_again_on_another_task() {
    let mut scenario = requests();
    scenario.fleet.mode = Mode::Queue;
    scenario.fleet.deployments = Some(Deployments::every(Duration::from_secs(3 * 3600 + 30)));
    scenario.fleet.upstream_call = UpstreamCall::Blocking;
    let again = run(&scenario);
    loses_nothing(&again);
    // Steps of two minutes. The second deployment begins a minute into one, and stops the old tasks 55 s later, when the
    // new ones serve: 115 s are done twice.
    assert!(
        (again.sojourn_s.max - 715.0).abs() < 1e-6,
        "{:?}",
        again.sojourn_s
    );
}

#[test]
fn an_impatient_client_is_lost_at_its_own_moment_and_its_worker_works_on() {
    let mut scenario = requests();
    scenario.workload.client_gives_up_after = Some(Duration::from_minutes(10));
    // An answer that comes at the end of the patience still counts.
    loses_nothing(&run(&scenario));
    scenario.workload.client_gives_up_after = Some(Duration::from_minutes(5));
    let impatient = run(&scenario);
    loses(&impatient, LossCause::ClientGaveUp, 600..=600);
    let patient = {
        scenario.workload.client_gives_up_after = None;
        run(&scenario)
    };
    assert!((impatient.worker_utilization - patient.worker_utilization).abs() < 1e-9);
    // The load balancer is quicker still.
    scenario.workload.client_gives_up_after = Some(Duration::from_minutes(5));
    scenario.fleet.alb_idle_timeout = Duration::from_secs(60);
    loses(&run(&scenario), LossCause::AlbIdleTimeout, 600..=600);
    // In queue mode the result is kept, however long its client waits.
    scenario.fleet.mode = Mode::Queue;
    scenario.workload.client_gives_up_after = None;
    loses_nothing(&run(&scenario));
}

#[test]
fn a_blue_green_deployment_loses_what_its_bake_time_does_not_cover() {
    let mut scenario = requests();
    scenario.fleet.deregistration_delay = Duration::ZERO;
    let every = Duration::from_secs(3 * 3600 + 30);
    let blue_green = |bake| {
        Some(Deployments {
            strategy: DeploymentStrategy::BlueGreen,
            bake,
            ..Deployments::every(every)
        })
    };
    scenario.fleet.deployments = blue_green(Duration::from_minutes(11));
    let baked = run(&scenario);
    loses_nothing(&baked);
    assert_eq!(baked.deployments_completed, Some(7));
    assert_eq!((baked.tasks_max, baked.tasks_at_end), (4, 2));
    // Two tasks more for 55 s and 11 minutes, seven times in the 23 hours after the warm-up.
    let extra = 7.0 * 2.0 * (55.0 + 660.0) / (23.0 * 3600.0);
    assert!((baked.tasks_mean - 2.0 - extra).abs() < 1e-3, "{baked:?}");

    // In five minutes half of the ten in flight end, and without a bake time none.
    scenario.fleet.deployments = blue_green(Duration::from_minutes(5));
    let half = run(&scenario);
    loses(&half, LossCause::DeregisteredInFlight, 3 * 4..=3 * 6);
    scenario.fleet.deployments = blue_green(Duration::ZERO);
    let none = run(&scenario);
    loses(&none, LossCause::DeregisteredInFlight, 3 * 9..=3 * 10);

    scenario.fleet.mode = Mode::Queue;
    loses_nothing(&run(&scenario));
}

#[test]
fn requests_per_task_scale_by_polls_in_queue_mode_and_lag_in_sync_mode() {
    let mut scenario = requests();
    scenario.fleet.tasks = Tasks {
        min: 1,
        desired: 1,
        max: 5,
    };
    scenario.fleet.autoscaling = Autoscaling::tracking(Metric::Requests, 100.0);
    scenario.fleet.mode = Mode::Queue;
    // Ten in flight poll 24 times a minute each: 240 requests are three tasks' worth.
    let polled = run(&scenario);
    assert_eq!(polled.tasks_max, 3, "{polled:?}");
    // The same load answers one request a minute when each takes ten.
    scenario.fleet.mode = Mode::Sync;
    scenario.fleet.autoscaling = Autoscaling::tracking(Metric::Requests, 2.0);
    let silent = run(&scenario);
    assert_eq!((silent.tasks_max, silent.scale_out_count), (1, 0));
}
