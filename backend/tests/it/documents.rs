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
    // Larger than every buffer on the way.
    let bytes = padded(1_000_000);
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

/// A PDF of exactly so many bytes: blanks in front of the last pointer fill it up, where no offset counts them.
fn padded(size: usize) -> Vec<u8> {
    let mut bytes = pdf(12);
    let missing = size - bytes.len();
    let end = bytes
        .windows(9)
        .rposition(|window| window == b"startxref")
        .expect("a PDF ends so");
    bytes.splice(end..end, std::iter::repeat_n(b'\n', missing));
    bytes
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
    expect(
        user.upload_bytes("a.pdf", padded(limit)).await?,
        StatusCode::CREATED,
    )
    .await?;
    for size in [limit + 1, 4 * limit] {
        problem(
            user.upload_bytes("a.pdf", padded(size)).await?,
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
    let limit = 10 * 1024 * 1024;
    for (size, status) in [
        (limit + 1, StatusCode::PAYLOAD_TOO_LARGE),
        (limit, StatusCode::CREATED),
    ] {
        expect(user.upload_bytes("a.pdf", padded(size)).await?, status).await?;
    }
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

#[tokio::test]
async fn the_same_file_is_kept_once_per_user() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let first = user.upload_bytes("first.pdf", pdf(2)).await?;
    let first = expect(first, StatusCode::CREATED).await?;
    assert_eq!(first["page_count"], 2);
    let again = user.upload_bytes("second.pdf", pdf(2)).await?;
    let location = again.headers()["location"].to_str()?.to_owned();
    assert_eq!(expect(again, StatusCode::OK).await?, first);
    assert!(location.ends_with(first["id"].as_str().unwrap_or_default()));
    // Another user's equal file is another document.
    let other = service.client().registered().await?;
    let others = other.upload_bytes("first.pdf", pdf(2)).await?;
    let others = expect(others, StatusCode::CREATED).await?;
    assert_eq!(others["sha256"], first["sha256"]);
    assert_ne!(others["id"], first["id"]);
    // Uploaded many times at once it is still one, whose content is there.
    let uploads = (0..8).map(|_| user.upload_bytes("third.pdf", pdf(3)));
    let mut ids = std::collections::BTreeSet::new();
    for answer in futures::future::try_join_all(uploads).await? {
        assert!(answer.status().is_success(), "{}", answer.status());
        let body: serde_json::Value = answer.json().await?;
        ids.insert(body["id"].as_str().unwrap_or_default().to_owned());
    }
    assert_eq!(ids.len(), 1);
    let id = ids.pop_first().unwrap_or_default();
    let link = user.get(&format!("/api/v1/documents/{id}/content")).await?;
    let content = reqwest::get(link.headers()["location"].to_str()?).await?;
    assert_eq!(content.bytes().await?, pdf(3));
    service.stop().await
}

#[tokio::test]
async fn a_file_that_arrives_changed_is_refused() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let send = async |sha256: String| {
        let file = Part::bytes(pdf(1)).file_name("a.pdf");
        let form = Form::new().text("sha256", sha256).part("file", file);
        user.request(Method::POST, "/api/v1/documents")
            .multipart(form)
            .send()
            .await
    };
    let right = hex::encode_upper(<sha2::Sha256 as sha2::Digest>::digest(pdf(1)));
    for wrong in ["", "abc", &"0".repeat(64), &"0".repeat(5000)] {
        problem(
            send(wrong.to_owned()).await?,
            StatusCode::UNPROCESSABLE_ENTITY,
        )
        .await?;
    }
    expect(send(right).await?, StatusCode::CREATED).await?;
    service.stop().await
}

/// A PDF with a password, without which nobody reads it.
fn encrypted() -> anyhow::Result<Vec<u8>> {
    use lopdf::encryption::{EncryptionState, EncryptionVersion, Permissions};
    let mut document = lopdf::Document::load_mem(&pdf(1))?;
    let id = lopdf::Object::string_literal("0123456789abcdef");
    document.trailer.set("ID", vec![id.clone(), id]);
    let state = EncryptionState::try_from(EncryptionVersion::V2 {
        document: &document,
        owner_password: "owner",
        user_password: "user",
        key_length: 128,
        permissions: Permissions::all(),
    })?;
    document.encrypt(&state)?;
    let mut bytes = Vec::new();
    document.save_to(&mut bytes)?;
    Ok(bytes)
}

/// A PDF whose only page inflates to 200 MB.
fn bomb() -> anyhow::Result<Vec<u8>> {
    let mut document = lopdf::Document::load_mem(&pdf(1))?;
    let page = *document.get_pages().values().next().expect("one page");
    document.change_page_content(page, vec![b' '; 200_000_000])?;
    document.compress();
    let mut bytes = Vec::new();
    document.save_to(&mut bytes)?;
    Ok(bytes)
}

#[tokio::test]
async fn every_document_that_cannot_be_read_has_its_own_problem() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let bomb = bomb()?;
    assert!(bomb.len() < 1_000_000, "{} bytes are no bomb", bomb.len());
    let mut cut = pdf(5);
    cut.truncate(cut.len() / 2);
    for (bytes, kind) in [
        (encrypted()?, "document-encrypted"),
        (cut, "document-damaged"),
        (b"%PDF-1.7 and nothing else".to_vec(), "document-damaged"),
        (bomb, "document-bomb"),
        (pdf(10_000), "document-too-long"),
        (pdf(0), "document-without-pages"),
    ] {
        let refused = user.upload_bytes("a.pdf", bytes).await?;
        let refused = problem(refused, StatusCode::UNPROCESSABLE_ENTITY).await;
        let refused = refused.map_err(|error| error.context(kind))?;
        assert_eq!(refused["type"], format!("urn:allegiant:problem:{kind}"));
    }
    let refused = user.upload_bytes("a.pdf", b"PK\x03\x04".to_vec()).await?;
    let refused = problem(refused, StatusCode::UNSUPPORTED_MEDIA_TYPE).await?;
    assert_eq!(
        refused["type"],
        "urn:allegiant:problem:unsupported-media-type"
    );
    let listed = expect(user.get("/api/v1/documents").await?, StatusCode::OK).await?;
    assert_eq!(listed["items"], json!([]));
    service.stop().await
}

