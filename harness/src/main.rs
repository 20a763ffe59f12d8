//! `harness`: the stack for development, and the care of it.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use harness::openai::{Latency, LoadOpenAi, OpenAiError, Script};
use harness::{Availability, ImageResult, Ports, ProviderChoice, Stack};
use tracing_subscriber::EnvFilter;

/// Postgres, Redis and S3 for tests and for development.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts the stack on ports that stay, writes `.env`, and removes both at Ctrl-C
    Up(Up),
    /// Ends every running `up`, and removes what dead runs have left
    Down {
        /// Deletes also what `up --keep` has kept
        #[arg(long)]
        forget: bool,
    },
    /// Says what was found on this machine and what is missing; exit code 1 when no provider could
    /// serve
    Doctor,
    /// Builds the pinned images from the distribution's packages, without a container registry
    Images {
        /// Builds also what is there already
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Up {
    /// Who runs the services: auto, docker or native; when unset, `HARNESS_PROVIDER` decides
    #[arg(long)]
    provider: Option<ProviderChoice>,
    /// Keeps databases, keys and objects for the next `up --keep` (LocalStack keeps none)
    #[arg(long)]
    keep: bool,
    /// Of Postgres; 0 is any free one
    #[arg(long, default_value_t = 15432)]
    postgres_port: u16,
    /// Of Redis; 0 is any free one
    #[arg(long, default_value_t = 16379)]
    redis_port: u16,
    /// Of S3; 0 is any free one
    #[arg(long, default_value_t = 14566)]
    s3_port: u16,
    /// Of the scripted OpenAI; 0 is any free one
    #[arg(long, default_value_t = 18080)]
    openai_port: u16,
    /// The scripted OpenAI's responses of 2 to 3 minutes, of which a proposal takes five, are
    /// divided by this
    #[arg(long, default_value_t = 60.0)]
    speedup: f64,
    /// Takes any free ports
    #[arg(long)]
    free_ports: bool,
    /// Where the environment is written, for programs that read such files
    #[arg(long, default_value = ".env")]
    env_file: PathBuf,
    /// Writes no such file
    #[arg(long)]
    no_env_file: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    match run(arguments.command).await {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("harness: failed to {error:#}"));
            ExitCode::from(2)
        }
    }
}

async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(options) => up(options).await,
        Command::Down { forget } => down(forget).await,
        Command::Doctor => doctor().await,
        Command::Images { force } => images(force).await,
    }
}

async fn up(options: Up) -> Result<ExitCode> {
    let choice = match options.provider {
        Some(choice) => choice,
        None => ProviderChoice::from_environment()?,
    };
    let ports = if options.free_ports {
        Ports::default()
    } else {
        Ports {
            postgres: options.postgres_port,
            redis: options.redis_port,
            s3: options.s3_port,
        }
    };
    let openai_port = if options.free_ports {
        0
    } else {
        options.openai_port
    };
    let env_file = (!options.no_env_file).then(|| EnvFile(options.env_file.clone()));
    if let Some(file) = &env_file {
        file.check()?;
    }
    // Heard from the beginning: a Ctrl-C while starting ends the start.
    let mut ended = std::pin::pin!(end_asked());
    let start = async {
        let openai = LoadOpenAi::start_on(script(options.speedup), openai_port).await;
        let openai = openai.map_err(|error| match error {
            OpenAiError::Listen(cause) if openai_port != 0 => anyhow::anyhow!(
                "listen on 127.0.0.1:{openai_port} for the scripted OpenAI: {cause}; `harness down` ends an earlier `up`, --openai-port takes another port"
            ),
            other => other.into(),
        })?;
        let stack = Stack::start_for_development(choice, ports, options.keep).await?;
        let mut environment = stack.development().await?;
        environment.push(("OPENAI_BASE_URL".to_owned(), openai.base_url()));
        environment.push(("OPENAI_API_KEY".to_owned(), "sk-scripted".to_owned()));
        Ok::<_, anyhow::Error>((stack, openai, environment))
    };
    let (stack, openai, environment) = tokio::select! {
        started = start => started?,
        () = &mut ended => return Ok(ExitCode::SUCCESS),
    };
    if let Some(file) = &env_file {
        file.write(&stack, &environment)?;
    }
    // Whoever reads our output may have gone: that does not end the stack.
    std::io::stdout()
        .write_all(describe(&stack, &openai, &environment).await.as_bytes())
        .ok();
    ended.await;
    if let Some(file) = &env_file {
        file.remove(&stack);
    }
    openai.stop().await;
    stack.stop().await?;
    Ok(ExitCode::SUCCESS)
}

/// A proposal of five calls takes the review's 10 to 15 minutes, in compressed time.
fn script(speedup: f64) -> Script {
    Script::default()
        .latency(Latency::Uniform {
            min_ms: 120_000.0,
            max_ms: 180_000.0,
        })
        .speedup(speedup)
}

/// A file of environment variables that only `up` writes and removes.
struct EnvFile(PathBuf);

impl EnvFile {
    const MARK: &str = "# Written by `harness up`, which removes it when it ends.";

