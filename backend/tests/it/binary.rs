//! The binary's command line: exit codes, messages, migrations, the extractor.

use std::process::{Output, Stdio};

use backend::MIGRATOR;
use harness::{Stack, Template};
use tokio::io::AsyncWriteExt;

use crate::app::{BINARY, World, script_ms};
use crate::client::pdf;

async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Output> {
    let mut command = tokio::process::Command::new(BINARY);
    command
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .kill_on_drop(true);
    Ok(command.output().await?)
}

#[tokio::test]
async fn a_missing_or_bad_variable_is_named_and_the_exit_code_is_2() -> anyhow::Result<()> {
    let complete = World::new(script_ms(1.0)).await?.environment();
    for (variable, value) in [
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "postgres//oops"),
        ("S3_BUCKET", ""),
        ("OPENAI_API_KEY", ""),
        ("GENERATION_WORKERS", "many"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector"),
    ] {
        let environment: Vec<(&str, &str)> = complete
            .iter()
            .map(|(name, good)| {
                (
                    name.as_str(),
                    if name == variable {
                        value
                    } else {
                        good.as_str()
                    },
                )
            })
            .chain((!complete.contains_key(variable)).then_some((variable, value)))
            .collect();
        let output = run(&["serve"], &environment).await?;
        let message = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(2), "{message}");
        let expected = format!("allegiant-backend: failed to read {variable} (");
        assert!(
            message.starts_with(&expected) && message.lines().count() == 1,
            "{message}"
        );
    }
    let output = run(&["migrate"], &[]).await?;
    assert_eq!(output.status.code(), Some(2));
    let output = run(&["serve", "--role", "king"], &[]).await?;
    assert_eq!(output.status.code(), Some(2));
    Ok(())
}

#[tokio::test]
async fn an_address_in_use_is_named() -> anyhow::Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let world = World::new(script_ms(1.0))
        .await?
        .set("LISTEN_ADDR", &address);
    let environment = world.environment();
    let pairs: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let output = run(&["serve"], &pairs).await?;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout)?.contains(&format!("listen on {address}")));
    Ok(())
}

#[tokio::test]
async fn health_is_asked_by_a_subcommand() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.spawn().await?;
    let address = service.base_url.trim_start_matches("http://").to_owned();
    let output = run(&["health"], &[("LISTEN_ADDR", &address)]).await?;
    assert!(output.status.success(), "{output:?}");
    service.kill().await?;
    let output = run(&["health"], &[("LISTEN_ADDR", &address)]).await?;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr)?.contains(&format!("ask {address} for its health")));
    let output = run(&["health"], &[("LISTEN_ADDR", "nowhere")]).await?;
    assert_eq!(output.status.code(), Some(2));
    Ok(())
}

#[tokio::test]
async fn the_version_is_told() -> anyhow::Result<()> {
    let output = run(&["--version"], &[]).await?;
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout)?.starts_with("allegiant-backend "));
    Ok(())
}

#[tokio::test]
async fn migrate_may_run_many_times_at_once() -> anyhow::Result<()> {
    let sandbox = Stack::shared().await?.sandbox(&Template::empty()).await?;
    let environment = [("DATABASE_URL", sandbox.database_url())];
    let runs = (0..4).map(|_| run(&["migrate"], &environment));
    for output in futures::future::join_all(runs).await {
        let output = output?;
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    let pool = sqlx::PgPool::connect(sandbox.database_url()).await?;
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    let count: i64 = sqlx::query_scalar(tables).fetch_one(&pool).await?;
    assert_eq!(count, 12, "eleven tables and the migrations' own");
    // And back, and forth again.
    MIGRATOR.undo(&pool, 0).await?;
    let count: i64 = sqlx::query_scalar(tables).fetch_one(&pool).await?;
    assert_eq!(count, 1);
    MIGRATOR.run(&pool).await?;
    Ok(())
}

#[tokio::test]
async fn the_extractor_reads_a_pdf_and_refuses_others_with_a_reason() -> anyhow::Result<()> {
    for (input, expected) in [
        (pdf(4), r#"{"text":{"page_count":4,"text":"Requirement 1"#),
        (b"%PDF-1.4 broken".to_vec(), r#"{"unreadable":"damaged"}"#),
        (pdf(0), r#"{"unreadable":"no_pages"}"#),
    ] {
        let mut child = tokio::process::Command::new(BINARY)
            .arg("extract-text")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin.write_all(&input).await?;
        drop(stdin);
        let output = child.wait_with_output().await?;
        let text = String::from_utf8(output.stdout)?;
        assert!(
            output.status.success() && text.starts_with(expected),
            "{}: {text}",
            output.status
        );
    }
    Ok(())
}
