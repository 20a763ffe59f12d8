//! What happens where the database, Redis or the patience of the load balancer ends: each limit on its own, and how it is
//! avoided.

use simulator::capacity::Resource;
use simulator::outcome::LossCause;
use simulator::platform::findings;
use simulator::scenario::{
    Arrivals, Deployments, Fleet, GenerationLength, Gunicorn, HealthCheck, JobStore, Mode, Redis,
    Scenario, Tasks, UpstreamCall, WorkerModel, Workload,
};
use simulator::time::Duration;

use crate::{light_profile, lost, run};

/// A generation a minute for ten hours, each of ten minutes.
fn ten_hours(fleet: Fleet) -> Scenario {
    let at = (0..600).map(Duration::from_minutes).collect();
    let length = Duration::from_minutes(10);
    let workload = Workload::new(
        Arrivals::Trace { at },
        GenerationLength::Deterministic { length },
    );
    let mut scenario = Scenario::new(workload, light_profile(), fleet);
    scenario.horizon = Duration::from_hours(12);
    scenario
}

#[test]
fn tasks_whose_pools_find_no_room_in_the_database_never_serve() {
    let mut scenario = ten_hours(Fleet::new(1.0, 2.0, 1, Tasks::fixed(9)));
    let unlimited = run(&scenario);
    assert_eq!((unlimited.tasks_max, unlimited.starts_refused), (9, None));
    // 79 connections of a db.t4g.micro, less three, are seven pools of ten.
    scenario.fleet.db_pool_connections = Some(10);
    let limited = run(&scenario);
    assert_eq!(limited.tasks_max, 7);
    // Two tasks that start again every 55 s for twelve hours.
    let refused = limited.starts_refused.expect("pools are looked at");
    assert_eq!(refused, 2 + 2 * (12 * 3600 / 55));
    assert!(limited.wait_s.mean > unlimited.wait_s.mean);
    assert_eq!(limited.bottleneck, Resource::DbConnections);
    let carried = limited.capacity_per_hour[&Resource::DbConnections];
    assert!((carried - 42.0).abs() < 1e-9, "{carried}");
    // They are paid for all the same.
    assert!(
        (limited.tasks_mean - 9.0).abs() < 0.01,
        "{}",
        limited.tasks_mean
    );

    for enough in [
        |fleet: &mut Fleet| fleet.db_instance_class = "db.t4g.small".to_owned(),
        |fleet: &mut Fleet| fleet.db_connections_max = Some(90),
        |fleet: &mut Fleet| fleet.db_pool_connections = Some(8),
    ] {
        let mut scenario = scenario.clone();
        enough(&mut scenario.fleet);
        let outcome = run(&scenario);
        assert_eq!((outcome.tasks_max, outcome.starts_refused), (9, Some(0)));
        assert_eq!(outcome.wait_s, unlimited.wait_s);
    }
}

#[test]
fn a_deployment_that_doubles_the_pools_never_ends_where_the_database_has_room_for_one_fleet() {
    let mut scenario = ten_hours(Fleet::new(1.0, 2.0, 12, Tasks::fixed(7)));
    scenario.fleet.deployments = Some(Deployments::every(Duration::from_hours(5)));
    assert_eq!(run(&scenario).deployments_completed, Some(2));
    scenario.fleet.db_pool_connections = Some(10);
    let found = findings(&scenario);
    assert!(
        found.iter().any(|finding| finding
            .text
            .starts_with("14 tasks open 140 connections during a deployment")),
        "{found:?}"
    );
    let stuck = run(&scenario);
    assert_eq!(
        (stuck.deployments_completed, stuck.lost_total()),
        (Some(0), 0)
    );
    // One task less at a time leaves its connections to its successor.
    scenario.fleet.deployments = Some(Deployments {
        minimum_healthy_percent: 50,
        ..Deployments::every(Duration::from_hours(5))
    });
    assert_eq!(run(&scenario).deployments_completed, Some(2));
}

