//! Options of `sizing merge`.

use std::path::PathBuf;

use clap::Args;

/// Options of `merge`.
#[derive(Debug, Args)]
pub struct MergeArguments {
    /// Files that `measure` wrote: paths, `s3://BUCKET/KEY`, or `s3://BUCKET/PREFIX/` for all below.
    #[arg(required = true, value_name = "FILE|s3://...")]
    pub sources: Vec<String>,
    /// Where to write the joined result; standard output when not given.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}
