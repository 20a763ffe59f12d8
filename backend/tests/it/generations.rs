//! Generations from the order to the PDF, as their user meets them.

use backend::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{BINARY, CALLS, World, script_ms};
use crate::client::{expect, order, problem};

async fn keyed(
    client: &crate::client::Client,
    key: &str,
    body: &Value,
) -> anyhow::Result<reqwest::Response> {
    let request = client
        .request(Method::POST, "/api/v1/generations")
        .header("Idempotency-Key", key);
    Ok(request.json(body).send().await?)
}

#[tokio::test]
async fn an_order_becomes_a_pdf_with_the_pages_it_promises() -> anyhow::Result<()> {
    let world = World::new(script_ms(60.0)).await?;
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let document = user.upload(7).await?;
    let accepted = user
        .post("/api/v1/generations", order(&[&document]))
        .await?;
    let location = accepted.headers()["location"].to_str()?.to_owned();
    assert_eq!(accepted.headers()["retry-after"], "1");
    assert_eq!(accepted.headers()["retry-after-ms"], "20");
    let accepted = expect(accepted, StatusCode::ACCEPTED).await?;
    let id = accepted["id"].as_str().unwrap_or_default();
    assert_eq!(location, format!("/api/v1/generations/{id}"));
    assert_eq!(accepted["status"], "queued");

    let early = user.get(&format!("{location}/pdf")).await?;
    problem(early, StatusCode::CONFLICT).await?;
    let done = user.wait_for(id, "succeeded").await?;
    assert_eq!(
        (&done["progress"], &done["attempt"]),
        (&json!(100), &json!(1))
    );
    assert!(done["tokens"]["output"].as_i64().unwrap_or(0) > 0, "{done}");
    assert!(
        user.get(&location)
            .await?
            .headers()
            .get("retry-after")
            .is_none()
    );

    let redirect = user.get(&format!("{location}/pdf")).await?;
    assert_eq!(redirect.status(), StatusCode::TEMPORARY_REDIRECT);
    let pdf = reqwest::get(redirect.headers()["location"].to_str()?)
        .await?
        .bytes()
        .await?;
    let read = lopdf::Document::load_mem(&pdf)?;
    let pages: Vec<u32> = read.get_pages().keys().copied().collect();
    assert_eq!(
        Some(pages.len()),
        done["page_count"]
            .as_u64()
            .and_then(|count| usize::try_from(count).ok())
    );
    assert!(read.extract_text(&pages)?.contains("Water treatment plant"));

    let billing = world.openai.billing();
    assert_eq!(
        (billing.responses_created, billing.responses_completed),
        (CALLS, CALLS)
    );
    let tokens = |key: &str| done["tokens"][key].as_u64();
    assert_eq!(
        (tokens("input"), tokens("output")),
        (Some(billing.input_tokens), Some(billing.output_tokens))
    );
    // The reading of the document told how many pages it has.
    let shown = expect(
        user.get(&format!("/api/v1/documents/{document}")).await?,
        StatusCode::OK,
    )
    .await?;
    assert_eq!(shown["page_count"], 7);
    service.stop().await
}

#[tokio::test]
async fn prompts_carry_the_order_and_the_text_of_the_documents() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let id = user.generate().await?;
    user.wait_for(&id, "succeeded").await?;
    let creates = world.openai.received(harness::openai::Call::Create).await;
    assert_eq!(creates.len() as u64, CALLS);
    for create in creates {
        let body: Value = serde_json::from_slice(&create.body)?;
        assert_eq!(
            (&body["background"], &body["store"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(body["metadata"]["generation_id"], json!(id));
        let input = body["input"].as_str().unwrap_or_default();
        for expected in ["Water treatment plant", "40 cubic metres", "Requirement 3"] {
            assert!(input.contains(expected), "{expected} in {input}");
        }
    }
    service.stop().await
}

#[tokio::test]
async fn work_begins_at_once_by_notification() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0))
        .await?
        .set("CLAIM_INTERVAL_MS", 3_600_000);
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    // The second one begins when the worker has nothing left to claim for an hour.
    for _ in 0..2 {
        let id = user.generate().await?;
        user.wait_for(&id, "succeeded").await?;
    }
    service.stop().await
}