    fn check(&self) -> Result<()> {
        let path = self.0.display();
        match std::fs::read_to_string(&self.0) {
            Ok(text) if text.starts_with(Self::MARK) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Ok(_) => bail!(
                "write {path}: it is there and `harness up` did not write it; move it, or use --env-file or --no-env-file"
            ),
            Err(error) => Err(error).with_context(|| format!("read {path}")),
        }
    }

    /// What the file begins with while it is this stack's.
    fn head(stack: &Stack) -> String {
        format!("{}\n# run {}\n", Self::MARK, stack.id())
    }

    fn write(&self, stack: &Stack, environment: &[(String, String)]) -> Result<()> {
        let guarded = stack.guard_environment_file(&self.0);
        guarded.with_context(|| format!("note where {} is", self.0.display()))?;
        let mut text = Self::head(stack);
        for (name, value) in environment {
            text.push_str(&format!("{name}={value}\n"));
        }
        std::fs::write(&self.0, text).with_context(|| {
            // Half a file would not be known as ours the next time.
            std::fs::remove_file(&self.0).ok();
            format!("write {}; --env-file takes another place", self.0.display())
        })
    }

    /// Unless a later `up` has written it since.
    fn remove(&self, stack: &Stack) {
        let text = std::fs::read_to_string(&self.0);
        if text.is_ok_and(|text| text.starts_with(&Self::head(stack))) {
            std::fs::remove_file(&self.0).ok();
        }
    }
}

/// A table of the services, and the environment as shell lines.
async fn describe(stack: &Stack, openai: &LoadOpenAi, environment: &[(String, String)]) -> String {
    let mut rows = vec![["# service", "address", "health", "log"].map(str::to_owned)];
    for service in stack.services().await {
        let name = format!("# {}", service.name);
        rows.push([name, service.address, service.health, service.log]);
    }
    rows.push([
        "# OpenAI (scripted)".to_owned(),
        openai.base_url(),
        "ok".to_owned(),
        "stderr of this process".to_owned(),
    ]);
    let mut lines = vec![format!("# {}", stack.provider_reason())];
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    for row in &rows {
        let [name, address, health, log] = row;
        lines.push(format!(
            "{name:<0$}  {address:<1$}  {health:<2$}  {log}",
            width(0),
            width(1),
            width(2)
        ));
    }
    let exports = environment.iter();
    lines.extend(exports.map(|(name, value)| format!("export {name}={value}")));
    lines.extend([
        "# Ctrl-C, or `harness down` elsewhere, ends it".to_owned(),
        format!("# run {} in {}", stack.id(), stack.run_dir().display()),
    ]);
    lines.join("\n") + "\n"
}

/// Ends with the first INT or TERM.
async fn end_asked() {
    use tokio::signal::unix::{SignalKind, signal};
    match (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        // Without handlers the signal's default ends us, and the guardian cleans up.
        _ => std::future::pending().await,
    }
}

async fn down(forget: bool) -> Result<ExitCode> {
    let ended = harness::end_development().await?;
    for run in &ended {
        say(&format!("ended run {} in {}", run.id, run.path.display()))?;
    }
    let swept = harness::sweep_all().await?;
    for run in &swept.runs {
        say(&format!("removed run {} in {}", run.id, run.path.display()))?;
    }
    for server in &swept.servers {
        say(&format!("ended server process {server}"))?;
    }
    for container in &swept.containers {
        say(&format!("removed container {container}"))?;
    }
    let mut forgotten = Vec::new();
    if forget {
        forgotten = harness::forget_state().await?;
        for state in &forgotten {
            say(&format!("deleted {state}"))?;
        }
    }
    if ended.is_empty()
        && forgotten.is_empty()
        && swept.runs.is_empty()
        && swept.servers.is_empty()
        && swept.containers.is_empty()
    {
        say("nothing is running, and nothing was left by a dead run")?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn doctor() -> Result<ExitCode> {
    let found = harness::examine(ProviderChoice::from_environment()?).await;
    for finding in found.findings {
        let mark = match finding.availability {
            Availability::Here => "ok     ",
            Availability::AtFirstUse => "fetched",
            Availability::Missing => "missing",
        };
        say(&format!("{mark} {:<20} {}", finding.name, finding.detail))?;
        if let Some(remedy) = finding.remedy {
            say(&format!("        {:<20} mend: {remedy}", ""))?;
        }
    }
    say(&found.verdict.to_string())?;
    // A missing provider is what was asked about, not bad input.
    Ok(match found.verdict.provider() {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::from(1),
    })
}

async fn images(force: bool) -> Result<ExitCode> {
    complain("building what is missing; this takes some minutes");
    harness::build_images(force, |result| match result {
        // The images are what was asked for: a line that is lost ends nothing.
        ImageResult::Present(name) => drop(say(&format!("{name} is there"))),
        ImageResult::Built(name, time) => {
            drop(say(&format!("{name} built in {} s", time.as_secs())));
        }
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

/// A line of the result, to standard output. A reader that has gone, as `head` does after its lines, has read enough:
/// the rest is left out.
fn say(line: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    match writeln!(output, "{line}").and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("print to standard output; send it where there is room")
        }
        _ => Ok(()),
    }
}

/// A line about the run, to standard error. Nobody left to tell is no reason to stop.
fn complain(line: &str) {
    writeln!(std::io::stderr(), "{line}").ok();
}
