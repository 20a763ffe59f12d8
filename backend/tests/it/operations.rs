//! Health, readiness, metrics, request ids, problems.

use backend::Role;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::app::{World, script_ms};
use crate::client::{expect, problem};

#[tokio::test]
async fn a_running_service_is_healthy_and_ready() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    for role in [Role::Api, Role::Worker, Role::All] {
        let service = world.serve(role).await?;
        let client = service.client();
        let health = expect(client.get("/health").await?, StatusCode::OK).await?;
        assert_eq!(health, json!({"status": "ok"}));
        let ready = expect(client.get("/ready").await?, StatusCode::OK).await?;
        assert_eq!(
            ready,
            json!({"status": "ready", "database": true, "sessions": true, "storage": true})
        );
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn metrics_tell_of_the_queue_and_the_work() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let id = user.generate().await?;
    user.wait_for(&id, "succeeded").await?;
    let metrics = service.client().get("/metrics").await?;
    assert!(
        metrics.headers()["content-type"]
            .to_str()?
            .starts_with("application/openmetrics-text")
    );
    let metrics = metrics.text().await?;
    for line in [
        "allegiant_worker_slots 6",
        "allegiant_queue_depth 0",
        "allegiant_queue_oldest_age_seconds 0.0",
        "allegiant_openai_creates_total 3",
        "allegiant_openai_creates_uncertain_total 0",
        r#"allegiant_step_duration_seconds_count{kind="write_section"} 2"#,
        r#"allegiant_http_requests_total{method="POST",route="/api/v1/generations",status="202"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    assert!(!metrics.contains(&id), "ids must not multiply the series");
    service.stop().await
}

#[tokio::test]
async fn every_answer_carries_a_request_id_and_a_sane_one_is_kept() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let client = service.client();
    let kept = client
        .request(Method::GET, "/nowhere")
        .header("x-request-id", "abc-123")
        .send()
        .await?;
    assert_eq!(kept.headers()["x-request-id"], "abc-123");
    assert_eq!(
        problem(kept, StatusCode::NOT_FOUND).await?["request_id"],
        "abc-123"
    );
    let replaced = client
        .request(Method::GET, "/health")
        .header("x-request-id", "<script>")
        .send()
        .await?;
    assert_ne!(replaced.headers()["x-request-id"], "<script>");
    service.stop().await
}

#[tokio::test]
async fn a_problem_says_what_rfc_9457_asks_for() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let client = service.client();
    let body = problem(
        client.get("/api/v1/auth/me").await?,
        StatusCode::UNAUTHORIZED,
    )
    .await?;
    insta::assert_json_snapshot!(body, {".request_id" => "[id]"}, @r#"
    {
      "detail": "a valid session is needed, as a bearer token or a cookie",
      "request_id": "[id]",
      "status": 401,
      "title": "Not logged in",
      "type": "urn:allegiant:problem:unauthenticated"
    }
    "#);
    let wrong = client
        .request(Method::PUT, "/api/v1/generations")
        .send()
        .await?;
    problem(wrong, StatusCode::METHOD_NOT_ALLOWED).await?;
    service.stop().await
}
