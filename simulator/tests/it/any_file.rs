//! No file makes the simulator panic: it is refused with a reason, or it runs.

mod reading;

use proptest::prelude::*;
use reading::read;
use simulator::scenario::Scenario;

const FILES: [&str; 8] = [
    include_str!("../../scenarios/fastapi.toml"),
    include_str!("../../scenarios/growth.toml"),
    include_str!("../../scenarios/mvp.toml"),
    include_str!("../../scenarios/proposal-sync.toml"),
    include_str!("../../scenarios/proposal.toml"),
    include_str!("../../scenarios/scale.toml"),
    EVERY_KEY,
    DURABLE_KEYS,
];

/// What the example files leave out, and durable jobs do not exclude.
const EVERY_KEY: &str = r#"
seed = 7
horizon = "3h"
warmup = "1h"
[workload]
arrivals = { kind = "trace", at = ["1s", "5m", "70m", "2h"] }
generation = { kind = "trace", lengths = ["1m", "30m"] }
poll_every = "1s"
steps_per_generation = 3
tokens_per_generation = 1000
db_cpu_s_per_generation = 0.5
client_gives_up_after = "20m"
[profile]
cpu_s_per_generation = 5
memory_base_mib = 40
memory_per_generation_kib = 200
cpu_s_per_poll = 0.001
[fleet]
mode = "sync"
vcpu = 1.0
memory_gib = 2
workers = 3
tasks = { min = 1, desired = 2, max = 4 }
start_delay = "10s"
load_balancing = "least_outstanding_requests"
alb_idle_timeout = "1000s"
deregistration_delay = "60s"
stop_timeout = "30s"
stop_order = "sigterm_at_deregistration"
nat_gateways = 0
db_instance_class = "db.t4g.small"
db_multi_az = true
db_storage_gb = 50
db_connections_max = 50
db_pool_connections = 10
cache_mode = "elasticache"
architecture = "arm"
worker_timeout = "25m"
task_protection = true
upstream_call = "blocking"
upstream_keep_alive = true
upstream_requests_per_minute = 30
upstream_tokens_per_minute = 5000
[fleet.redis]
memory_mib = 2
connections_max = 5
connections_per_task = 2
session_kib = 1000
session_lasts = "1h"
[fleet.health_check]
interval = "20s"
timeout = "4s"
unhealthy_count = 3
grace = "30s"
cpu_s = 0.1
[fleet.deployments]
every = "1h"
strategy = "blue_green"
bake = "5m"
[fleet.autoscaling]
metric = ["requests", "queue_depth"]
requests_per_task_target = 2
steps = [{ above = 0, add = 1 }, { above = 5, add = 2 }]
[bill]
on = "2027-03-01"
postgres_major = 14
egress_kib_per_generation = 1024
cross_az_kib_per_generation = 512
[bill.openai]
model = "gpt-5"
input_per_generation = 20000
output_per_generation = 30000
"#;

/// What durable jobs alone have.
const DURABLE_KEYS: &str = r#"
horizon = "3h"
[workload]
arrivals = { kind = "deterministic", per_hour = 30 }
generation = { kind = "lognormal", median = "10m", p95 = "15m" }
attempts_max = 2
[profile]
cpu_s_per_generation = 0.2
memory_base_mib = 40
memory_per_generation_kib = 400000
[fleet]
vcpu = 0.25
memory_gib = 1
workers = 6
tasks = { min = 1, desired = 1, max = 2 }
job_store = "durable"
worker_timeout = "12m"
"#;

/// Numbers and words that belong in no file, or in another place of it.
const STRANGE: [&str; 24] = [
    "0",
    "-1",
    "1e308",
    "-1e308",
    "1e-308",
    "nan",
    "inf",
    "-inf",
    "4294967296",
    "9223372036854775807",
    "99999999999999999999",
    "\"0s\"",
    "\"99999999999999h\"",
    "\"1ns\"",
    "\"-5m\"",
    "\"\"",
    "\"\u{1F600}\"",
    "[]",
    "[[]]",
    "{}",
    "{ low = 1, mid = 1, high = 1 }",
    "true",
    "2026-01-01",
    "\"2027-13-41\"",
];

/// One line of a file with its value replaced, or the line dropped, doubled or moved.
fn damaged() -> impl Strategy<Value = String> {
    (
        0..FILES.len(),
        prop::collection::vec(
            (any::<prop::sample::Index>(), 0..STRANGE.len(), 0..6_u8),
            1..4,
        ),
    )
        .prop_map(|(file, wounds)| {
            let mut lines: Vec<String> = FILES[file].lines().map(str::to_owned).collect();
            for (index, strange, kind) in wounds {
                if lines.is_empty() {
                    break;
                }
                let line = index.index(lines.len());
                match kind {
                    0..=3 => {
                        if let Some((key, _)) = lines[line].split_once('=') {
                            lines[line] = format!("{key}= {}", STRANGE[strange]);
                        }
                    }
                    4 => {
                        lines.remove(line);
                    }
                    _ => {
                        let copy = lines[line].clone();
                        lines.push(copy);
                    }
                }
            }
            lines.join("\n")
        })
}

#[test]
fn every_committed_file_runs_on_every_platform() {
    for file in FILES {
        read(file);
        Scenario::from_toml(file).expect("the committed files are valid");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_damaged_file_is_refused_or_runs(text in damaged()) {
        read(&text);
    }

    #[test]
    fn any_text_is_refused_or_runs(text in "\\PC{0,200}") {
        read(&text);
    }

    #[test]
    fn any_bytes_of_a_file_in_any_order_are_refused_or_run(
        file in 0..FILES.len(), from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()
    ) {
        let text = FILES[file];
        let (one, other) = (from.index(text.len()), to.index(text.len()));
        let cut: String = text.chars().skip(one.min(other)).take(one.abs_diff(other)).collect();
        read(&cut);
    }
}
