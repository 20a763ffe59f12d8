//! What is printed fits a terminal of 80 columns, and has no colours where nobody sees them.

use super::{sizing, stdout_of};

const COLUMNS: usize = 80;

#[test]
fn every_table_fits_eighty_columns_and_a_pipe_gets_no_escape_codes() {
    let proposal = "terraform/environments/proposal.tfvars";
    let growth = "terraform/environments/growth.tfvars";
    let scenario = "simulator/scenarios/growth.toml";
    let recorded = "loadtests/results/measurement-60.json";
    let commands: [(i32, &[&str]); 11] = [
        (0, &["simulate", "--scenario", scenario]),
        (
            0,
            &["simulate", "--scenario", scenario, "--platform", "all"],
        ),
        (0, &["plan", "--rejected", "20"]),
        (1, &["gate", "--sizing", proposal]),
        (0, &["gate", "--sizing", growth, "--baseline", proposal]),
        (0, &["review"]),
        (0, &["review", "--lang", "es"]),
        (0, &["review", "--simulate", "queue_depth_two"]),
        (0, &["calibrate", recorded]),
        (0, &["--help"]),
        (0, &["measure", "--help"]),
    ];
    for (code, arguments) in commands {
        let text = stdout_of(code, arguments);
        assert!(!text.contains('\u{1b}'), "{arguments:?} is in colour");
        let wide: Vec<_> = text
            .lines()
            // A path, an address or a command to copy is not broken.
            .filter(|line| line.trim().contains(' ') && !line.starts_with("    cargo "))
            .filter(|line| line.chars().count() > COLUMNS)
            .collect();
        assert!(wide.is_empty(), "{arguments:?}: {wide:#?}");
    }
}

#[test]
fn a_quiet_command_says_its_result_to_the_letter_and_nothing_else() {
    let simulate = ["simulate", "--scenario", "simulator/scenarios/mvp.toml"];
    let loud = stdout_of(0, &simulate);
    let quiet = sizing(&[&simulate[..], &["--quiet"]].concat());
    assert_eq!(String::from_utf8_lossy(&quiet.stdout), loud);
    assert!(quiet.stderr.is_empty(), "{:?}", quiet.stderr);
}
