//! Dependencies go and come back.

use std::net::Ipv4Addr;
use std::time::Duration;

use backend::Role;
use harness::NetworkFault;
use reqwest::StatusCode;
use tokio::net::TcpSocket;

use crate::app::{BINARY, CALLS, World, script_ms, until};
use crate::client::{expect, order, problem};

/// A port of this machine on which nobody listens, for as long as the guard lives.
fn dead_port() -> anyhow::Result<(TcpSocket, u16)> {
    // Bound and never listening: connections are refused, and no other test's server is given the port.
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let port = socket.local_addr()?.port();
    Ok((socket, port))
}

#[tokio::test]
async fn without_redis_the_service_keeps_sessions_itself() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?.set("REDIS_URL", "");
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let id = user.generate().await?;
    user.wait_for(&id, "succeeded").await?;
    expect(service.client().get("/ready").await?, StatusCode::OK).await?;
    service.stop().await
}

#[tokio::test]
async fn sessions_fail_closed_when_redis_is_gone() -> anyhow::Result<()> {
    let (_guard, port) = dead_port()?;
    let world = World::new(script_ms(1.0))
        .await?
        .set("REDIS_URL", format!("redis://127.0.0.1:{port}/0"));
    let service = world.serve(Role::Api).await?;
    let client = service.client().with_token("some-token");
    let refused = client.get("/api/v1/auth/me").await?;
    assert!(refused.headers().contains_key("retry-after"));
    problem(refused, StatusCode::SERVICE_UNAVAILABLE).await?;
    let ready = expect(client.get("/ready").await?, StatusCode::SERVICE_UNAVAILABLE).await?;
    assert_eq!(
        (&ready["database"], &ready["sessions"]),
        (&true.into(), &false.into())
    );
    expect(client.get("/health").await?, StatusCode::OK).await?;
    service.stop().await
}

#[tokio::test]
async fn a_rediss_url_is_spoken_to_in_tls() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("rediss://127.0.0.1:{}/0", listener.local_addr()?.port());
    let world = World::new(script_ms(1.0)).await?.set("REDIS_URL", url);
    let service = world.serve(Role::Api).await?;
    let client = service.client();
    let heard = async {
        let (mut stream, _) = listener.accept().await?;
        let mut record = [0; 6];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut record).await?;
        anyhow::Ok(record)
    };
    let (ready, heard) = tokio::join!(client.get("/ready"), heard);
    // A handshake record (22) of TLS (3.x) with a ClientHello (1) in it: RFC 8446, 5.1 and 4.
    let [kind, major, _, _, _, message] = heard?;
    assert_eq!([kind, major, message], [22, 3, 1]);
    expect(ready?, StatusCode::SERVICE_UNAVAILABLE).await?;
    service.stop().await
}

#[tokio::test]
async fn requests_are_told_to_come_again_when_postgres_is_gone() -> anyhow::Result<()> {
    let (_guard, port) = dead_port()?;
    let world = World::new(script_ms(1.0)).await?;
    let url = format!("postgres://nobody:nothing@127.0.0.1:{port}/none");
    let world = world
        .set("DATABASE_URL", url)
        .set("DATABASE_ACQUIRE_TIMEOUT_MS", 300);
    let service = world.serve(Role::All).await?;
    let body = serde_json::json!({"email": "a@example.com", "password": "correct horse battery"});
    let refused = service.client().post("/api/v1/auth/login", body).await?;
    assert!(refused.headers().contains_key("retry-after"));
    let refused = problem(refused, StatusCode::SERVICE_UNAVAILABLE).await?;
    assert!(!refused.to_string().contains("127.0.0.1"), "{refused}");
    expect(
        service.client().get("/ready").await?,
        StatusCode::SERVICE_UNAVAILABLE,
    )
    .await?;
    expect(service.client().get("/health").await?, StatusCode::OK).await?;
    expect_text(&service.client(), "/metrics", "allegiant_worker_slots 6").await?;
    service.stop().await
}

async fn expect_text(client: &crate::client::Client, path: &str, text: &str) -> anyhow::Result<()> {
    let found = client.get(path).await?.text().await?;
    anyhow::ensure!(found.contains(text), "{text} in {found}");
    Ok(())
}

#[tokio::test]
async fn a_generation_survives_the_loss_of_every_database_connection() -> anyhow::Result<()> {
    let world = World::new(script_ms(300.0)).await?;
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let id = user.generate().await?;
    let pool = world.database().await?;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for creates in 1..=CALLS {
        until("the next response", || async {
            world.openai.stats().creates >= creates
        })
        .await?;
        sqlx::query(cut).execute(&pool).await?;
    }
    user.wait_for(&id, "succeeded").await?;
    // A cut that hit the storing of an id was repeated; no response was asked for twice.
    assert_eq!(world.openai.billing().responses_created, CALLS);
    // Notifications are heard again as well.
    let next = user.generate().await?;
    user.wait_for(&next, "succeeded").await?;
    service.stop().await
}

