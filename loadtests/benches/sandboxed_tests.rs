//! How long end-to-end tests take that have a sandbox each: a user registers, uploads a tender, asks for a
//! proposal and downloads it, from a service of the test's own. `harness/BENCHMARKS.md` has the figures.
//!
//! `HARNESS_PROVIDER=native cargo bench --profile test --workspace --bench sandboxed_tests -- --tests 200`
//!
//! As `cargo test` does it: threads take one test after the other, each test has a runtime of its own, and
//! the first that asks starts the services, which is part of the time.
#![expect(clippy::print_stdout, reason = "the figures are the point")]

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use backend::{AppState, Config, MIGRATOR, Role};
use clap::Parser;
use harness::openai::{Latency, Script};
use harness::poll::{self, Progress};
use harness::{Sandbox, Stack, Template};
use loadtests::source_document::source_document;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Whoever waits longer waits for what never comes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of each call to the scripted OpenAI, in milliseconds.
const CALL_MS: f64 = 20.0;

/// Runs end-to-end tests in sandboxes and says how long they take.
#[derive(Parser)]
struct Arguments {
    /// How many.
    #[arg(long, default_value_t = 200)]
    tests: usize,
    /// How many at the same time; the machine's cores when it is not given, as `cargo test` has it.
    #[arg(long)]
    threads: Option<usize>,
    /// cargo's own.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let cores = std::thread::available_parallelism()?.get();
    let threads = arguments.threads.unwrap_or(cores).max(1);
    let pdf = source_document(3)?;
    // Before the clock starts: `cargo test` has built it too. It reads documents as a child process.
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let binary = runtime()?.block_on(loadtests::backend_process::build(&workspace))?;
    let extractor = binary.display().to_string();

    let next = AtomicUsize::new(0);
    let take_tests = || {
        let mut times = Vec::new();
        while next.fetch_add(1, Ordering::Relaxed) < arguments.tests {
            let started = Instant::now();
            runtime()?.block_on(end_to_end(&extractor, &pdf))?;
            times.push(started.elapsed());
        }
        anyhow::Ok(times)
    };
    let started = Instant::now();
    let mut times = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(take_tests)).collect();
        let ended = running.into_iter().map(|thread| {
            let joined = thread.join();
            joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        ended.collect::<anyhow::Result<Vec<_>>>()
    })?
    .concat();
    let elapsed = started.elapsed();
    times.sort_unstable();
    let at = |percent: usize| {
        let place = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        times.get(place).copied().unwrap_or_default().as_secs_f64()
    };
    println!(
        "{}, {cores} cores",
        runtime()?.block_on(Stack::shared())?.provider_reason()
    );
    println!(
        "{} end-to-end tests in {threads} threads, services started cold: {:.1} s; a test p50 {:.2} s, p95 {:.2} s, longest {:.2} s",
        times.len(),
        elapsed.as_secs_f64(),
        at(50),
        at(95),
        at(100),
    );
    Ok(())
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// One test: register, upload, generate, download.
async fn end_to_end(extractor: &str, pdf: &[u8]) -> anyhow::Result<()> {
    let stack = Stack::shared().await?;
    let sandbox = stack.sandbox(&Template::from_migrator(&MIGRATOR)).await?;
    let script = Script::default().latency(Latency::Fixed { ms: CALL_MS });
    let openai = sandbox.openai(script).await?;
    let environment = environment(&sandbox, &openai.base_url(), extractor);
    let config = Config::from_lookup(&|name| environment.get(name).cloned())?;
    let state = AppState::new(config).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let api = format!("http://{}/api/v1", listener.local_addr()?);
    let shutdown = CancellationToken::new();
    let service = tokio::spawn(backend::serve(listener, state, Role::All, shutdown.clone()));

    let http = reqwest::Client::new();
    let account = json!({"email": "user@example.com", "password": "correct horse battery"});
    let registered = http.post(format!("{api}/auth/register")).json(&account);
    let registered = read(registered.send().await?, StatusCode::CREATED).await?;
    let token = text(&registered, "token")?;
    let part = reqwest::multipart::Part::bytes(pdf.to_vec())
        .file_name("tender.pdf")
        .mime_str("application/pdf")?;
    let upload = http.post(format!("{api}/documents")).bearer_auth(token);
    let upload = upload.multipart(reqwest::multipart::Form::new().part("file", part));
    let document = read(upload.send().await?, StatusCode::CREATED).await?;
    let order = json!({
        "title": "Water treatment plant",
        "instructions": "Offer a plant for 40 cubic metres per hour.",
        "document_ids": [text(&document, "id")?],
    });
    let ordered = http.post(format!("{api}/generations")).bearer_auth(token);
    let ordered = read(ordered.json(&order).send().await?, StatusCode::ACCEPTED).await?;
    let generation = format!("{api}/generations/{}", text(&ordered, "id")?);
    poll::until("the proposal", PATIENCE, || async {
        match show(&http, token, &generation).await {
            Ok(row) if row["status"] == "succeeded" => Progress::Ready(()),
            Ok(row) if row["status"] == "failed" => Progress::Failed(row.to_string()),
            Ok(row) => Progress::NotYet(row.to_string()),
            Err(error) => Progress::NotYet(format!("{error:#}")),
        }
    })
    .await?;
    // The client follows the redirect to S3.
    let download = http.get(format!("{generation}/pdf")).bearer_auth(token);
    let proposal = download.send().await?.error_for_status()?.bytes().await?;
    ensure!(proposal.starts_with(b"%PDF-"), "the proposal is no PDF");

    shutdown.cancel();
    tokio::time::timeout(PATIENCE, service).await???;
    Ok(())
}

/// The service's, as the backend's own tests have it: everything fast, passwords cheap.
fn environment(sandbox: &Sandbox, openai: &str, extractor: &str) -> HashMap<String, String> {
    let fast = [
        ("LISTEN_ADDR", "127.0.0.1:0"),
        ("OPENAI_BASE_URL", openai),
        ("OPENAI_API_KEY", "sk-test"),
        ("OPENAI_POLL_INTERVAL_MS", "20"),
        ("GENERATION_SECTIONS", "2"),
        ("CLAIM_INTERVAL_MS", "200"),
        ("POLL_RETRY_AFTER_MS", "20"),
        ("ARGON2_MEMORY_KIB", "64"),
        ("ARGON2_ITERATIONS", "1"),
        ("SHUTDOWN_DRAIN_MS", "50"),
        ("SHUTDOWN_TIMEOUT_MS", "4000"),
        ("EXTRACTOR_PATH", extractor),
    ];
    let fast = fast.map(|(name, value)| (name.to_owned(), value.to_owned()));
    sandbox.environment().into_iter().chain(fast).collect()
}

async fn show(http: &reqwest::Client, token: &str, generation: &str) -> anyhow::Result<Value> {
    let asked = http.get(generation).bearer_auth(token).send().await?;
    read(asked, StatusCode::OK).await
}

async fn read(response: Response, expected: StatusCode) -> anyhow::Result<Value> {
    let status = response.status();
    let body = response.text().await?;
    ensure!(status == expected, "{status} instead of {expected}: {body}");
    Ok(serde_json::from_str(&body)?)
}

fn text<'a>(answer: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    let value = answer[field].as_str();
    value.with_context(|| format!("read {field} in {answer}"))
}
