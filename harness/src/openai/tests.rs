//! Both fronts over HTTP: the same script gives the same transcript, whoever serves it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};

use super::*;
use crate::poll::{Progress, until};

/// A client as applications have one.
struct Client {
    http: reqwest::Client,
    base_url: String,
}

/// What a client saw of an answer: its status, the headers that matter, its body.
type Seen = (u16, Vec<Option<String>>, Value);

impl Client {
    fn new(base_url: String) -> Self {
        Self {
            http: reqwest::Client::new(),
            base_url,
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Seen> {
        let answer = request.bearer_auth("key").send().await?;
        let header = |name| {
            let value = answer.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let headers = [
            "content-type",
            "retry-after",
            "retry-after-ms",
            "x-request-id",
        ]
        .map(header);
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        let mut body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        for key in ["created_at", "completed_at"] {
            if let Some(time) = body.get_mut(key).filter(|time| time.is_number()) {
                *time = json!("a time");
            }
        }
        Ok((status, headers.to_vec(), body))
    }

    async fn create(&self, background: bool) -> Result<Seen> {
        let body = json!({"model": "gpt-5", "input": "Write.", "background": background,
            "metadata": {"step": "write_section_1"}});
        self.send(
            self.http
                .post(format!("{}/responses", self.base_url))
                .json(&body),
        )
        .await
    }

    async fn poll(&self, id: &str) -> Result<Seen> {
        self.send(self.http.get(format!("{}/responses/{id}", self.base_url)))
            .await
    }

    async fn cancel(&self, id: &str) -> Result<Seen> {
        self.send(
            self.http
                .post(format!("{}/responses/{id}/cancel", self.base_url)),
        )
        .await
    }

    /// Everything once: success, cancelling, each kind of refusal, garbage that comes late.
    async fn transcript(&self) -> Result<Vec<Seen>> {
        let mut seen = vec![self.create(true).await?];
        let id = id_of(seen.first().context("an answer")?)?;
        seen.push(self.poll(&id).await?);
        seen.push(self.create(true).await?);
        seen.push(self.create(true).await?);
        seen.push(self.create(true).await?);
        let endless = id_of(seen.last().context("an answer")?)?;
        seen.push(self.poll(&endless).await?);
        seen.push(self.cancel(&endless).await?);
        seen.push(self.create(false).await?);
        seen.push(self.poll("resp_unknown").await?);
        seen.push(self.poll(&id).await?);
        seen.push(
            self.send(self.http.get(format!("{}/models", self.base_url)))
                .await?,
        );
        Ok(seen)
    }
}

fn id_of(seen: &Seen) -> Result<String> {
    seen.2["id"]
        .as_str()
        .map(str::to_owned)
        .context("an id in the answer")
}

fn transcript_script() -> Script {
    Script::default()
        .latency(Latency::Fixed { ms: 0.0 })
        .fault(
            Call::Create,
            When::Nth(2),
            Action::RateLimited {
                retry_after_ms: 1200.0,
            },
        )
        .fault(
            Call::Create,
            When::Nth(3),
            Action::ServerError { status: 503 },
        )
        .fault(Call::Create, When::Nth(4), Action::NeverEnds)
        .fault(Call::Poll, When::Nth(4), Action::Garbage)
}

#[tokio::test]
async fn both_fronts_answer_the_same_transcript() -> Result<()> {
    let wiremock = WiremockOpenAi::start(transcript_script()).await?;
    let load = LoadOpenAi::start(transcript_script()).await?;
    let by_wiremock = Client::new(wiremock.base_url()).transcript().await?;
    let by_load = Client::new(load.base_url()).transcript().await?;
    assert_eq!(by_wiremock, by_load);

    let statuses: Vec<u16> = by_load.iter().map(|(status, ..)| *status).collect();
    assert_eq!(
        statuses,
        [200, 200, 429, 503, 200, 200, 200, 200, 404, 200, 404]
    );
    let shown = |at: usize| by_load.get(at).map(|(_, _, body)| body["status"].clone());
    assert_eq!(shown(1), Some(json!("completed")));
    assert_eq!(shown(6), Some(json!("cancelled")));
    assert_eq!(shown(7), Some(json!("completed")), "a blocking create");
    let limited = by_load.get(2).context("the 429")?;
    assert_eq!(
        limited.1.get(1..3),
        Some(&[Some("2".to_owned()), Some("1200".to_owned())][..])
    );
    assert!(
        by_load.get(9).is_some_and(|(_, _, body)| body.is_string()),
        "garbage is no JSON"
    );

    assert_eq!(wiremock.billing(), load.billing());
    assert_eq!(load.billing().responses_created, 3);
    let stats = load.stats();
    assert_eq!(
        (stats.creates, stats.polls, stats.cancels, stats.faults),
        (5, 4, 1, 4)
    );
    load.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_test_can_expect_calls_and_read_them() -> Result<()> {
    let openai = WiremockOpenAi::start(Script::default()).await?;
    openai.expect(Call::Create, 1).await;
    openai.expect(Call::Poll, 2..).await;
    let client = Client::new(openai.base_url());
    let id = id_of(&client.create(true).await?)?;
    for _ in 0..3 {
        assert_eq!(client.poll(&id).await?.2["status"], "queued");
    }
    openai.verify().await;
    let creates = openai.received(Call::Create).await;
    let body: Value = creates.first().context("the create")?.body_json()?;
    assert_eq!((creates.len(), &body["input"]), (1, &json!("Write.")));
    assert_eq!(openai.received_requests().await.len(), 4);
    Ok(())
}

#[tokio::test]
async fn a_missed_expectation_is_noticed() -> Result<()> {
    let openai = WiremockOpenAi::start(Script::default()).await?;
    openai.expect(Call::Cancel, 1).await;
    let verdict = tokio::spawn(async move { openai.verify().await }).await;
    assert!(verdict.is_err_and(|error| error.is_panic()));
    Ok(())
}

#[tokio::test]
async fn a_script_can_be_changed_while_it_is_served() -> Result<()> {
    let openai = WiremockOpenAi::start(Script::default()).await?;
    let client = Client::new(openai.base_url());
    assert_eq!(client.create(true).await?.0, 200);
    let broken = Script::default().fault(
        Call::Create,
        When::Always,
        Action::ServerError { status: 500 },
    );
    openai.set_script(broken)?;
    assert_eq!(client.create(true).await?.0, 500);
    assert!(matches!(
        openai.set_script(Script::default().speedup(-1.0)),
        Err(OpenAiError::Script(_))
    ));
    assert_eq!(
        client.create(true).await?.0,
        500,
        "a script that cannot be played changes nothing"
    );
    Ok(())
}

#[tokio::test]
async fn a_script_that_cannot_be_played_is_not_served() {
    let script = Script::default().speedup(0.0);
    let refused = LoadOpenAi::start(script.clone()).await;
    assert!(matches!(
        refused,
        Err(OpenAiError::Script(ScriptError::Speedup(_)))
    ));
    assert!(WiremockOpenAi::start(script).await.is_err());
}

#[tokio::test]
async fn responses_end_after_their_compressed_latency() -> Result<()> {
    // 6 s at 60 times the speed are 100 ms.
    let script = Script::default()
        .latency(Latency::Fixed { ms: 6000.0 })
        .speedup(60.0);
    let openai = LoadOpenAi::start(script).await?;
    let client = Client::new(openai.base_url());
    let started = Instant::now();
    let blocking = client.create(false).await?;
    assert_eq!(blocking.2["status"], "completed");
    assert!(started.elapsed() >= Duration::from_millis(100));

    let started = Instant::now();
    let id = id_of(&client.create(true).await?)?;
    until("the response", Duration::from_secs(20), || async {
        match client.poll(&id).await {
            Ok((200, _, body)) if body["status"] == "completed" => Progress::Ready(()),
            Ok((_, _, body)) => Progress::NotYet(body["status"].to_string()),
            Err(error) => Progress::Failed(format!("{error:#}")),
        }
    })
    .await?;
    assert!(started.elapsed() >= Duration::from_millis(100));
    assert_eq!(openai.stats().completions_seen, 2);
    openai.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_stopped_server_answers_nobody_even_while_an_answer_is_held_back() -> Result<()> {
    let script = Script::default().fault(
        Call::Create,
        When::Nth(1),
        Action::Stall { ms: 86_400_000.0 },
    );
    let openai = LoadOpenAi::start(script).await?;
    let client = Client::new(openai.base_url());
    let held_back = client.create(true);
    let stop = async {
        let arrived = until("the call's arrival", Duration::from_secs(20), || async {
            if openai.stats().creates == 1 {
                Progress::Ready(())
            } else {
                Progress::NotYet("none".into())
            }
        });
        arrived.await?;
        openai.stop().await;
        Ok(())
    };
    let (answer, stopped): (_, Result<()>) = tokio::join!(held_back, stop);
    stopped?;
    assert!(answer.is_err());
    assert!(client.create(true).await.is_err(), "the port is closed");
    Ok(())
}

#[test]
fn a_server_for_load_outlives_the_runtime_it_was_started_from() -> Result<()> {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
    };
    let openai = runtime()?.block_on(LoadOpenAi::start(Script::default()))?;
    let answer = runtime()?.block_on(Client::new(openai.base_url()).create(true))?;
    ensure!(answer.0 == 200, "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_come_at_the_same_time_are_all_counted() -> Result<()> {
    let openai = LoadOpenAi::start(Script::default().latency(Latency::Fixed { ms: 0.0 })).await?;
    let client = Client::new(openai.base_url());
    let rounds = (0..32).map(|_| async {
        let id = id_of(&client.create(true).await?)?;
        for _ in 0..4 {
            client.poll(&id).await?;
        }
        anyhow::Ok(id)
    });
    let mut ids = try_join_all(rounds).await?;
    ids.sort_unstable();
    ids.dedup();
    let (stats, billing) = (openai.stats(), openai.billing());
    assert_eq!((ids.len(), stats.creates, stats.polls), (32, 32, 128));
    assert_eq!(
        (stats.completions_seen, billing.responses_completed),
        (32, 32)
    );
    openai.stop().await;
    Ok(())
}
