//! Sandboxes share servers and nothing else.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use harness::{Sandbox, Stack, Template};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Connection, PgConnection, SqlSafeStr};

static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let notes = "CREATE TABLE notes (body text NOT NULL, made_at timestamptz NOT NULL DEFAULT clock_timestamp());
                 INSERT INTO notes (body) VALUES ('from the migration')";
    Migrator::with_migrations(vec![Migration::new(
        1,
        "notes".into(),
        MigrationType::Simple,
        notes.into_sql_str(),
        false,
    )])
});

fn s3(sandbox: &Sandbox) -> Client {
    let credentials = Credentials::new(
        sandbox.access_key_id(),
        sandbox.secret_access_key(),
        None,
        None,
        "test",
    );
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(sandbox.s3_endpoint())
        .region(Region::new(sandbox.region().to_owned()))
        .credentials_provider(credentials)
        .force_path_style(true)
        .build();
    Client::from_conf(config)
}

async fn two_sandboxes() -> Result<(Sandbox, Sandbox)> {
    let stack = Stack::shared().await?;
    let template = Template::from_migrator(&MIGRATOR);
    Ok(tokio::try_join!(
        stack.sandbox(&template),
        stack.sandbox(&template)
    )?)
}

#[tokio::test]
async fn a_row_of_one_sandbox_is_not_in_the_other() -> Result<()> {
    let (one, other) = two_sandboxes().await?;
    let mut here = PgConnection::connect(one.database_url()).await?;
    let mut there = PgConnection::connect(other.database_url()).await?;
    sqlx::query("INSERT INTO notes (body) VALUES ('here')")
        .execute(&mut here)
        .await?;
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM notes")
        .fetch_one(&mut there)
        .await?;
    assert_eq!(count, 1, "only the migration's own row");
    Ok(())
}

#[tokio::test]
async fn migrations_run_once_and_are_copied() -> Result<()> {
    let (one, other) = two_sandboxes().await?;
    let mut made = Vec::new();
    for sandbox in [&one, &other] {
        let mut connection = PgConnection::connect(sandbox.database_url()).await?;
        let at: String = sqlx::query_scalar("SELECT made_at::text FROM notes")
            .fetch_one(&mut connection)
            .await?;
        made.push(at);
    }
    // A second run of the migration would have taken a later clock.
    assert_eq!(made[0], made[1]);
    Ok(())
}

#[tokio::test]
async fn a_key_of_one_sandbox_is_not_in_the_other() -> Result<()> {
    let (one, other) = two_sandboxes().await?;
    let open = |url: &str| redis::Client::open(url.to_owned());
    let mut here = open(one.redis_url())?
        .get_multiplexed_async_connection()
        .await?;
    let mut there = open(other.redis_url())?
        .get_multiplexed_async_connection()
        .await?;
    let () = redis::cmd("SET")
        .arg("key")
        .arg("here")
        .query_async(&mut here)
        .await?;
    let seen: Option<String> = redis::cmd("GET").arg("key").query_async(&mut there).await?;
    assert_eq!(seen, None);
    Ok(())
}

#[tokio::test]
async fn the_redis_user_of_a_sandbox_cannot_leave_it() -> Result<()> {
    let (one, other) = two_sandboxes().await?;
    let mut here = redis::Client::open(one.redis_url())?
        .get_multiplexed_async_connection()
        .await?;
    let number = other.redis_url().rsplit('/').next().context("a number")?;
    for command in [
        vec!["SELECT", number],
        vec!["SELECT", "0"],
        vec!["MOVE", "key", number],
        vec!["SWAPDB", "0", number],
        vec!["FLUSHALL"],
        vec!["CONFIG", "GET", "databases"],
        vec!["PUBLISH", "channel", "heard by all"],
    ] {
        let mut refused = redis::cmd(command[0]);
        refused.arg(&command[1..]);
        let answer: redis::RedisResult<redis::Value> = refused.query_async(&mut here).await;
        let error = answer
            .err()
            .with_context(|| format!("{command:?} is let through"))?;
        ensure!(error.code() == Some("NOPERM"), "{command:?}: {error}");
    }
    let mut allowed = redis::cmd("FLUSHDB");
    let () = allowed.arg("SYNC").query_async(&mut here).await?;

    // Without a user there is no way in, and none to another sandbox's database with this one's.
    let (_, address) = one.redis_url().split_once('@').context("a user")?;
    let anybody = redis::Client::open(format!("redis://{address}"))?
        .get_multiplexed_async_connection()
        .await;
    let anybody = match anybody {
        Ok(mut connection) => redis::cmd("PING").query_async::<()>(&mut connection).await,
        Err(error) => Err(error),
    };
    ensure!(anybody.is_err(), "a client without a user is let in");
    Ok(())
}

