//! Traces: what a collector is told, and that the service is the same without one that answers.

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use reqwest::{Method, StatusCode};
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::app::{CALLS, World, script_ms};
use crate::client::{expect, order};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A collector that takes whatever comes with the right header, after a delay.
async fn collector(delay: Duration) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/traces"))
        .and(header("content-type", "application/x-protobuf"))
        .and(header("x-team", "water"))
        .respond_with(ResponseTemplate::new(200).set_delay(delay))
        .mount(&server)
        .await;
    server
}

/// All spans that a collector was told, and the name of the service that told them.
async fn told(collector: &MockServer) -> anyhow::Result<(Vec<Span>, String)> {
    let (mut spans, mut service) = (Vec::new(), String::new());
    for request in collector.received_requests().await.unwrap_or_default() {
        let export = ExportTraceServiceRequest::decode(request.body.as_slice())?;
        for resource in export.resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            service = text(&attributes, "service.name");
            let scopes = resource.scope_spans.into_iter();
            spans.extend(scopes.flat_map(|scope| scope.spans));
        }
    }
    Ok((spans, service))
}

/// An attribute as text; empty when it is not there.
fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn named<'a>(spans: &'a [Span], name: &'a str) -> impl Iterator<Item = &'a Span> {
    spans.iter().filter(move |span| span.name == name)
}

#[tokio::test]
async fn a_collector_is_told_all_spans_of_a_generation() -> anyhow::Result<()> {
    let collector = collector(Duration::ZERO).await;
    let world = World::new(script_ms(50.0))
        .await?
        .set("OTEL_EXPORTER_OTLP_ENDPOINT", collector.uri())
        .set("OTEL_EXPORTER_OTLP_HEADERS", "x-team=water")
        .set("OTEL_SERVICE_NAME", "proposals")
        .set("SHUTDOWN_DRAIN_MS", 3000);
    let service = world.spawn().await?;
    let client = service.client().registered().await?;
    let document = client.upload(3).await?;
    let ordered = client
        .request(Method::POST, "/api/v1/generations")
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .json(&order(&[&document]))
        .send()
        .await?;
    let ordered = expect(ordered, StatusCode::ACCEPTED).await?;
    let id = ordered["id"].as_str().unwrap_or_default().to_owned();
    client.wait_for(&id, "succeeded").await?;
    let missing = client.get("/nowhere").await?;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    // What was not sent by then is sent on the way out.
    let (status, _) = service.signal("-TERM").await?;
    assert!(status.success());
    let (spans, name) = told(&collector).await?;
    assert_eq!(name, "proposals");

    let order = named(&spans, "POST /api/v1/generations").next();
    let order = order.expect("the order has a span");
    assert_eq!(hex::encode(&order.trace_id), TRACE);
    assert_eq!(hex::encode(&order.parent_span_id), CALLER);
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/api/v1/generations"),
        ("http.response.status_code", "202"),
        ("allegiant.generation_id", &id),
    ] {
        assert_eq!(text(&order.attributes, key), value, "{key}");
    }
    let statuses =
        named(&spans, "GET").map(|span| text(&span.attributes, "http.response.status_code"));
    assert_eq!(
        statuses.collect::<Vec<_>>(),
        ["404"],
        "no route, no name of one"
    );

    let attempt = named(&spans, "generation").next();
    let attempt = attempt.expect("the attempt has a span");
    assert!(attempt.parent_span_id.is_empty());
    let mut steps = HashMap::new();
    for span in spans
        .iter()
        .filter(|span| span.parent_span_id == attempt.span_id)
    {
        *steps.entry(span.name.as_str()).or_insert(0) += 1;
        assert_eq!(text(&span.attributes, "allegiant.generation_id"), id);
        assert_eq!(span.trace_id, attempt.trace_id);
    }
    let expected = [
        ("extract_text", 1),
        ("write_outline", 1),
        ("write_section", 2),
        ("store_pdf", 1),
    ];
    assert_eq!(steps, HashMap::from(expected));

    let creates: Vec<&Span> = named(&spans, "POST /responses").collect();
    assert_eq!(creates.len(), usize::try_from(CALLS)?);
    assert!(named(&spans, "GET /responses/{id}").count() >= creates.len());
    for create in creates {
        let step = spans
            .iter()
            .find(|span| span.span_id == create.parent_span_id);
        assert!(step.is_some_and(|step| step.name.starts_with("write_")));
        assert_eq!(text(&create.attributes, "http.response.status_code"), "200");
        assert_eq!(text(&create.attributes, "allegiant.generation_id"), id);
    }
    Ok(())
}

#[tokio::test]
async fn a_collector_that_is_away_or_hangs_changes_nothing() -> anyhow::Result<()> {
    let hangs = collector(Duration::from_secs(60)).await;
    for endpoint in ["http://127.0.0.1:9".to_owned(), hangs.uri()] {
        let world = World::new(script_ms(50.0))
            .await?
            .set("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
            .set("OTEL_EXPORTER_OTLP_HEADERS", "x-team=water")
            // Exports fail all the time, and the queue is always full.
            .set("OTEL_BSP_SCHEDULE_DELAY", 10)
            .set("OTEL_BSP_MAX_QUEUE_SIZE", 4)
            .set("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 2)
            .set("SHUTDOWN_DRAIN_MS", 500)
            .set("SHUTDOWN_TIMEOUT_MS", 3000);
        let service = world.spawn().await?;
        let client = service.client().registered().await?;
        let id = client.generate().await?;
        client.wait_for(&id, "succeeded").await?;
        let (status, took) = service.signal("-TERM").await?;
        assert!(status.success(), "{endpoint}");
        assert!(took < Duration::from_secs(3), "{endpoint}: {took:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_sampler_that_keeps_nothing_sends_nothing() -> anyhow::Result<()> {
    let collector = collector(Duration::ZERO).await;
    let world = World::new(script_ms(1.0))
        .await?
        .set("OTEL_EXPORTER_OTLP_ENDPOINT", collector.uri())
        .set("OTEL_TRACES_SAMPLER", "always_off");
    let service = world.spawn().await?;
    let answer = service.client().get("/health").await?;
    assert_eq!(answer.status(), StatusCode::OK);
    service.signal("-TERM").await?;
    assert_eq!(told(&collector).await?.0.len(), 0);
    Ok(())
}
