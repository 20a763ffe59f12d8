//! What the backend costs: idle, answering, and with thousands of generations in flight.
//! `backend/BENCHMARKS.md` has the figures.
//!
//! `cargo bench --profile test --workspace --bench backend -- idle | requests | in-flight --backend FILE`
//!
//! The service is its own process in a control group with a quota, as in `sizing measure`; where none
//! can be made the output says so. Its own CPU time is what counts, so that a busy machine changes the
//! wall time and little else.
#![expect(clippy::print_stdout, reason = "the figures are the point")]

mod idle;
mod in_flight;
mod requests;
mod service;
mod user;
mod wire;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use harness::Stack;

use crate::service::Subject;

/// Measures the backend.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// The backend's binary; built in this program's own profile when it is not given.
    #[arg(long, global = true)]
    backend: Option<PathBuf>,
    /// A further variable of the backend's environment, as NAME=VALUE; any number of them.
    #[arg(long = "set", global = true, value_name = "NAME=VALUE")]
    changes: Vec<String>,
    /// cargo's own.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum What {
    /// Resident memory after the start, and after work.
    Idle(idle::Options),
    /// Health checks and status polls: how many, how fast, at which CPU time.
    Requests(requests::Options),
    /// Thousands of generations at once: memory of each, polls, CPU time, and that all end.
    InFlight(in_flight::Options),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let workspace = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let binary = match arguments.backend {
        Some(binary) => binary,
        None => loadtests::backend_process::build(&workspace).await?,
    };
    let stack = Stack::start().await?;
    println!("{}, backend {}", stack.provider_reason(), binary.display());
    let subject = Subject {
        binary,
        changes: arguments.changes,
    };
    match arguments.what {
        What::Idle(options) => idle::run(&stack, &subject, &options).await?,
        What::Requests(options) => requests::run(&stack, &subject, &options).await?,
        What::InFlight(options) => in_flight::run(&stack, &subject, &options).await?,
    }
    stack.stop().await?;
    Ok(())
}
