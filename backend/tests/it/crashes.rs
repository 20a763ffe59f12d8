//! Kills at every boundary of a step: each generation ends once, and is paid once.
//!
//! A trigger in the test's database stops the service exactly at one write. Then the process is
//! killed, and either the write is undone with it (`Lost`) or it commits although nobody is left to
//! hear of it (`Kept`): the two things that a crash can make of a statement.

use std::time::Duration;

use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use harness::openai::{Action, Call, When};
use reqwest::StatusCode;
use sqlx::AssertSqlSafe;

use crate::app::{CALLS, World, script_ms, until};
use crate::client::{expect, order};

/// What becomes of the write at which the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Lost,
    Kept,
}

/// Every write that separates one step, or one half of a step, from the next.
const BOUNDARIES: [(&str, &str); 9] = [
    ("extract_text", "done"),
    ("write_outline", "creating"),
    ("write_outline", "waiting"),
    ("write_outline", "done"),
    ("write_section_1", "waiting"),
    ("write_section_1", "done"),
    ("write_section_2", "done"),
    ("render_pdf", "done"),
    // The PDF is in S3, and the row does not say so yet.
    ("store_pdf", "done"),
];

/// The advisory lock that holds a write up.
const GATE: i64 = 77;

async fn killed_at(step: &str, state: &str, write: Write) -> anyhow::Result<()> {
    let world = World::new(script_ms(50.0))
        .await?
        .set("LEASE_MS", 900)
        .set("HEARTBEAT_MS", 200);
    let pool = world.database().await?;
    let trap = format!(
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN PERFORM pg_advisory_xact_lock({GATE}); RETURN NEW; END $$;
         CREATE TRIGGER hold BEFORE INSERT OR UPDATE ON generation_steps FOR EACH ROW
         WHEN (NEW.name = '{step}' AND NEW.state = '{state}') EXECUTE FUNCTION hold();"
    );
    sqlx::raw_sql(AssertSqlSafe(trap)).execute(&pool).await?;
    let mut gate = pool.acquire().await?;
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(GATE)
        .execute(&mut *gate)
        .await?;

    let first = world.spawn().await?;
    let user = first.client().registered().await?;
    let id = user.generate().await?;
    let held = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
                AND wait_event_type = 'Lock' AND wait_event = 'advisory' AND query LIKE '%generation_steps%'";
    until("the write to be held up", || async {
        let pids = sqlx::query_scalar::<_, i32>(held).fetch_all(&pool).await;
        pids.is_ok_and(|pids| pids.len() == 1)
    })
    .await?;
    first.kill().await?;
    if write == Write::Lost {
        let undo = format!("SELECT pg_terminate_backend(pid, 5000) FROM ({held}) held");
        sqlx::raw_sql(AssertSqlSafe(undo)).execute(&pool).await?;
    }
    sqlx::query("SELECT pg_advisory_unlock($1)")
        .bind(GATE)
        .execute(&mut *gate)
        .await?;
    drop(gate);
    // Waits for the statement that was held up.
    sqlx::raw_sql("DROP TRIGGER hold ON generation_steps")
        .execute(&pool)
        .await?;

    let second = world.spawn().await?;
    let user = user.at(&second.base_url);
    let row = user.wait_for(&id, "succeeded").await?;
    let pdf = user.get(&format!("/api/v1/generations/{id}/pdf")).await?;
    let pdf = reqwest::get(pdf.headers()["location"].to_str()?)
        .await?
        .bytes()
        .await?;
    let pages = lopdf::Document::load_mem(&pdf)?.get_pages().len();
    assert_eq!(row["page_count"].as_u64(), u64::try_from(pages).ok());
    // Only an id that was never stored is paid for again, and that is one response.
    let lost_id = state == "waiting" && write == Write::Lost;
    let billing = world.openai.billing();
    let case = format!("{step} {state} {write:?}");
    assert_eq!(
        billing.responses_created,
        CALLS + u64::from(lost_id),
        "{case}"
    );
    let ends = "SELECT count(*) FROM generation_events WHERE status = 'succeeded'";
    let ends: i64 = sqlx::query_scalar(ends).fetch_one(&pool).await?;
    assert_eq!(ends, 1, "{case}");
    let (status, _) = second.signal("-TERM").await?;
    assert!(status.success(), "{case}");
    Ok(())
}

async fn killed_everywhere(write: Write) -> anyhow::Result<()> {
    stream::iter(BOUNDARIES)
        .map(|(step, state)| killed_at(step, state, write))
        .buffer_unordered(3)
        .try_collect()
        .await
}

#[tokio::test]
async fn a_kill_that_undoes_a_write_loses_nothing_at_any_boundary() -> anyhow::Result<()> {
    killed_everywhere(Write::Lost).await
}

