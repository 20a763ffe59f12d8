//! Resident memory of a backend that has nothing to do: after the start, and after work.

use std::time::Duration;

use clap::Args;
use futures::future::try_join_all;
use harness::Stack;
use loadtests::source_document::source_document;
use tokio::time::sleep;

use crate::service::{Service, Shape, Subject};
use crate::user::User;

/// What it does before it is idle again.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Generations, all at once, each of a user of its own.
    #[arg(long, default_value_t = 24)]
    generations: usize,
    /// Rest before memory is read, in seconds.
    #[arg(long, default_value_t = 3)]
    rest: u64,
}

pub(crate) async fn run(stack: &Stack, subject: &Subject, options: &Options) -> anyhow::Result<()> {
    let shape = Shape {
        vcpu: 2.0,
        memory_mib: 2_048,
        workers: 24,
        call_ms: 200.0,
    };
    let service = Service::start(stack, subject, "idle", shape).await?;
    let rest = Duration::from_secs(options.rest);
    println!("as it listens: {}", service.memory()?);
    sleep(rest).await;
    println!("{} s later: {}", options.rest, service.memory()?);
    let http = reqwest::Client::new();
    let base_url = service.backend.base_url();
    let users = (0..options.generations).map(|_| User::register(&http, base_url));
    let users = try_join_all(users).await?;
    sleep(rest).await;
    println!(
        "after {} registrations: {}",
        options.generations,
        service.memory()?
    );
    let pdf = source_document(12)?;
    try_join_all(users.iter().map(|user| generate(user, pdf.clone()))).await?;
    sleep(rest).await;
    println!(
        "after {} generations: {}",
        options.generations,
        service.memory()?
    );
    service.stop().await;
    Ok(())
}

async fn generate(user: &User, pdf: Vec<u8>) -> anyhow::Result<()> {
    let document = user.upload(pdf).await?;
    let generation = user.generate(&document).await?;
    loop {
        let polled = user.poll(&generation).await?;
        match polled.status.as_str() {
            "succeeded" => return Ok(()),
            "queued" | "running" => {
                sleep(polled.come_back_after.min(Duration::from_millis(500))).await
            }
            other => anyhow::bail!("the generation ended {other}"),
        }
    }
}
