//! `harness up` for development, and what bad input is answered.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::poll::{self, Progress};
use sqlx::{Connection, PgConnection};

use crate::folder::Folder;

fn harness() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    command.stdin(Stdio::null());
    command
}

/// Refused with exit code 2 and one line that says all of `parts`.
fn refused(output: &Output, parts: &[&str]) -> Result<()> {
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(2),
        "{}: {message}",
        output.status
    );
    ensure!(message.trim().lines().count() == 1, "{message}");
    for part in parts {
        ensure!(message.contains(part), "{part:?} is not in: {message}");
    }
    Ok(())
}

/// A running `up` and what it printed before it said which run it is.
struct Running {
    child: Child,
    printed: String,
}

impl Running {
    fn start(folder: &Path, arguments: &[&str]) -> Result<Running> {
        let mut child = harness()
            .args(["up", "--free-ports"])
            .args(arguments)
            .current_dir(folder)
            .env("HARNESS_PROVIDER", "native")
            .env("TMPDIR", folder)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("the output is a pipe")?;
        let mut printed = String::new();
        for line in BufReader::new(output).lines() {
            printed += &(line? + "\n");
            if printed.contains("\n# run ") {
                return Ok(Running { child, printed });
            }
        }
        anyhow::bail!("it ended before it was up: {printed}")
    }

    fn variable(&self, name: &str) -> Result<String> {
        let line = self.printed.lines().find_map(|line| {
            let value = line.strip_prefix("export ")?.strip_prefix(name)?;
            value.strip_prefix('=')
        });
        line.map(str::to_owned).context("it is exported")
    }

    fn end(&mut self) -> Result<()> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-s", "INT", &pid]).status()?;
        ensure!(self.child.wait()?.success(), "it failed");
        Ok(())
    }
}

#[tokio::test]
async fn up_writes_its_environment_and_down_ends_it() -> Result<()> {
    let folder = Folder::new()?;
    let mut up = Running::start(folder.path(), &[])?;
    let file = folder.path().join(".env");
    let written = fs::read_to_string(&file)?;
    let url = up.variable("DATABASE_URL")?;
    ensure!(
        written.contains(&format!("DATABASE_URL={url}\n")),
        "{written}"
    );
    let services = up.printed.lines().filter(|line| line.contains("  ok  "));
    ensure!(services.count() == 4, "{}", up.printed);
    PgConnection::connect(&url).await?.ping().await?;

    let down = harness()
        .arg("down")
        .env("TMPDIR", folder.path())
        .output()?;
    let said = String::from_utf8_lossy(&down.stdout);
    ensure!(
        down.status.success() && said.contains("ended run"),
        "{said}"
    );
    ensure!(up.child.wait()?.success(), "it failed");
    ensure!(!file.exists(), "the file stays");
    Ok(())
}

#[tokio::test]
async fn what_is_kept_is_there_the_next_time_and_can_be_forgotten() -> Result<()> {
    let folder = Folder::new()?;
    let cache = folder.path().join("cache");
    // The servers' wheels are in the usual cache: only the state shall lie here.
    let programs = harness::cache_folder();
    fs::create_dir(&cache)?;
    for entry in fs::read_dir(&programs).into_iter().flatten().flatten() {
        std::os::unix::fs::symlink(entry.path(), cache.join(entry.file_name()))?;
    }
    fs::remove_file(cache.join("development")).ok();
    for number in 0..2_i64 {
        let mut command = harness();
        command
            .args([
                "up",
                "--free-ports",
                "--keep",
                "--no-env-file",
                "--provider",
                "native",
            ])
            .env("HARNESS_CACHE_DIR", &cache)
            .env("TMPDIR", folder.path())
            .stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let output = child.stdout.take().context("the output is a pipe")?;
        let mut printed = String::new();
        for line in BufReader::new(output).lines() {
            printed += &(line? + "\n");
            if printed.contains("\n# run ") {
                break;
            }
        }
        let mut up = Running { child, printed };
        let mut database = PgConnection::connect(&up.variable("DATABASE_URL")?).await?;
        sqlx::query("CREATE TABLE IF NOT EXISTS visits (at timestamptz)")
            .execute(&mut database)
            .await?;
        let visits: i64 = sqlx::query_scalar("SELECT count(*) FROM visits")
            .fetch_one(&mut database)
            .await?;
        ensure!(visits == number, "{visits} visits before number {number}");
        sqlx::query("INSERT INTO visits VALUES (now())")
            .execute(&mut database)
            .await?;
        database.close().await?;
        up.end()?;
    }
    ensure!(
        cache.join("development/postgres").exists(),
        "nothing is kept"
    );
    let forgotten = harness()
        .args(["down", "--forget"])
        .env("HARNESS_CACHE_DIR", &cache)
        .env("TMPDIR", folder.path())
        // The volumes of a person's own stack are none of this test's business.
        .env("DOCKER_HOST", "tcp://127.0.0.1:1")
        .output()?;
    ensure!(forgotten.status.success(), "{forgotten:?}");
    ensure!(!cache.join("development").exists(), "the state stays");
    Ok(())
}

