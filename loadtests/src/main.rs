//! `sizing`: parses, calls, prints, exits. The only place of this crate that prints.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is where the tool speaks"
)]

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use loadtests::calibrate::Calibration;
use loadtests::command_line::{
    Command, CommandLine, CompareArguments, CompareTarget, CpuScoreArguments, GateArguments,
    GateFormat, GridArguments, MainArguments, MeasureArguments, MergeArguments, PlanArguments,
    REPLICATIONS, SimulateArguments, TableFormat,
};
use loadtests::exit_code::Outcome;
use loadtests::fidelity::Fidelity;
use loadtests::gate::gate;
use loadtests::hardware::Hardware;
use loadtests::judgement::{plan, timed_simulation};
use loadtests::measurement::{Measurement, Shard};
use loadtests::pipeline::{self, Grid, OpenGrid, VcpuFactor};
use loadtests::progress::Progress;
use loadtests::reference::service::{Conditions, Kind};
use loadtests::report::{self, Document};
use loadtests::requirements::Requirements;
use loadtests::result_file;
use loadtests::run::Target;
use loadtests::scenarios::proposal_writer::Accounts;
use loadtests::terraform::read_sizing;
use loadtests::trace::simulate_to_file;
use simulator::plan::PlanRequest;
use simulator::scenario::{Mode, Scenario};

/// The committed cost of one generation.
const CALIBRATION: &str = "loadtests/results/calibration.json";

/// The root of this checkout, where the binary was built.
const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn main() -> ExitCode {
    let arguments = CommandLine::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                // goose reports what it stops as errors; the campaign judges its users itself. sqlx
                // warns of connections that end with the server at the end of a run.
                .unwrap_or_else(|_| "warn,goose=off,sqlx=error,sqlx_core=error".into()),
        )
        .init();
    let outcome = run(arguments).unwrap_or_else(|error| {
        eprintln!("error: failed to {error:#}");
        Outcome::Failed
    });
    outcome.into()
}

fn run(arguments: CommandLine) -> Result<Outcome> {
    match arguments.command {
        None => main_job(&arguments.main),
        Some(Command::Measure(arguments)) => measure(&arguments),
        Some(Command::Compare(arguments)) => compare(&arguments),
        Some(Command::Simulate(arguments)) => simulate(&arguments),
        Some(Command::Plan(arguments)) => make_plan(&arguments),
        Some(Command::Merge(arguments)) => merge(&arguments),
        Some(Command::CpuScore(arguments)) => score_cpu(&arguments),
        Some(Command::Gate(arguments)) => judge(&arguments),
    }
}

fn main_job(arguments: &MainArguments) -> Result<Outcome> {
    // Bad input is found before anything is started.
    let sizing_file = existing(&arguments.sizing);
    let sizing = read_sizing(&sizing_file)?;
    let requirements = Requirements::read(&existing(&arguments.slo))?;
    let base = if arguments.quick {
        Grid::quick()
    } else {
        Grid::standard()
    };
    let grid = grid(base, &arguments.grid)?;
    let out = out_dir(&arguments.out)?;

    let progress = Progress::new(grid.expected_s());
    let Some(measurement) = interruptible(&out, measured(&grid, &progress, &out))? else {
        return Ok(Outcome::Interrupted);
    };
    progress.say("simulating the proposal and its alternatives");
    let results = pipeline::conclude(
        command(),
        measurement,
        (&arguments.sizing, &sizing),
        &requirements,
        arguments.vcpu_score,
        REPLICATIONS,
    )?;
    progress.finish();

    let mut document = report::sections::results(&results);
    document.paragraph(results.vcpu.statement(&results.calibration.cpu_model));
    write(&out.join("results.json"), &json(&results)?)?;
    write(&out.join("report.md"), &report::markdown::render(&document))?;
    write(&out.join("report.html"), &report::html::render(&document))?;
    write(&out.join("calibration.json"), &json(&results.calibration)?)?;
    write(&out.join("fidelity.json"), &json(&results.fidelity)?)?;
    write(
        &out.join("proposed.toml"),
        &results.proposed.scenario.to_toml()?,
    )?;
    write(
        &out.join("queued.toml"),
        &results.queued.scenario.to_toml()?,
    )?;
    show(&document);
    println!(
        "\nWritten: report.html, report.md, results.json in {}",
        out.display()
    );
    Ok(Outcome::Success)
}

