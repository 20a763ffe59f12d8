//! `sizing`: parses, calls, prints, exits. The only place of this crate that prints.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is where the tool speaks"
)]

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use loadtests::calibrate::Calibration;
use loadtests::command_line::{
    Command, CommandLine, GateArguments, GateFormat, GridArguments, MainArguments,
    MeasureArguments, PlanArguments, REPLICATIONS, ReviewArguments, ReviewFormat, ServeArguments,
    SimulateArguments, TableFormat,
};
use loadtests::exit_code::Outcome;
use loadtests::gate::gate;
use loadtests::judgement::{plan, timed_simulation};
use loadtests::measurement::Measurement;
use loadtests::pipeline::{self, Grid};
use loadtests::progress::Progress;
use loadtests::report::{self, Document, ResultsFile};
use loadtests::requirements::Requirements;
use loadtests::review::{self, Evidence, Input, Language, Review};
use loadtests::serve::{Lab, listen, serve};
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
        .with_ansi(std::io::stderr().is_terminal() && !no_color())
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                // goose reports what it stops as errors; the campaign judges its users itself. sqlx
                // warns of connections that end with the server at the end of a run.
                .unwrap_or_else(|_| "warn,goose=off,sqlx_core=error".into()),
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
        Some(Command::Simulate(arguments)) => simulate(&arguments),
        Some(Command::Plan(arguments)) => make_plan(&arguments),
        Some(Command::Review(arguments)) => answer(&arguments),
        Some(Command::Serve(arguments)) => serve_page(&arguments),
        Some(Command::Gate(arguments)) => judge(&arguments),
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
    let Some(measurement) = interruptible(measured(&grid, &progress, &out))? else {
        return Ok(Outcome::Interrupted);
    };
    progress.say("simulating the proposal and its alternatives");
    let command = std::env::args()
        .skip(1)
        .fold("cargo sizing".to_owned(), |command, argument| {
            format!("{command} {argument}")
        });
    let results = pipeline::conclude(
        command,
        measurement,
        &arguments.sizing,
        &sizing,
        &requirements,
        REPLICATIONS,
    )?;
    progress.finish();

    let figures = report::figures::of_results(&results);
    let document = report::sections::results(&results, &figures);
    let file = ResultsFile {
        results: &results,
        figures: &figures,
    };
    write(&out.join("results.json"), &json(&file)?)?;
    write(&out.join("report.md"), &report::markdown::render(&document))?;
    write(&out.join("report.html"), &report::html::render(&document))?;
    write(&out.join("calibration.json"), &json(&results.calibration)?)?;
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
    let grid = grid(Grid::standard(), &arguments.grid)?;
    let out = out_dir(&arguments.out)?;
    let progress = Progress::new(grid.expected_s(), quiet);
    let Some(measurement) = interruptible(measured(&grid, &progress, &out))? else {
        return Ok(Outcome::Interrupted);
    };
    progress.finish();
    let calibration = loadtests::calibrate::calibrate(&measurement)?;
    write(&out.join("calibration.json"), &json(&calibration)?)?;
    if arguments.json {
        println!("{}", json(&measurement)?);
    } else {
        let mut document = Document {
            title: "Measured grid".into(),
            blocks: vec![],
        };
        report::sections::measurement(&mut document, &measurement);
        report::sections::calibration(&mut document, &calibration);
        show(&document);
        if !quiet {
            println!(
                "\nWritten: measurement.json, calibration.json in {}",
                out.display()
            );
        }
    }
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
    let profile = pipeline::profile(&read_calibration(&arguments.calibration)?);
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

fn judge(arguments: &GateArguments) -> Result<Outcome> {
    let requirements = Requirements::read(&existing(&arguments.slo))?;
    let profile = pipeline::profile(&read_calibration(&arguments.calibration)?);
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
    let document = report::sections::gate(&result);
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
    grid.generations_min = arguments.generations;
    grid.backend.clone_from(&arguments.backend);
    if arguments.speedup.is_some() {
        let committed = read_calibration(Path::new(CALIBRATION))?;
        pipeline::check_speedup(&grid.load, committed.overhead_ms.value)?;
    }
    Ok(grid)
}

async fn measured(grid: &Grid, progress: &Progress, out: &Path) -> Result<Measurement> {
    let mut kept = Ok(());
    let measurement = pipeline::measure(Path::new(WORKSPACE), grid, progress, |measurement| {
        kept = json(measurement).and_then(|text| write(&out.join("measurement.json"), &text));
    })
    .await?;
    kept?;
    Ok(measurement)
}

/// Runs `work` until it ends or the user interrupts it: `None`. Dropping it ends what it started;
/// what a second, impatient Ctrl-C leaves, the harness's reaper ends.
fn interruptible<T>(work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
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
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
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
