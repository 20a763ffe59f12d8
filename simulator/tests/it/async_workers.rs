//! A Python service under Gunicorn's async workers does in the model what it was measured to do: 6 workers on 2 vCPU,
//! jobs in process, clients that poll every 2.5 s.

use simulator::outcome::LossCause;
use simulator::scenario::{
    Arrivals, Deployments, Fleet, GenerationLength, Gunicorn, JobStore, Mode, Profile, Scenario,
    Tasks, WorkerModel, Workload,
};
use simulator::time::Duration;

use crate::{lost, run};

/// So many generations of this length, submitted within the first second.
fn burst(count: u64, length: Duration) -> Scenario {
    let at = (0..count)
        .map(|index| Duration::from_millis(index * 1000 / count))
        .collect();
    let workload = Workload::new(
        Arrivals::Trace { at },
        GenerationLength::Deterministic { length },
    );
    let profile = Profile {
        cpu_s_per_generation: 0.08,
        memory_base_mib: 783.0,
        memory_per_generation_kib: 358.0,
        cpu_s_per_poll: 0.0024,
    };
    let mut fleet = Fleet::new(2.0, 4.0, 6, Tasks::fixed(1));
    fleet.job_store = JobStore::InProcess;
    fleet.worker_model = WorkerModel::Async;
    let mut scenario = Scenario::new(workload, profile, fleet);
    scenario.horizon = Duration::from_hours(1);
    scenario.warmup = Duration::ZERO;
    scenario
}

fn recycling() -> Gunicorn {
    Gunicorn {
        max_requests: 100,
        max_requests_jitter: 20,
        other_requests_per_s: 2.0,
        ..Gunicorn::new()
    }
}

#[test]
fn a_stock_database_holds_97_generations_and_the_rest_are_refused() {
    let mut scenario = burst(200, Duration::from_minutes(10));
    scenario.fleet.db_connections_max = Some(97);
    let outcome = run(&scenario);
    assert_eq!(
        (outcome.completed, lost(&outcome, LossCause::DbConnections)),
        (97, 103)
    );
    // Until the first of them ends, every request fails: ten minutes less the half second that it took to fill up, and
    // what it waited for the others in its event loop, whose calls end at the same moments.
    let exhausted_s = outcome.db_exhausted_s.expect("workers are async");
    assert!((599.5..602.0).contains(&exhausted_s), "{exhausted_s}");
    // Sync workers run six at a time: 30 in the hour, and one more at its last moment.
    scenario.fleet.worker_model = WorkerModel::Sync;
    scenario.fleet.db_connections_max = None;
    let sync = run(&scenario);
    assert_eq!((sync.completed, sync.db_exhausted_s), (31, None));
}

#[test]
fn a_larger_database_leaves_the_pools_of_thirty_as_the_limit() {
    let mut scenario = burst(400, Duration::from_minutes(10));
    scenario.fleet.db_connections_max = Some(397);
    let outcome = run(&scenario);
    // The kernel spreads them unevenly, but 400 fill all six pools.
    assert_eq!(
        (outcome.completed, lost(&outcome, LossCause::DbConnections)),
        (180, 220)
    );
    // 180 would fit, but not as they are spread.
    let mut fewer = burst(180, Duration::from_minutes(10));
    fewer.fleet.db_connections_max = scenario.fleet.db_connections_max;
    let refused = lost(&run(&fewer), LossCause::DbConnections);
    assert!((1..60).contains(&refused), "{refused}");
    let mut few = burst(140, Duration::from_minutes(10));
    few.fleet.db_connections_max = scenario.fleet.db_connections_max;
    assert!(lost(&run(&few), LossCause::DbConnections) < 10);
}

#[test]
fn recycling_by_requests_stops_the_service_until_the_generations_end() {
    // Measured: unanswering from about 56 s to 127 s with generations of 120 s, from 52 s to 97 s with 90 s.
    for (length_s, measured_s) in [(120, 127.0 - 56.0), (90, 97.0 - 52.0)] {
        let mut scenario = burst(24, Duration::from_secs(length_s));
        scenario.fleet.gunicorn = Some(recycling());
        // Afterwards the two other requests per second alone take five minutes to recycle the workers again.
        scenario.horizon = Duration::from_secs(240);
        let outcome = run(&scenario);
        assert_eq!((outcome.completed, outcome.lost_total()), (24, 0));
        let outage_s = outcome.unanswering_s.expect("workers are async");
        assert!(
            (outage_s - measured_s).abs() < 10.0,
            "{outage_s} s for the {measured_s} s measured"
        );
    }
}

