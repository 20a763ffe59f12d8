//! Requests that stay open behind a load balancer, by the real binary and a real backend.

use crate::{Scratch, backend, stderr_of, stdout_of};

#[test]
fn what_is_lost_of_open_requests_is_what_the_simulator_says() {
    let scratch = Scratch::new();
    let (backend, out) = (backend(), scratch.path("out"));
    let mut arguments = vec![
        "sync",
        "--json",
        "--out",
        &out,
        "--idle-timeouts",
        "60,4000",
    ];
    arguments.extend(["--speedup", "100", "--length", "2", "--rate", "30"]);
    arguments.extend(backend.iter().flat_map(|path| ["--backend", path.as_str()]));
    let sync: serde_json::Value =
        serde_json::from_str(&stdout_of(0, &arguments)).expect("JSON on standard output");
    let runs = sync["runs"].as_array().expect("a list");
    let lost = ["alb_idle_timeout", "answered"];
    for (run, fate) in runs.iter().zip(lost) {
        let requests = run["requests"].as_u64().expect("a count");
        assert!(requests >= 5, "{run:#}");
        assert_eq!(run["seen"][fate], requests, "{run:#}");
        assert_eq!(run["seen"], run["predicted"], "{run:#}");
    }
    assert!(std::path::Path::new(&out).join("sync.json").is_file());
}

#[test]
fn an_idle_time_out_that_no_load_balancer_has_is_refused() {
    let stderr = stderr_of(2, &["sync", "--idle-timeouts", "60,5000"]);
    assert!(stderr.contains("from 1 to 4000"), "{stderr}");
}