#[tokio::test]
async fn an_idempotency_key_makes_one_generation() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let document = user.upload(1).await?;
    let body = order(&[&document]);
    let first = expect(keyed(&user, "order-1", &body).await?, StatusCode::ACCEPTED).await?;
    let again = expect(keyed(&user, "order-1", &body).await?, StatusCode::ACCEPTED).await?;
    assert_eq!(first["id"], again["id"]);
    let other = expect(keyed(&user, "order-2", &body).await?, StatusCode::ACCEPTED).await?;
    assert_ne!(first["id"], other["id"]);
    let mut changed = body.clone();
    changed["title"] = json!("Something else");
    problem(
        keyed(&user, "order-1", &changed).await?,
        StatusCode::UNPROCESSABLE_ENTITY,
    )
    .await?;
    problem(keyed(&user, "", &body).await?, StatusCode::BAD_REQUEST).await?;
    // Keys are each user's own.
    let stranger = service.client().registered().await?;
    let own = order(&[&stranger.upload(1).await?]);
    expect(
        keyed(&stranger, "order-1", &own).await?,
        StatusCode::ACCEPTED,
    )
    .await?;
    service.stop().await
}

#[tokio::test]
async fn the_same_key_sent_many_times_at_once_makes_one_generation() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let body = order(&[&user.upload(1).await?]);
    let sent = (0..12).map(|_| keyed(&user, "order-1", &body));
    let mut ids = std::collections::BTreeSet::new();
    for response in futures::future::join_all(sent).await {
        let answer = expect(response?, StatusCode::ACCEPTED).await?;
        ids.insert(answer["id"].to_string());
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
    let listed = expect(user.get("/api/v1/generations").await?, StatusCode::OK).await?;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
    service.stop().await
}

#[tokio::test]
async fn orders_that_break_a_rule_are_refused() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let nobody = uuid::Uuid::now_v7().to_string();
    for body in [
        order(&[&nobody]),
        json!({"title": " ", "instructions": "x"}),
        json!({"title": "x"}),
        json!({"title": "x", "instructions": "y", "document_ids": ["one"]}),
        json!({"title": "x", "instructions": "y", "priority": 9}),
    ] {
        problem(
            user.post("/api/v1/generations", body).await?,
            StatusCode::UNPROCESSABLE_ENTITY,
        )
        .await?;
    }
    let malformed = user
        .request(Method::POST, "/api/v1/generations")
        .header("content-type", "application/json");
    problem(malformed.body("{").send().await?, StatusCode::BAD_REQUEST).await?;
    let plain = user.request(Method::POST, "/api/v1/generations").body("{}");
    problem(plain.send().await?, StatusCode::UNSUPPORTED_MEDIA_TYPE).await?;
    let huge = json!({"title": "x", "instructions": "y".repeat(300_000)});
    problem(
        user.post("/api/v1/generations", huge).await?,
        StatusCode::PAYLOAD_TOO_LARGE,
    )
    .await?;
    service.stop().await
}

#[tokio::test]
async fn another_users_things_are_not_there() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::All).await?;
    let owner = service.client().registered().await?;
    let document = owner.upload(1).await?;
    let id = owner.generate().await?;
    owner.wait_for(&id, "succeeded").await?;
    let stranger = service.client().registered().await?;
    for (method, path) in [
        (Method::GET, format!("/api/v1/documents/{document}")),
        (Method::GET, format!("/api/v1/documents/{document}/content")),
        (Method::DELETE, format!("/api/v1/documents/{document}")),
        (Method::GET, format!("/api/v1/generations/{id}")),
        (Method::GET, format!("/api/v1/generations/{id}/pdf")),
        (Method::POST, format!("/api/v1/generations/{id}/cancel")),
        (Method::GET, "/api/v1/generations/not-an-id".to_owned()),
    ] {
        problem(
            stranger.request(method, &path).send().await?,
            StatusCode::NOT_FOUND,
        )
        .await?;
    }
    let order = stranger
        .post("/api/v1/generations", order(&[&document]))
        .await?;
    problem(order, StatusCode::UNPROCESSABLE_ENTITY).await?;
    for path in ["/api/v1/documents", "/api/v1/generations"] {
        let listed = expect(stranger.get(path).await?, StatusCode::OK).await?;
        assert_eq!(listed["items"], json!([]));
    }
    service.stop().await
}

