//! Rate limits, in Redis and in process.

use backend::Role;
use reqwest::{Response, StatusCode};
use serde_json::json;

use crate::app::{World, script_ms};
use crate::client::{Client, expect, order, problem};

async fn log_in(client: &Client, email: &str, forwarded_for: &str) -> anyhow::Result<Response> {
    let body = json!({"email": email, "password": "wrong horse battery"});
    let request = client.request(reqwest::Method::POST, "/api/v1/auth/login");
    let request = request.header("x-forwarded-for", forwarded_for);
    Ok(request.json(&body).send().await?)
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name);
    let text = value.and_then(|value| value.to_str().ok());
    text.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_session_that_asks_too_often_is_told_when_to_come_back() -> anyhow::Result<()> {
    for redis in [true, false] {
        let mut world = World::new(script_ms(1.0))
            .await?
            .set("RATE_LIMIT_SESSION", "3/60000");
        if !redis {
            world = world.set("REDIS_URL", "");
        }
        let service = world.serve(Role::Api).await?;
        let user = service.client().registered().await?;
        for left in ["2", "1", "0"] {
            let response = user.get("/api/v1/auth/me").await?;
            assert_eq!(
                header(&response, "ratelimit-policy"),
                r#""session";q=3;w=60"#
            );
            let limit = header(&response, "ratelimit");
            assert!(
                limit.starts_with(&format!(r#""session";r={left};t="#)),
                "{limit}"
            );
            expect(response, StatusCode::OK).await?;
        }
        let refused = user.get("/api/v1/generations").await?;
        let wait: u64 = header(&refused, "retry-after").parse()?;
        assert!((1..=20).contains(&wait), "{wait}");
        assert!(header(&refused, "ratelimit").starts_with(r#""session";r=0;t="#));
        let refused = problem(refused, StatusCode::TOO_MANY_REQUESTS).await?;
        assert_eq!(refused["type"], "urn:allegiant:problem:too-many-requests");
        // Another session has a limit of its own, and a made-up token leaves nothing behind.
        let other = service.client().registered().await?;
        expect(other.get("/api/v1/auth/me").await?, StatusCode::OK).await?;
        let nobody = service
            .client()
            .with_token("made-up")
            .get("/api/v1/auth/me")
            .await?;
        assert_eq!(header(&nobody, "ratelimit"), "");
        let metrics = service.client().get("/metrics").await?.text().await?;
        let line = r#"allegiant_rate_limited_total{kind="session"} 1"#;
        assert!(metrics.contains(line), "{metrics}");
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn of_requests_at_once_exactly_as_many_pass_as_are_allowed() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0))
        .await?
        .set("RATE_LIMIT_SESSION", "10/3600000");
    // Two tasks share one limit.
    let (first, second) = (world.serve(Role::Api).await?, world.serve(Role::Api).await?);
    let user = first.client().registered().await?;
    let asked = (0..40).map(|number| {
        let at = if number % 2 == 0 {
            &first.base_url
        } else {
            &second.base_url
        };
        let user = user.at(at);
        async move { user.get("/api/v1/auth/me").await }
    });
    let answers = futures::future::try_join_all(asked).await?;
    let count = |status| {
        answers
            .iter()
            .filter(|answer| answer.status() == status)
            .count()
    };
    assert_eq!(count(StatusCode::OK), 10);
    assert_eq!(count(StatusCode::TOO_MANY_REQUESTS), 30);
    first.stop().await?;
    second.stop().await
}

#[tokio::test]
async fn logins_are_limited_per_account_and_per_trusted_address() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0))
        .await?
        .set("RATE_LIMIT_LOGIN_ACCOUNT", "2/3600000")
        .set("RATE_LIMIT_LOGIN_ADDRESS", "4/3600000")
        .set("TRUSTED_PROXY_HOPS", 1);
    let service = world.serve(Role::Api).await?;
    let client = service.client();
    // The account's limit holds from whichever address, known or not.
    for (address, status) in [
        ("198.51.100.1", StatusCode::UNAUTHORIZED),
        ("198.51.100.2", StatusCode::UNAUTHORIZED),
        ("198.51.100.3", StatusCode::TOO_MANY_REQUESTS),
    ] {
        problem(log_in(&client, "A@example.com", address).await?, status).await?;
    }
    // The address's limit holds for whichever account, and what the client itself wrote does not count.
    for number in 0..6 {
        let spoofed = format!("203.0.113.{number}, 198.51.100.9");
        let response = log_in(&client, &format!("{number}@example.com"), &spoofed).await?;
        let limit = header(&response, "ratelimit");
        assert!(
            limit.contains(r#""login-address";r="#) && limit.contains(r#", "login-account";r="#)
        );
        let refused = number >= 4;
        let status = if refused {
            StatusCode::TOO_MANY_REQUESTS
        } else {
            StatusCode::UNAUTHORIZED
        };
        problem(response, status).await?;
    }
    service.stop().await
}

#[tokio::test]
async fn registrations_and_generations_are_limited() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0))
        .await?
        .set("RATE_LIMIT_REGISTER_ADDRESS", "2/3600000")
        .set("RATE_LIMIT_GENERATIONS", "2/3600000");
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let other = service.client().registered().await?;
    let body = json!({"email": "c@example.com", "password": "correct horse battery"});
    let refused = service.client().post("/api/v1/auth/register", body).await?;
    problem(refused, StatusCode::TOO_MANY_REQUESTS).await?;

    for left in 0..2 {
        let response = user.post("/api/v1/generations", order(&[])).await?;
        let limit = header(&response, "ratelimit");
        let expected = format!(r#""generations";r={};t="#, 1 - left);
        assert!(limit.contains(&expected), "{limit}");
        expect(response, StatusCode::ACCEPTED).await?;
    }
    let refused = user.post("/api/v1/generations", order(&[])).await?;
    problem(refused, StatusCode::TOO_MANY_REQUESTS).await?;
    // Polls and other users go on.
    expect(user.get("/api/v1/generations").await?, StatusCode::OK).await?;
    let accepted = other.post("/api/v1/generations", order(&[])).await?;
    expect(accepted, StatusCode::ACCEPTED).await?;
    service.stop().await
}

#[tokio::test]
async fn limits_fail_open_when_redis_is_gone_and_say_so() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0))
        .await?
        .set("REDIS_URL", "redis://127.0.0.1:1/0")
        .set("RATE_LIMIT_LOGIN_ACCOUNT", "1/3600000");
    let service = world.serve(Role::Api).await?;
    for _ in 0..3 {
        let response = log_in(&service.client(), "a@example.com", "").await?;
        problem(response, StatusCode::UNAUTHORIZED).await?;
    }
    let metrics = service.client().get("/metrics").await?.text().await?;
    let line = "allegiant_rate_limits_unavailable_total 3";
    assert!(metrics.contains(line), "{metrics}");
    service.stop().await
}
