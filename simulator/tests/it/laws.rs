//! Laws that hold for every scenario, whatever it describes. Little's law is asserted by the model itself, exactly, in
//! every run of a debug build.

use proptest::prelude::*;
use simulator::capacity::Resource;
use simulator::scenario::{
    Arrivals, Autoscaling, AzLoss, DeploymentStrategy, Deployments, Fleet, GenerationLength,
    Gunicorn, HealthCheck, JobStore, LoadBalancing, Metric, Mode, Profile, Redis, ScalingStep,
    Scenario, Spot, StopOrder, Tasks, UpstreamCall, WorkerModel, Workload,
};
use simulator::simulate;
use simulator::time::Duration;

fn lengths() -> impl Strategy<Value = GenerationLength> {
    let minutes = Duration::from_minutes;
    prop_oneof![
        (1_u64..20).prop_map(move |length| GenerationLength::Deterministic {
            length: minutes(length)
        }),
        (1_u64..20).prop_map(move |mean| GenerationLength::Exponential {
            mean: minutes(mean)
        }),
        (1_u64..10, 0_u64..10).prop_map(move |(min, more)| GenerationLength::Uniform {
            min: minutes(min),
            max: minutes(min + more)
        }),
        (1_u64..10, 0_u64..10).prop_map(move |(median, more)| GenerationLength::Lognormal {
            median: minutes(median),
            p95: minutes(median + more)
        }),
    ]
}

fn arrivals() -> impl Strategy<Value = Arrivals> {
    prop_oneof![
        (1.0..200.0).prop_map(|per_hour| Arrivals::Poisson { per_hour }),
        (1.0..200.0).prop_map(|per_hour| Arrivals::Deterministic { per_hour }),
        (1.0..100.0, prop::collection::vec(0.1..3.0, 24))
            .prop_map(|(per_hour, hourly)| Arrivals::Daily { per_hour, hourly }),
        prop::collection::vec(0_u64..36_000, 0..200).prop_map(|mut at| {
            at.sort_unstable();
            Arrivals::Trace {
                at: at.into_iter().map(Duration::from_secs).collect(),
            }
        }),
    ]
}

fn fleets() -> impl Strategy<Value = Fleet> {
    let metric = prop_oneof![
        Just(Metric::Cpu),
        Just(Metric::Memory),
        Just(Metric::QueueDepth),
        Just(Metric::Requests)
    ];
    (
        prop_oneof![Just((0.25, 0.5)), Just((1.0, 2.0)), Just((2.0, 4.0))],
        1_u32..40,
        (1_u32..4, 0_u32..3, 0_u32..3),
        prop::collection::vec(metric, 0..3),
        any::<(bool, bool, bool)>(),
        (1_u64..1000, 0_u64..600),
    )
        .prop_map(
            |(
                (vcpu, memory_gib),
                workers,
                (min, more, most),
                metrics,
                flags,
                (idle_s, delay_s),
            )| {
                let tasks = Tasks {
                    min,
                    desired: min + more,
                    max: min + more + most,
                };
                let mut fleet = Fleet::new(vcpu, memory_gib, workers, tasks);
                fleet.autoscaling = Autoscaling::on(metrics);
                if fleet.autoscaling.metrics.contains(&Metric::Requests) {
                    fleet.autoscaling.requests_per_task_target = 50.0;
                }
                if idle_s % 3 == 0 && !fleet.autoscaling.metrics.is_empty() {
                    fleet.autoscaling.steps = vec![ScalingStep { above: 0.0, add: 1 }];
                }
                fleet.mode = if flags.0 { Mode::Queue } else { Mode::Sync };
                if fleet.mode == Mode::Sync && flags.1 {
                    fleet.load_balancing = LoadBalancing::LeastOutstandingRequests;
                }
                if fleet.mode == Mode::Sync && flags.2 {
                    fleet.stop_order = StopOrder::SigtermAtDeregistration;
                }
                fleet.alb_idle_timeout = Duration::from_secs(idle_s);
                fleet.deregistration_delay = Duration::from_secs(delay_s);
                fleet
            },
        )
}

