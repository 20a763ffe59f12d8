//! What every command that measures shares: its grid, what it keeps, and how it ends early.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use loadtests::command_line::GridArguments;
use loadtests::exit_code::Outcome;
use loadtests::grid::{Grid, check_speedup};
use loadtests::measurement::Measurement;
use loadtests::pipeline;
use loadtests::progress::Progress;
use loadtests::result_file;

use super::console::complain;
use super::files::{CALIBRATION, read, read_calibration, workspace};

/// The grid of a command with what the user changed, refused when the speed-up asked for cannot hold.
pub(crate) fn grid_of(base: Grid, arguments: &GridArguments) -> Result<Grid> {
    let mut grid = base;
    if let Some(workers) = &arguments.workers {
        grid.workers.clone_from(workers);
    }
    if let Some(vcpus) = &arguments.vcpus {
        grid.vcpus.clone_from(vcpus);
    }
    if let Some(speedup) = arguments.speedup {
        grid.load.speedup = speedup;
        grid.speedup_may_fall = false;
    }
    grid.memories_gib.clone_from(&arguments.memory_gib);
    // Said before anything is started.
    grid.shapes()?;
    grid.generations_min = arguments
        .generations_min()
        .map_err(|detail| anyhow!(detail))?;
    grid.backend.clone_from(&arguments.backend);
    if arguments.speedup.is_some() {
        let committed = read_calibration(Path::new(CALIBRATION))?;
        check_speedup(&grid.load, committed.overhead_ms.value)?;
    }
    Ok(grid)
}

pub(crate) async fn measured(grid: &Grid, progress: &Progress, out: &Path) -> Result<Measurement> {
    let workspace = workspace();
    let kept = |measurement: &Measurement| keep(out, measurement);
    Ok(pipeline::measure(workspace, grid, progress, kept).await?)
}

/// A measurement that came to its end.
const WHOLE: &str = "measurement.json";
/// One that goes on, or did not come to its end: beside the last whole one, never in its place.
const PARTIAL: &str = "measurement.partial.json";

/// Keeps what has been measured so far.
pub(crate) fn keep(out: &Path, measurement: &Measurement) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(measurement)?;
    let partial = out.join(PARTIAL);
    if !measurement.complete {
        return result_file::write(&partial, &text);
    }
    result_file::write(&out.join(WHOLE), &text)?;
    std::fs::remove_file(partial)
}

/// Says where a run that ended early has left what it had measured, if anything.
fn say_kept(out: &Path) {
    let path = out.join(PARTIAL);
    if let Ok(kept) = read_partial(&path)
        && kept.found() > 0
    {
        complain(&format!(
            "kept: {} and {} in {}, marked partial",
            loadtests::plural(kept.cells.len() as u64, "cell"),
            loadtests::plural(kept.open_runs.len() as u64, "open run"),
            path.display()
        ));
    }
}

fn read_partial(path: &Path) -> Result<Measurement> {
    serde_json::from_str(&read(path, "a measurement")?)
        .context("read what has been measured so far")
}

/// Says in what has been kept that the user ended the run.
fn keep_interrupted(out: &Path) -> Result<()> {
    let path = out.join(PARTIAL);
    // Interrupted before anything was begun, or after everything was written.
    if !path.exists() {
        return Ok(());
    }
    let mut kept = read_partial(&path)?;
    kept.incomplete_because = Some("interrupted".to_owned());
    keep(out, &kept)?;
    say_kept(out);
    Ok(())
}

/// As [`until_interrupted`], for work that keeps a measurement in `out` as it goes on.
pub(crate) fn interruptible<T>(
    out: &Path,
    work: impl Future<Output = Result<T>>,
) -> Result<Option<T>> {
    // Whatever an earlier run has left unfinished is no result of this one.
    match std::fs::remove_file(out.join(PARTIAL)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove {PARTIAL} from {}", out.display()));
        }
        _ => {}
    }
    let result = until_interrupted(work);
    match &result {
        Ok(None) => keep_interrupted(out)?,
        Ok(Some(_)) => {}
        Err(_) => say_kept(out),
    }
    result
}

/// Runs `work` until it ends or the user interrupts it: `None`. Dropping it ends what it started;
/// what a second, impatient Ctrl-C leaves, the harness's reaper ends.
pub(crate) fn until_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    let runtime = tokio::runtime::Runtime::new().context("start the async runtime")?;
    let (interrupt, mut interrupted) = tokio::sync::watch::channel(false);
    // goose installs a handler of its own, which would keep the signal from us: being first keeps it out.
    ctrlc::set_handler(move || {
        if *interrupt.borrow() {
            std::process::exit(Outcome::Interrupted.number().into());
        }
        interrupt.send_replace(true);
    })
    .context("listen for Ctrl-C")?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = work => result.map(Some),
            _ = interrupted.wait_for(|interrupted| *interrupted) => Ok(None),
        }
    });
    if matches!(result, Ok(None)) {
        complain("interrupted: ending what was started");
    }
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    result
}