fn measure(arguments: &MeasureArguments) -> Result<Outcome> {
    let mut grid = grid(Grid::standard(), &arguments.grid)?;
    grid.open = arguments.open.then(|| OpenGrid {
        rate_per_hour: arguments.rate,
        generations_long: arguments.length,
        every_shape: true,
        shard: arguments.shard.unwrap_or(Shard { index: 1, of: 1 }),
    });
    grid.saturated = !arguments.open;
    let out = out_dir(&arguments.out)?;
    let progress = Progress::new(grid.expected_s());
    let work = async {
        let measurement = match &arguments.target {
            Some(url) => at_target(arguments, url, &grid, &progress, &out).await?,
            None => measured(&grid, &progress, &out).await?,
        };
        if let Some(address) = &arguments.upload {
            result_file::upload(address, &json(&measurement)?).await?;
        }
        Ok(measurement)
    };
    let Some(measurement) = interruptible(&out, work)? else {
        return Ok(Outcome::Interrupted);
    };
    progress.finish();
    let mut document = Document {
        title: "Measured grid".into(),
        blocks: vec![],
    };
    report::sections::measurement(&mut document, &measurement);
    if !measurement.cells.is_empty() {
        let calibration = loadtests::calibrate::calibrate(&measurement)?;
        let fidelity = loadtests::fidelity::compare(&measurement, &calibration)?;
        write(&out.join("calibration.json"), &json(&calibration)?)?;
        write(&out.join("fidelity.json"), &json(&fidelity)?)?;
        if arguments.record {
            record(&calibration, &fidelity)?;
        }
        report::sections::calibration(&mut document, &calibration);
        report::sections::fidelity(&mut document, &fidelity);
    } else if let Some(fidelity) = open_fidelity(&measurement)? {
        write(&out.join("fidelity.json"), &json(&fidelity)?)?;
        report::sections::fidelity(&mut document, &fidelity);
    }
    if arguments.json {
        println!("{}", json(&measurement)?);
    } else {
        show(&document);
        println!(
            "\nWritten: measurement.json and what follows from it, in {}",
            out.display()
        );
    }
    Ok(Outcome::Success)
}

/// The prediction error of open runs alone, by the committed calibration: nothing of it was measured here.
fn open_fidelity(measurement: &Measurement) -> Result<Option<Fidelity>> {
    if measurement.open_runs.iter().all(|run| run.shape.is_none()) {
        return Ok(None);
    }
    let calibration = read_calibration(Path::new(CALIBRATION))?;
    Ok(Some(loadtests::fidelity::compare(
        measurement,
        &calibration,
    )?))
}

/// Writes what this repository publishes.
fn record(calibration: &Calibration, fidelity: &Fidelity) -> Result<()> {
    let folder = Path::new(WORKSPACE).join("loadtests/results");
    write(&folder.join("calibration.json"), &json(calibration)?)?;
    let name = format!("fidelity-{}.json", fidelity.speedup);
    write(&folder.join(name), &json(fidelity)?)
}

