//! `sizing`: parses, calls, prints, exits. The only place of this crate that prints.
// A whole run is one future, which nests deeper than the compiler follows by itself.
#![recursion_limit = "256"]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is where the tool speaks"
)]

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;
use loadtests::calibrate::Calibration;
use loadtests::command_line::{
    Command, CommandLine, CompareArguments, CompareTarget, CpuScoreArguments, GateArguments,
    GateFormat, GridArguments, MainArguments, MeasureArguments, MergeArguments, PlanArguments,
    PlatformArgument, REPLICATIONS, ReviewArguments, ReviewFormat, ServeArguments,
    SimulateArguments, TableFormat,
};
use loadtests::exit_code::Outcome;
use loadtests::fidelity::Fidelity;
use loadtests::gate::{Age, CalibrationSource, GateRequest, calibration_age, gate};
use loadtests::hardware::Hardware;
use loadtests::judgement::{cores, plan_on};
use loadtests::measurement::{Measurement, Shard};
use loadtests::pipeline::{self, Grid, OpenGrid, VcpuFactor};
use loadtests::planning;
use loadtests::progress::Progress;
use loadtests::reference::service::{Conditions, Kind};
use loadtests::report::{self, Document, ResultsFile};
use loadtests::requirements::Requirements;
use loadtests::result_file;
use loadtests::review::{self, Evidence, Input, Language, Review};
use loadtests::run::Target;
use loadtests::scenarios::proposal_writer::Accounts;
use loadtests::serve::{Lab, listen, serve};
use loadtests::simulation::{self, Simulation};
use loadtests::terraform::{Configuration, read_sizing, settings_of};
use simulator::platform::moved;
use simulator::scenario::{Mode, Scenario, ScenarioError};

/// The committed cost of one generation.
const CALIBRATION: &str = "loadtests/results/calibration.json";

/// The root of this checkout, where the binary was built.
const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn main() -> ExitCode {
    let arguments = CommandLine::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !no_color())
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
        None => main_job(&arguments.main, arguments.quiet),
        Some(Command::Measure(of)) => measure(&of, arguments.quiet),
        Some(Command::Compare(of)) => compare(&of, arguments.quiet),
        Some(Command::Simulate(arguments)) => simulate(&arguments),
        Some(Command::Plan(arguments)) => make_plan(&arguments),
        Some(Command::Review(arguments)) => answer(&arguments),
        Some(Command::Serve(arguments)) => serve_page(&arguments),
        Some(Command::Merge(arguments)) => merge(&arguments),
        Some(Command::CpuScore(arguments)) => score_cpu(&arguments),
        Some(Command::Gate(of)) => judge(&of, arguments.quiet),
    }
}

fn main_job(arguments: &MainArguments, quiet: bool) -> Result<Outcome> {
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

    let progress = Progress::new(grid.expected_s(), quiet);
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

    let figures = report::figures::of_results(&results);
    let mut document = report::sections::results(&results, &figures);
    document.paragraph(results.vcpu.statement(&results.calibration.cpu_model));
    let file = ResultsFile {
        results: &results,
        figures: &figures,
    };
    write(&out.join("results.json"), &json(&file)?)?;
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
    if !quiet {
        println!(
            "\nWritten: report.html, report.md, results.json in {}",
            out.display()
        );
    }
    Ok(Outcome::Success)
}

