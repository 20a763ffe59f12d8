//! Every variable is named when it is bad, and no secret is repeated.

use super::*;

const REQUIRED: [(&str, &str); 3] = [
    (
        "DATABASE_URL",
        "postgres://user:secret@127.0.0.1:5432/allegiant",
    ),
    ("S3_BUCKET", "documents"),
    ("OPENAI_API_KEY", "sk-test"),
];

fn read(changes: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_lookup(&|name| {
        let pairs = changes.iter().chain(&REQUIRED);
        pairs
            .clone()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn three_variables_are_enough() {
    let config = read(&[]).expect("all required variables are given");
    assert_eq!(config.worker.slots.get(), 6);
    assert_eq!(config.worker.sections.get(), 4);
    assert_eq!(config.openai.base_url, "https://api.openai.com/v1");
    assert!(config.sessions.redis_url.is_none());
}

#[test]
fn every_bad_variable_is_named_with_its_meaning_and_an_example() {
    let cases = [
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "mysql://somewhere"),
        ("S3_BUCKET", " "),
        ("OPENAI_API_KEY", ""),
        ("DATABASE_POOL_MAX", "2"),
        ("REDIS_URL", "127.0.0.1"),
        ("RATE_LIMIT_SESSION", "600"),
        ("TRUSTED_PROXY_HOPS", "-1"),
        ("ALLOWED_ORIGINS", "https://a.example.com,example.com"),
        ("ALLOWED_ORIGINS", "https://example.com/path"),
        ("LISTEN_ADDR", "somewhere"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://collector"),
        ("GENERATION_WORKERS", "0"),
        ("GENERATION_WORKERS", "six"),
        ("LEASE_MS", "0"),
        ("HEARTBEAT_MS", "60000"),
        ("OPENAI_BASE_URL", "api.openai.com"),
        ("S3_FORCE_PATH_STYLE", "yes"),
        ("ARGON2_MEMORY_KIB", "1"),
        ("SPOOL_DIR", "/nowhere/at/all"),
        ("SHUTDOWN_DRAIN_MS", "5000"),
        ("SSE_KEEP_ALIVE_MS", "0"),
        ("GENERATION_RUNNING_MAX_PER_USER", "0"),
        ("BUDGET_USD_MICROS_PER_USER_DAY", "1.5"),
        ("OPENAI_PRICE_INPUT_USD_MICROS", "free"),
        ("WEBHOOK_ALLOW_PRIVATE", "perhaps"),
        ("WEBHOOK_ATTEMPTS_MAX", "0"),
    ];
    for (variable, value) in cases {
        let message = read(&[(variable, value)]).expect_err(variable).to_string();
        assert!(
            message.starts_with(&format!("read {variable} (")),
            "{message}"
        );
        assert!(
            message.contains(&format!("for example {variable}=")),
            "{message}"
        );
    }
}

#[test]
fn traces_are_off_without_an_endpoint_and_checked_with_one() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
    assert_eq!(read(&[]).expect("valid").traces, None);
    let off = read(&[endpoint, ("OTEL_SDK_DISABLED", "true")]);
    assert_eq!(off.expect("valid").traces, None);
    let url = |changes: &[(&str, &str)]| read(changes).expect("valid").traces.map(|on| on.url);
    let expected = Some("http://collector:4318/v1/traces".to_owned());
    assert_eq!(url(&[endpoint]), expected);
    let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://other/in");
    assert_eq!(url(&[endpoint, own]), Some("https://other/in".to_owned()));
    for (variable, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "10%"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
    ] {
        let message = read(&[endpoint, (variable, value)]).expect_err(variable);
        let message = message.to_string();
        assert!(
            message.starts_with(&format!("read {variable} (")),
            "{message}"
        );
    }
}

#[test]
fn a_password_in_the_database_url_is_not_repeated() {
    let message = read(&[("DATABASE_URL", "mysql://user:hunter2@somewhere")])
        .expect_err("wrong scheme")
        .to_string();
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn secrets_stay_out_of_debug_output() {
    let config = read(&[
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
    ])
    .expect("valid");
    let text = format!("{:?} {:?}", config.storage, config.openai);
    assert!(
        !text.contains("hunter2") && !text.contains("sk-test"),
        "{text}"
    );
}
