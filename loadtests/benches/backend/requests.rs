//! Health checks, and polls of a generation that runs, with the session in Redis.

use std::time::Duration;

use clap::Args;
use harness::Stack;
use loadtests::source_document::source_document;
use loadtests::stats::count_u64_as_f64;

use crate::service::{Service, Shape, Subject};
use crate::user::User;
use crate::wire::{Question, ask};

/// What to send.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// How long each kind of request is sent, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// How often both are measured, in turn.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
}

pub(crate) async fn run(stack: &Stack, subject: &Subject, options: &Options) -> anyhow::Result<()> {
    let shape = Shape {
        vcpu: 1.0,
        memory_mib: 2_048,
        workers: 6,
        call_ms: 3_600_000.0,
    };
    let service = Service::start(stack, subject, "requests", shape).await?;
    let base_url = service.backend.base_url().to_owned();
    let user = User::register(&reqwest::Client::new(), &base_url).await?;
    let document = user.upload(source_document(12)?).await?;
    let generation = user.generate(&document).await?;
    let health = Question {
        base_url: base_url.clone(),
        path: "/health".to_owned(),
        token: None,
    };
    let poll = Question {
        base_url,
        path: format!("/api/v1/generations/{generation}"),
        token: Some(user.token.clone()),
    };
    println!(
        "1 vCPU ({:?}), {} connections, {} s each",
        service.backend.limit(),
        options.connections,
        options.seconds
    );
    println!(
        "| request | requests/s | CPU, us a request | requests a CPU-second | p50, ms | p99, ms |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for _ in 0..options.rounds {
        for (name, question) in [("health", &health), ("status poll", &poll)] {
            let before_s = service.cpu_s()?;
            let time = Duration::from_secs(options.seconds);
            let answers = ask(question, options.connections, time).await?;
            let cpu_s = service.cpu_s()? - before_s;
            let count = count_u64_as_f64(answers.latencies.count());
            let ms = |share| answers.latencies.quantile_s(share).unwrap_or(0.0) * 1000.0;
            println!(
                "| {name} | {:.0} | {:.1} | {:.0} | {:.2} | {:.2} |",
                count / answers.wall_s,
                cpu_s / count * 1e6,
                count / cpu_s,
                ms(0.5),
                ms(0.99)
            );
        }
    }
    service.stop().await;
    Ok(())
}
