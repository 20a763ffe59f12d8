//! Registration, login, sessions.

use std::time::{Duration, Instant};

use backend::Role;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::app::{World, script_ms};
use crate::client::{Client, expect, problem};

#[tokio::test]
async fn a_user_registers_logs_in_and_out() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let guest = service.client();
    let credentials = json!({"email": "Ana@Example.com", "password": "correct horse battery"});

    let registered = guest
        .post("/api/v1/auth/register", credentials.clone())
        .await?;
    let registered = expect(registered, StatusCode::CREATED).await?;
    assert_eq!(registered["user"]["email"], "ana@example.com");

    let session = expect(
        guest.post("/api/v1/auth/login", credentials).await?,
        StatusCode::OK,
    )
    .await?;
    assert_eq!(session["expires_in_s"], 86_400);
    assert_ne!(session["token"], registered["token"]);
    let user = guest.with_token(session["token"].as_str().unwrap_or_default());
    let me = expect(user.get("/api/v1/auth/me").await?, StatusCode::OK).await?;
    assert_eq!(me, registered["user"]);

    let out = user
        .request(Method::POST, "/api/v1/auth/logout")
        .send()
        .await?;
    expect(out, StatusCode::NO_CONTENT).await?;
    problem(user.get("/api/v1/auth/me").await?, StatusCode::UNAUTHORIZED).await?;
    // The other session lives on.
    let other = guest.with_token(registered["token"].as_str().unwrap_or_default());
    expect(other.get("/api/v1/auth/me").await?, StatusCode::OK).await?;
    service.stop().await
}

#[tokio::test]
async fn an_address_is_registered_once() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let guest = service.client();
    for (email, status) in [
        ("a@example.com", StatusCode::CREATED),
        ("A@EXAMPLE.com ", StatusCode::CONFLICT),
    ] {
        let body = json!({"email": email, "password": "correct horse battery"});
        expect(guest.post("/api/v1/auth/register", body).await?, status).await?;
    }
    service.stop().await
}

#[tokio::test]
async fn unknown_user_and_wrong_password_get_the_same_answer() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let guest = service.client();
    let body = json!({"email": "a@example.com", "password": "correct horse battery"});
    expect(
        guest.post("/api/v1/auth/register", body).await?,
        StatusCode::CREATED,
    )
    .await?;
    let mut answers = Vec::new();
    for (email, password) in [
        ("a@example.com", "wrong horse battery"),
        ("b@example.com", "correct horse battery"),
        ("a@example.com", "short"),
    ] {
        let response = guest
            .post(
                "/api/v1/auth/login",
                json!({"email": email, "password": password}),
            )
            .await?;
        let mut answer = problem(response, StatusCode::UNAUTHORIZED).await?;
        answer["request_id"] = json!("redacted");
        answers.push(answer);
    }
    assert!(
        answers.windows(2).all(|pair| pair[0] == pair[1]),
        "{answers:?}"
    );
    service.stop().await
}

#[tokio::test]
async fn credentials_that_break_a_rule_are_refused() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let guest = service.client();
    for body in [
        json!({"email": "nobody", "password": "correct horse battery"}),
        json!({"email": "a@example.com", "password": "short"}),
        json!({"email": "a@example.com"}),
        json!({"email": "a@example.com", "password": "correct horse battery", "admin": true}),
    ] {
        problem(
            guest.post("/api/v1/auth/register", body).await?,
            StatusCode::UNPROCESSABLE_ENTITY,
        )
        .await?;
    }
    service.stop().await
}

#[tokio::test]
async fn only_a_valid_token_opens_the_api() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let guest = service.client();
    for client in [
        guest.clone(),
        guest.with_token("x"),
        guest.with_token("session:*"),
    ] {
        for path in [
            "/api/v1/auth/me",
            "/api/v1/documents",
            "/api/v1/generations",
        ] {
            problem(client.get(path).await?, StatusCode::UNAUTHORIZED).await?;
        }
    }
    service.stop().await
}

#[tokio::test]
async fn a_session_ends_after_its_time_without_use() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?.set("SESSION_TTL_MS", 150);
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    expect(user.get("/api/v1/auth/me").await?, StatusCode::OK).await?;
    // Asking prolongs the session, so Redis is watched and the question asked once, afterwards.
    let redis = redis::Client::open(world.sandbox.redis_url())?;
    let connection = redis.get_multiplexed_async_connection().await?;
    harness::poll::until("the session's key to be gone", crate::app::PATIENCE, || {
        let mut connection = connection.clone();
        async move {
            // KEYS, unlike DBSIZE, leaves out what has expired but was not swept yet.
            match redis::cmd("KEYS")
                .arg("session:*")
                .query_async::<Vec<String>>(&mut connection)
                .await
            {
                Ok(keys) if keys.is_empty() => harness::poll::Progress::Ready(()),
                Ok(keys) => harness::poll::Progress::NotYet(format!("{keys:?}")),
                Err(error) => harness::poll::Progress::Failed(error.to_string()),
            }
        }
    })
    .await?;
    problem(user.get("/api/v1/auth/me").await?, StatusCode::UNAUTHORIZED).await?;
    service.stop().await
}