/// Sends users to a deployment that is there already.
async fn at_target(
    arguments: &MeasureArguments,
    url: &str,
    grid: &Grid,
    progress: &Progress,
    out: &Path,
) -> Result<Measurement> {
    let accounts = match (&arguments.email, &arguments.password) {
        (Some(email), Some(password)) => Accounts::Given {
            email: email.clone(),
            password: password.clone(),
        },
        _ => Accounts::Own,
    };
    let mut load = grid.load.clone();
    load.speedup = arguments.grid.speedup.unwrap_or(1.0);
    let workers = grid.workers.iter().sum();
    let target = Target {
        url: url.to_owned(),
        accounts,
        workers,
    };
    let open = grid
        .open
        .clone()
        .context("plan the arrivals: --open is missing")?;
    let mut measurement =
        Measurement::begin(Hardware::of_machine(Path::new(WORKSPACE)), load.clone());
    keep(out, &measurement)?;
    progress.say(&format!("sending users to {url}"));
    let expected_s = open.generations_long * load.compressed_generation_ms() / 1000.0;
    let tell = |share: f64| progress.at(share * expected_s);
    let run =
        loadtests::run::at_target(&target, &load, open.plan(&load, workers), open.shard, tell)
            .await;
    match run {
        Ok(run) => {
            measurement.open_runs.push(run);
            measurement.complete = true;
        }
        Err(error) => {
            measurement.incomplete_because = Some(loadtests::backend_process::chain(&error));
            keep(out, &measurement)?;
            return Err(error.into());
        }
    }
    keep(out, &measurement)?;
    Ok(measurement)
}

fn merge(arguments: &MergeArguments) -> Result<Outcome> {
    let read = async {
        let mut texts = Vec::new();
        for source in &arguments.sources {
            texts.extend(result_file::read_all(source).await?);
        }
        anyhow::Ok(texts)
    };
    let runtime = tokio::runtime::Runtime::new().context("start the async runtime")?;
    let texts: Vec<(String, String)> = runtime.block_on(read)?;
    let parts = texts
        .into_iter()
        .map(|(name, text)| {
            let part: Measurement = serde_json::from_str(&text)
                .with_context(|| format!("read {name}: it is no measurement of this version"))?;
            Ok((name, part))
        })
        .collect::<Result<Vec<_>>>()?;
    let joined = loadtests::merge::merge(parts)?;
    match &arguments.out {
        Some(file) => write(file, &json(&joined)?)?,
        None => println!("{}", json(&joined)?),
    }
    match &joined.incomplete_because {
        None if joined.complete => Ok(Outcome::Success),
        reason => {
            let reason = reason.as_deref().unwrap_or("a part is partial");
            eprintln!("the joined result is partial and will not be judged: {reason}");
            Ok(Outcome::Failed)
        }
    }
}

fn score_cpu(arguments: &CpuScoreArguments) -> Result<Outcome> {
    let hardware = Hardware::of_machine(Path::new(WORKSPACE));
    let length = std::time::Duration::from_secs_f64(arguments.seconds);
    let score = loadtests::cpu_score::measure(length, 5, &hardware);
    if arguments.json {
        println!("{}", json(&score)?);
    } else {
        println!("{:.1}", score.score);
    }
    Ok(Outcome::Success)
}

fn compare(arguments: &CompareArguments) -> Result<Outcome> {
    let out = out_dir(&arguments.out)?;
    let conditions = Conditions {
        workers: arguments.workers,
        vcpu: arguments.vcpu,
        memory_mib: arguments.memory_mib,
        speedup: arguments.speedup,
        generations: arguments.generations,
        repetitions: arguments.repetitions,
        seed: 42,
    };
    let mut kinds = vec![];
    if arguments.target != CompareTarget::Fastapi {
        kinds.push(Kind::Rust);
    }
    if arguments.target != CompareTarget::Rust {
        kinds.push(Kind::FastApi);
        if arguments.tuned {
            kinds.push(Kind::FastApiTuned);
        }
    }
    // Only said, not counted: most of the time goes to starting and stopping.
    let progress = Progress::new(1.0);
    let compared = loadtests::reference::run::run(
        Path::new(WORKSPACE),
        conditions,
        &kinds,
        arguments.backend.as_deref(),
        &progress,
    );
    let Some(comparison) = interruptible(&out, async { Ok(compared.await?) })? else {
        return Ok(Outcome::Interrupted);
    };
    progress.finish();
    let mut document = Document {
        title: "Rust and FastAPI, side by side".into(),
        blocks: vec![],
    };
    loadtests::reference::table::add(&mut document, &comparison);
    write(&out.join("comparison.json"), &json(&comparison)?)?;
    write(
        &out.join("comparison.md"),
        &report::markdown::render(&document),
    )?;
    show(&document);
    println!(
        "\nWritten: comparison.json, comparison.md in {}",
        out.display()
    );
    Ok(Outcome::Success)
}