#[tokio::test]
async fn a_killed_up_leaves_no_environment_behind() -> Result<()> {
    let folder = Folder::new()?;
    let mut up = Running::start(folder.path(), &[])?;
    let file = folder.path().join(".env");
    ensure!(file.exists(), "it writes none");
    up.child.kill()?;
    up.child.wait()?;
    poll::until("the file to be gone", Duration::from_secs(30), || async {
        if file.exists() {
            Progress::NotYet("it is there".to_owned())
        } else {
            Progress::Ready(())
        }
    })
    .await?;
    Ok(())
}

#[test]
fn an_environment_file_of_somebody_else_is_left_alone() -> Result<()> {
    let folder = Folder::new()?;
    let file = folder.path().join(".env");
    fs::write(&file, "SECRET=mine\n")?;
    let output = harness().arg("up").current_dir(folder.path()).output()?;
    refused(&output, &[".env", "--env-file"])?;
    ensure!(
        fs::read_to_string(&file)? == "SECRET=mine\n",
        "it was written"
    );
    Ok(())
}

#[test]
fn an_occupied_port_is_named_with_its_remedy() -> Result<()> {
    let occupied = TcpListener::bind("127.0.0.1:0")?;
    let port = occupied.local_addr()?.port().to_string();
    let output = harness()
        .args([
            "up",
            "--no-env-file",
            "--provider",
            "native",
            "--redis-port",
            &port,
        ])
        .args(["--postgres-port", "0", "--s3-port", "0"])
        .output()?;
    refused(&output, &["Redis", &port, "--redis-port", "harness down"])
}

#[test]
fn an_unreachable_engine_is_named_with_its_remedy() -> Result<()> {
    let output = harness()
        .args([
            "up",
            "--free-ports",
            "--no-env-file",
            "--provider",
            "docker",
        ])
        .env("DOCKER_HOST", "tcp://127.0.0.1:1")
        .output()?;
    refused(
        &output,
        &[
            "harness: failed to choose a provider: use Docker: reach a Docker engine at tcp://127.0.0.1:1: Connection refused (os error 111); ",
            "HARNESS_PROVIDER=native",
        ],
    )
}

#[test]
fn a_program_that_can_be_had_nowhere_is_named_with_its_remedy() -> Result<()> {
    let folder = Folder::new()?;
    let output = harness()
        .args([
            "up",
            "--free-ports",
            "--no-env-file",
            "--provider",
            "native",
        ])
        .env("HARNESS_IGNORE_SYSTEM", "1")
        .env("HARNESS_CACHE_DIR", folder.path().join("cache"))
        .env("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
        .env("UV_INDEX_URL", "http://127.0.0.1:1/simple")
        .output()?;
    refused(&output, &["install it", "set HARNESS_"])
}

#[test]
fn doctor_says_that_no_provider_could_serve_and_fails() -> Result<()> {
    let folder = Folder::new()?;
    let output = harness()
        .arg("doctor")
        .env("HARNESS_PROVIDER", "auto")
        .env("DOCKER_HOST", "tcp://127.0.0.1:1")
        .env("HARNESS_IGNORE_SYSTEM", "1")
        .env("HARNESS_CACHE_DIR", folder.path().join("cache"))
        .env("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
        .env_remove("HARNESS_POSTGRES_BIN_DIR")
        .env_remove("HARNESS_REDIS_SERVER")
        .output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
    let last = said.lines().next_back().unwrap_or_default();
    ensure!(last.starts_with("tests do not run here"), "{said}");
    ensure!(
        said.contains("mend: `apt-get install redis-server`"),
        "{said}"
    );
    Ok(())
}

#[test]
fn what_the_harness_did_not_create_is_never_deleted() -> Result<()> {
    let folder = Folder::new()?;
    let down = || {
        let mut down = harness();
        down.arg("down").env("TMPDIR", folder.path());
        down.output()
    };
    down()?;
    let root = fs::read_dir(folder.path())?
        .next()
        .context("a root")??
        .path();
    // The second has the name of a run, and not its lock file.
    for name in ["a-person's-notes", "0123456789ab"] {
        let other = root.join(name);
        fs::create_dir(&other)?;
        fs::write(other.join("notes"), "mine")?;
        let output = down()?;
        ensure!(output.status.success(), "{output:?}");
        ensure!(other.join("notes").exists(), "{name} was deleted");
    }
    Ok(())
}

#[test]
fn an_output_that_nobody_reads_ends_nothing_and_a_full_one_is_told() -> Result<()> {
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let output = harness().arg("doctor").stdout(writer).output()?;
    ensure!(output.status.success(), "{output:?}");
    ensure!(output.stderr.is_empty(), "{output:?}");
    let full = fs::File::create("/dev/full")?;
    let output = harness().arg("doctor").stdout(full).output()?;
    refused(&output, &["print to standard output", "No space left"])
}
