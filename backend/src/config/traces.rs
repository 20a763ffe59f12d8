//! Traces: the variables that OpenTelemetry names, as far as the service has to know them itself.
//!
//! The SDK reads the rest from the environment (service name, sampler, headers, batch sizes). It
//! takes a default for what it cannot read and says so nowhere, so what is bad is refused here.

use std::time::Duration;

use crate::config::variables::{ConfigError, Variables};

/// The samplers that the specification names and the SDK knows.
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// Where traces go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceConfig {
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or `OTEL_EXPORTER_OTLP_ENDPOINT` and `/v1/traces`.
    pub url: String,
    /// `OTEL_EXPORTER_OTLP_TIMEOUT`: what one export may take.
    pub timeout: Duration,
}

impl TraceConfig {
    /// `None` without an endpoint, and with `OTEL_SDK_DISABLED=true`.
    pub(super) fn read(variables: &Variables<'_>) -> Result<Option<Self>, ConfigError> {
        let meaning = "where traces go";
        let own = variables.url(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            meaning,
            "http://127.0.0.1:4318/v1/traces",
        )?;
        let shared = variables.url(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            meaning,
            "http://127.0.0.1:4318",
        )?;
        let url = own.or(shared.map(|base| format!("{base}/v1/traces")));
        let disabled = variables.boolean(
            "OTEL_SDK_DISABLED",
            "no traces at all, whatever else",
            false,
        )?;
        let Some(url) = url.filter(|_| !disabled) else {
            return Ok(None);
        };
        for variable in [
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        ] {
            one_of(
                variables,
                variable,
                "how traces are sent",
                &["http/protobuf"],
            )?;
        }
        one_of(
            variables,
            "OTEL_TRACES_SAMPLER",
            "which traces are kept",
            &SAMPLERS,
        )?;
        ratio(variables)?;
        // The default of the specification.
        let timeout =
            variables.duration("OTEL_EXPORTER_OTLP_TIMEOUT", "time of an export", 10_000)?;
        Ok(Some(Self { url, timeout }))
    }
}

fn one_of(
    variables: &Variables<'_>,
    variable: &'static str,
    meaning: &'static str,
    known: &[&'static str],
) -> Result<(), ConfigError> {
    let Some(value) = variables.text(variable) else {
        return Ok(());
    };
    if known.contains(&value.as_str()) {
        return Ok(());
    }
    let problem = format!("{value:?} is none of {}", known.join(", "));
    Err(ConfigError::new(variable, meaning, problem, known[0]))
}

fn ratio(variables: &Variables<'_>) -> Result<(), ConfigError> {
    let variable = "OTEL_TRACES_SAMPLER_ARG";
    let Some(value) = variables.text(variable) else {
        return Ok(());
    };
    let is_ratio = |value: f64| (0.0..=1.0).contains(&value);
    if value.parse().is_ok_and(is_ratio) {
        return Ok(());
    }
    let problem = format!("{value:?} is not a share between 0 and 1");
    Err(ConfigError::new(
        variable,
        "share of the traces that are kept",
        problem,
        "0.1",
    ))
}
