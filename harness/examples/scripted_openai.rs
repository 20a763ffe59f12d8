//! A scripted OpenAI: fifteen minutes in a second, a rate limit, and what it would have cost.
//!
//! `cargo run -p harness --example scripted_openai`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use anyhow::Context;
use harness::openai::{Action, Call, Latency, Script, When, WiremockOpenAi};
use harness::poll::{self, Progress};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let script = Script::default()
        .latency(Latency::Uniform {
            min_ms: 600_000.0,
            max_ms: 900_000.0,
        })
        .speedup(900.0)
        .fault(
            Call::Create,
            When::Nth(1),
            Action::RateLimited {
                retry_after_ms: 20_000.0,
            },
        );
    let openai = WiremockOpenAi::start(script).await?;
    let client = reqwest::Client::new();
    let responses = format!("{}/responses", openai.base_url());
    let request = json!({"model": "gpt-5", "input": "Write a section.", "background": true});

    let limited = client
        .post(&responses)
        .bearer_auth("sk-test")
        .json(&request);
    let limited = limited.send().await?;
    println!(
        "first create: {}, retry-after-ms {:?}",
        limited.status(),
        limited
            .headers()
            .get("retry-after-ms")
            .context("a 429 says when")?
    );

    let created = client
        .post(&responses)
        .bearer_auth("sk-test")
        .json(&request);
    let created: Value = created.send().await?.error_for_status()?.json().await?;
    let id = created["id"].as_str().context("a response has an id")?;
    let ended = poll::until("the response", Duration::from_secs(30), || async {
        let asked = client
            .get(format!("{responses}/{id}"))
            .bearer_auth("sk-test");
        match asked.send().await {
            Ok(answer) => match answer.json::<Value>().await {
                Ok(body) if body["status"] == "completed" => Progress::Ready(body),
                Ok(body) => Progress::NotYet(body["status"].to_string()),
                Err(error) => Progress::Failed(error.to_string()),
            },
            Err(error) => Progress::Failed(error.to_string()),
        }
    })
    .await?;
    println!(
        "second create: {}, usage {}",
        ended["status"], ended["usage"]
    );
    println!("on the bill: {:?}", openai.billing());
    Ok(())
}
