//! Scenario files: defaults, and errors that name line, key and remedy.

use simulator::scenario::{Metric, Mode, Profile, Scenario};
use simulator::slo::Slo;
use simulator::time::Duration;

const MINIMAL: &str = r#"
[workload]
arrivals = { kind = "poisson", per_hour = 60 }
generation = { kind = "uniform", min = "10m", max = "15m" }
[profile]
cpu_s_per_generation = 0.05
memory_base_mib = 40
memory_per_generation_kib = 200
[fleet]
vcpu = 2.0
memory_gib = 4
workers = 6
tasks = { min = 2, desired = 2, max = 2 }
"#;

#[test]
fn a_minimal_scenario_takes_the_documented_defaults() {
    let scenario = Scenario::from_toml(MINIMAL).expect("it is valid");
    assert_eq!(scenario.seed, 42);
    assert_eq!(
        (scenario.horizon, scenario.warmup),
        (Duration::from_hours(24), Duration::from_hours(1))
    );
    assert_eq!(scenario.fleet.mode, Mode::Queue);
    assert_eq!(scenario.fleet.alb_idle_timeout, Duration::from_secs(60));
    assert!(scenario.fleet.autoscaling.metrics.is_empty());
    assert_eq!(scenario.slo, Slo::default());
}

#[test]
fn metrics_are_one_name_or_several() {
    let with = |metric: &str| {
        Scenario::from_toml(&format!(
            "{MINIMAL}\n[fleet.autoscaling]\nmetric = {metric}\n"
        ))
        .map(|scenario| scenario.fleet.autoscaling.metrics)
    };
    assert_eq!(with("\"none\""), Ok(vec![]));
    assert_eq!(with("\"queue_depth\""), Ok(vec![Metric::QueueDepth]));
    assert_eq!(
        with("[\"cpu\", \"memory\"]"),
        Ok(vec![Metric::Cpu, Metric::Memory])
    );
    assert!(
        with("\"disk\"")
            .expect_err("no such metric")
            .to_string()
            .contains("queue_depth")
    );
}

#[test]
fn the_profile_may_be_in_another_file() {
    let profile = Profile {
        cpu_s_per_generation: 0.2,
        memory_base_mib: 30.5,
        memory_per_generation_kib: 128.0,
        cpu_s_per_poll: 0.001,
    };
    let written = profile.to_toml().expect("a profile has a TOML form");
    let start = MINIMAL.find("[profile]").expect("it is there");
    let end = MINIMAL.find("[fleet]").expect("it is there");
    let text = format!(
        "{}[profile]\nfile = \"p.toml\"\n{}",
        &MINIMAL[..start],
        &MINIMAL[end..]
    );
    let mut asked = Vec::new();
    let scenario = Scenario::from_toml_with(&text, &mut |file| {
        asked.push(file.to_owned());
        Ok(written.clone())
    })
    .expect("it is valid");
    assert_eq!(asked, ["p.toml"]);
    assert_eq!(scenario.profile, profile);
    let error = Scenario::from_toml(&text)
        .expect_err("nobody reads files here")
        .to_string();
    assert!(
        error.starts_with("line 6, column 8, key `profile.file`: \"p.toml\" cannot be read"),
        "{error}"
    );
}

