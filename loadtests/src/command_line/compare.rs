//! Options of `sizing compare`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::numbers;

/// Options of `compare`.
#[derive(Debug, Args)]
pub struct CompareArguments {
    /// Which services to measure.
    #[arg(long, value_enum, default_value_t = CompareTarget::Both)]
    pub target: CompareTarget,
    /// Also measure the reference tuned: a worker per vCPU, PDFs in processes of their own, short transactions.
    #[arg(long)]
    pub tuned: bool,
    /// `GENERATION_WORKERS`: generations at a time in Rust, Gunicorn workers in Python.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub workers: u32,
    /// vCPU of each service.
    #[arg(long, value_name = "V", default_value_t = 2.0, value_parser = numbers::vcpu)]
    pub vcpu: f64,
    /// Memory of each service, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(128..=1_048_576))]
    pub memory_mib: u64,
    /// Factor by which every wait is divided.
    #[arg(long, default_value_t = 100.0, value_parser = numbers::speedup)]
    pub speedup: f64,
    /// Generations in flight at a time.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub generations: u32,
    /// Batches of so many generations.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub repetitions: u32,
    /// The backend's binary; built by cargo when not given.
    #[arg(long, value_name = "FILE")]
    pub backend: Option<PathBuf>,
    /// Folder for comparison.json and comparison.md.
    #[arg(long, value_name = "DIR", default_value = "target/sizing")]
    pub out: PathBuf,
}

/// Services of `compare`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompareTarget {
    /// The backend of this repository.
    Rust,
    /// The reference on the proposal's stack.
    Fastapi,
    /// One after the other.
    Both,
}