#[tokio::test]
async fn cancelling_reaches_openai_and_is_final() -> anyhow::Result<()> {
    let world = World::new(script_ms(600_000.0)).await?;
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let id = user.generate().await?;
    let openai = &world.openai;
    until("the first poll", || async { openai.stats().polls > 0 }).await?;
    let path = format!("/api/v1/generations/{id}/cancel");
    for _ in 0..2 {
        let answer = expect(
            user.request(Method::POST, &path).send().await?,
            StatusCode::OK,
        )
        .await?;
        assert_eq!(answer["status"], "cancelled");
        assert!(answer["finished_at"].is_string());
    }
    until("the cancellation upstream", || async {
        openai.billing().responses_cancelled == 1
    })
    .await?;
    problem(
        user.get(&format!("/api/v1/generations/{id}/pdf")).await?,
        StatusCode::CONFLICT,
    )
    .await?;
    // The slot is free again: the worker was stopped by the notification.
    until("the slot to be free", || async {
        let metrics = service.client().get("/metrics").await;
        match metrics {
            Ok(response) => response
                .text()
                .await
                .is_ok_and(|text| text.contains("allegiant_worker_slots_busy 0")),
            Err(_) => false,
        }
    })
    .await?;
    assert_eq!(user.generation(&id).await?["status"], "cancelled");
    service.stop().await
}

#[tokio::test]
async fn what_has_ended_cannot_be_cancelled() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let id = user.generate().await?;
    user.wait_for(&id, "succeeded").await?;
    let cancel = user
        .request(Method::POST, &format!("/api/v1/generations/{id}/cancel"))
        .send()
        .await?;
    problem(cancel, StatusCode::CONFLICT).await?;
    assert_eq!(user.generation(&id).await?["status"], "succeeded");
    service.stop().await
}

#[tokio::test]
async fn a_document_that_cannot_be_read_fails_the_generation_with_its_name() -> anyhow::Result<()> {
    // Without a reader where it is uploaded, it is judged only where a worker reads it.
    let world = World::new(script_ms(1.0)).await?;
    let world = world.set("EXTRACTOR_PATH", "/nowhere/at/all");
    let api = world.serve(Role::Api).await?;
    let world = world.set("EXTRACTOR_PATH", BINARY);
    let service = world.serve(Role::Worker).await?;
    let user = api.client().registered().await?;
    let broken = user
        .upload_bytes("broken.pdf", b"%PDF-1.7\nnothing but a header".to_vec())
        .await?;
    let broken = expect(broken, StatusCode::CREATED).await?;
    let body = order(&[broken["id"].as_str().unwrap_or_default()]);
    let accepted = expect(
        user.post("/api/v1/generations", body).await?,
        StatusCode::ACCEPTED,
    )
    .await?;
    let failed = user
        .wait_for(accepted["id"].as_str().unwrap_or_default(), "failed")
        .await?;
    assert_eq!(failed["error"]["code"], "document_unreadable");
    assert!(
        failed["error"]["detail"]
            .as_str()
            .unwrap_or_default()
            .contains("broken.pdf"),
        "{failed}"
    );
    assert_eq!(
        (&failed["attempt"], world.openai.billing().responses_created),
        (&json!(1), 0)
    );
    service.stop().await?;
    api.stop().await
}

#[tokio::test]
async fn more_orders_than_slots_all_end() -> anyhow::Result<()> {
    let world = World::new(script_ms(30.0))
        .await?
        .set("GENERATION_WORKERS", 2);
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(user.generate().await?);
    }
    for id in &ids {
        user.wait_for(id, "succeeded").await?;
    }
    assert_eq!(world.openai.billing().responses_created, 7 * CALLS);
    service.stop().await
}

async fn until<F: Future<Output = bool>>(
    what: &str,
    condition: impl Fn() -> F,
) -> anyhow::Result<()> {
    crate::app::until(what, condition).await
}