fn measure(arguments: &MeasureArguments, quiet: bool) -> Result<Outcome> {
    let mut grid = grid(Grid::standard(), &arguments.grid)?;
    grid.open = arguments.open.then(|| OpenGrid {
        rate_per_hour: arguments.rate,
        generations_long: arguments.length,
        every_shape: true,
        shard: arguments.shard.unwrap_or(Shard { index: 1, of: 1 }),
    });
    grid.saturated = !arguments.open;
    let out = out_dir(&arguments.out)?;
    let progress = Progress::new(grid.expected_s(), quiet);
    let work = async {
        let measurement = match &arguments.target {
            Some(url) => Box::pin(at_target(arguments, url, &grid, &progress, &out)).await?,
            None => Box::pin(measured(&grid, &progress, &out)).await?,
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
        if !quiet {
            println!(
                "\nWritten: measurement.json and what follows from it, in {}",
                out.display()
            );
        }
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

fn compare(arguments: &CompareArguments, quiet: bool) -> Result<Outcome> {
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
    let progress = Progress::new(1.0, quiet);
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
    let (_, mut scenario) = read_scenario(&arguments.scenario)?;
    if let Some(seed) = arguments.seed {
        scenario.seed = seed;
    }
    let threads = arguments.threads.unwrap_or_else(cores);
    let run = |scenario: &Scenario| {
        simulation::simulate(
            scenario,
            arguments.replications,
            threads,
            arguments.trace.as_deref(),
        )
    };
    match arguments
        .platform
        .map(PlatformArgument::platforms)
        .as_deref()
    {
        None => print_simulation(&run(&scenario)?, arguments.format)?,
        Some([one]) => print_simulation(&run(&moved(&scenario, *one))?, arguments.format)?,
        Some(several) => {
            let simulations = several
                .iter()
                .map(|platform| run(&moved(&scenario, *platform)))
                .collect::<Result<Vec<Simulation>, _>>()?;
            match arguments.format {
                TableFormat::Json => {
                    println!("{}", json(&simulation::json_by_platform(&simulations))?);
                }
                TableFormat::Table => show(&report::sections::platforms(&simulations)),
            }
        }
    }
    Ok(Outcome::Success)
}

fn print_simulation(simulation: &Simulation, format: TableFormat) -> Result<()> {
    match format {
        TableFormat::Json => println!("{}", json(&simulation.json())?),
        TableFormat::Table => show(&report::sections::simulation(simulation)),
    }
    Ok(())
}

/// A scenario with the text that it was read from.
fn read_scenario(path: &Path) -> Result<(String, Scenario)> {
    let path = existing(path);
    let text = read(&path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let scenario = Scenario::from_toml_with(&text, &mut |file| {
        std::fs::read_to_string(folder.join(file)).map_err(|error| error.to_string())
    })
    .with_context(|| format!("read {}", path.display()))?;
    Ok((text, scenario))
}

fn make_plan(arguments: &PlanArguments) -> Result<Outcome> {
    let file = arguments.scenario.as_ref().unwrap_or(&arguments.slo);
    let (text, base, factor) = if arguments.scenario.is_some() {
        let (text, scenario) = read_scenario(file)?;
        (text, scenario.at(arguments.case.into()), None)
    } else {
        let requirements = Requirements::read(&existing(file))?;
        let calibration = read_calibration(&arguments.calibration)?;
        let vcpu = VcpuFactor::new(&calibration, arguments.vcpu_score);
        let profile = pipeline::profile_on(&calibration, vcpu);
        let proposal = read_sizing(&existing(Path::new(
            "terraform/environments/proposal.tfvars",
        )))?;
        let base = requirements.scenario(proposal.fleet(Mode::Queue), profile)?;
        let factor = vcpu.statement(&calibration.cpu_model);
        (read(&existing(file))?, base, Some(factor))
    };
    let request = planning::request(base, &arguments.axes, arguments.replications);
    let began = Instant::now();
    let plan = plan_on(&request, arguments.threads.unwrap_or_else(cores))?;
    let elapsed_s = began.elapsed().as_secs_f64();
    if let Some(invalid) = planning::unanswerable(&plan, &request) {
        return Err(ScenarioError::located(&text, invalid))
            .with_context(|| format!("plan for {}", file.display()));
    }
    match arguments.format {
        TableFormat::Json => println!("{}", json(&plan)?),
        TableFormat::Table => {
            let mut document = report::sections::searched_plan(
                &plan,
                &request,
                arguments.top,
                arguments.rejected,
                elapsed_s,
            );
            if let Some(factor) = factor {
                document.paragraph(factor);
            }
            show(&document);
        }
    }
    Ok(Outcome::Success)
}

fn answer(arguments: &ReviewArguments) -> Result<Outcome> {
    let requirements = Requirements::read(&existing(&arguments.slo))?;
    let calibration = read_calibration(&arguments.calibration)?;
    let input = Input {
        calibration: &calibration,
        requirements: &requirements,
        replications: REPLICATIONS,
    };
    if let Some(name) = &arguments.simulate {
        let judgement = Evidence::one(&input, name)?;
        match arguments.format {
            Some(ReviewFormat::Json) => println!("{}", json(&judgement)?),
            _ => show(&report::sections::replicated(name, &judgement)),
        }
        return Ok(Outcome::Success);
    }
    let review = Review::new(&Evidence::gather(&input)?);
    for number in review.stale() {
        eprintln!("question {number}: the numbers no longer say what its answer claims");
    }
    if arguments.write {
        for (language, file) in [(Language::En, "review.md"), (Language::Es, "review.es.md")] {
            let path = Path::new(WORKSPACE).join("docs").join(file);
            let document = review::document(&review, language, None);
            write(&path, &report::markdown::render(&document))?;
            println!("Written: docs/{file}");
        }
        return Ok(Outcome::Success);
    }
    let count = review.questions.len();
    if let Some(number) = arguments.question
        && !(1..=count).contains(&number)
    {
        bail!("find question {number}: the review has the questions 1 to {count}");
    }
    let document = review::document(&review, arguments.lang, arguments.question);
    match arguments.format {
        None => show(&document),
        Some(ReviewFormat::Markdown) => print!("{}", report::markdown::render(&document)),
        Some(ReviewFormat::Html) => {
            print!(
                "{}",
                report::html::render_in(&document, arguments.lang.code())
            );
        }
        Some(ReviewFormat::Json) => println!("{}", json(&review)?),
    }
    Ok(Outcome::Success)
}

fn serve_page(arguments: &ServeArguments) -> Result<Outcome> {
    let requirements = Requirements::read(&existing(&arguments.slo))?;
    let profile = pipeline::profile(&read_calibration(&arguments.calibration)?);
    let lab = Lab::new(profile, requirements);
    let runtime = tokio::runtime::Runtime::new().context("start the async runtime")?;
    let listener = runtime.block_on(listen(arguments.port))?;
    let address = listener.local_addr().context("find the port")?;
    println!("What if: http://{address}/ (Ctrl-C ends it)");
    // Both ends are wanted ones: a page is served until somebody has enough of it.
    let (end, ended) = tokio::sync::watch::channel(false);
    ctrlc::set_handler(move || {
        end.send_replace(true);
    })
    .context("listen for Ctrl-C")?;
    let told = |mut ended: tokio::sync::watch::Receiver<bool>| async move {
        // The handler lives as long as the process, so its channel does not close.
        let _ = ended.wait_for(|ended| *ended).await;
    };
    runtime.block_on(async {
        tokio::select! {
            result = serve(listener, lab, told(ended.clone())) => result,
            // A browser may keep its connection open: nobody waits for it.
            () = told(ended) => Ok(()),
        }
    })?;
    runtime.shutdown_background();
    Ok(Outcome::Success)
}

fn judge(arguments: &GateArguments, quiet: bool) -> Result<Outcome> {
    // Bad input is found before anything is measured.
    let (after, settings) = subject(arguments)?;
    let before = arguments
        .baseline
        .as_deref()
        .map(|file| {
            let file = existing(file);
            let own = settings_of(&file, Path::new(WORKSPACE)).or(settings);
            Configuration::read(&file, own.as_deref())
        })
        .transpose()?;
    let slo_file = match &arguments.slo {
        Some(file) => file.clone(),
        None => Requirements::file_of(after.stage(), Path::new(WORKSPACE)),
    };
    let requirements = Requirements::read(&existing(&slo_file))?;
    let (calibration, file) = if arguments.measure {
        let grid = Grid::standard();
        let progress = Progress::new(grid.expected_s(), quiet);
        let out = out_dir(Path::new("target/sizing"))?;
        let Some(measurement) = interruptible(&out, measured(&grid, &progress, &out))? else {
            return Ok(Outcome::Interrupted);
        };
        progress.finish();
        (loadtests::calibrate::calibrate(&measurement)?, None)
    } else {
        let file = &arguments.calibration;
        (read_calibration(file)?, Some(file.clone()))
    };
    let vcpu = VcpuFactor::new(&calibration, arguments.vcpu_score);
    let source = CalibrationSource {
        age: match file {
            Some(_) => calibration_age::age(Path::new(WORKSPACE), &calibration.commit),
            None => Age::Current,
        },
        file,
        commit: calibration.commit.clone(),
    };
    let result = gate(&GateRequest {
        after,
        before,
        requirements,
        slo_file,
        profile: pipeline::profile_on(&calibration, vcpu),
        calibration: source,
        replications: arguments.replications,
    })?;
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

/// What is judged, with the settings that it was read with.
fn subject(arguments: &GateArguments) -> Result<(Configuration, Option<PathBuf>)> {
    if let Some(plan) = &arguments.subject.plan {
        return Ok((Configuration::read_plan(&existing(plan))?, None));
    }
    let sizing = arguments
        .subject
        .sizing
        .as_deref()
        .context("read the sizing: give --sizing or --plan")?;
    let file = existing(sizing);
    let settings = match &arguments.settings {
        Some(settings) => Some(existing(settings)),
        None => settings_of(&file, Path::new(WORKSPACE)),
    };
    let mut configuration = Configuration::read(&file, settings.as_deref())?;
    configuration.file = sizing.to_owned();
    Ok((configuration, settings))
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

/// Whether the user wants no colours: `NO_COLOR` is set and not empty (<https://no-color.org>).
fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

fn show(document: &Document) {
    let color = std::io::stdout().is_terminal() && !no_color();
    print!("{}", report::terminal::render(document, color));
}