fn simulate(arguments: &SimulateArguments) -> Result<Outcome> {
    let text = read(&arguments.scenario)?;
    let folder = arguments
        .scenario
        .parent()
        .unwrap_or(Path::new("."))
        .to_owned();
    let mut scenario = Scenario::from_toml_with(&text, &mut |file| {
        std::fs::read_to_string(folder.join(file)).map_err(|error| error.to_string())
    })
    .with_context(|| format!("read {}", arguments.scenario.display()))?;
    if let Some(seed) = arguments.seed {
        scenario.seed = seed;
    }
    let outcome = match &arguments.trace {
        Some(file) => simulate_to_file(&scenario, file)?,
        None => timed_simulation(&scenario)?,
    };
    match arguments.format {
        TableFormat::Json => println!("{}", json(&outcome)?),
        TableFormat::Table => show(&report::sections::outcome(&scenario, &outcome)),
    }
    Ok(Outcome::Success)
}

fn make_plan(arguments: &PlanArguments) -> Result<Outcome> {
    let requirements = Requirements::read(&existing(&arguments.slo))?;
    let calibration = read_calibration(&arguments.calibration)?;
    let vcpu = VcpuFactor::new(&calibration, arguments.vcpu_score);
    let profile = pipeline::profile_on(&calibration, vcpu);
    let proposal = read_sizing(&existing(Path::new(
        "terraform/environments/proposal.tfvars",
    )))?;
    let fleet = proposal.fleet(Mode::Queue);
    let base = requirements.scenario(fleet, profile)?;
    let request = PlanRequest {
        replications: arguments.replications,
        ..PlanRequest::around(base)
    };
    let plan = plan(&request)?;
    match arguments.format {
        TableFormat::Json => println!("{}", json(&plan)?),
        TableFormat::Table => {
            let mut document = Document {
                title: "Cheapest sizings that hold".into(),
                blocks: vec![],
            };
            report::sections::plan(&mut document, &plan, arguments.top);
            document.paragraph(vcpu.statement(&calibration.cpu_model));
            show(&document);
        }
    }
    Ok(Outcome::Success)
}

fn judge(arguments: &GateArguments) -> Result<Outcome> {
    let requirements = Requirements::read(&existing(&arguments.slo))?;
    let calibration = read_calibration(&arguments.calibration)?;
    let vcpu = VcpuFactor::new(&calibration, arguments.vcpu_score);
    let profile = pipeline::profile_on(&calibration, vcpu);
    let before = arguments
        .baseline
        .as_deref()
        .map(|file| Ok::<_, anyhow::Error>((file, read_sizing(&existing(file))?)))
        .transpose()?;
    let sizing = read_sizing(&existing(&arguments.sizing))?;
    let result = gate(
        (arguments.sizing.as_path(), sizing),
        before,
        &profile,
        &requirements,
        arguments.replications,
    )?;
    let mut document = report::sections::gate(&result);
    document.paragraph(vcpu.statement(&calibration.cpu_model));
    match arguments.format {
        GateFormat::Text => show(&document),
        GateFormat::Markdown => print!("{}", report::markdown::render(&document)),
        GateFormat::Json => println!("{}", json(&result)?),
    }
    Ok(if result.pass {
        Outcome::Success
    } else {
        Outcome::Refused
    })
}

