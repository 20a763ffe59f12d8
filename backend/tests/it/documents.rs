//! Documents: what is taken, what is refused, who sees them.

use backend::Role;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::app::{World, script_ms};
use crate::client::{expect, order, pdf, problem};

#[tokio::test]
async fn an_upload_comes_back_byte_for_byte() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let mut bytes = pdf(12);
    // Larger than every buffer on the way.
    bytes.extend(std::iter::repeat_n(b"% padding\n", 100_000).flatten());
    let created = user
        .upload_bytes("../Tender Ñuñoa.pdf", bytes.clone())
        .await?;
    assert!(created.headers().contains_key("location"));
    let created = expect(created, StatusCode::CREATED).await?;
    assert_eq!(created["file_name"], "Tender Ñuñoa.pdf");
    assert_eq!(created["size_bytes"], bytes.len());

    let path = format!(
        "/api/v1/documents/{}",
        created["id"].as_str().unwrap_or_default()
    );
    let shown = expect(user.get(&path).await?, StatusCode::OK).await?;
    assert_eq!(shown, created);
    let redirect = user.get(&format!("{path}/content")).await?;
    assert_eq!(redirect.status(), StatusCode::TEMPORARY_REDIRECT);
    let url = redirect.headers()["location"].to_str()?.to_owned();
    let download = reqwest::get(url).await?;
    assert_eq!(download.status(), StatusCode::OK);
    assert_eq!(download.headers()["content-type"], "application/pdf");
    assert_eq!(download.bytes().await?, bytes);
    service.stop().await
}

#[tokio::test]
async fn what_is_no_pdf_is_refused_by_content() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let large = vec![b'x'; 600_000];
    for bytes in [b"PK\x03\x04".to_vec(), Vec::new(), large] {
        let response = user.upload_bytes("real.pdf", bytes).await?;
        problem(response, StatusCode::UNSUPPORTED_MEDIA_TYPE).await?;
    }
    let listed = expect(user.get("/api/v1/documents").await?, StatusCode::OK).await?;
    assert_eq!(listed["items"], json!([]));
    service.stop().await
}

#[tokio::test]
async fn an_upload_beyond_the_limit_is_refused_and_the_limit_itself_is_not() -> anyhow::Result<()> {
    let limit = 300_000;
    let world = World::new(script_ms(1.0))
        .await?
        .set("DOCUMENT_SIZE_MAX_BYTES", limit);
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let sized = |size: usize| {
        let mut bytes = pdf(1);
        bytes.resize(size, b'\n');
        bytes
    };
    expect(
        user.upload_bytes("a.pdf", sized(limit)).await?,
        StatusCode::CREATED,
    )
    .await?;
    for size in [limit + 1, 4 * limit] {
        problem(
            user.upload_bytes("a.pdf", sized(size)).await?,
            StatusCode::PAYLOAD_TOO_LARGE,
        )
        .await?;
    }
    service.stop().await
}

#[tokio::test]
async fn the_default_limit_is_ten_mebibytes() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let mut bytes = pdf(1);
    bytes.resize(10 * 1024 * 1024 + 1, b'\n');
    problem(
        user.upload_bytes("a.pdf", bytes.clone()).await?,
        StatusCode::PAYLOAD_TOO_LARGE,
    )
    .await?;
    bytes.pop();
    expect(
        user.upload_bytes("a.pdf", bytes).await?,
        StatusCode::CREATED,
    )
    .await?;
    service.stop().await
}

#[tokio::test]
async fn a_form_without_file_is_refused() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let form = Form::new().part("attachment", Part::bytes(pdf(1)).file_name("a.pdf"));
    let response = user
        .request(Method::POST, "/api/v1/documents")
        .multipart(form)
        .send()
        .await?;
    problem(response, StatusCode::UNPROCESSABLE_ENTITY).await?;
    let response = user
        .request(Method::POST, "/api/v1/documents")
        .body(pdf(1))
        .send()
        .await?;
    problem(response, StatusCode::UNSUPPORTED_MEDIA_TYPE).await?;
    service.stop().await
}

#[tokio::test]
async fn lists_go_page_by_page_from_the_newest() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(user.upload(1).await?);
    }
    ids.reverse();
    let mut seen = Vec::new();
    let mut path = "/api/v1/documents?limit=2".to_owned();
    loop {
        let page = expect(user.get(&path).await?, StatusCode::OK).await?;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        seen.extend(
            items
                .iter()
                .filter_map(|item| item["id"].as_str().map(str::to_owned)),
        );
        match page["next_before"].as_str() {
            Some(before) => path = format!("/api/v1/documents?limit=2&before={before}"),
            None => break,
        }
    }
    assert_eq!(seen, ids);
    problem(
        user.get("/api/v1/documents?limit=x").await?,
        StatusCode::BAD_REQUEST,
    )
    .await?;
    service.stop().await
}

#[tokio::test]
async fn a_document_is_deleted_unless_a_generation_still_reads_it() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let document = user.upload(1).await?;
    let path = format!("/api/v1/documents/{document}");
    let created = user
        .post("/api/v1/generations", order(&[&document]))
        .await?;
    let created = expect(created, StatusCode::ACCEPTED).await?;
    problem(
        user.request(Method::DELETE, &path).send().await?,
        StatusCode::CONFLICT,
    )
    .await?;

    let cancel = format!(
        "/api/v1/generations/{}/cancel",
        created["id"].as_str().unwrap_or_default()
    );
    expect(
        user.request(Method::POST, &cancel).send().await?,
        StatusCode::OK,
    )
    .await?;
    expect(
        user.request(Method::DELETE, &path).send().await?,
        StatusCode::NO_CONTENT,
    )
    .await?;
    problem(
        user.request(Method::DELETE, &path).send().await?,
        StatusCode::NOT_FOUND,
    )
    .await?;
    problem(user.get(&path).await?, StatusCode::NOT_FOUND).await?;
    service.stop().await
}
