//! Sends spans to a collector over OTLP/HTTP, in batches, from a thread of its own.
//!
//! Nothing waits for it: a span that ends goes into a queue of fixed length and is dropped when the
//! queue is full, which the SDK counts and says once, at the end.

use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;

use crate::config::TraceConfig;

/// The service's name where `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` give none.
const SERVICE_NAME: &str = "allegiant-backend";

/// The exporter could not be built.
#[derive(Debug, thiserror::Error)]
#[error("set up the export of traces to {url}")]
pub struct ExporterError {
    url: String,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Starts the exporter's thread; its requests run on `runtime`. Nothing is connected to yet.
///
/// # Errors
/// When TLS cannot be set up or the SDK refuses a variable.
pub(super) fn start(
    config: &TraceConfig,
    runtime: Handle,
) -> Result<SdkTracerProvider, ExporterError> {
    let failed = |source| ExporterError {
        url: config.url.clone(),
        source,
    };
    let client = Client::new(config, runtime).map_err(|error| failed(error.into()))?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(&config.url)
        .with_timeout(config.timeout)
        .build()
        .map_err(|error| failed(error.into()))?;
    Ok(SdkTracerProvider::builder()
        .with_resource(resource())
        .with_batch_exporter(exporter)
        .build())
}

/// What the environment says of this process, with a name and a version in any case.
fn resource() -> Resource {
    let name = opentelemetry::Key::from_static_str("service.name");
    let found = Resource::builder().build();
    let is_named = found
        .get(&name)
        .is_some_and(|value| !value.as_str().starts_with("unknown_service"));
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let builder = Resource::builder().with_attribute(version);
    if is_named {
        builder.build()
    } else {
        builder.with_service_name(SERVICE_NAME).build()
    }
}

/// The HTTP client that everything else in the service uses. The exporter's thread has no reactor, so
/// requests run on the service's runtime while the thread waits.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
}

impl Client {
    fn new(config: &TraceConfig, runtime: Handle) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder();
        if config.url.starts_with("http://") {
            // Nothing to verify: a minimal image without CA certificates must not fail for it.
            builder = builder.tls_certs_only([]);
        }
        let http = builder
            .timeout(config.timeout)
            .connect_timeout(config.timeout.min(Duration::from_secs(5)))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { http, runtime })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        let sending = self.runtime.spawn(async move {
            let request = reqwest::Request::try_from(request)?;
            let response = http.execute(request).await?;
            let mut answer = Response::builder().status(response.status());
            if let Some(headers) = answer.headers_mut() {
                headers.clone_from(response.headers());
            }
            Ok::<_, HttpError>(answer.body(response.bytes().await?)?)
        });
        sending.await?
    }
}