#[tokio::test]
async fn redis_never_sees_a_token() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let body = json!({"email": "a@example.com", "password": "correct horse battery"});
    let session = expect(
        service.client().post("/api/v1/auth/register", body).await?,
        StatusCode::CREATED,
    )
    .await?;
    let token = session["token"].as_str().unwrap_or_default().to_owned();
    let redis = redis::Client::open(world.sandbox.redis_url())?;
    let mut connection = redis.get_multiplexed_async_connection().await?;
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query_async(&mut connection)
        .await?;
    assert!(!token.is_empty() && keys.iter().any(|key| key.starts_with("session:")));
    for key in keys {
        let mut get = redis::cmd("GET");
        let value: String = get.arg(&key).query_async(&mut connection).await?;
        for secret in [token.as_str(), "a@example.com", "127.0.0.1"] {
            assert!(!key.contains(secret) && !value.contains(secret), "{key}");
        }
    }
    service.stop().await
}

#[tokio::test]
async fn a_session_in_a_cookie_works_for_pages_of_this_origin_only() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let guest = service.client();
    let body =
        json!({"email": "a@example.com", "password": "correct horse battery", "cookie": true});
    let registered = guest.post("/api/v1/auth/register", body.clone()).await?;
    assert!(registered.headers().contains_key("set-cookie"));
    expect(registered, StatusCode::CREATED).await?;
    let session = guest.post("/api/v1/auth/login", body).await?;
    let cookie = session.headers()["set-cookie"].to_str()?.to_owned();
    let (cookie, attributes) = cookie.split_once("; ").unwrap_or_default();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Secure");
    let session = expect(session, StatusCode::OK).await?;
    assert!(
        session.get("token").is_none(),
        "scripts must not see it: {session}"
    );

    let send = |method: Method, path: &str, origin: Option<&str>| {
        let request = guest.request(method, path).header("cookie", cookie);
        match origin {
            Some(origin) => request.header("origin", origin).send(),
            None => request.send(),
        }
    };
    // Reading is harmless: another origin's page gets no answer to read.
    let me = send(Method::GET, "/api/v1/auth/me", Some("https://evil.example")).await?;
    expect(me, StatusCode::OK).await?;
    for origin in [None, Some("https://evil.example"), Some("null")] {
        let refused = send(Method::POST, "/api/v1/auth/logout", origin).await?;
        let refused = problem(refused, StatusCode::FORBIDDEN).await?;
        assert_eq!(refused["type"], "urn:allegiant:problem:cross-origin");
    }
    let own = service.base_url.clone();
    let out = send(Method::POST, "/api/v1/auth/logout", Some(&own)).await?;
    assert!(
        out.headers()["set-cookie"]
            .to_str()?
            .ends_with("; Max-Age=0")
    );
    expect(out, StatusCode::NO_CONTENT).await?;
    let me = send(Method::GET, "/api/v1/auth/me", None).await?;
    problem(me, StatusCode::UNAUTHORIZED).await?;
    service.stop().await
}

/// Pairs of refused logins whose times are compared: enough to tell, and more on a busy machine.
const ROUNDS_MIN: u32 = 8;
const ROUNDS_MAX: u32 = 100;

async fn refusal(client: &Client, email: &str) -> anyhow::Result<Duration> {
    let body = json!({"email": email, "password": "wrong horse battery"});
    let started = Instant::now();
    let response = client.post("/api/v1/auth/login", body).await?;
    let took = started.elapsed();
    problem(response, StatusCode::UNAUTHORIZED).await?;
    Ok(took)
}

#[tokio::test]
async fn an_unknown_user_takes_as_long_as_a_wrong_password() -> anyhow::Result<()> {
    // Dear enough that the hash is nearly all of the answer's time.
    let world = World::new(script_ms(1.0))
        .await?
        .set("ARGON2_MEMORY_KIB", 8192)
        .set("ARGON2_ITERATIONS", 4)
        .set("RATE_LIMIT_LOGIN_ACCOUNT", "off");
    let service = world.serve(Role::Api).await?;
    let guest = service.client();
    let body = json!({"email": "a@example.com", "password": "correct horse battery"});
    let registered = guest.post("/api/v1/auth/register", body).await?;
    expect(registered, StatusCode::CREATED).await?;
    // The quickest of some answers: other work on the machine slows any of them, but never all.
    let (mut wrong, mut unknown) = (Duration::MAX, Duration::MAX);
    let alike = |wrong: Duration, unknown: Duration| {
        (0.5..2.0).contains(&(unknown.as_secs_f64() / wrong.as_secs_f64()))
    };
    for round in 1..=ROUNDS_MAX {
        wrong = wrong.min(refusal(&guest, "a@example.com").await?);
        unknown = unknown.min(refusal(&guest, "b@example.com").await?);
        if round >= ROUNDS_MIN && alike(wrong, unknown) {
            break;
        }
    }
    assert!(alike(wrong, unknown), "{unknown:?} against {wrong:?}");
    service.stop().await
}