#[test]
fn async_workers_hold_what_the_class_takes_and_lose_the_rest() {
    let mut fleet = Fleet::new(2.0, 4.0, 6, Tasks::fixed(1));
    fleet.job_store = JobStore::InProcess;
    fleet.worker_model = WorkerModel::Async;
    let mut scenario = ten_hours(fleet);
    scenario.workload.arrivals = Arrivals::Trace {
        at: (0..100).map(Duration::from_secs).collect(),
    };
    let micro = run(&scenario);
    assert_eq!(
        (micro.completed, lost(&micro, LossCause::DbConnections)),
        (76, 24)
    );
    scenario.fleet.db_instance_class = "db.t4g.small".to_owned();
    assert_eq!(run(&scenario).lost_total(), 0);
}

#[test]
fn a_full_redis_lets_nobody_in() {
    let mut scenario = ten_hours(Fleet::new(1.0, 2.0, 12, Tasks::fixed(1)));
    let redis = Redis {
        memory_mib: 1.0,
        session_kib: 10.0,
        session_lasts: Duration::from_hours(2),
        ..Redis::new()
    };
    scenario.fleet.redis = Some(redis);
    let full = run(&scenario);
    // 102 sessions of two hours: of each 120 minutes the last 18 find no room, and each that ends makes room for one.
    assert_eq!(lost(&full, LossCause::SessionStore), 5 * 18);
    assert_eq!(full.completed, 510);
    let full_s = full.redis_full_s.expect("it is looked at");
    assert!((full_s - 499.0 * 60.0).abs() < 1.0, "{full_s}");
    for enough in [
        Redis {
            memory_mib: 2.0,
            ..redis
        },
        Redis {
            session_kib: 5.0,
            ..redis
        },
        Redis {
            session_lasts: Duration::from_hours(1),
            ..redis
        },
        Redis::new(),
    ] {
        scenario.fleet.redis = Some(enough);
        let outcome = run(&scenario);
        assert_eq!((outcome.lost_total(), outcome.redis_full_s), (0, Some(0.0)));
    }
    scenario.fleet.redis = None;
    assert_eq!(run(&scenario).redis_full_s, None);
}

#[test]
fn tasks_beyond_the_connections_of_redis_never_serve() {
    let mut scenario = ten_hours(Fleet::new(1.0, 2.0, 12, Tasks::fixed(3)));
    scenario.fleet.redis = Some(Redis {
        connections_max: 5,
        connections_per_task: 2,
        ..Redis::new()
    });
    let outcome = run(&scenario);
    assert_eq!(outcome.tasks_max, 2);
    assert!(
        outcome.starts_refused > Some(700),
        "{:?}",
        outcome.starts_refused
    );
}

/// Two workers that hold a request each leave nobody to say that the task is well.
fn busy_sync_workers() -> Scenario {
    let mut fleet = Fleet::new(1.0, 2.0, 2, Tasks::fixed(2));
    fleet.mode = Mode::Sync;
    fleet.alb_idle_timeout = Duration::from_secs(4000);
    let mut scenario = ten_hours(fleet);
    // Two for each task, every quarter of an hour.
    scenario.workload.arrivals = Arrivals::Trace {
        at: (0..160)
            .map(|index| Duration::from_minutes(index / 4 * 15))
            .collect(),
    };
    scenario
}