/// The grid of a command with what the user changed, refused when the speed-up asked for cannot hold.
fn grid(base: Grid, arguments: &GridArguments) -> Result<Grid> {
    let mut grid = base;
    if let Some(workers) = &arguments.workers {
        grid.workers.clone_from(workers);
    }
    if let Some(vcpus) = &arguments.vcpus {
        grid.vcpus.clone_from(vcpus);
    }
    if let Some(speedup) = arguments.speedup {
        grid.load.speedup = speedup;
    }
    grid.memories_gib.clone_from(&arguments.memory_gib);
    // Said before anything is started.
    grid.shapes()?;
    grid.generations_min = arguments.generations;
    grid.backend.clone_from(&arguments.backend);
    if arguments.speedup.is_some() {
        let committed = read_calibration(Path::new(CALIBRATION))?;
        pipeline::check_speedup(&grid.load, committed.overhead_ms.value)?;
    }
    Ok(grid)
}

async fn measured(grid: &Grid, progress: &Progress, out: &Path) -> Result<Measurement> {
    let workspace = Path::new(WORKSPACE);
    let kept = |measurement: &Measurement| keep(out, measurement);
    Ok(pipeline::measure(workspace, grid, progress, kept).await?)
}

/// Keeps what has been measured so far.
fn keep(out: &Path, measurement: &Measurement) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(measurement)?;
    result_file::write(&out.join("measurement.json"), &text)
}

/// Says in what has been kept that the user ended the run.
fn keep_interrupted(out: &Path) -> Result<()> {
    let path = out.join("measurement.json");
    let mut kept: Measurement =
        serde_json::from_str(&read(&path)?).context("read what has been measured so far")?;
    if !kept.complete {
        kept.incomplete_because = Some("interrupted".to_owned());
        keep(out, &kept)?;
        eprintln!(
            "kept: {} and {} in {}, marked partial",
            loadtests::plural(kept.cells.len() as u64, "cell"),
            loadtests::plural(kept.open_runs.len() as u64, "open run"),
            path.display()
        );
    }
    Ok(())
}

/// The command line, for whoever wants the same again.
fn command() -> String {
    std::env::args()
        .skip(1)
        .fold("cargo sizing".to_owned(), |command, argument| {
            format!("{command} {argument}")
        })
}

/// Runs `work` until it ends or the user interrupts it: `None`. Dropping it ends what it started;
/// what a second, impatient Ctrl-C leaves, the harness's reaper ends.
fn interruptible<T>(out: &Path, work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
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
        eprintln!("interrupted: ending what was started");
        keep_interrupted(out)?;
    }
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    result
}

/// A file as the user wrote it, or below the checkout when it is not below the current folder: the
/// defaults work from anywhere.
fn existing(path: &Path) -> PathBuf {
    let below_workspace = Path::new(WORKSPACE).join(path);
    if !path.exists() && below_workspace.exists() {
        below_workspace
    } else {
        path.to_owned()
    }
}

fn read_calibration(path: &Path) -> Result<Calibration> {
    let path = existing(path);
    let text = read(&path)?;
    serde_json::from_str(&text).with_context(|| {
        format!(
            "read {}: `cargo sizing measure` writes such a file",
            path.display()
        )
    })
}

fn out_dir(path: &Path) -> Result<PathBuf> {
    // The default belongs to the checkout, wherever the command is run from.
    let dir = if path == Path::new("target/sizing") {
        Path::new(WORKSPACE).join(path)
    } else {
        path.to_owned()
    };
    std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    dir.canonicalize()
        .with_context(|| format!("find {}", dir.display()))
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    result_file::write(path, text).context("write a result")
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).context("turn the result into JSON")
}

fn show(document: &Document) {
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    print!("{}", report::terminal::render(document, color));
}
