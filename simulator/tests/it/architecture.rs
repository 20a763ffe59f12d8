//! The crate stays pure: what it must never depend on.

use std::process::Command;

#[test]
fn no_runtime_no_clock_and_no_randomness_comes_in_by_a_dependency() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--package",
            "simulator",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs this test, so it can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tree = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(tree.starts_with("simulator "), "{tree}");
    for banned in [
        "tokio",
        "rand",
        "chrono",
        "reqwest",
        "rayon",
        "backend",
        "harness",
        "loadtests",
    ] {
        let found = tree
            .lines()
            .any(|line| line.split(' ').next() == Some(banned));
        assert!(!found, "{banned} in\n{tree}");
    }
}
