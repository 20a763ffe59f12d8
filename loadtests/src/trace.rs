//! `sizing simulate --trace FILE`: every event of a simulation, one JSON object a line.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use simulator::outcome::Outcome;
use simulator::scenario::{InvalidScenario, Scenario};
use simulator::simulate_traced;

use crate::judgement::timed;
use crate::result_file::ResultFile;

/// Why there is no trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The scenario is impossible.
    #[error(transparent)]
    Scenario(#[from] InvalidScenario),
    /// The file could not be written.
    #[error("write the trace {}", path.display())]
    Write {
        /// Where it was to stand.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Simulates `scenario` and writes its events to `path`, where a file appears only when it is complete. The
/// events per second include the writing.
///
/// # Errors
/// When the scenario is impossible or the file cannot be written.
pub fn simulate_to_file(scenario: &Scenario, path: &Path) -> Result<Outcome, TraceError> {
    let error = |source| TraceError::Write {
        path: path.to_owned(),
        source,
    };
    let mut lines = BufWriter::new(ResultFile::create(path).map_err(error)?);
    let mut written = Ok(());
    let mut write = |event| {
        if written.is_ok() {
            written = serde_json::to_writer(&mut lines, &event)
                .map_err(Into::into)
                .and_then(|()| lines.write_all(b"\n"));
        }
    };
    let outcome = timed(|| simulate_traced(scenario, &mut write))?;
    written.map_err(error)?;
    let file = lines
        .into_inner()
        .map_err(|failed| error(failed.into_error()))?;
    file.finish().map_err(error)?;
    Ok(outcome)
}