/// What happens to a fleet while it works.
#[derive(Clone, Debug)]
struct Operations {
    deployments: Option<Deployments>,
    worker_timeout: Option<Duration>,
    client_gives_up_after: Option<Duration>,
    task_protection: bool,
    upstream_keep_alive: bool,
    blocking: bool,
    in_process: bool,
    gunicorn: Option<Gunicorn>,
    db_connections_max: Option<u32>,
    db_pool_connections: Option<u32>,
    redis: Option<Redis>,
    health_check: Option<HealthCheck>,
    spot: Option<Spot>,
    az_loss: Option<AzLoss>,
    upstream_requests_per_minute: Option<f64>,
    upstream_tokens_per_minute: Option<f64>,
}

impl Operations {
    fn none() -> Operations {
        Operations {
            deployments: None,
            worker_timeout: None,
            client_gives_up_after: None,
            task_protection: false,
            upstream_keep_alive: false,
            blocking: false,
            in_process: false,
            gunicorn: None,
            db_connections_max: None,
            db_pool_connections: None,
            redis: None,
            health_check: None,
            spot: None,
            az_loss: None,
            upstream_requests_per_minute: None,
            upstream_tokens_per_minute: None,
        }
    }

    fn apply(self, scenario: &mut Scenario) {
        let fleet = &mut scenario.fleet;
        fleet.deployments = self.deployments;
        fleet.db_connections_max = self.db_connections_max;
        fleet.db_pool_connections = self.db_pool_connections;
        fleet.redis = self.redis;
        fleet.health_check = self.health_check;
        fleet.spot = self.spot;
        fleet.az_loss = self.az_loss;
        fleet.upstream_requests_per_minute = self.upstream_requests_per_minute;
        fleet.upstream_tokens_per_minute = self.upstream_tokens_per_minute;
        fleet.worker_timeout = self.worker_timeout;
        fleet.task_protection = self.task_protection;
        fleet.upstream_keep_alive = self.upstream_keep_alive && self.blocking;
        fleet.upstream_call = if self.blocking {
            UpstreamCall::Blocking
        } else {
            UpstreamCall::Background
        };
        fleet.job_store = if self.in_process && fleet.mode == Mode::Queue {
            JobStore::InProcess
        } else {
            JobStore::Durable
        };
        (fleet.worker_model, fleet.gunicorn) = (WorkerModel::Sync, None);
        if let Some(gunicorn) = self.gunicorn
            && (fleet.mode == Mode::Sync || fleet.job_store == JobStore::InProcess)
        {
            fleet.worker_model = WorkerModel::Async;
            fleet.gunicorn = Some(gunicorn);
            fleet.db_pool_connections = None;
        } else if fleet.db_pool_connections.is_none() {
            fleet.db_connections_max = None;
        }
        let is_sync = fleet.mode == Mode::Sync;
        scenario.workload.client_gives_up_after = self.client_gives_up_after.filter(|_| is_sync);
    }
}

prop_compose! {
    fn gunicorns()(
        pool_connections_max in 1_u32..40,
        pdf_cpu_s in prop_oneof![Just(0.0), 0.1..20.0],
        max_requests in prop_oneof![Just(0_u32), 1_u32..2000],
        max_requests_jitter in 0_u32..50,
        other_requests_per_s in prop_oneof![Just(0.0), 0.0..5.0],
    ) -> Gunicorn {
        let recycles = max_requests > 0;
        Gunicorn {
            pool_connections_max,
            pdf_cpu_s,
            max_requests,
            max_requests_jitter: if recycles { max_requests_jitter } else { 0 },
            other_requests_per_s: if recycles { other_requests_per_s } else { 0.0 },
            ..Gunicorn::new()
        }
    }
}

prop_compose! {
    fn redises()(
        memory_mib in 1.0..50.0,
        session_kib in 1.0..1000.0,
        connections_max in 2_u32..10,
        connections_per_task in 1_u32..3,
        session_lasts_min in 1_u64..600,
    ) -> Redis {
        Redis {
            memory_mib,
            connections_max,
            connections_per_task,
            session_kib,
            session_lasts: Duration::from_minutes(session_lasts_min),
        }
    }
}

