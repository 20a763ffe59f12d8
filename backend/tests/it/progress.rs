//! How a user learns of a generation's progress: by waiting, by a stream of events, by polling.

use std::time::{Duration, Instant};

use backend::Role;
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use crate::app::{CALLS, PATIENCE, World, script_ms, until};
use crate::client::{Client, expect, order, problem};

/// An order that prefers to wait.
async fn waiting_order(user: &Client, wait: &str) -> anyhow::Result<Response> {
    let body = order(&[&user.upload(1).await?]);
    let request = user
        .request(Method::POST, "/api/v1/generations")
        .header("prefer", format!("respond-async, wait={wait}"));
    Ok(request.json(&body).send().await?)
}

#[tokio::test]
async fn an_order_that_waits_is_answered_with_the_end() -> anyhow::Result<()> {
    let world = World::new(script_ms(100.0)).await?;
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let answer = waiting_order(&user, "20").await?;
    assert_eq!(answer.headers()["preference-applied"], "wait=20");
    assert!(answer.headers().contains_key("location"));
    assert!(!answer.headers().contains_key("retry-after"));
    let row = expect(answer, StatusCode::OK).await?;
    assert_eq!(row["status"], "succeeded");
    service.stop().await
}

#[tokio::test]
async fn a_wait_that_is_too_short_is_answered_202_in_time() -> anyhow::Result<()> {
    let world = World::new(script_ms(600_000.0)).await?;
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let started = Instant::now();
    let answer = waiting_order(&user, "0.3").await?;
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!(answer.headers()["preference-applied"], "wait=0.3");
    assert!(answer.headers().contains_key("retry-after"));
    let row = expect(answer, StatusCode::ACCEPTED).await?;
    assert_eq!(row["status"], "running", "what is known at the end is told");
    service.stop().await
}

#[tokio::test]
async fn a_wait_never_outlasts_what_a_request_may_take() -> anyhow::Result<()> {
    let world = World::new(script_ms(600_000.0))
        .await?
        .set("REQUEST_TIMEOUT_MS", 2000);
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let answer = waiting_order(&user, "3600").await?;
    assert_eq!(answer.headers()["preference-applied"], "wait=1.8");
    expect(answer, StatusCode::ACCEPTED).await?;
    service.stop().await
}

#[tokio::test]
async fn who_waits_is_answered_at_once_when_the_process_stops() -> anyhow::Result<()> {
    let world = World::new(script_ms(600_000.0)).await?;
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let waiting = tokio::spawn({
        let user = user.clone();
        async move { waiting_order(&user, "25").await }
    });
    until("the first poll", || async {
        world.openai.stats().polls > 0
    })
    .await?;
    let started = Instant::now();
    service.stop().await?;
    let row = expect(waiting.await??, StatusCode::ACCEPTED).await?;
    assert!(row["id"].is_string());
    assert!(started.elapsed() < Duration::from_secs(4));
    Ok(())
}

/// Reads a stream of events to its end, or to a number of events.
async fn read_events(mut response: Response, count: usize) -> anyhow::Result<Vec<Event>> {
    anyhow::ensure!(response.status() == StatusCode::OK, "{}", response.status());
    anyhow::ensure!(response.headers()["content-type"] == "text/event-stream");
    let (mut text, mut events) = (String::new(), Vec::new());
    while let Some(chunk) = tokio::time::timeout(PATIENCE, response.chunk()).await?? {
        text.push_str(std::str::from_utf8(&chunk)?);
        while let Some((block, rest)) = text.split_once("\n\n") {
            events.extend(event(block));
            text = rest.to_owned();
            if events.len() == count {
                return Ok(events);
            }
        }
    }
    Ok(events)
}

#[derive(Debug)]
struct Event {
    name: String,
    id: i64,
    data: Value,
}

/// A block of lines as an event; `None` for a comment.
fn event(block: &str) -> Option<Event> {
    let field = |name: &str| {
        block
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
    };
    Some(Event {
        name: field("event")?.to_owned(),
        id: field("id")?.parse().ok()?,
        data: serde_json::from_str(field("data")?).ok()?,
    })
}

async fn open(user: &Client, id: &str, last: Option<i64>) -> anyhow::Result<Response> {
    let path = format!("/api/v1/generations/{id}/events");
    let mut request = user.request(Method::GET, &path);
    if let Some(last) = last {
        request = request.header("last-event-id", last.to_string());
    }
    Ok(request.send().await?)
}

#[tokio::test]
async fn events_tell_every_step_once_and_end_with_the_generation() -> anyhow::Result<()> {
    let world = World::new(script_ms(80.0)).await?;
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let id = user.generate().await?;
    let events = read_events(open(&user, &id, None).await?, usize::MAX).await?;
    let ids: Vec<i64> = events.iter().map(|event| event.id).collect();
    let expected: Vec<i64> = (1..).take(ids.len()).collect();
    assert_eq!(ids, expected, "without gaps");
    let (end, progress) = events.split_last().expect("there are events");
    assert!(progress.iter().all(|event| event.name == "progress"));
    assert_eq!(progress[0].data["status"], "queued");
    let percents: Vec<i64> = progress
        .iter()
        .filter_map(|event| event.data["progress"].as_i64())
        .collect();
    assert!(percents.is_sorted(), "{percents:?}");
    for step in ["write_outline", "write_section_1", "write_section_2"] {
        let seen = progress.iter().filter(|event| event.data["step"] == step);
        assert_eq!(seen.count(), 1, "{step} in {events:?}");
    }
    assert_eq!(end.name, "end");
    assert_eq!(end.data, user.generation(&id).await?);
    // A browser that comes back after the end is told to stay away.
    let again = open(&user, &id, Some(end.id)).await?;
    assert_eq!(again.status(), StatusCode::NO_CONTENT);
    let late = read_events(open(&user, &id, Some(end.id - 1)).await?, usize::MAX).await?;
    assert_eq!(late.len(), 1);
    service.stop().await
}

