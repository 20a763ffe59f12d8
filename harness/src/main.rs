//! `harness`: the stack for development, and the care of it.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the command line's surface"
)]

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use harness::{ImageResult, ProviderChoice, Sandbox, Stack, Template};
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
    /// Starts the stack, prints its environment, and removes it at Ctrl-C
    Up {
        /// Who runs the services: auto, docker or native; when unset, `HARNESS_PROVIDER` decides
        #[arg(long)]
        provider: Option<ProviderChoice>,
    },
    /// Removes what dead runs have left
    Down,
    /// Says what was found on this machine and what is missing
    Doctor,
    /// Builds the pinned images from the distribution's packages, without a container registry
    Images {
        /// Builds also what is there already
        #[arg(long)]
        force: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    match run(arguments.command).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("harness: failed to {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up { provider } => up(provider).await,
        Command::Down => down().await,
        Command::Doctor => Ok(doctor().await),
        Command::Images { force } => images(force).await,
    }
}

async fn up(provider: Option<ProviderChoice>) -> Result<ExitCode> {
    let choice = match provider {
        Some(choice) => choice,
        None => ProviderChoice::from_environment()?,
    };
    // Heard from the beginning: a Ctrl-C while starting ends the start.
    let mut ended = std::pin::pin!(end_asked());
    let start = async {
        let stack = Stack::start_with(choice).await?;
        let sandbox = stack.sandbox(&Template::empty()).await?;
        Ok::<_, anyhow::Error>((stack, sandbox))
    };
    let (stack, sandbox) = tokio::select! {
        started = start => started?,
        () = &mut ended => return Ok(ExitCode::SUCCESS),
    };
    // Whoever reads our output may have gone: that does not end the stack.
    std::io::stdout()
        .write_all(describe(&stack, &sandbox).as_bytes())
        .ok();
    ended.await;
    stack.stop().await?;
    drop(sandbox);
    Ok(ExitCode::SUCCESS)
}

/// The sandbox's environment as shell lines, and the stack in comments.
fn describe(stack: &Stack, sandbox: &Sandbox) -> String {
    let mut lines: Vec<String> = sandbox
        .environment()
        .into_iter()
        .map(|(name, value)| format!("export {name}={value}"))
        .collect();
    lines.extend([
        format!("# {}", stack.provider_reason()),
        format!("# Postgres {}", stack.postgres_version()),
        format!("# Redis {}", stack.redis_version()),
        format!("# S3 {}", stack.s3_name()),
        "# Ctrl-C ends it and removes everything".to_owned(),
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

async fn down() -> Result<ExitCode> {
    let swept = harness::sweep_all().await?;
    for run in &swept.runs {
        println!("removed run {} in {}", run.id, run.path.display());
    }
    for server in &swept.servers {
        println!("ended server process {server}");
    }
    for container in &swept.containers {
        println!("removed container {container}");
    }
    if swept.runs.is_empty() && swept.servers.is_empty() && swept.containers.is_empty() {
        println!("nothing was left by a dead run");
    }
    Ok(ExitCode::SUCCESS)
}

async fn doctor() -> ExitCode {
    for finding in harness::examine().await {
        let mark = if finding.good { "ok     " } else { "missing" };
        println!("{mark} {:<20} {}", finding.name, finding.detail);
        if let Some(remedy) = finding.remedy {
            println!("        {:<20} mend: {remedy}", "");
        }
    }
    ExitCode::SUCCESS
}

async fn images(force: bool) -> Result<ExitCode> {
    eprintln!("building what is missing; this takes some minutes");
    harness::build_images(force, |result| match result {
        ImageResult::Present(name) => println!("{name} is there"),
        ImageResult::Built(name, time) => println!("{name} built in {} s", time.as_secs()),
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}
