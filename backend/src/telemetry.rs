//! Logs: JSON lines on stdout, each error with its whole chain of causes. Traces, when somebody wants them.

mod exporter;
pub(crate) mod spans;

use std::error::Error;
use std::fmt;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt as logs};

use crate::config::TraceConfig;

pub use exporter::ExporterError;

/// Formats an error with all its sources, which tracing's JSON format would drop.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl fmt::Display + use<'a> {
    struct Chain<'a>(&'a (dyn Error + 'static));
    impl fmt::Display for Chain<'_> {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            let mut written = self.0.to_string();
            formatter.write_str(&written)?;
            let mut next = self.0.source();
            while let Some(cause) = next {
                let text = cause.to_string();
                // Some libraries repeat their source in their own text.
                if !written.contains(&text) {
                    write!(formatter, ": {text}")?;
                    written = text;
                }
                next = cause.source();
            }
            Ok(())
        }
    }
    Chain(error)
}

/// What has to be ended in order; see [`Telemetry::flush`].
#[derive(Debug)]
#[must_use = "the last spans are lost without a flush"]
pub struct Telemetry(Option<SdkTracerProvider>);

/// Starts logging as `LOG_FORMAT` (`json`, the default, or `text`) and `RUST_LOG` (default `info`) say, and
/// tracing when there is an endpoint for it; exports run on `runtime`.
///
/// # Errors
/// When the exporter cannot be set up; logging has started all the same.
pub fn init(traces: Option<&TraceConfig>, runtime: &Handle) -> Result<Telemetry, ExporterError> {
    let provider = traces.map(|config| exporter::start(config, runtime.clone()));
    let Some(Ok(provider)) = provider else {
        // One filter for all: a span is never looked at again.
        Registry::default()
            .with(log_filter())
            .with(log_layer())
            .init();
        return provider.transpose().map(Telemetry);
    };
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("allegiant-backend"))
        // What only a developer of this code would read.
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false)
        // Nothing here asks for OpenTelemetry's own current context.
        .with_context_activation(false)
        .with_filter(filter_fn(|metadata| metadata.target() == spans::TARGET));
    Registry::default()
        .with(log_layer().with_filter(log_filter()))
        .with(spans)
        .init();
    Ok(Telemetry(Some(provider)))
}

impl Telemetry {
    /// Sends what has not been sent, for as long as `timeout`. The runtime must still be alive.
    pub fn flush(self, timeout: Duration) {
        let Some(provider) = self.0 else {
            return;
        };
        if let Err(error) = provider.shutdown_with_timeout(timeout) {
            tracing::warn!(error = %chain(&error), "the last spans were not sent");
        }
    }
}

fn log_filter() -> EnvFilter {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let no_spans = format!("{}=off", spans::TARGET);
    filter.add_directive(
        no_spans
            .parse()
            .expect("a target and a level are a directive"),
    )
}

fn log_layer<S>() -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = logs::layer().with_target(false);
    if std::env::var("LOG_FORMAT").is_ok_and(|format| format == "text") {
        layer.boxed()
    } else {
        layer
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("open the store")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_chain_names_every_cause_once() {
        let error = Outer(std::io::Error::other("disk full"));
        assert_eq!(chain(&error).to_string(), "open the store: disk full");
    }
}
