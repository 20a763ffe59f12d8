//! Measures the backend, calibrates the simulator, judges a sizing.
// A comparison is one future, which nests deeper than the compiler follows by itself.
#![recursion_limit = "256"]

pub mod backend_process;
pub mod calibrate;
pub mod cgroup;
pub mod command_line;
pub mod cpu_law;
pub mod cpu_score;
pub mod exit_code;
pub mod fidelity;
pub mod gate;
pub mod grid;
pub mod hardware;
pub mod histogram;
pub mod input_file;
pub mod judgement;
pub mod measurement;
pub mod merge;
pub mod observation;
pub mod pipeline;
pub mod planning;
pub mod progress;
pub mod reduce;
pub mod reference;
pub mod report;
pub mod requirements;
pub mod result_file;
pub mod review;
pub mod run;
pub mod sampler;
pub mod scenarios;
pub mod schedule;
#[cfg(test)]
mod schema_tests;
pub mod serve;
pub mod services;
pub mod simulation;
pub mod source_document;
mod stages;
pub mod stats;
pub mod storm;
pub mod sync_mode;
pub mod terraform;
pub mod threads;
pub mod trace;
pub mod usl;
pub mod vcpu_factor;

/// `1 worker`, `2 workers`.
pub fn plural(count: u64, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}