#[tokio::test]
async fn a_kill_right_after_a_write_repeats_nothing_at_any_boundary() -> anyhow::Result<()> {
    killed_everywhere(Write::Kept).await
}

#[tokio::test]
async fn a_kill_within_a_create_call_costs_one_response_at_most_and_is_counted()
-> anyhow::Result<()> {
    let stall = Action::Stall { ms: 60_000.0 };
    let world = World::new(script_ms(20.0).fault(Call::Create, When::Nth(2), stall)).await?;
    let first = world.spawn().await?;
    let user = first.client().registered().await?;
    let id = user.generate().await?;
    until("the second create call", || async {
        world.openai.stats().creates == 2
    })
    .await?;
    first.kill().await?;
    let second = world.spawn().await?;
    let user = user.at(&second.base_url);
    user.wait_for(&id, "succeeded").await?;
    let created = world.openai.billing().responses_created;
    assert!((CALLS..=CALLS + 1).contains(&created), "{created}");
    let metrics = second.client().get("/metrics").await?.text().await?;
    assert!(
        metrics.contains("allegiant_openai_creates_uncertain_total 1"),
        "{metrics}"
    );
    Ok(())
}

#[tokio::test]
async fn a_stop_with_two_hundred_in_flight_takes_seconds_and_loses_none() -> anyhow::Result<()> {
    const IN_FLIGHT: u32 = 200;
    let world = World::new(script_ms(2_500.0))
        .await?
        .set("LEASE_MS", 3_600_000)
        .set("GENERATION_WORKERS", 250)
        .set("GENERATION_RUNNING_MAX_PER_USER", 250)
        .set("SHUTDOWN_DRAIN_MS", 500)
        .set("OPENAI_POLL_INTERVAL_MS", 500);
    let first = world.spawn().await?;
    let user = first.client().registered().await?;
    let body = order(&[&user.upload(1).await?]);
    let sent = (0..IN_FLIGHT).map(|_| async {
        let answer = user.post("/api/v1/generations", body.clone()).await?;
        expect(answer, StatusCode::ACCEPTED).await
    });
    let rows = try_join_all(sent).await?;
    let pool = world.database().await?;
    let running = "SELECT count(*) FROM generations WHERE status = 'running'";
    until("all to run", || async {
        let running = sqlx::query_scalar::<_, i64>(running).fetch_one(&pool).await;
        running.is_ok_and(|running| running == i64::from(IN_FLIGHT))
    })
    .await?;
    let (status, took) = first.signal("-TERM").await?;
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let queued = "SELECT count(*) FROM generations WHERE status = 'queued'";
    let queued: i64 = sqlx::query_scalar(queued).fetch_one(&pool).await?;
    assert_eq!(queued, i64::from(IN_FLIGHT));

    let second = world.spawn().await?;
    let user = user.at(&second.base_url);
    for row in &rows {
        let id = row["id"].as_str().unwrap_or_default();
        user.wait_for(id, "succeeded").await?;
    }
    let billing = world.openai.billing();
    assert_eq!(billing.responses_created, u64::from(IN_FLIGHT) * CALLS);
    Ok(())
}

#[tokio::test]
async fn a_worker_that_was_frozen_beyond_its_lease_writes_nothing_when_it_wakes()
-> anyhow::Result<()> {
    let world = World::new(script_ms(1_200.0))
        .await?
        .set("LEASE_MS", 600)
        .set("HEARTBEAT_MS", 150);
    let frozen = world.spawn().await?;
    let user = frozen.client().registered().await?;
    let id = user.generate().await?;
    until("the first poll", || async {
        world.openai.stats().polls > 0
    })
    .await?;
    frozen.send("-STOP").await?;
    let other = world.spawn().await?;
    let user = user.at(&other.base_url);
    let pool = world.database().await?;
    let taken = "SELECT count(*) FROM generations WHERE status = 'running' AND attempt = 2";
    until("the other one to take it over", || async {
        let taken = sqlx::query_scalar::<_, i64>(taken).fetch_one(&pool).await;
        taken.is_ok_and(|taken| taken == 1)
    })
    .await?;
    // Both poll the same response now, and both believe to hold the lease for a moment.
    frozen.send("-CONT").await?;
    let row = user.wait_for(&id, "succeeded").await?;
    assert_eq!(row["attempt"], 2);
    let billing = world.openai.billing();
    assert_eq!(billing.responses_created, CALLS);
    assert_eq!(
        row["tokens"]["output"].as_u64(),
        Some(billing.output_tokens)
    );
    let log = frozen.log()?;
    assert!(
        log.contains("lease lost") || log.contains("\"outcome\":\"fenced\""),
        "{log}"
    );
    Ok(())
}