prop_compose! {
    fn health_checks()(
        interval_s in 20_u64..300,
        timeout_s in 2_u64..20,
        unhealthy_count in 2_u32..6,
        grace_s in 0_u64..100,
        cpu_s in prop_oneof![Just(0.0015), 0.0..2.0],
    ) -> HealthCheck {
        HealthCheck {
            interval: Duration::from_secs(interval_s),
            timeout: Duration::from_secs(timeout_s),
            unhealthy_count,
            grace: Duration::from_secs(grace_s),
            cpu_s,
        }
    }
}

prop_compose! {
    fn operations()(
        every_h in prop::option::of(1_u64..5),
        bake_min in prop::option::of(0_u64..40),
        (minimum_healthy_percent, maximum_percent) in (0_u32..100, 100_u32..400),
        worker_timeout_s in prop::option::of(1_u64..2000),
        client_gives_up_after_s in prop::option::of(1_u64..2000),
        flags in any::<(bool, bool, bool, bool)>(),
        gunicorn in prop::option::of(gunicorns()),
        db_connections_max in prop::option::of(20_u32..200),
        db_pool_connections in prop::option::of(1_u32..20),
        redis in prop::option::of(redises()),
        health_check in prop::option::of(health_checks()),
        interruptions_per_task_day in prop::option::of(0.0..200.0),
        az_loss in prop::option::of((0_u64..12, 0_u64..12, 2_u32..4)),
        upstream_requests_per_minute in prop::option::of(1.0..500.0),
        upstream_tokens_per_minute in prop::option::of(10_000.0..5e6),
    ) -> Operations {
        Operations {
            deployments: every_h.map(|every_h| {
                let every = Duration::from_hours(every_h);
                match bake_min {
                    Some(bake_min) => Deployments {
                        strategy: DeploymentStrategy::BlueGreen,
                        bake: Duration::from_minutes(bake_min),
                        ..Deployments::every(every)
                    },
                    None => Deployments {
                        // One task is only replaced when it may go first or a second one may come.
                        minimum_healthy_percent: if maximum_percent < 200 { 0 } else { minimum_healthy_percent },
                        maximum_percent,
                        ..Deployments::every(every)
                    },
                }
            }),
            worker_timeout: worker_timeout_s.map(Duration::from_secs),
            client_gives_up_after: client_gives_up_after_s.map(Duration::from_secs),
            task_protection: flags.0,
            upstream_keep_alive: flags.1,
            blocking: flags.2,
            in_process: flags.3,
            gunicorn,
            db_connections_max,
            db_pool_connections,
            redis,
            health_check,
            spot: interruptions_per_task_day.map(|interruptions_per_task_day| Spot {
                interruptions_per_task_day,
                discount_percent: 50,
            }),
            az_loss: az_loss.map(|(at_h, lasts_h, zones)| AzLoss {
                at: Duration::from_hours(at_h),
                lasts: Duration::from_hours(lasts_h),
                zones,
            }),
            upstream_requests_per_minute,
            upstream_tokens_per_minute,
        }
    }
}

prop_compose! {
    fn scenarios()(
        seed in any::<u32>(),
        arrivals in arrivals(),
        generation in lengths(),
        cpu_s in prop_oneof![Just(0.05), 0.0..200.0],
        memory_per_generation_kib in prop_oneof![Just(200.0), 0.0..400_000.0],
        steps_per_generation in 1_u32..6,
        fleet in fleets(),
        operations in prop::option::of(operations()),
    ) -> Scenario {
        let profile = Profile {
            cpu_s_per_generation: cpu_s,
            memory_base_mib: 40.0,
            memory_per_generation_kib,
            cpu_s_per_poll: 0.0005,
        };
        let mut scenario = Scenario::new(Workload::new(arrivals, generation), profile, fleet);
        scenario.seed = u64::from(seed);
        scenario.horizon = Duration::from_hours(12);
        scenario.workload.steps_per_generation = steps_per_generation;
        if let Some(operations) = operations {
            operations.apply(&mut scenario);
        }
        scenario
    }
}

/// Durable jobs, which no load balancer holds.
fn queue(fleet: &mut Fleet) {
    fleet.mode = Mode::Queue;
    fleet.load_balancing = LoadBalancing::default();
    fleet.stop_order = StopOrder::default();
}