#[tokio::test]
async fn a_file_that_kills_its_reader_kills_only_that() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    // Arrays within arrays, deep enough for any parser's stack.
    let mut nested = b"%PDF-1.5\n1 0 obj\n".to_vec();
    nested.extend(std::iter::repeat_n(b'[', 4_000_000));
    let refused = user.upload_bytes("a.pdf", nested).await?;
    problem(refused, StatusCode::UNPROCESSABLE_ENTITY).await?;
    let stored = user.upload_bytes("a.pdf", pdf(1)).await?;
    expect(stored, StatusCode::CREATED).await?;
    // A reader that ends badly whatever it is given.
    let world = world.set("EXTRACTOR_PATH", "/bin/false");
    let broken = world.serve(Role::Api).await?;
    let refused = user
        .at(&broken.base_url)
        .upload_bytes("a.pdf", pdf(2))
        .await?;
    let refused = problem(refused, StatusCode::UNPROCESSABLE_ENTITY).await?;
    assert_eq!(
        refused["type"],
        "urn:allegiant:problem:document-too-complex"
    );
    service.stop().await?;
    broken.stop().await
}

#[tokio::test]
async fn without_a_reader_an_upload_is_stored_uncounted() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0))
        .await?
        .set("EXTRACTOR_PATH", "/nowhere/at/all");
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let stored = user.upload_bytes("a.pdf", pdf(1)).await?;
    let stored = expect(stored, StatusCode::CREATED).await?;
    assert!(stored.get("page_count").is_none(), "{stored}");
    service.stop().await
}
