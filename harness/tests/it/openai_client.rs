//! The official Python client against the scripted OpenAI: what `openai_client/client.py` asserts is what
//! the real API does.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use harness::PythonPins;
use harness::openai::{Action, Call, Latency, LoadOpenAi, Script, When};

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "a test that does not run must say why")]
async fn the_official_client_drives_it_unchanged() -> Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openai_client");
    let pins = PythonPins {
        name: "openai-client",
        python: PathBuf::from("python3"),
        // That of the pins.
        python_min: (3, 11),
        requirements: here.join("requirements.txt"),
        cache: harness::cache_folder(),
    };
    let environment = match tokio::task::spawn_blocking(move || pins.prepare()).await? {
        Ok(environment) => environment,
        Err(reason) => {
            eprintln!("skipped, the openai package cannot be had here: failed to {reason}");
            return Ok(());
        }
    };
    let on_create = |number, action| (Call::Create, When::Nth(number), action);
    let limited = || Action::RateLimited {
        retry_after_ms: 20_000.0,
    };
    let script = [
        on_create(2, Action::NeverEnds),
        on_create(4, limited()),
        on_create(5, Action::ServerError { status: 503 }),
        on_create(6, limited()),
        on_create(8, Action::Expired),
        on_create(
            9,
            Action::Failed {
                code: "server_error".into(),
            },
        ),
        on_create(
            10,
            Action::Incomplete {
                reason: "max_output_tokens".into(),
            },
        ),
        on_create(11, Action::Garbage),
    ]
    .into_iter()
    .fold(
        Script::default()
            .latency(Latency::Fixed { ms: 180_000.0 })
            .speedup(400.0),
        |script, (call, when, action)| script.fault(call, when, action),
    );
    let openai = LoadOpenAi::start(script).await?;
    let output = tokio::process::Command::new(environment.python())
        .arg(here.join("client.py"))
        .arg(openai.base_url())
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("run the client")?;
    ensure!(
        output.status.success(),
        "the client differs:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // What the script struck is what the client was told; the bill knows the rest.
    assert_eq!(openai.stats().rate_limited + openai.stats().faults, 8);
    assert_eq!(openai.billing().responses_cancelled, 1);
    openai.stop().await;
    Ok(())
}
