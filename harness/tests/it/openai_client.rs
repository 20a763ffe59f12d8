//! The official Python client against the scripted OpenAI: what `openai_client/client.py` asserts is what
//! the real API does.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use harness::openai::{Action, Call, Latency, LoadOpenAi, Script, When};

/// Written last into an environment that is whole: the pins it was made from.
const STAMP: &str = "pins";

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "a test that does not run must say why")]
async fn the_official_client_drives_it_unchanged() -> Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openai_client");
    let python = match environment(&here.join("requirements.txt")) {
        Ok(python) => python,
        Err(reason) => {
            eprintln!("skipped, the openai package cannot be installed here: {reason:#}");
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
    let output = tokio::process::Command::new(&python)
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

/// The interpreter of an environment with these pins, made in the harness's cache when it is not there.
fn environment(requirements: &Path) -> Result<PathBuf> {
    let pins = fs::read_to_string(requirements)?;
    let cache = harness::cache_folder();
    fs::create_dir_all(&cache)?;
    let folder = cache.join("openai-client");
    // Two runs at a time: the second waits and finds it made. Closing unlocks.
    let lock = File::create(cache.join("openai-client.lock"))?;
    lock.lock()?;
    let python = folder.join("bin/python");
    if python.exists() && fs::read_to_string(folder.join(STAMP)).is_ok_and(|made| made == pins) {
        return Ok(python);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", "--retries", "1"])
        .args([
            "--require-hashes",
            "--only-binary",
            ":all:",
            "--requirement",
        ])
        .arg(requirements);
    run(&mut pip)?;
    fs::write(folder.join(STAMP), pins)?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!(
            "{}",
            complaint.lines().next_back().unwrap_or("no complaint")
        );
    }
    Ok(())
}