/// The minimal scenario with one line replaced or added at the end, and what is said about it.
fn complaint(from: &str, to: &str) -> String {
    let text = if from.is_empty() {
        format!("{MINIMAL}{to}\n")
    } else {
        MINIMAL.replacen(from, to, 1)
    };
    assert_ne!(text, MINIMAL, "nothing replaced");
    match Scenario::from_toml(&text) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_error_names_line_key_and_remedy() {
    let cases = [
        ("memory_gib = 4", "memory_gib = 3"),
        ("vcpu = 2.0", "vcpu = 3"),
        ("vcpu = 2.0", "vcpu = nan"),
        ("workers = 6", "workers = 0"),
        ("workers = 6", "workers = -1"),
        ("workers = 6", "worker = 6"),
        ("workers = 6\n", ""),
        ("desired = 2", "desired = 5"),
        ("per_hour = 60", "per_hour = -1"),
        ("per_hour = 60", "per_hour = inf"),
        ("per_hour = 60", "per_hour = 1e11"),
        ("per_hour = 60", "per_day = 60"),
        ("per_hour = 60", "per_houre = 60"),
        ("per_hour = 60", "users = 60"),
        ("per_hour = 60", "per_hour = \"often\""),
        (", per_hour = 60", ""),
        ("poisson", "poison"),
        ("kind = \"poisson\", ", ""),
        ("{ kind = \"poisson\", per_hour = 60 }", "60"),
        (
            "kind = \"poisson\", per_hour = 60",
            "kind = \"daily\", per_hour = 6, hourly = { low = [1], mid = [2], high = [3] }",
        ),
        ("kind = \"uniform\", min", "kind = \"exponential\", mean"),
        ("max = \"15m\"", "maximum = \"15m\""),
        ("min = \"10m\"", "min = \"-10m\""),
        ("min = \"10m\"", "min = \"20m\""),
        ("min = \"10m\"", "min = \"0s\""),
        ("min = \"10m\"", "min = 600"),
        ("cpu_s_per_generation = 0.05\n", ""),
        ("memory_base_mib = 40", "memory_base_mib = 5000"),
        ("[workload]", "horizon = \"1h\"\n[workload]"),
        ("[workload]", "horizon = \"0s\"\n[workload]"),
        ("[workload]", "horizon = \"999999999999h\"\n[workload]"),
        ("", "db_instance_class = \"db.x1.mega\""),
        ("", "mode = \"synch\""),
        ("[workload]", "[work_load]"),
        ("", "stop_timeout = \"5m\""),
        ("", "[slo]\nwait_p95 = \"soon\""),
        ("", "[slo]\nbudget_usd_month = -5"),
        ("[fleet]", "[fleet"),
    ];
    let complaints: Vec<String> = cases.iter().map(|(from, to)| complaint(from, to)).collect();
    insta::assert_snapshot!(complaints.join("\n"), @r#"
    line 11, column 14, key `fleet.memory_gib`: Fargate has no task of 2 vCPU with 3 GiB; with 2 vCPU take one of 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 GiB
    line 10, column 8, key `fleet.vcpu`: Fargate has no task of 3 vCPU; take one of 0.25, 0.5, 1, 2, 4, 8, 16
    line 10, column 8, key `fleet.vcpu`: Fargate has no task of NaN vCPU; take one of 0.25, 0.5, 1, 2, 4, 8, 16
    line 12, column 11, key `fleet.workers`: 0 is out of range; write a whole number from 1 to 100000
    line 12, column 11, key `fleet.workers`: invalid value: integer `-1`, expected a whole number from 0 to 4294967295
    line 12, column 1, key `fleet.worker`: unknown field `worker`, expected one of `platform`, `mode`, `vcpu`, `memory_gib`, `workers`, `tasks`, `start_delay`, `autoscaling`, `load_balancing`, `alb_idle_timeout`, `deregistration_delay`, `stop_timeout`, `stop_order`, `nat_gateways`, `db_instance_class`, `db_multi_az`, `db_storage_gb`, `db_connections_max`, `db_pool_connections`, `cache_mode`, `redis`, `architecture`, `job_store`, `worker_timeout`, `task_protection`, `upstream_call`, `upstream_keep_alive`, `upstream_requests_per_minute`, `upstream_tokens_per_minute`, `worker_model`, `gunicorn`, `health_check`, `deployments`, `spot`, `az_loss`; did you mean `workers`?
    line 9, column 1, key `fleet.workers`: missing; write it
    line 13, column 30, key `fleet.tasks.desired`: 5 is not between the min of 2 and the max of 2; write min <= desired <= max
    line 3, column 43, key `workload.arrivals.per_hour`: -1 is out of range; write a number above 0, at most 1000000000000
    line 3, column 43, key `workload.arrivals.per_hour`: inf is out of range; write a number above 0, at most 1000000000000
    line 3, column 12, key `workload.arrivals`: about 2400000000000 submissions in one run; stay below 50000000: lower the rate or shorten the horizon
    line 3, column 32, key `workload.arrivals.per_day`: unknown field `per_day`, kind = "poisson" has `per_hour`
    line 3, column 32, key `workload.arrivals.per_houre`: unknown field `per_houre`, kind = "poisson" has `per_hour`; did you mean `per_hour`?
    line 3, column 32, key `workload.arrivals.users`: unknown field `users`, kind = "poisson" has `per_hour`
    line 3, column 43, key `workload.arrivals.per_hour`: invalid type: string "often", expected a number
    line 3, column 12, key `workload.arrivals.per_hour`: missing; kind = "poisson" has `per_hour`
    line 3, column 21, key `workload.arrivals.kind`: unknown variant `poison`, expected one of `poisson`, `deterministic`, `daily`, `users`, `trace`; did you mean `poisson`?
    line 3, column 12, key `workload.arrivals.kind`: missing; write one of "poisson", "deterministic", "daily", "users", "trace"
    line 3, column 12, key `workload.arrivals`: invalid type: integer `60`, expected a table of keys
    line 3, column 53, key `workload.arrivals.hourly`: kind = "daily" has one day; write 24 multipliers, or take kind = "users"
    line 4, column 52, key `workload.generation.max`: unknown field `max`, kind = "exponential" has `mean`
    line 4, column 47, key `workload.generation.maximum`: unknown field `maximum`, kind = "uniform" has `min`, `max`; did you mean `max`?
    line 4, column 40, key `workload.generation.min`: duration "-10m" is negative; write a number with a unit, such as "250ms", "2.5s", "10m", "1h30m" or "24h"
    line 4, column 40, key `workload.generation.min`: 20m is longer than the max of 15m; swap them
    line 4, column 40, key `workload.generation.min`: a generation of 0s; write a duration from "1ms" to "720h"
    line 4, column 40, key `workload.generation.min`: invalid type: integer `600`, expected a duration as text, such as "250ms", "2.5s", "10m" or "24h"
    line 5, column 1, key `profile.cpu_s_per_generation`: missing; write it, or name a profile with `file`
    line 11, column 14, key `fleet.memory_gib`: an idle task alone takes 5000 MiB of the 4096 MiB; give the task more memory
    line 2, column 11, key `horizon`: 1h ends before the warm-up of 1h does; make the horizon longer or the warmup shorter
    line 2, column 11, key `horizon`: a run of no time shows nothing; write a duration such as "24h"
    line 2, column 11, key `horizon`: duration "999999999999h" is longer than 100 years; write a number with a unit, such as "250ms", "2.5s", "10m", "1h30m" or "24h"
    line 14, column 21, key `fleet.db_instance_class`: the price book has no price for "db.x1.mega"; take one of db.t4g.micro, db.t4g.small, db.t4g.medium, db.t4g.large, db.t4g.xlarge, db.t4g.2xlarge, db.t3.micro, db.t3.small, db.t3.medium, db.t3.large, db.m5.large, db.m5.xlarge, db.m6g.large, db.m6g.xlarge, db.m6g.2xlarge, db.m6i.large, db.m6i.xlarge, db.m6i.2xlarge, db.m7g.large, db.m7g.xlarge, db.m7g.2xlarge, db.r5.large, db.r5.xlarge, db.r5.2xlarge, db.r6g.large, db.r6g.xlarge, db.r6g.2xlarge, db.r6i.large, db.r6i.xlarge, db.r6i.2xlarge, db.r7g.large
    line 14, column 8, key `fleet.mode`: unknown variant `synch`, expected `queue` or `sync`; did you mean `sync`?
    line 2, column 2, key `work_load`: unknown field `work_load`, expected one of `seed`, `horizon`, `warmup`, `workload`, `profile`, `fleet`, `slo`, `bill`; did you mean `workload`?
    line 14, column 16, key `fleet.stop_timeout`: 5m is out of range; write a duration from "1s" to "2m"
    line 15, column 12, key `slo.wait_p95`: duration "soon" has no number before "soon"; write a number with a unit, such as "250ms", "2.5s", "10m", "1h30m" or "24h"
    line 15, column 20, key `slo.budget_usd_month`: -5 is not an amount of dollars; write a number from 0 to 1000000000000
    line 9, column 7, unclosed table, expected `]`
    "#);
}

#[test]
fn errors_in_what_happens_to_a_fleet_name_line_key_and_remedy() {
    let cases = [
        ("", "worker_timeout = \"0s\""),
        ("", "upstream_call = \"streaming\""),
        ("", "task_protection = 1"),
        ("", "mode = \"sync\"\njob_store = \"in_process\""),
        ("", "worker_model = \"async\""),
        ("", "[fleet.gunicorn]\npdf_cpu_s = 3"),
        (
            "",
            "job_store = \"in_process\"\nworker_model = \"async\"\n[fleet.gunicorn]\npdf_cpu_s = -3",
        ),
        (
            "",
            "job_store = \"in_process\"\nworker_model = \"async\"\n[fleet.gunicorn]\npool_size = 3",
        ),
        ("", "db_pool_connections = 10\ndb_connections_max = 0"),
        ("", "db_pool_connections = 77"),
        (
            "",
            "job_store = \"in_process\"\nworker_model = \"async\"\ndb_pool_connections = 3",
        ),
        ("", "start_delay = \"10ms\"\ndb_pool_connections = 10"),
        ("", "cache_mode = \"none\"\n[fleet.redis]\nsession_kib = 1"),
        ("", "[fleet.redis]\nmemory_mib = 0"),
        ("", "[fleet.redis]\nmaxclients = 10"),
        (
            "",
            "[fleet.redis]\nconnections_max = 1\nconnections_per_task = 2",
        ),
        ("", "[fleet.health_check]\ninterval = \"1s\""),
        (
            "",
            "[fleet.health_check]\ninterval = \"5s\"\ntimeout = \"5s\"",
        ),
        ("", "[fleet.health_check]\nunhealthy_count = 1"),
        ("", "[fleet.health_check]\npath = \"/health\""),
        ("", "upstream_requests_per_minute = 0"),
        ("", "[fleet.spot]\ninterruptions_per_task_day = -1"),
        (
            "",
            "[fleet.spot]\ninterruptions_per_task_day = 1\ndiscount_percent = 100",
        ),
        (
            "",
            "[fleet.az_loss]\nat = \"1h\"\nlasts = \"1h\"\nzones = 1",
        ),
        ("", "[fleet.deployments]\nevery = \"1s\""),
        ("", "[fleet.deployments]\nminimum_healthy_percent = 50"),
        (
            "",
            "[fleet.deployments]\nevery = \"24h\"\nminimum_healthy_percent = 101",
        ),
        (
            "",
            "[fleet.deployments]\nevery = \"24h\"\nmaximum_percent = 100",
        ),
        (
            "",
            "[fleet.deployments]\nevery = \"24h\"\nkind = \"rolling\"",
        ),
        ("[profile]", "client_gives_up_after = \"0s\"\n[profile]"),
    ];
    let complaints: Vec<String> = cases.iter().map(|(from, to)| complaint(from, to)).collect();
    insta::assert_snapshot!(complaints.join("\n"), @r#"
    line 14, column 18, key `fleet.worker_timeout`: 0s is out of range; write a duration from "1s" to "720h"
    line 14, column 17, key `fleet.upstream_call`: unknown variant `streaming`, expected `background` or `blocking`
    line 14, column 19, key `fleet.task_protection`: invalid type: integer `1`, expected a boolean
    line 15, column 13, key `fleet.job_store`: a sync request has no job to store; leave it out, or set mode to "queue"
    line 14, column 16, key `fleet.worker_model`: async workers hold their jobs in process; set job_store to "in_process", or mode to "sync"
    line 14, column 1, key `fleet.gunicorn`: says what async workers do, but the workers are sync; leave it out, or set worker_model to "async"
    line 17, column 13, key `fleet.gunicorn.pdf_cpu_s`: -3 is out of range; write a number from 0 to 3600
    line 17, column 1, key `fleet.gunicorn.pool_size`: unknown field `pool_size`, expected one of `pool_connections_max`, `pdf_cpu_s`, `max_requests`, `max_requests_jitter`, `other_requests_per_s`, `worker_boot`
    line 15, column 22, key `fleet.db_connections_max`: 0 is out of range; write a whole number from 1 to 1000000
    line 14, column 23, key `fleet.db_pool_connections`: a single task opens 77 connections, and the database takes 76; lower it, or take a larger db_instance_class
    line 16, column 23, key `fleet.db_pool_connections`: async workers open a connection for each generation; leave it out, or set worker_model to "sync"
    line 14, column 15, key `fleet.start_delay`: 10ms is too short beside `fleet.db_pool_connections`; write at least "1s"
    line 15, column 1, key `fleet.redis`: describes the managed node, and there is none; leave it out, or set cache_mode to "elasticache"
    line 15, column 14, key `fleet.redis.memory_mib`: 0 is out of range; write a number from 1 to 1000000
    line 15, column 1, key `fleet.redis.maxclients`: unknown field `maxclients`, expected one of `memory_mib`, `connections_max`, `connections_per_task`, `session_kib`, `session_lasts`
    line 15, column 19, key `fleet.redis.connections_max`: 1 is out of range; write a whole number from 2 to 1000000
    line 15, column 12, key `fleet.health_check.interval`: 1s is out of range; write a duration from "5s" to "5m"
    line 16, column 11, key `fleet.health_check.timeout`: 5s is not shorter than the interval of 5s; shorten it, or lengthen the interval
    line 15, column 19, key `fleet.health_check.unhealthy_count`: 1 is out of range; write a whole number from 2 to 10
    line 15, column 1, key `fleet.health_check.path`: unknown field `path`, expected one of `interval`, `timeout`, `unhealthy_count`, `grace`, `cpu_s`
    line 14, column 32, key `fleet.upstream_requests_per_minute`: 0 is out of range; write a number from 0.001 to 1000000000
    line 15, column 30, key `fleet.spot.interruptions_per_task_day`: -1 is out of range; write a number from 0 to 1000
    line 16, column 20, key `fleet.spot.discount_percent`: 100 is out of range; write a whole number from 0 to 90
    line 17, column 9, key `fleet.az_loss.zones`: 1 is out of range; write a whole number from 2 to 6
    line 15, column 9, key `fleet.deployments.every`: 1s is out of range; write a duration from "1m" to "8784h"
    line 14, column 1, key `fleet.deployments.every`: missing; write it
    line 16, column 27, key `fleet.deployments.minimum_healthy_percent`: 101 is out of range; write a whole number from 0 to 100
    line 16, column 19, key `fleet.deployments.maximum_percent`: with 2 desired tasks, a deployment within 100 to 100 % may neither start nor stop one; raise it, or lower minimum_healthy_percent
    line 16, column 1, key `fleet.deployments.kind`: unknown field `kind`, expected one of `every`, `strategy`, `bake`, `minimum_healthy_percent`, `maximum_percent`
    line 5, column 25, key `workload.client_gives_up_after`: 0s is out of range; write a duration from "1ms" to "720h"
    "#);
}

#[test]
fn what_cannot_act_is_refused() {
    let in_process = "job_store = \"in_process\"\nworker_model = \"async\"\n";
    let cases = [
        (
            "[profile]",
            "client_gives_up_after = \"5m\"\n[profile]".to_owned(),
        ),
        (
            "[profile]",
            "tokens_per_generation = 9000\n[profile]".to_owned(),
        ),
        (
            "",
            "load_balancing = \"least_outstanding_requests\"".to_owned(),
        ),
        ("", "stop_order = \"sigterm_at_deregistration\"".to_owned()),
        (
            "",
            format!("{in_process}stop_order = \"sigterm_at_deregistration\""),
        ),
        ("", "upstream_keep_alive = true".to_owned()),
        ("", "db_connections_max = 50".to_owned()),
        (
            "",
            "[fleet.autoscaling]\nsteps = [{ above = 0, add = 1 }]".to_owned(),
        ),
        (
            "",
            "[fleet.autoscaling]\nmetric = \"cpu\"\nrequests_per_task_target = 50".to_owned(),
        ),
        (
            "",
            format!("{in_process}[fleet.gunicorn]\nmax_requests_jitter = 50"),
        ),
        (
            "",
            format!("{in_process}[fleet.gunicorn]\nother_requests_per_s = 0.1"),
        ),
        (
            "",
            "[fleet.deployments]\nevery = \"6h\"\nstrategy = \"blue_green\"\nmaximum_percent = 150"
                .to_owned(),
        ),
        ("", "[fleet.deployments]\nevery = \"24h\"".to_owned()),
        (
            "",
            "[fleet.az_loss]\nat = \"30h\"\nlasts = \"1h\"".to_owned(),
        ),
        (
            "kind = \"poisson\", per_hour = 60",
            "kind = \"trace\", at = [\"25h\"]".to_owned(),
        ),
        ("", "[bill]\non = \"2027-03-01\"".to_owned()),
    ];
    let mut complaints: Vec<String> = cases.iter().map(|(from, to)| complaint(from, to)).collect();
    let sync = MINIMAL.replace("[fleet]\n", "[fleet]\nmode = \"sync\"\n");
    let retried = sync.replace("[profile]", "attempts_max = 3\n[profile]");
    complaints.push(
        Scenario::from_toml(&retried)
            .expect_err("no job")
            .to_string(),
    );
    insta::assert_snapshot!(complaints.join("\n"), @r#"
    line 5, column 25, key `workload.client_gives_up_after`: in queue mode no client waits for its answer; leave it out, or set fleet.mode to "sync"
    line 5, column 25, key `workload.tokens_per_generation`: nothing limits tokens; leave it out, or set fleet.upstream_tokens_per_minute; bill.openai has the tokens that are paid for
    line 14, column 18, key `fleet.load_balancing`: workers take durable jobs from the queue, whichever task was asked for them; leave it out, or set mode to "sync"
    line 14, column 14, key `fleet.stop_order`: in queue mode no open request has to be drained before SIGTERM; leave it out, or set mode to "sync"
    line 16, column 14, key `fleet.stop_order`: in queue mode no open request has to be drained before SIGTERM; leave it out, or set mode to "sync"
    line 14, column 23, key `fleet.upstream_keep_alive`: background calls keep no connection open; leave it out, or set upstream_call to "blocking"
    line 14, column 22, key `fleet.db_connections_max`: no task opens connections that would count; leave it out, or state db_pool_connections
    line 15, column 9, key `fleet.autoscaling.steps`: no metric is above or below them; leave them out, or name a metric
    line 16, column 28, key `fleet.autoscaling.requests_per_task_target`: no task is started or stopped by requests; leave it out, or name "requests" in metric
    line 17, column 23, key `fleet.gunicorn.max_requests_jitter`: spreads max_requests, and no worker is replaced after any; leave it out, or state max_requests
    line 17, column 24, key `fleet.gunicorn.other_requests_per_s`: counts towards max_requests, and no worker is replaced after any; leave it out, or state max_requests
    line 14, column 1, key `fleet.deployments`: minimum_healthy_percent and maximum_percent bound rolling deployments, and these are blue/green; leave them out, or set strategy to "rolling"
    line 15, column 9, key `fleet.deployments.every`: the first deployment comes after 24h, and the run ends after 24h; write an earlier time, or lengthen the horizon
    line 15, column 6, key `fleet.az_loss.at`: the zone's failure comes after 30h, and the run ends after 24h; write an earlier time, or lengthen the horizon
    line 3, column 35, key `workload.arrivals.at`: the first generation comes after 25h, and the run ends after 24h; write an earlier time, or lengthen the horizon
    line 15, column 6, key `bill.on`: decides on extended support alone, and no PostgreSQL version is named; leave it out, or state postgres_major
    line 5, column 16, key `workload.attempts_max`: only a durable job outlives its worker and is tried again; leave it out, or set fleet.mode to "queue" and fleet.job_store to "durable"
    "#);

    // Where they act, and at their defaults, they are no mistake.
    let acting = sync.replace(
        "[profile]",
        "client_gives_up_after = \"5m\"\nattempts_max = 5\n[profile]",
    ) + "load_balancing = \"least_outstanding_requests\"\nstop_order = \"sigterm_at_deregistration\"\n";
    Scenario::from_toml(&acting).expect("requests are held");
}

#[test]
fn a_promise_may_be_a_file_of_its_own() {
    let slo = Slo::from_toml("wait_p95 = \"60s\"\nlost_max = 0\nbudget_usd_month = 200\n")
        .expect("valid");
    assert_eq!(slo.wait_p95, Some(Duration::from_secs(60)));
    let error = Slo::from_toml("wait_p99 = \"60s\"")
        .expect_err("no such promise")
        .to_string();
    assert!(
        error.contains("line 1") && error.contains("wait_p99") && error.contains("wait_p95"),
        "{error}"
    );
}

#[test]
fn an_assumption_that_is_no_interval_is_named() {
    let stage = include_str!("../../scenarios/mvp.toml");
    let cases = [
        ("low = 100, mid = 400", "low = 500, mid = 400"),
        ("low = 0.2, mid", "low = -0.2, mid"),
        ("low = 0.2, mid", "low = nan, mid"),
        ("low = 0.2, mid", "least = 0.2, mid"),
        (
            "generations_per_user_day = { low = 0.2, mid = 0.5, high = 1.0 }",
            "generations_per_user_day = \"often\"",
        ),
        (
            "hourly = { low = [\n    0.4, 0.4,",
            "hourly = { low = [\n    0.4,",
        ),
    ];
    let complaints: Vec<String> = cases
        .iter()
        .map(|(from, to)| {
            let text = stage.replace(from, to);
            assert_ne!(text, stage, "{from}");
            Scenario::from_toml(&text)
                .expect_err("no such assumption")
                .to_string()
        })
        .collect();
    insta::assert_snapshot!(complaints.join("\n"), @r#"
    line 18, column 9, key `workload.arrivals.users`: 500, 400, 1000 is no interval; write low <= mid <= high
    line 19, column 28, key `workload.arrivals.generations_per_user_day`: -0.2 is out of range; write a number above 0, at most 1000000000000
    line 19, column 28, key `workload.arrivals.generations_per_user_day`: NaN is out of range; write a number above 0, at most 1000000000000
    line 19, column 30, key `workload.arrivals.generations_per_user_day.least`: unknown field `least`, expected one of `low`, `mid`, `high`
    line 19, column 28, key `workload.arrivals.generations_per_user_day`: invalid type: string "often", expected one value, or { low = …, mid = …, high = … }
    line 20, column 10, key `workload.arrivals.hourly`: 23 multipliers; write 24, one per hour of the day
    "#);
    let exact = stage.replace("{ low = 100, mid = 400, high = 1000 }", "400");
    Scenario::from_toml(&exact).expect("one value is an assumption too");
}

#[test]
fn a_year_of_the_largest_stage_is_not_too_much_to_simulate() {
    let text = include_str!("../../scenarios/scale.toml");
    let horizon = text.lines().find(|line| line.starts_with("horizon"));
    let year = text.replace(horizon.expect("it is stated"), "horizon = \"8760h\"");
    Scenario::from_toml(&year).expect("36.5 million submissions at most");
}
