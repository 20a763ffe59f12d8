//! On SimPy, in a process of its own, which times itself: the start of Python counts against nobody.

use std::process::Command;

use crate::mm64::{HORIZON_HOURS, LENGTH_MEAN_S, PER_HOUR, Seen, WORKERS};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/mm64_simpy.py");

/// Name, what the run showed, and its seconds.
pub fn run(python: &str) -> (String, Seen, f64) {
    let arguments = [
        WORKERS.to_string(),
        PER_HOUR.to_string(),
        LENGTH_MEAN_S.to_string(),
        HORIZON_HOURS.to_string(),
    ];
    let output = Command::new(python)
        .arg(SCRIPT)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("cannot start {python}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{SCRIPT} failed: {complaint}");
    let words: Vec<&str> = text.split_whitespace().collect();
    let [version, seconds, arrivals, completions, started, waits_s] = words[..] else {
        panic!("{SCRIPT} printed {text:?}");
    };
    let count = |word: &str| word.parse::<u64>().expect("a count");
    let seen = Seen {
        arrivals: count(arrivals),
        completions: count(completions),
        started: count(started),
        waits_ns: (waits_s.parse::<f64>().expect("seconds") * 1e9).round() as u64,
        sojourns_ns: 0,
    };
    let seconds = seconds.parse().expect("seconds");
    (format!("SimPy {version}"), seen, seconds)
}