#[tokio::test]
async fn a_poll_does_not_notice_that_its_connection_was_cut() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let id = user.generate().await?;
    let pool = world.database().await?;
    let cut = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for _ in 0..3 {
        user.generation(&id).await?;
        let gone: i64 = sqlx::query_scalar(cut).fetch_one(&pool).await?;
        assert!(gone > 0, "there was a connection to cut");
        user.generation(&id).await?;
    }
    service.stop().await
}

/// How generations end while S3 is away, over documents that were read when they came, or were not.
async fn end_without_s3(uploads_are_read: bool) -> anyhow::Result<String> {
    let (_guard, port) = dead_port()?;
    let mut world = World::new(script_ms(1.0)).await?;
    if !uploads_are_read {
        world = world.set("EXTRACTOR_PATH", "/nowhere/at/all");
    }
    let api = world.serve(Role::Api).await?;
    let user = api.client().registered().await?;
    let id = user.generate().await?;
    let world = world
        .set("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
        .set("EXTRACTOR_PATH", BINARY)
        .set("GENERATION_ATTEMPTS_MAX", 1);
    let worker = world.serve(Role::All).await?;
    let row = user.wait_for(&id, "failed").await?;
    let refused = user
        .at(&worker.base_url)
        .upload_bytes("a.pdf", crate::client::pdf(1))
        .await?;
    problem(refused, StatusCode::SERVICE_UNAVAILABLE).await?;
    worker.stop().await?;
    api.stop().await?;
    Ok(row["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_file_store_that_is_gone_fails_the_generation_with_a_reason() -> anyhow::Result<()> {
    assert_eq!(end_without_s3(false).await?, "document_unavailable");
    Ok(())
}

#[tokio::test]
async fn a_document_that_was_read_when_it_came_is_not_fetched_again() -> anyhow::Result<()> {
    // All sections are written, and the PDF is what cannot be stored.
    assert_eq!(end_without_s3(true).await?, "storage_unavailable");
    Ok(())
}

/// A generation over a document of 100 pages whose reading meets `fault` until S3 was connected to so often again,
/// or until it has ended.
async fn read_through(fault: NetworkFault, connections: u64) -> anyhow::Result<()> {
    // Uploaded where nobody reads it, so that the worker has to.
    let world = World::new(script_ms(1.0)).await?;
    let world = world.set("EXTRACTOR_PATH", "/nowhere/at/all");
    let api = world.serve(Role::Api).await?;
    let user = api.client().registered().await?;
    let document = user.upload(100).await?;
    api.stop().await?;
    let faulty = world.sandbox.behind_faults().await?;
    let world = world
        .set("AWS_ENDPOINT_URL", faulty.s3_endpoint())
        .set("EXTRACTOR_PATH", BINARY)
        .set("EXTRACTOR_TIMEOUT_MS", 1_000)
        .set("GENERATION_ATTEMPTS_MAX", 1_000);
    let service = world.serve(Role::All).await?;
    let user = user.at(&service.base_url);
    faulty.s3.set(fault);
    let before = faulty.s3.connections();
    let answer = user
        .post("/api/v1/generations", order(&[&document]))
        .await?;
    let row = expect(answer, StatusCode::ACCEPTED).await?;
    let id = row["id"].as_str().unwrap_or_default();
    until("the document to be read again", || async {
        let row = user.generation(id).await;
        let failed = row.is_ok_and(|row| row["status"] == "failed");
        failed || faulty.s3.connections() >= before + connections
    })
    .await?;
    faulty.s3.heal();
    user.wait_for(id, "succeeded").await?;
    service.stop().await
}

#[tokio::test]
async fn a_document_that_is_cut_off_on_its_way_is_not_taken_for_a_damaged_one() -> anyhow::Result<()>
{
    assert!(
        crate::client::pdf(100).len() > 20_000,
        "more than is let through"
    );
    read_through(NetworkFault::CutAfter { bytes: 10_000 }, 4).await
}

#[tokio::test]
async fn a_document_that_comes_too_slowly_is_not_taken_for_an_exhausting_one() -> anyhow::Result<()>
{
    // Two pieces of 16 KiB at least, each later than the extractor may take for all.
    read_through(NetworkFault::Delay(Duration::from_millis(1_300)), 2).await
}