#[tokio::test]
async fn an_object_of_one_sandbox_is_not_in_the_other() -> Result<()> {
    let (one, other) = two_sandboxes().await?;
    ensure!(
        one.bucket() != other.bucket(),
        "each sandbox has its own bucket"
    );
    let client = s3(&one);
    let body = ByteStream::from_static(b"here");
    client
        .put_object()
        .bucket(one.bucket())
        .key("a/b")
        .body(body)
        .send()
        .await?;
    let listed = client.list_objects_v2().bucket(one.bucket()).send().await?;
    assert_eq!(listed.key_count(), Some(1));
    let listed = client
        .list_objects_v2()
        .bucket(other.bucket())
        .send()
        .await?;
    assert_eq!(listed.key_count(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_presigned_url_serves_and_a_forged_one_is_refused() -> Result<()> {
    let (sandbox, _) = two_sandboxes().await?;
    let client = s3(&sandbox);
    let body = ByteStream::from_static(b"%PDF-1.7");
    client
        .put_object()
        .bucket(sandbox.bucket())
        .key("result.pdf")
        .body(body)
        .send()
        .await?;
    let lifetime = PresigningConfig::expires_in(Duration::from_secs(60))?;
    let request = client
        .get_object()
        .bucket(sandbox.bucket())
        .key("result.pdf");
    let url = request.presigned(lifetime).await?.uri().to_owned();
    let answer = reqwest::get(&url).await?.error_for_status()?;
    assert_eq!(answer.bytes().await?.as_ref(), b"%PDF-1.7");

    let (before, signature) = url
        .split_once("X-Amz-Signature=")
        .context("the URL is signed")?;
    let forged_digit = if signature.starts_with('0') { '1' } else { '0' };
    let forged = format!("{before}X-Amz-Signature={forged_digit}{}", &signature[1..]);
    assert_eq!(reqwest::get(&forged).await?.status(), 403);
    Ok(())
}

#[tokio::test]
async fn a_dropped_sandbox_loses_its_database() -> Result<()> {
    let (gone, left) = two_sandboxes().await?;
    let name = gone
        .database_url()
        .rsplit('/')
        .next()
        .context("a URL has a path")?
        .to_owned();
    // A program under test may still be connected.
    let _open = PgConnection::connect(gone.database_url()).await?;
    drop(gone);
    let mut connection = PgConnection::connect(left.database_url()).await?;
    let connection = tokio::sync::Mutex::new(&mut connection);
    harness::poll::until(
        "the database to be dropped",
        Duration::from_secs(20),
        || async {
            let mut connection = connection.lock().await;
            let found = sqlx::query_scalar("SELECT count(*) FROM pg_database WHERE datname = $1")
                .bind(&name)
                .fetch_one(&mut **connection)
                .await;
            match found {
                Ok(0_i64) => harness::poll::Progress::Ready(()),
                Ok(_) => harness::poll::Progress::NotYet("it is there".to_owned()),
                Err(error) => harness::poll::Progress::Failed(error.to_string()),
            }
        },
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_template_from_a_command_is_filled_by_it() -> Result<()> {
    let stack = Stack::shared().await?;
    let refusing = Template::from_command("refuses", "sh".as_ref(), &["-c", "echo no way; exit 3"]);
    let error = stack
        .sandbox(&refusing)
        .await
        .err()
        .context("the command fails")?;
    let error = format!("{:#}", anyhow::Error::new(error));
    ensure!(
        error.contains("no way") && error.contains("exit status: 3"),
        "{error}"
    );

    let accepting = Template::from_command(
        "accepts",
        "sh".as_ref(),
        &["-c", "test -n \"$DATABASE_URL\""],
    );
    let sandbox = stack.sandbox(&accepting).await?;
    PgConnection::connect(sandbox.database_url())
        .await?
        .ping()
        .await?;
    Ok(())
}

#[test]
fn the_shared_stack_survives_the_runtime_that_started_it() -> Result<()> {
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let sandbox = Stack::shared().await?.sandbox(&Template::empty()).await?;
            let mut connection = PgConnection::connect(sandbox.database_url()).await?;
            connection.ping().await?;
            s3(&sandbox)
                .head_bucket()
                .bucket(sandbox.bucket())
                .send()
                .await?;
            Ok::<(), anyhow::Error>(())
        })?;
    }
    Ok(())
}
