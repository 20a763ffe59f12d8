//! `sizing sync`: what becomes of requests that stay open, seen and predicted.

use std::path::Path;

use anyhow::{Context, Result};
use harness::Stack;
use loadtests::backend_process;
use loadtests::calibrate::Calibration;
use loadtests::command_line::SyncArguments;
use loadtests::exit_code::Outcome;
use loadtests::grid::{Grid, OpenGrid, check_speedup};
use loadtests::hardware::Hardware;
use loadtests::measurement::{Plan, Shape, Shard};
use loadtests::progress::Progress;
use loadtests::report;
use loadtests::run::Runner;
use loadtests::scenarios::waiting_users::Fate;
use loadtests::sync_mode::{Fates, SCHEMA_VERSION, SyncMeasurement, SyncRun, predict};

use super::console::{say, show};
use super::files::{CALIBRATION, json, out_dir, read_calibration, workspace, write};
use super::measuring::until_interrupted;

pub(crate) fn run(arguments: &SyncArguments, quiet: bool) -> Result<Outcome> {
    let mut grid = Grid {
        workers: vec![arguments.workers],
        vcpus: vec![arguments.vcpu],
        backend: arguments.backend.clone(),
        ..Grid::standard()
    };
    grid.load.speedup = arguments.speedup;
    // Said before anything is started.
    let calibration = read_calibration(Path::new(CALIBRATION))?;
    check_speedup(&grid.load, calibration.overhead_ms.value)?;
    let shape = grid.shapes()?[0];
    for idle_timeout_s in &arguments.idle_timeouts {
        predict(&calibration, &grid.load, shape, &[0.0], *idle_timeout_s)?;
    }
    let out = out_dir(&arguments.out)?;
    let open = OpenGrid {
        rate_per_hour: arguments.rate,
        generations_long: arguments.length,
        every_shape: true,
        shard: Shard { index: 1, of: 1 },
    };
    let generation_s = grid.load.compressed_generation_ms() / 1000.0;
    // The schedule, and a generation for the last ones to end.
    let run_expected_s = (arguments.length + 1.0) * generation_s;
    let runs = loadtests::stats::count_as_f64(arguments.idle_timeouts.len());
    let progress = Progress::new(runs * run_expected_s, quiet);
    let plan = open.plan(&grid.load, shape.workers);
    let tell = |run: usize| progress.at(loadtests::stats::count_as_f64(run) * run_expected_s);
    let work = measured(
        arguments,
        &grid,
        (shape, plan),
        &calibration,
        (&progress, &tell),
    );
    let Some(measurement) = until_interrupted(work)? else {
        return Ok(Outcome::Interrupted);
    };
    progress.finish();
    write(&out.join("sync.json"), &json(&measurement)?)?;
    if arguments.json {
        say(&json(&measurement)?)?;
    } else {
        show(&report::sections::sync(&measurement))?;
        if !quiet {
            say(&format!("\nWritten: sync.json in {}", out.display()))?;
        }
    }
    Ok(Outcome::Success)
}

async fn measured(
    arguments: &SyncArguments,
    grid: &Grid,
    (shape, plan): (Shape, Plan),
    calibration: &Calibration,
    (progress, tell): (&Progress, &impl Fn(usize)),
) -> Result<SyncMeasurement> {
    let workspace = workspace();
    progress.say("starting Postgres, Redis and S3");
    let stack = Stack::start().await.context("start the stack")?;
    progress.say(stack.provider_reason());
    let binary = match &grid.backend {
        Some(binary) => binary.clone(),
        None => {
            let command = backend_process::build_command();
            progress.say(&format!("building the backend ({command})"));
            backend_process::build(workspace).await?
        }
    };
    let runner = Runner::new(
        &stack,
        &binary,
        grid.load.clone(),
        None,
        std::time::Duration::ZERO,
    )?;
    let mut measurement = SyncMeasurement {
        schema_version: SCHEMA_VERSION,
        hardware: Hardware::of_stack(&stack, workspace).await,
        load: grid.load.clone(),
        shape,
        plan,
        runs: vec![],
    };
    for (index, idle_timeout_s) in arguments.idle_timeouts.iter().enumerate() {
        progress.say(&format!("behind an idle time-out of {idle_timeout_s} s"));
        tell(index);
        let held = runner.sync_run(shape, plan, *idle_timeout_s).await?;
        let sent_s: Vec<f64> = held.iter().map(|one| one.sent_s).collect();
        let count = |fate: fn(&Fate) -> bool| {
            let found = held.iter().filter(|one| fate(&one.fate)).count();
            u64::try_from(found).unwrap_or(u64::MAX)
        };
        measurement.runs.push(SyncRun {
            idle_timeout_s: *idle_timeout_s,
            requests: count(|_| true),
            seen: Fates {
                answered: count(|fate| *fate == Fate::Answered),
                alb_idle_timeout: count(|fate| *fate == Fate::Cut),
                other: count(|fate| matches!(fate, Fate::Failed(_))),
            },
            predicted: predict(calibration, &grid.load, shape, &sent_s, *idle_timeout_s)?,
            first_failure: held.iter().find_map(|one| match &one.fate {
                Fate::Failed(reason) => Some(reason.clone()),
                _ => None,
            }),
            sent_s,
        });
    }
    stack.stop().await.context("stop the stack")?;
    Ok(measurement)
}
