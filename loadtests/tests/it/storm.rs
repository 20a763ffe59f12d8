//! A small storm, by the real binary: real backends, real faults, and an audit that finds nothing.

use crate::{Scratch, backend, stderr_of, stdout_of};

fn storm<'a>(backend: Option<&'a str>, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["storm", "--out", out, "--format", "json"];
    arguments.extend(backend.into_iter().flat_map(|path| ["--backend", path]));
    arguments.extend(more);
    arguments
}

#[test]
fn a_small_storm_loses_duplicates_and_bills_twice_nothing() {
    let scratch = Scratch::new();
    let (backend, out) = (backend(), scratch.path("out"));
    // Three rounds of generations of a second and a half each: long enough for a dozen faults.
    let size = ["--generations", "24", "--in-flight", "8"];
    let pace = ["--speedup", "600", "--seed", "7"];
    let arguments = storm(backend.as_deref(), &out, &[size, pace].concat());
    let storm: serde_json::Value =
        serde_json::from_str(&stdout_of(0, &arguments)).expect("JSON on standard output");
    let audit = &storm["audit"];
    for kind in ["lost", "duplicated", "double_billed"] {
        assert_eq!(audit[kind], serde_json::json!([]), "{storm:#}");
    }
    assert_eq!(audit["accepted"], 24);
    assert_eq!(audit["succeeded"], 24);
    // The outline and four sections of each.
    assert_eq!(audit["responses"]["used"], 24 * 5);
    let webhooks = &audit["webhooks"];
    assert_eq!(webhooks["told"], 24);
    // Three calls of ten are refused, so the outbox has to come again.
    assert!(webhooks["refused"].as_u64() >= Some(4), "{webhooks}");
    let struck = storm["struck"].as_array().expect("a list");
    assert!(struck.len() >= 3, "{storm:#}");
    // The storm that came is the one that the seed says.
    let planned = loadtests::storm::schedule::planned(7, 60_000);
    for event in struck {
        let same = planned.iter().any(|planned| {
            let planned = serde_json::to_value(planned).expect("JSON");
            planned["at_ms"] == event["at_ms"] && planned["strike"] == event["strike"]
        });
        assert!(same, "{event}");
    }
    let page = std::fs::read_to_string(scratch.path("out/storm.md")).expect("written");
    assert!(
        page.contains("lost 0, duplicated 0, double-billed 0"),
        "{page}"
    );
    assert!(!scratch.0.path().join("out/storm-logs").exists());
}

#[test]
fn a_storm_that_has_no_time_says_so_and_is_no_success() {
    let scratch = Scratch::new();
    let (backend, out) = (backend(), scratch.path("out"));
    let size = ["--generations", "50", "--in-flight", "1", "--timeout", "1"];
    let pace = ["--speedup", "600"];
    let stderr = stderr_of(
        2,
        &storm(backend.as_deref(), &out, &[&size[..], &pace].concat()),
    );
    assert!(stderr.contains("--timeout"), "{stderr}");
}

#[test]
fn a_backend_that_is_not_there_is_named() {
    let scratch = Scratch::new();
    let out = scratch.path("out");
    let stderr = stderr_of(2, &storm(Some("missing/backend"), &out, &[]));
    assert!(stderr.contains("missing/backend"), "{stderr}");
    assert!(stderr.contains("no such file; without"), "{stderr}");
}