fn text(scenario: &Scenario) -> String {
    scenario
        .to_toml()
        .expect("a seed of 32 bits has a TOML form")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn generations_are_conserved_and_shares_are_shares(scenario in scenarios()) {
        let run = simulate(&scenario).expect("the strategy makes valid scenarios");
        let accounted = run.completed + run.lost_total() + run.in_flight_at_end;
        prop_assert_eq!(run.submitted, accounted, "{}", text(&scenario));
        for share in [run.probability_of_wait, run.worker_utilization, run.cpu_utilization, run.memory_utilization] {
            prop_assert!((0.0..=1.0 + 1e-9).contains(&share), "{} in\n{}", share, text(&scenario));
        }
        let tasks = scenario.fleet.tasks;
        // A deployment or a lost zone may go below the minimum that autoscaling keeps to. A task without connections is
        // one that exists.
        if scenario.fleet.deployments.is_none() && scenario.fleet.az_loss.is_none() {
            prop_assert!(run.tasks_mean >= f64::from(tasks.min) - 1e-9, "{}", text(&scenario));
        }
        for waits in [run.wait_s, run.sojourn_s] {
            prop_assert!(waits.p50 <= waits.p95 && waits.p95 <= waits.p99 && waits.p99 <= waits.max);
        }
    }

    #[test]
    fn same_scenario_gives_the_same_bytes_also_after_a_round_trip_through_toml(scenario in scenarios()) {
        let json = |scenario: &Scenario| {
            let run = simulate(scenario).expect("the strategy makes valid scenarios");
            serde_json::to_string(&run).expect("an outcome is plain data")
        };
        let replayed = Scenario::from_toml(&text(&scenario)).expect("it was just written");
        prop_assert_eq!(&replayed, &scenario);
        prop_assert_eq!(json(&replayed), json(&scenario));
    }

    #[test]
    fn outcomes_read_back_from_their_json(scenario in scenarios()) {
        let run = simulate(&scenario).expect("the strategy makes valid scenarios");
        let json = serde_json::to_string(&run).expect("an outcome is plain data");
        let read: simulator::Outcome = serde_json::from_str(&json).expect("it was just written");
        prop_assert_eq!(&read.lost, &run.lost);
        prop_assert_eq!(&read.cost_usd_month, &run.cost_usd_month);
        prop_assert_eq!((read.submitted, read.bottleneck, read.horizon), (run.submitted, run.bottleneck, run.horizon));
        // The JSON reader is exact to the last digit but one.
        for (one, other) in [(read.wait_s.mean, run.wait_s.mean), (read.in_system_mean, run.in_system_mean)] {
            prop_assert!((one - other).abs() <= 1e-12 * other.abs());
        }
    }

    #[test]
    fn more_workers_or_tasks_never_raise_a_wait_under_common_random_numbers(
        scenario in scenarios(), more_workers in 0_u32..10, more_tasks in 0_u32..3
    ) {
        // Where the worker is the only resource; a shared CPU slows down by being shared more.
        let mut few = scenario;
        queue(&mut few.fleet);
        few.fleet.autoscaling = Autoscaling::none();
        Operations::none().apply(&mut few);
        few.profile.cpu_s_per_generation = 0.0;
        few.profile.cpu_s_per_poll = 0.0;
        few.profile.memory_per_generation_kib = 0.0;
        let mut many = few.clone();
        many.fleet.workers += more_workers;
        many.fleet.tasks = Tasks::fixed(few.fleet.tasks.desired + more_tasks);
        let (before, after) = (simulate(&few).expect("valid"), simulate(&many).expect("valid"));
        prop_assert!(after.wait_s.mean <= before.wait_s.mean, "{}", text(&few));
        prop_assert!(after.wait_s.p95 <= before.wait_s.p95, "{}", text(&few));
        prop_assert!(after.wait_s.max <= before.wait_s.max, "{}", text(&few));
        prop_assert!(after.completed >= before.completed, "{}", text(&few));
        if more_tasks > 0 {
            prop_assert!(after.cost_usd_month.total() > before.cost_usd_month.total());
        }
    }

    #[test]
    fn a_model_that_never_acts_changes_no_byte(scenario in scenarios()) {
        let mut off = scenario;
        Operations::none().apply(&mut off);
        let mut idle = off.clone();
        idle.fleet.worker_timeout = Some(Duration::from_hours(700));
        idle.fleet.spot = Some(Spot { interruptions_per_task_day: 0.0, discount_percent: 0 });
        idle.fleet.upstream_requests_per_minute = Some(1e9);
        idle.fleet.upstream_tokens_per_minute = Some(1e12);
        // In queue mode a blocking step begins again on another task, which is an act.
        if idle.fleet.mode == Mode::Sync {
            idle.fleet.upstream_call = UpstreamCall::Blocking;
            idle.fleet.upstream_keep_alive = true;
            idle.workload.client_gives_up_after = Some(Duration::from_hours(700));
        }
        idle.fleet.db_pool_connections = Some(1);
        idle.fleet.redis = Some(Redis { memory_mib: 1e6, ..Redis::new() });
        idle.fleet.health_check = Some(HealthCheck {
            grace: Duration::from_hours(24),
            ..HealthCheck::new()
        });
        let before = simulate(&off).expect("the strategy makes valid scenarios");
        let mut after = simulate(&idle).expect("it is still valid");
        prop_assert_eq!((after.starts_refused.take(), after.redis_full_s.take()), (Some(0), Some(0.0)));
        prop_assert_eq!(after.unhealthy_replaced.take(), Some(0));
        // A limit that is never reached is still a limit, though not the smallest.
        after.capacity_per_hour.remove(&Resource::UpstreamRequests);
        after.capacity_per_hour.remove(&Resource::UpstreamTokens);
        let json = |run| serde_json::to_string(run).expect("an outcome is plain data");
        prop_assert_eq!(json(&after), json(&before), "{}", text(&off));
    }

    #[test]
    fn more_vcpu_never_raises_a_sojourn_where_workers_never_run_out(
        mut small in scenarios(), cpu_s in 0.0..2000.0
    ) {
        Operations::none().apply(&mut small);
        queue(&mut small.fleet);
        small.fleet.autoscaling = Autoscaling::none();
        small.fleet.tasks = Tasks::fixed(1);
        small.fleet.workers = 100_000;
        small.profile.cpu_s_per_generation = cpu_s;
        small.profile.memory_per_generation_kib = 0.0;
        (small.fleet.vcpu, small.fleet.memory_gib) = (1.0, 4.0);
        let mut large = small.clone();
        large.fleet.vcpu = 2.0;
        let (before, after) = (simulate(&small).expect("valid"), simulate(&large).expect("valid"));
        prop_assert!(after.completed >= before.completed, "{}", text(&small));
        if after.completed == before.completed {
            // Each finish is rounded up to a nanosecond, at each of which the CPU is shared anew.
            prop_assert!(after.sojourn_s.max <= before.sojourn_s.max + 1e-3, "{}", text(&small));
            prop_assert!(after.sojourn_s.mean <= before.sojourn_s.mean + 1e-3, "{}", text(&small));
        }
        prop_assert!(after.cost_usd_month.total() > before.cost_usd_month.total());
    }

    #[test]
    fn patience_never_loses_more_where_workers_never_run_out(mut hasty in scenarios(), more_s in 0_u64..900) {
        Operations::none().apply(&mut hasty);
        hasty.fleet.mode = Mode::Sync;
        // By open requests, those that were cut would change which task the next ones share a CPU on.
        hasty.fleet.load_balancing = LoadBalancing::RoundRobin;
        hasty.fleet.autoscaling = Autoscaling::none();
        hasty.fleet.workers = 100_000;
        hasty.profile.memory_per_generation_kib = 0.0;
        let mut patient = hasty.clone();
        patient.fleet.alb_idle_timeout =
            hasty.fleet.alb_idle_timeout.plus(Duration::from_secs(more_s));
        let (before, after) = (simulate(&hasty).expect("valid"), simulate(&patient).expect("valid"));
        prop_assert!(after.lost_total() <= before.lost_total(), "{}", text(&hasty));
        prop_assert!(after.completed >= before.completed, "{}", text(&hasty));
    }
}
