//! The interface itself: its document, and the form of every refusal.

use std::collections::BTreeSet;

use backend::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{Service, World, script_ms};
use crate::client::{Client, expect, order, problem};

async fn document(service: &Service) -> anyhow::Result<Value> {
    expect(service.client().get("/openapi.json").await?, StatusCode::OK).await
}

/// Every operation of the document: method, path, and what it says.
fn operations(document: &Value) -> Vec<(Method, &str, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths
        .flat_map(|(path, item)| {
            let item = item.as_object().into_iter().flatten();
            item.filter_map(move |(method, operation)| {
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).ok()?;
                Some((method, path.as_str(), operation))
            })
        })
        .collect()
}

#[tokio::test]
async fn the_document_is_complete_and_changes_only_on_purpose() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let document = document(&service).await?;
    assert_eq!(document["openapi"], "3.1.0");
    insta::assert_json_snapshot!("openapi", document);
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap_or_default();
        assert!(ids.insert(id), "{method} {path}: {id:?} is not unique");
        let summary = operation["summary"].as_str().unwrap_or_default();
        assert!(!summary.is_empty(), "{method} {path} has no summary");
        for (status, response) in operation["responses"].as_object().into_iter().flatten() {
            let response = match response["$ref"].as_str() {
                Some(name) => document.pointer(&name[1..]).unwrap_or(&Value::Null),
                None => response,
            };
            let what = format!("{method} {path} {status}");
            let description = response["description"].as_str().unwrap_or_default();
            assert!(!description.is_empty(), "{what} has no description");
            let body = &response["content"]["application/problem+json"]["schema"];
            // Readiness says which dependency is missing, in the same form as when none is.
            let refusal =
                status.starts_with(['4', '5']) && (path, status.as_str()) != ("/ready", "503");
            assert_eq!(
                refusal,
                body["$ref"] == "#/components/schemas/Problem",
                "{what}"
            );
        }
    }
    service.stop().await
}

#[tokio::test]
async fn every_operation_asks_for_a_session_unless_its_document_says_otherwise()
-> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let document = document(&service).await?;
    let guest = service.client();
    let id = uuid::Uuid::new_v4().to_string();
    let mut guarded = 0;
    for (method, path, operation) in operations(&document) {
        let response = guest
            .request(method.clone(), &path.replace("{id}", &id))
            .send()
            .await?;
        let open = operation["security"] == json!([]);
        let what = format!("{method} {path}: {}", response.status());
        assert_ne!(response.status(), StatusCode::NOT_FOUND, "{what}");
        assert_ne!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{what}");
        let status = response.status().as_u16().to_string();
        assert!(
            operation["responses"].get(&status).is_some(),
            "{what} is not documented"
        );
        if open {
            assert_ne!(response.status(), StatusCode::UNAUTHORIZED, "{what}");
        } else {
            guarded += 1;
            assert_eq!(response.headers()["www-authenticate"], "Bearer", "{what}");
            problem(response, StatusCode::UNAUTHORIZED).await?;
        }
    }
    assert!(guarded >= 11, "{guarded}");
    service.stop().await
}

#[tokio::test]
async fn whatever_cannot_be_read_is_refused_with_a_problem() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let post = |path: &str| user.request(Method::POST, path);
    let (register, generations) = ("/api/v1/auth/register", "/api/v1/generations");
    let json = |body: &str| {
        let request = post(generations).header("content-type", "application/json");
        request.body(body.to_owned())
    };
    let large = format!("{{\"title\": \"{}\"}}", "x".repeat(300 * 1024));
    let broken_form = post("/api/v1/documents")
        .header("content-type", "multipart/form-data; boundary=b")
        .body("--b\r\nnonsense");
    let cases = [
        (json("{"), StatusCode::BAD_REQUEST),
        (json(""), StatusCode::BAD_REQUEST),
        (json("\u{0}"), StatusCode::BAD_REQUEST),
        (json("[]"), StatusCode::UNPROCESSABLE_ENTITY),
        (json("{\"title\": 1}"), StatusCode::UNPROCESSABLE_ENTITY),
        (json(&large), StatusCode::PAYLOAD_TOO_LARGE),
        (
            post(generations).body("{}"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            post(register).body("a=b"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (broken_form, StatusCode::BAD_REQUEST),
        (
            post(generations)
                .header("idempotency-key", " ")
                .json(&order(&[])),
            StatusCode::BAD_REQUEST,
        ),
        (
            user.request(Method::GET, "/api/v1/documents?limit=0"),
            StatusCode::BAD_REQUEST,
        ),
        (
            user.request(Method::GET, "/api/v1/documents?limit=201"),
            StatusCode::BAD_REQUEST,
        ),
        (
            user.request(Method::GET, "/api/v1/generations?before=x"),
            StatusCode::BAD_REQUEST,
        ),
        (
            user.request(Method::GET, "/api/v1/generations?page=2"),
            StatusCode::BAD_REQUEST,
        ),
        (
            user.request(Method::GET, "/api/v1/documents/x"),
            StatusCode::NOT_FOUND,
        ),
        (
            user.request(Method::GET, "/api/v1/documents/%ff"),
            StatusCode::NOT_FOUND,
        ),
        (
            user.request(Method::GET, "/api/v1/nowhere"),
            StatusCode::NOT_FOUND,
        ),
        (user.request(Method::GET, "/"), StatusCode::NOT_FOUND),
    ];
    for (request, status) in cases {
        let refused = request.send().await?;
        let what = refused.url().to_string();
        let told = problem(refused, status).await;
        told.map_err(|error| error.context(what))?;
    }
    service.stop().await
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let client = service.client();
    for (path, allowed) in [
        ("/health", "GET,HEAD"),
        ("/openapi.json", "GET,HEAD"),
        ("/api/v1/auth/login", "POST"),
        ("/api/v1/documents", "POST,GET,HEAD"),
        ("/api/v1/documents/x", "GET,HEAD,DELETE"),
    ] {
        let refused = client.request(Method::PATCH, path).send().await?;
        let told = refused.headers().get("allow").cloned();
        let told = told
            .as_ref()
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let methods = |list: &str| list.split(',').map(str::to_owned).collect::<BTreeSet<_>>();
        assert_eq!(methods(told), methods(allowed), "{path}");
        problem(refused, StatusCode::METHOD_NOT_ALLOWED).await?;
    }
    service.stop().await
}

#[tokio::test]
async fn the_page_shows_every_operation_and_loads_nothing() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let document = document(&service).await?;
    let response = service.client().get("/docs").await?;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.headers()["content-type"],
        "text/html; charset=utf-8"
    );
    let policy = response.headers()["content-security-policy"]
        .to_str()?
        .to_owned();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    let page = response.text().await?;
    for (_, path, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap_or_default();
        assert!(page.contains(&format!("<details id=\"{id}\">")), "{id}");
        assert!(page.contains(&format!("<code>{path}</code>")), "{path}");
    }
    for name in document["components"]["schemas"]
        .as_object()
        .into_iter()
        .flatten()
    {
        assert!(
            page.contains(&format!("<details id=\"schema-{}\">", name.0)),
            "{}",
            name.0
        );
    }
    for external in ["<script", "<img", "<link", "src=", "url("] {
        assert!(!page.contains(external), "{external}");
    }
    service.stop().await
}

#[tokio::test]
async fn a_worker_answers_no_api() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Worker).await?;
    let client: Client = service.client();
    for path in ["/openapi.json", "/docs", "/api/v1/auth/me"] {
        problem(client.get(path).await?, StatusCode::NOT_FOUND).await?;
    }
    service.stop().await
}
