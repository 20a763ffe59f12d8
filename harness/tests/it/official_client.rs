//! The official `openai` client for Python drives the scripted OpenAI unchanged.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use harness::openai::{Action, Call, Latency, LoadOpenAi, Script, When};

/// What is installed, once, into a virtual environment in the harness's cache.
const PACKAGE: &str = "openai==3.57.0";
const PROGRAM: &str = include_str!("official_client.py");

fn script() -> Script {
    // The calls without a model or a key are no creates: the numbers are those of the program.
    Script::default()
        .latency(Latency::Fixed { ms: 60_000.0 })
        .speedup(600.0)
        .section_words(300)
        .fault(Call::Create, When::Nth(4), Action::NeverEnds)
        .fault(
            Call::Create,
            When::Nth(5),
            Action::RateLimited {
                // 1.5 s on the clock, told in whole seconds.
                retry_after_ms: 900_000.0,
            },
        )
        .fault(
            Call::Create,
            When::Nth(6),
            Action::ServerError { status: 503 },
        )
        .fault(
            Call::Create,
            When::Nth(7),
            Action::Incomplete {
                reason: "max_output_tokens".to_owned(),
            },
        )
        .fault(Call::Create, When::Nth(8), Action::Expired)
        .fault(
            Call::Create,
            When::Nth(10),
            Action::RateLimited {
                retry_after_ms: 60_000.0,
            },
        )
}

#[tokio::test]
async fn the_official_client_drives_it_unchanged() -> Result<()> {
    let python = match tokio::task::spawn_blocking(client).await? {
        Ok(python) => python,
        Err(reason) => {
            use std::io::Write;
            let said = format!("skipped: the official client cannot be had: {reason:#}\n");
            std::io::stderr().write_all(said.as_bytes())?;
            return Ok(());
        }
    };
    let openai = LoadOpenAi::start(script()).await?;
    let base_url = openai.base_url();
    let run = move || {
        Command::new(python)
            .args(["-c", PROGRAM])
            .env("OPENAI_BASE_URL", base_url)
            .env("OPENAI_API_KEY", "sk-test")
            .stdin(Stdio::null())
            .output()
    };
    let output = tokio::task::spawn_blocking(run).await??;
    ensure!(
        said(&output).trim_end().ends_with("ok"),
        "{}",
        said(&output)
    );
    let billing = openai.billing();
    ensure!(billing.responses_created == 9, "{billing:?}");
    ensure!(billing.responses_cancelled == 1, "{billing:?}");
    openai.stop().await;
    Ok(())
}

/// A Python that has the client, or why there is none.
fn client() -> Result<PathBuf> {
    let cache = harness::cache_folder();
    std::fs::create_dir_all(&cache)?;
    let folder = cache.join(PACKAGE.replace("==", "-python-"));
    let python = folder.join("bin/python");
    // One process installs, the others wait for it.
    let turn = File::create(cache.join("openai-python.lock"))?;
    turn.lock()?;
    if has_client(&python) {
        return Ok(python);
    }
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&folder);
    run(&mut venv).context("python3 -m venv")?;
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    install.args(["--retries", "1", "--timeout", "20", PACKAGE]);
    run(&mut install).context("pip install")?;
    ensure!(has_client(&python), "{PACKAGE} cannot be imported");
    Ok(python)
}

fn has_client(python: &Path) -> bool {
    let imported = Command::new(python)
        .args(["-c", "import openai"])
        .stderr(Stdio::null())
        .status();
    imported.is_ok_and(|status| status.success())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{}", said(&output).trim());
    Ok(())
}

fn said(output: &Output) -> String {
    let all = [output.stderr.as_slice(), output.stdout.as_slice()].concat();
    String::from_utf8_lossy(&all).into_owned()
}
