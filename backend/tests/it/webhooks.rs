//! Webhooks: signed, at least once, the same each time, and to public addresses only.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use backend::Role;
use backend::webhooks::signature;
use base64::Engine;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::app::{World, script_ms, until};
use crate::client::{Client, expect, order, problem};

/// One call of a receiver.
#[derive(Debug, Clone)]
struct Call {
    path: String,
    headers: HeaderMap,
    body: String,
}

impl Call {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(|value| value.to_str());
        value.and_then(Result::ok).unwrap_or_default()
    }
}

/// A receiver that answers its calls with these statuses in turn, and with 204 after them. Status
/// 102 stands for no answer at all, 307 comes with a location.
#[derive(Clone)]
struct Receiver {
    url: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Receiver {
    async fn start(statuses: &[u16]) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let (seen, statuses) = (Arc::clone(&calls), statuses.to_vec());
        let answer = move |uri: axum::http::Uri, headers: HeaderMap, body: Bytes| async move {
            let number = {
                let mut calls = seen.lock().unwrap_or_else(PoisonError::into_inner);
                calls.push(Call {
                    path: uri.path().to_owned(),
                    headers,
                    body: String::from_utf8_lossy(&body).into_owned(),
                });
                calls.len()
            };
            match statuses.get(number - 1) {
                Some(102) => std::future::pending().await,
                Some(307) => (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")]),
                Some(status) => {
                    let status = StatusCode::from_u16(*status).expect("a status");
                    (status, [("location", "")])
                }
                None => (StatusCode::NO_CONTENT, [("location", "")]),
            }
        };
        let app = axum::Router::new().fallback(answer);
        tokio::spawn(axum::serve(listener, app).into_future());
        Ok(Self { url, calls })
    }

    fn calls(&self) -> Vec<Call> {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn called(&self, times: usize) -> anyhow::Result<()> {
        until("the receiver to be called", || async {
            self.calls().len() >= times
        })
        .await
    }
}

/// The outbox is read when something in it is due: once an hour would be too late for any test.
async fn world(latency_ms: f64) -> anyhow::Result<World> {
    Ok(World::new(script_ms(latency_ms))
        .await?
        .set("HEARTBEAT_MS", 3_600_000)
        .set("LEASE_MS", 7_200_000)
        .set("WEBHOOK_ALLOW_PRIVATE", true)
        .set("WEBHOOK_RETRY_BASE_MS", 20)
        .set("WEBHOOK_RETRY_MAX_MS", 50))
}

async fn ordered(user: &Client, url: &str) -> anyhow::Result<String> {
    let mut body = order(&[&user.upload(1).await?]);
    body["webhook_url"] = json!(url);
    let answer = user.post("/api/v1/generations", body).await?;
    let row = expect(answer, StatusCode::ACCEPTED).await?;
    Ok(row["id"].as_str().unwrap_or_default().to_owned())
}

async fn secret(user: &Client) -> anyhow::Result<Vec<u8>> {
    let answer = user.get("/api/v1/webhooks/secret").await?;
    let body = expect(answer, StatusCode::OK).await?;
    let text = body["secret"].as_str().unwrap_or_default();
    let text = text.strip_prefix("whsec_").expect("the prefix of a secret");
    Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
}

/// Waits until nothing in the outbox is due any more.
async fn settled(world: &World) -> anyhow::Result<()> {
    let pool = world.database().await?;
    until("the outbox to settle", || async {
        let sql = "SELECT count(*) FROM webhook_deliveries WHERE delivered_at IS NULL AND abandoned_at IS NULL";
        let open = sqlx::query_scalar::<_, i64>(sql).fetch_one(&pool).await;
        open.is_ok_and(|open| open == 0)
    })
    .await
}

#[tokio::test]
async fn the_end_is_told_signed_and_the_same_until_it_is_taken() -> anyhow::Result<()> {
    let world = world(1.0).await?;
    let receiver = Receiver::start(&[500, 429]).await?;
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let id = ordered(&user, &receiver.url).await?;
    let row = user.wait_for(&id, "succeeded").await?;
    receiver.called(3).await?;
    settled(&world).await?;
    let calls = receiver.calls();
    assert_eq!(calls.len(), 3, "taken once, it is not sent again");
    let secret = secret(&user).await?;
    for call in &calls {
        assert_eq!(call.header("content-type"), "application/json");
        let (message, time) = (call.header("webhook-id"), call.header("webhook-timestamp"));
        assert!(message.starts_with("msg_"), "{message}");
        let time: i64 = time.parse()?;
        assert!((chrono::Utc::now().timestamp() - time).abs() < 300);
        let expected = signature(&secret, message, time, &call.body);
        assert_eq!(call.header("webhook-signature"), expected);
        assert_eq!(message, calls[0].header("webhook-id"));
        assert_eq!(call.body, calls[0].body);
    }
    let payload: Value = serde_json::from_str(&calls[0].body)?;
    assert_eq!(payload["type"], "generation.succeeded");
    for key in ["id", "title", "status", "page_count", "cost_usd_micros"] {
        assert_eq!(payload["data"][key], row[key], "{key}");
    }
    service.stop().await
}

#[tokio::test]
async fn failures_and_cancellations_are_told_too() -> anyhow::Result<()> {
    let world = world(600_000.0).await?;
    let receiver = Receiver::start(&[]).await?;
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let id = ordered(&user, &receiver.url).await?;
    user.wait_for(&id, "running").await?;
    let cancel = format!("/api/v1/generations/{id}/cancel");
    expect(user.post(&cancel, json!({})).await?, StatusCode::OK).await?;
    receiver.called(1).await?;
    let payload: Value = serde_json::from_str(&receiver.calls()[0].body)?;
    assert_eq!(
        (&payload["type"], &payload["data"]["id"]),
        (&json!("generation.cancelled"), &json!(id))
    );
    service.stop().await
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() -> anyhow::Result<()> {
    let world = world(1.0).await?.set("WEBHOOK_ATTEMPTS_MAX", 2);
    let receiver = Receiver::start(&[307, 307]).await?;
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    ordered(&user, &receiver.url).await?;
    receiver.called(2).await?;
    settled(&world).await?;
    assert!(receiver.calls().iter().all(|call| call.path == "/hook"));
    let sql = "SELECT last_failure FROM webhook_deliveries WHERE abandoned_at IS NOT NULL";
    let failure: String = sqlx::query_scalar(sql)
        .fetch_one(&world.database().await?)
        .await?;
    assert_eq!(failure, "status 307");
    service.stop().await
}

#[tokio::test]
async fn a_receiver_that_wants_none_is_left_alone() -> anyhow::Result<()> {
    let world = world(1.0).await?;
    let receiver = Receiver::start(&[410]).await?;
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    ordered(&user, &receiver.url).await?;
    receiver.called(1).await?;
    settled(&world).await?;
    assert_eq!(receiver.calls().len(), 1);
    service.stop().await
}

#[tokio::test]
async fn a_delivery_that_dies_with_its_process_is_repeated_by_another() -> anyhow::Result<()> {
    let world = world(1.0).await?.set("WEBHOOK_TIMEOUT_MS", 500);
    // The first call is never answered, and its process is killed meanwhile.
    let receiver = Receiver::start(&[102]).await?;
    let first = world.spawn().await?;
    let user = first.client().registered().await?;
    let id = ordered(&user, &receiver.url).await?;
    receiver.called(1).await?;
    first.kill().await?;
    let second = world.spawn().await?;
    receiver.called(2).await?;
    settled(&world).await?;
    let calls = receiver.calls();
    assert_eq!(calls[0].header("webhook-id"), calls[1].header("webhook-id"));
    assert_eq!(calls[0].body, calls[1].body);
    let row = user.at(&second.base_url).generation(&id).await?;
    assert_eq!(row["status"], "succeeded");
    Ok(())
}

#[tokio::test]
async fn private_targets_are_refused_with_the_order_and_again_at_delivery() -> anyhow::Result<()> {
    let open = world(1.0).await?;
    let receiver = Receiver::start(&[]).await?;
    let api = open.serve(Role::Api).await?;
    let user = api.client().registered().await?;
    ordered(&user, &receiver.url).await?;
    // The worker does not trust what was allowed once.
    let closed = open.set("WEBHOOK_ALLOW_PRIVATE", false);
    let worker = closed.serve(Role::All).await?;
    settled_after_one(&closed).await?;
    assert!(receiver.calls().is_empty());
    let user = user.at(&worker.base_url);
    for url in [
        "http://example.com/hook",
        "https://127.0.0.1/hook",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/hook",
        "https://localhost/hook",
        "nonsense",
    ] {
        let mut body = order(&[&user.upload(1).await?]);
        body["webhook_url"] = json!(url);
        let answer = user.post("/api/v1/generations", body).await?;
        problem(answer, StatusCode::UNPROCESSABLE_ENTITY).await?;
    }
    worker.stop().await?;
    api.stop().await
}

async fn settled_after_one(world: &World) -> anyhow::Result<()> {
    let pool = world.database().await?;
    until("the delivery to be given up", || async {
        let sql = "SELECT count(*) FROM webhook_deliveries WHERE abandoned_at IS NOT NULL";
        let given_up = sqlx::query_scalar::<_, i64>(sql).fetch_one(&pool).await;
        given_up.is_ok_and(|count| count == 1)
    })
    .await
}

#[tokio::test]
async fn a_delivery_that_nobody_was_told_of_is_found_by_a_heartbeat() -> anyhow::Result<()> {
    let world = world(1.0).await?.set("HEARTBEAT_MS", 50);
    let receiver = Receiver::start(&[]).await?;
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let id = ordered(&user, &receiver.url).await?;
    user.wait_for(&id, "succeeded").await?;
    receiver.called(1).await?;
    settled(&world).await?;
    // The outbox is read once more after a delivery, and sleeps then until it is told.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let unheard = "UPDATE webhook_deliveries SET delivered_at = NULL, due_at = now()";
    sqlx::query(unheard)
        .execute(&world.database().await?)
        .await?;
    receiver.called(2).await?;
    service.stop().await
}

#[tokio::test]
async fn secrets_are_each_users_own_and_stay() -> anyhow::Result<()> {
    let world = world(1.0).await?;
    let service = world.serve(Role::Api).await?;
    let (one, other) = (
        service.client().registered().await?,
        service.client().registered().await?,
    );
    let first = secret(&one).await?;
    assert!(first.len() >= 24);
    assert_eq!(secret(&one).await?, first);
    assert_ne!(secret(&other).await?, first);
    let unknown = service.client().get("/api/v1/webhooks/secret").await?;
    problem(unknown, StatusCode::UNAUTHORIZED).await?;
    tokio::time::timeout(Duration::from_secs(30), service.stop()).await?
}
