//! How long a sandbox takes, cold and with tests running in parallel. `BENCHMARKS.md` has the
//! figures.
//!
//! `cargo run -p harness --example sandbox_speed -- [SANDBOXES] [PARALLEL] [TEST_MS]`
#![expect(clippy::print_stdout, reason = "the figures are the point")]

use std::time::{Duration, Instant};

use anyhow::Context;
use harness::openai::Script;
use harness::{Stack, Template};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| match arguments.next() {
        Some(text) => text
            .parse()
            .with_context(|| format!("use {text:?} as a number")),
        None => Ok(default),
    };
    let (sandboxes, parallel, test_ms) = (number(200)?, number(4)?, number(100)?);

    let started = Instant::now();
    let stack = Stack::start().await?;
    let template = Template::empty();
    let first = stack.sandbox(&template).await?;
    println!(
        "{}, Postgres {}",
        stack.provider_reason(),
        stack.postgres_version()
    );
    println!(
        "first sandbox of a cold run: {} ms",
        started.elapsed().as_millis()
    );
    drop(first);

    let mut tests = JoinSet::new();
    let stack = std::sync::Arc::new(stack);
    let started = Instant::now();
    for lane in 0..parallel {
        let (stack, template) = (std::sync::Arc::clone(&stack), template.clone());
        let count = sandboxes / parallel + u64::from(lane < sandboxes % parallel);
        tests.spawn(async move {
            let mut times = Vec::new();
            for _ in 0..count {
                let asked = Instant::now();
                let sandbox = stack.sandbox(&template).await?;
                let openai = sandbox.openai(Script::default()).await?;
                let made = asked.elapsed();
                // What a test does: it uses the database and takes its time.
                PgConnection::connect(sandbox.database_url())
                    .await?
                    .ping()
                    .await?;
                let rest = Duration::from_millis(test_ms);
                tokio::time::timeout(rest, std::future::pending::<()>())
                    .await
                    .ok();
                drop(openai);
                let dropping = Instant::now();
                drop(sandbox);
                times.push((made, dropping.elapsed()));
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(lane) = tests.join_next().await {
        times.extend(lane??);
    }
    let elapsed = started.elapsed();
    let (made, dropped): (Vec<_>, Vec<_>) = times.into_iter().unzip();
    println!(
        "{sandboxes} sandboxes, {parallel} in parallel, each used for {test_ms} ms, in {:.1} s",
        elapsed.as_secs_f64()
    );
    show("make (database, Redis, bucket, OpenAI)", made);
    show("drop", dropped);
    std::sync::Arc::into_inner(stack)
        .context("every test has ended")?
        .stop()
        .await?;
    Ok(())
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| {
        let place = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        times.get(place).copied().unwrap_or_default().as_secs_f64() * 1000.0
    };
    println!(
        "{what}: p50 {:.2} ms, p95 {:.2} ms, max {:.2} ms",
        at(50),
        at(95),
        at(100)
    );
}