#[test]
fn a_task_whose_sync_workers_are_all_busy_is_replaced_with_what_it_holds() {
    let mut scenario = busy_sync_workers();
    assert_eq!(run(&scenario).lost_total(), 0);
    scenario.fleet.health_check = Some(HealthCheck::new());
    let outcome = run(&scenario);
    // Both tasks, each time: deregistered after the second check, and killed 300 s later.
    assert_eq!(lost(&outcome, LossCause::HealthCheck), 160);
    assert_eq!(
        (outcome.completed, outcome.unhealthy_replaced),
        (0, Some(80))
    );
    // The rest of the time that a deregistered task may take is enough for shorter ones.
    scenario.workload.generation = GenerationLength::Deterministic {
        length: Duration::from_minutes(5),
    };
    assert_eq!(
        (run(&scenario).lost_total(), run(&scenario).completed),
        (0, 160)
    );
    scenario.workload.generation = GenerationLength::Deterministic {
        length: Duration::from_minutes(10),
    };
    for enough in [
        |fleet: &mut Fleet| fleet.workers = 3,
        |fleet: &mut Fleet| fleet.mode = Mode::Queue,
        |fleet: &mut Fleet| fleet.deregistration_delay = Duration::from_minutes(10),
        |fleet: &mut Fleet| {
            fleet.health_check = Some(HealthCheck {
                interval: Duration::from_secs(300),
                timeout: Duration::from_secs(120),
                unhealthy_count: 3,
                ..HealthCheck::new()
            });
        },
    ] {
        let mut scenario = scenario.clone();
        enough(&mut scenario.fleet);
        let outcome = run(&scenario);
        assert_eq!((outcome.lost_total(), outcome.completed), (0, 160));
    }
}

#[test]
fn a_task_without_cpu_for_an_answer_is_replaced_and_its_durable_generations_go_on_elsewhere() {
    // One worker more than there is work for, who would answer if there were CPU for it.
    let mut fleet = Fleet::new(0.25, 1.0, 13, Tasks::fixed(1));
    fleet.health_check = Some(HealthCheck {
        cpu_s: 0.2,
        ..HealthCheck::new()
    });
    // A step that has lost its worker begins again, so that none of them ever comes to its end.
    fleet.upstream_call = UpstreamCall::Blocking;
    let mut scenario = ten_hours(fleet);
    // Twelve at once, each of which wants a whole vCPU: 48 times as slow, and an answer in 9.6 s.
    scenario.workload.arrivals = Arrivals::Trace {
        at: vec![Duration::from_minutes(1); 12],
    };
    scenario.profile.cpu_s_per_generation = 600.0;
    let outcome = run(&scenario);
    assert!(
        outcome.unhealthy_replaced > Some(100),
        "{:?}",
        outcome.unhealthy_replaced
    );
    assert!(outcome.requeued > 1_200, "{}", outcome.requeued);
    assert_eq!(outcome.lost_total(), 0);
    // In process they die with it.
    scenario.fleet.job_store = JobStore::InProcess;
    assert_eq!(lost(&run(&scenario), LossCause::HealthCheck), 12);
    // An eighth of the load is slow as well, but answers in time.
    scenario.profile.cpu_s_per_generation = 600.0 / 8.0;
    assert_eq!(run(&scenario).unhealthy_replaced, Some(0));
}

#[test]
fn a_recycling_outage_is_taken_for_a_dead_task() {
    let mut fleet = Fleet::new(2.0, 4.0, 6, Tasks::fixed(1));
    fleet.job_store = JobStore::InProcess;
    fleet.worker_model = WorkerModel::Async;
    fleet.gunicorn = Some(Gunicorn {
        max_requests: 100,
        max_requests_jitter: 20,
        other_requests_per_s: 2.0,
        ..Gunicorn::new()
    });
    let mut scenario = ten_hours(fleet);
    scenario.workload.arrivals = Arrivals::Trace {
        at: vec![Duration::from_secs(1); 24],
    };
    scenario.workload.generation = GenerationLength::Deterministic {
        length: Duration::from_secs(120),
    };
    scenario.horizon = Duration::from_secs(240);
    scenario.warmup = Duration::ZERO;
    // Nobody asks: it is silent for a minute, and all of them end.
    assert_eq!(run(&scenario).completed, 24);
    scenario.fleet.health_check = Some(HealthCheck {
        interval: Duration::from_secs(15),
        unhealthy_count: 3,
        ..HealthCheck::new()
    });
    let outcome = run(&scenario);
    assert_eq!(lost(&outcome, LossCause::HealthCheck), 24);
    // Twice the patience outlasts it.
    scenario.fleet.health_check = Some(HealthCheck {
        interval: Duration::from_secs(30),
        unhealthy_count: 3,
        ..HealthCheck::new()
    });
    assert_eq!(run(&scenario).lost_total(), 0);
}