#[tokio::test]
async fn a_stream_resumes_on_another_task_without_loss_or_repetition() -> anyhow::Result<()> {
    let world = World::new(script_ms(500.0)).await?;
    let first = world.spawn().await?;
    let user = first.client().registered().await?;
    let id = user.generate().await?;
    let seen = read_events(open(&user, &id, None).await?, 3).await?;
    first.kill().await?;
    let second = world.spawn().await?;
    let user = user.at(&second.base_url);
    let last = seen.last().map(|event| event.id);
    let rest = read_events(open(&user, &id, last).await?, usize::MAX).await?;
    let ids: Vec<i64> = seen.iter().chain(&rest).map(|event| event.id).collect();
    let expected: Vec<i64> = (1..).take(ids.len()).collect();
    assert_eq!(ids, expected);
    assert_eq!(rest.last().map(|event| event.name.as_str()), Some("end"));
    assert_eq!(world.openai.billing().responses_created, CALLS);
    Ok(())
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive_and_ends_with_the_process() -> anyhow::Result<()> {
    let world = World::new(script_ms(600_000.0))
        .await?
        .set("SSE_KEEP_ALIVE_MS", 50);
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let id = user.generate().await?;
    let mut stream = open(&user, &id, None).await?;
    let mut text = String::new();
    while text.matches("\n:").count() < 3 {
        let chunk = tokio::time::timeout(PATIENCE, stream.chunk()).await??;
        text.push_str(std::str::from_utf8(&chunk.expect("it goes on"))?);
    }
    assert_eq!(text.matches("event:").count(), 1, "{text}");
    service.stop().await?;
    let end = async {
        while stream.chunk().await?.is_some() {}
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, end).await?
}

#[tokio::test]
async fn events_of_others_are_not_there_and_foreign_ids_are_refused() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let id = user.generate().await?;
    let stranger = service.client().registered().await?;
    problem(open(&stranger, &id, None).await?, StatusCode::NOT_FOUND).await?;
    problem(open(&user, &id, Some(-7)).await?, StatusCode::BAD_REQUEST).await?;
    service.stop().await
}

#[tokio::test]
async fn pollers_are_told_to_stay_away_while_much_remains() -> anyhow::Result<()> {
    let world = World::new(script_ms(400.0)).await?;
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    // Experience: a generation takes 1.2 s or more, so a tenth is far above the shortest delay of 20 ms.
    let began = Instant::now();
    let done = user.generate().await?;
    user.wait_for(&done, "succeeded").await?;
    let took_ms = began.elapsed().as_millis();
    let id = user.generate().await?;
    let delay = || async {
        let answer = user.get(&format!("/api/v1/generations/{id}")).await.ok()?;
        let delay = answer.headers().get("retry-after-ms")?.to_str().ok()?;
        delay.parse::<u64>().ok()
    };
    until("the pace to be known", || async {
        delay().await.is_some_and(|delay| delay > 60)
    })
    .await?;
    let delay_ms = delay().await.expect("a generation that runs");
    assert!(
        u128::from(delay_ms) <= took_ms / 10,
        "{delay_ms} ms after a first one of {took_ms} ms"
    );
    until("the end to come closer", || async {
        delay().await.is_none_or(|delay| delay < 60)
    })
    .await?;
    service.stop().await
}

#[tokio::test]
async fn cancelling_at_a_task_without_workers_reaches_openai_and_the_worker() -> anyhow::Result<()>
{
    let world = World::new(script_ms(600_000.0)).await?;
    let (api, worker) = (
        world.serve(Role::Api).await?,
        world.serve(Role::Worker).await?,
    );
    let user = api.client().registered().await?;
    let id = user.generate().await?;
    until("the first poll", || async {
        world.openai.stats().polls > 0
    })
    .await?;
    let path = format!("/api/v1/generations/{id}/cancel");
    let cancels = (0..4).map(|_| user.request(Method::POST, &path).send());
    for answer in futures::future::join_all(cancels).await {
        let row = expect(answer?, StatusCode::OK).await?;
        assert_eq!(row["status"], "cancelled");
    }
    // Stopping waits for the cancellation that is on its way.
    api.stop().await?;
    assert_eq!(world.openai.billing().responses_cancelled, 1);
    until("the worker's slot to be free", || async {
        let metrics = worker.client().get("/metrics").await;
        match metrics {
            Ok(answer) => answer
                .text()
                .await
                .is_ok_and(|text| text.contains("allegiant_worker_slots_busy 0")),
            Err(_) => false,
        }
    })
    .await?;
    worker.stop().await
}

#[tokio::test]
async fn readiness_turns_off_before_requests_are_refused() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0))
        .await?
        .set("SHUTDOWN_DRAIN_MS", 1500);
    let service = world.serve(Role::All).await?;
    let client = service.client();
    expect(client.get("/ready").await?, StatusCode::OK).await?;
    let stopping = tokio::spawn(service.stop());
    until("readiness to turn off", || async {
        client
            .get("/ready")
            .await
            .is_ok_and(|answer| answer.status() == StatusCode::SERVICE_UNAVAILABLE)
    })
    .await?;
    expect(client.get("/health").await?, StatusCode::OK).await?;
    stopping.await??;
    assert!(client.get("/health").await.is_err());
    Ok(())
}