#[test]
fn recycling_without_long_generations_is_not_noticed() {
    // 12 polls and 2 probes per second for a minute; a poll is a generation of no length here.
    let mut scenario = burst(720, Duration::from_millis(1));
    scenario.workload.arrivals = Arrivals::Deterministic {
        per_hour: 12.0 * 3600.0,
    };
    scenario.horizon = Duration::from_secs(60);
    scenario.fleet.gunicorn = Some(recycling());
    let outcome = run(&scenario);
    let outage_s = outcome.unanswering_s.expect("workers are async");
    assert!(outage_s < 7.0, "{outage_s}");
}

#[test]
fn a_ten_minute_generation_makes_the_outage_nine_minutes_long_and_new_requests_hang() {
    let mut scenario = burst(24, Duration::from_minutes(10));
    scenario.fleet.gunicorn = Some(recycling());
    if let Arrivals::Trace { at } = &mut scenario.workload.arrivals {
        // One more in the midst of the outage.
        at.push(Duration::from_minutes(5));
    }
    scenario.horizon = Duration::from_secs(900);
    let outcome = run(&scenario);
    let outage_s = outcome.unanswering_s.expect("workers are async");
    assert!((outage_s - 540.0).abs() < 30.0, "{outage_s}");
    // Submitted at 300 s, accepted when the generations of one worker have ended at 600 s and its successor is there.
    assert!(
        outcome.wait_s.max > 307.0 && outcome.wait_s.max < 309.0,
        "{:?}",
        outcome.wait_s
    );
    // A drain sends no heartbeat: a time-out shorter than it kills the generations that are left.
    scenario.fleet.worker_timeout = Some(Duration::from_secs(200));
    let killed = run(&scenario);
    // The late one is accepted after that, and its worker recycles as well before it ends.
    assert_eq!(lost(&killed, LossCause::WorkerTimeout), 25);
    assert!(killed.wait_s.max < 1.0, "{:?}", killed.wait_s);
}

#[test]
fn pdfs_are_rendered_one_after_the_other_on_a_worker_and_two_at_a_time_on_two_cores() {
    // One worker, two generations that end together: 2.87 s and 5.77 s measured at 2.90 s each.
    let mut scenario = burst(2, Duration::from_minutes(1));
    scenario.profile.cpu_s_per_generation = 0.0;
    scenario.profile.cpu_s_per_poll = 0.0;
    scenario.workload.arrivals = Arrivals::Trace {
        at: vec![Duration::from_secs(1); 2],
    };
    scenario.fleet.workers = 1;
    scenario.fleet.gunicorn = Some(Gunicorn {
        pdf_cpu_s: 2.9,
        ..Gunicorn::new()
    });
    let one = run(&scenario);
    assert_eq!(one.completed, 2);
    assert!(
        (one.sojourn_s.mean - (62.9 + 65.8) / 2.0).abs() < 1e-6,
        "{:?}",
        one.sojourn_s
    );
    // Six workers on two cores: 60 PDFs of 3 CPU-seconds take 90 s, if the work is spread well enough.
    scenario.workload.arrivals = Arrivals::Trace {
        at: vec![Duration::from_secs(1); 60],
    };
    scenario.fleet.workers = 6;
    scenario.fleet.gunicorn = Some(Gunicorn {
        pdf_cpu_s: 3.0,
        ..Gunicorn::new()
    });
    let six = run(&scenario);
    assert_eq!(six.completed, 60);
    assert!(
        six.sojourn_s.max >= 60.0 + 90.0 && six.sojourn_s.max < 60.0 + 110.0,
        "{:?}",
        six.sojourn_s
    );
}

#[test]
fn a_stop_loses_what_does_not_end_within_the_stop_timeout() {
    // The deployment comes at 60 s and stops the old task at 115 s, when the new one serves; SIGKILL comes at 145 s.
    for (length_s, lost_of_24) in [(115, 0), (142, 0), (150, 24)] {
        let mut scenario = burst(24, Duration::from_secs(length_s));
        scenario.fleet.deployments = Some(Deployments::every(Duration::from_secs(60)));
        scenario.horizon = Duration::from_secs(239);
        let outcome = run(&scenario);
        assert_eq!(
            lost(&outcome, LossCause::SigkillAfterStopTimeout),
            lost_of_24,
            "{length_s} s"
        );
        assert_eq!(outcome.completed, 24 - lost_of_24);
    }
    // An open request is held by the same workers.
    let mut scenario = burst(24, Duration::from_secs(150));
    scenario.fleet.mode = Mode::Sync;
    scenario.fleet.job_store = JobStore::Durable;
    scenario.fleet.alb_idle_timeout = Duration::from_secs(900);
    assert_eq!(run(&scenario).completed, 24);
}
