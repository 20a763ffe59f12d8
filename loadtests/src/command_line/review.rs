//! Options of `sizing review`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::review::Language;

/// Options of `review`.
#[derive(Debug, Args)]
pub struct ReviewArguments {
    /// Language of the answers.
    #[arg(long, value_enum, default_value_t = Language::En)]
    pub lang: Language,
    /// How to print them; a text for the terminal when nothing is said.
    #[arg(long, value_enum)]
    pub format: Option<ReviewFormat>,
    /// Answer only the question of this number.
    #[arg(long, value_name = "N", conflicts_with_all = ["write", "simulate"])]
    pub question: Option<usize>,
    /// Simulate the one fleet of this name that the answers speak of.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["write", "lang"])]
    pub simulate: Option<String>,
    /// Write docs/review.md and docs/review.es.md.
    #[arg(long, conflicts_with_all = ["lang", "format"])]
    pub write: bool,
    /// The SLO, the budget and the load.
    #[arg(long, value_name = "FILE", default_value = "loadtests/slo.toml")]
    pub slo: PathBuf,
    /// The cost of one generation, as `sizing measure` wrote it.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "loadtests/results/calibration.json"
    )]
    pub calibration: PathBuf,
}

/// Formats of `review`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReviewFormat {
    /// For a repository.
    Markdown,
    /// For a browser.
    Html,
    /// For programs.
    Json,
}
