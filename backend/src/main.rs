//! `allegiant-backend`: reads the command line, runs a subcommand, exits.
#![expect(
    clippy::print_stderr,
    reason = "a binary says on stderr why it does not start"
)]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use backend::config::{DatabaseConfig, TraceConfig};
use backend::telemetry::chain;
use backend::{AppState, Config, Role, db, health, pdf, serve, telemetry};
use clap::{Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Bad configuration or command line; clap uses the same.
const EXIT_USAGE: u8 = 2;

/// Writes technical proposals: the service behind the API.
#[derive(Parser)]
#[command(name = "allegiant-backend", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until SIGTERM or SIGINT; configured by the environment alone.
    Serve {
        /// What this process does.
        #[arg(long, value_enum, default_value_t = Role::All)]
        role: Role,
    },
    /// Brings the database's schema up to date; safe to run at any time by any number of tasks.
    Migrate,
    /// Asks the service on `LISTEN_ADDR` whether it is healthy: exits with 0, or 1 when it is not.
    Health,
    /// Reads a PDF from stdin and writes its text as JSON to stdout, under resource limits.
    #[command(hide = true)]
    ExtractText,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        // Before any runtime exists: the child has a CPU and memory budget of its own.
        Command::ExtractText => pdf::extract::child_main(),
        Command::Serve { role } => match Config::from_env() {
            Ok(config) => {
                let (traces, flush_time) = (config.traces.clone(), config.shutdown_drain);
                run(
                    serve_until_signalled(config, role),
                    traces.as_ref(),
                    flush_time,
                )
            }
            Err(error) => usage(&error),
        },
        Command::Health => match health::own_address() {
            Ok(address) => match health::check(address) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("allegiant-backend: failed to {}", chain(&error));
                    ExitCode::FAILURE
                }
            },
            Err(error) => usage(&error),
        },
        Command::Migrate => match DatabaseConfig::from_env() {
            Ok(config) => run(migrate(config), None, Duration::ZERO),
            Err(error) => usage(&error),
        },
    }
}

fn usage(error: &backend::config::ConfigError) -> ExitCode {
    eprintln!("allegiant-backend: failed to {error}");
    ExitCode::from(EXIT_USAGE)
}

/// Runs `work` on a runtime of its own; the last spans have `flush_time` to leave.
fn run(
    work: impl Future<Output = anyhow::Result<()>>,
    traces: Option<&TraceConfig>,
    flush_time: Duration,
) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("allegiant-backend: failed to start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let telemetry = match telemetry::init(traces, runtime.handle()) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            eprintln!("allegiant-backend: failed to {}", chain(&error));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(work);
    // The exporter sends on the runtime's threads.
    telemetry.flush(flush_time);
    // A rendering or hashing thread that still runs must not hold up the exit.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %chain(error.as_ref()), "ended by an error");
            ExitCode::FAILURE
        }
    }
}

async fn serve_until_signalled(config: Config, role: Role) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let listen_addr = config.http.listen_addr;
    let state = AppState::new(config).await.context("set up the service")?;
    let listener = TcpListener::bind(listen_addr)
        .await
        .with_context(|| format!("listen on {listen_addr}"))?;
    let signalled = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
            _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
        }
        signalled.cancel();
    });
    serve(listener, state, role, shutdown)
        .await
        .context("serve")
}

async fn migrate(config: DatabaseConfig) -> anyhow::Result<()> {
    let pool = db::pool(&config);
    db::migrate(&pool).await.context("migrate the database")?;
    tracing::info!("the schema is up to date");
    Ok(())
}
