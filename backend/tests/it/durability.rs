//! Processes die or are stopped: nothing is lost and nothing is paid twice.

use std::time::Duration;

use backend::Role;
use futures::future::try_join_all;
use harness::openai::{Action, Call, When};

use crate::app::{CALLS, World, script_ms, until};

async fn count(pool: &sqlx::PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap_or(-1)
}

#[tokio::test]
async fn a_response_is_not_polled_before_its_id_is_stored() -> anyhow::Result<()> {
    let stall = Action::Stall { ms: 400.0 };
    let world = World::new(script_ms(20.0).fault(Call::Create, When::Nth(1), stall)).await?;
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let id = user.generate().await?;
    until("the create call", || async {
        world.openai.stats().creates == 1
    })
    .await?;
    // The answer is still on its way. From here on the id cannot be stored.
    let pool = world.database().await?;
    let mut lock = pool.begin().await?;
    sqlx::query("SELECT id FROM generations FOR UPDATE")
        .execute(&mut *lock)
        .await?;
    let blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                   AND datname = current_database() AND query LIKE '%SET state = ''waiting''%'";
    until("the storing of the id", || async {
        count(&pool, blocked).await == 1
    })
    .await?;
    assert_eq!(world.openai.stats().polls, 0);
    lock.rollback().await?;
    user.wait_for(&id, "succeeded").await?;
    assert_eq!(world.openai.billing().responses_created, CALLS);
    service.stop().await
}

#[tokio::test]
async fn a_killed_process_is_succeeded_without_a_second_payment() -> anyhow::Result<()> {
    let world = World::new(script_ms(700.0)).await?;
    let first = world.spawn().await?;
    let user = first.client().registered().await?;
    let id = user.generate().await?;
    // The first section's response is polled: outline done, one section in progress.
    let pool = world.database().await?;
    let waiting = "SELECT count(*) FROM generation_steps WHERE name = 'write_section_1' AND state = 'waiting'";
    until("the first section to be waited for", || async {
        count(&pool, waiting).await == 1
    })
    .await?;
    first.kill().await?;

    let second = world.spawn().await?;
    let user = user.at(&second.base_url);
    let row = user.wait_for(&id, "succeeded").await?;
    assert_eq!(row["attempt"], 2);
    assert_eq!(world.openai.billing().responses_created, CALLS);
    assert!(second.log()?.contains("re-attached"), "{}", second.log()?);
    assert_eq!(
        count(
            &pool,
            "SELECT count(*) FROM generation_steps WHERE creates > 1"
        )
        .await,
        0
    );
    let (status, _) = second.signal("-TERM").await?;
    assert!(status.success());
    Ok(())
}

#[tokio::test]
async fn a_stopped_process_gives_its_leases_back_and_exits_in_seconds() -> anyhow::Result<()> {
    // A lease that nobody gave back would be waited for until long after the test's patience.
    let world = World::new(script_ms(600.0))
        .await?
        .set("LEASE_MS", 3_600_000)
        .set("GENERATION_WORKERS", 30);
    let first = world.spawn().await?;
    let user = first.client().registered().await?;
    let ids = try_join_all((0..20).map(|_| user.generate())).await?;
    let pool = world.database().await?;
    let waiting = "SELECT count(*) FROM generation_steps WHERE state = 'waiting'";
    until("all to be waited for", || async {
        count(&pool, waiting).await == 20
    })
    .await?;
    let (status, took) = first.signal("-TERM").await?;
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    let released =
        "SELECT count(*) FROM generations WHERE status = 'queued' AND attempts_released = 1";
    assert_eq!(count(&pool, released).await, 20);

    let second = world.spawn().await?;
    let user = user.at(&second.base_url);
    for id in &ids {
        user.wait_for(id, "succeeded").await?;
    }
    assert_eq!(world.openai.billing().responses_created, 20 * CALLS);
    let (status, _) = second.signal("-INT").await?;
    assert!(status.success(), "{status}");
    Ok(())
}

#[tokio::test]
async fn a_stop_waits_for_the_id_of_a_response_that_is_being_created() -> anyhow::Result<()> {
    let stall = Action::Stall { ms: 500.0 };
    let world = World::new(script_ms(20.0).fault(Call::Create, When::Nth(1), stall)).await?;
    let world = world.set("LEASE_MS", 3_600_000);
    let first = world.spawn().await?;
    let user = first.client().registered().await?;
    let id = user.generate().await?;
    until("the create call", || async {
        world.openai.stats().creates == 1
    })
    .await?;
    let (status, _) = first.signal("-TERM").await?;
    assert!(status.success(), "{status}");

    let second = world.spawn().await?;
    user.at(&second.base_url).wait_for(&id, "succeeded").await?;
    assert_eq!(world.openai.billing().responses_created, CALLS);
    Ok(())
}

#[tokio::test]
async fn stops_do_not_use_up_attempts() -> anyhow::Result<()> {
    let world = World::new(script_ms(600_000.0))
        .await?
        .set("GENERATION_ATTEMPTS_MAX", 1);
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let id = user.generate().await?;
    user.wait_for(&id, "running").await?;
    service.stop().await?;
    let service = world.serve(Role::All).await?;
    let user = user.at(&service.base_url);
    let row = user.wait_for(&id, "running").await?;
    assert_eq!(row["attempt"], 2);
    service.stop().await
}

#[tokio::test]
async fn workers_may_be_processes_of_their_own() -> anyhow::Result<()> {
    let world = World::new(script_ms(10.0)).await?;
    let api = world.serve(Role::Api).await?;
    let user = api.client().registered().await?;
    let id = user.generate().await?;
    assert_eq!(user.generation(&id).await?["status"], "queued");
    let worker = world.serve(Role::Worker).await?;
    user.wait_for(&id, "succeeded").await?;
    let elsewhere = user
        .at(&worker.base_url)
        .get(&format!("/api/v1/generations/{id}"))
        .await?;
    assert_eq!(elsewhere.status(), reqwest::StatusCode::NOT_FOUND);
    worker.stop().await?;
    api.stop().await
}
