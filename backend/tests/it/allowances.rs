//! What one user may use, and that they do not use it at another's expense.

use std::time::Duration;

use backend::Role;
use backend::db::leases::{self, Ask, Claim};
use backend::domain::ids::WorkerId;
use futures::future::try_join_all;
use reqwest::StatusCode;
use serde_json::Value;

use crate::app::{CALLS, World, script_ms, until};
use crate::client::{Client, expect, order, problem};

/// Several orders over one document.
async fn orders(user: &Client, count: usize) -> anyhow::Result<Vec<String>> {
    let document = user.upload(1).await?;
    let mut ids = Vec::new();
    for _ in 0..count {
        let answer = user
            .post("/api/v1/generations", order(&[&document]))
            .await?;
        let row = expect(answer, StatusCode::ACCEPTED).await?;
        ids.push(row["id"].as_str().unwrap_or_default().to_owned());
    }
    Ok(ids)
}

fn ask(limit: i64, per_user_max: i64) -> Ask {
    Ask {
        limit,
        lease: Duration::from_secs(60),
        per_user_max,
    }
}

fn ids(claims: &[Claim]) -> Vec<String> {
    let mut ids: Vec<String> = claims.iter().map(|claim| claim.id.to_string()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_hundred_of_one_user_do_not_keep_anothers_first_waiting() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let pool = world.database().await?;
    let (many, one) = (
        service.client().registered().await?,
        service.client().registered().await?,
    );
    let hundred = orders(&many, 100).await?;
    let later = orders(&one, 2).await?;
    // The first turn is the first of each, whoever came earlier.
    let first = leases::claim(&pool, WorkerId::new(), ask(2, 1000)).await?;
    let mut expected = vec![hundred[0].clone(), later[0].clone()];
    expected.sort();
    assert_eq!(ids(&first), expected);
    // One of each runs, so the next turn is again one of each.
    let second = leases::claim(&pool, WorkerId::new(), ask(2, 1000)).await?;
    let mut expected = vec![hundred[1].clone(), later[1].clone()];
    expected.sort();
    assert_eq!(ids(&second), expected);
    // Nobody else waits: the slots are all theirs.
    let rest = leases::claim(&pool, WorkerId::new(), ask(200, 1000)).await?;
    assert_eq!(rest.len(), 98);
    service.stop().await
}

#[tokio::test]
async fn a_new_user_comes_before_the_next_of_who_has_many_running() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let pool = world.database().await?;
    let many = service.client().registered().await?;
    orders(&many, 9).await?;
    let running = leases::claim(&pool, WorkerId::new(), ask(5, 1000)).await?;
    assert_eq!(running.len(), 5);
    let one = service.client().registered().await?;
    let later = orders(&one, 3).await?;
    let next = leases::claim(&pool, WorkerId::new(), ask(3, 1000)).await?;
    let mut expected = later;
    expected.sort();
    assert_eq!(ids(&next), expected);
    service.stop().await
}

#[tokio::test]
async fn workers_that_claim_at_once_keep_the_limit_per_user() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let pool = world.database().await?;
    let user = service.client().registered().await?;
    orders(&user, 12).await?;
    let claims = (0..6).map(|_| leases::claim(&pool, WorkerId::new(), ask(4, 5)));
    let claimed = try_join_all(claims).await?;
    assert_eq!(claimed.iter().map(Vec::len).sum::<usize>(), 5);
    service.stop().await
}

#[tokio::test]
async fn what_the_limit_holds_back_runs_when_there_is_room() -> anyhow::Result<()> {
    let world = World::new(script_ms(60.0))
        .await?
        .set("GENERATION_RUNNING_MAX_PER_USER", 2)
        .set("CLAIM_INTERVAL_MS", 3_600_000);
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let ids = orders(&user, 7).await?;
    let pool = world.database().await?;
    for id in &ids {
        user.wait_for(id, "succeeded").await?;
        let sql = "SELECT count(*) FROM generations WHERE status = 'running'";
        let running: i64 = sqlx::query_scalar(sql).fetch_one(&pool).await?;
        assert!(running <= 2, "{running}");
    }
    service.stop().await
}

async fn spent(world: &World) -> anyhow::Result<i64> {
    let sql = "SELECT coalesce(sum(cost_usd_micros), 0)::int8 FROM user_spending";
    Ok(sqlx::query_scalar(sql)
        .fetch_one(&world.database().await?)
        .await?)
}

#[tokio::test]
async fn a_generation_shows_what_it_costs() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0))
        .await?
        .set("OPENAI_PRICE_INPUT_USD_MICROS", 3_000_000)
        .set("OPENAI_PRICE_OUTPUT_USD_MICROS", 7_000_000);
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let id = user.generate().await?;
    let row = user.wait_for(&id, "succeeded").await?;
    let billing = world.openai.billing();
    assert_eq!(billing.responses_created, CALLS);
    let expected = 3 * billing.input_tokens + 7 * billing.output_tokens;
    assert_eq!(row["cost_usd_micros"].as_u64(), Some(expected));
    assert_eq!(spent(&world).await?.unsigned_abs(), expected);
    service.stop().await
}

#[tokio::test]
async fn the_budget_of_a_day_ends_orders_with_a_reason_and_a_time() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0))
        .await?
        .set("BUDGET_USD_MICROS_PER_USER_DAY", 1_000)
        .set("GENERATION_COST_ESTIMATE_USD_MICROS", 400);
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    // Two are expected to cost 800; a third does not fit, although nothing is spent yet.
    orders(&user, 2).await?;
    let body = order(&[&user.upload(1).await?]);
    let refused = user.post("/api/v1/generations", body.clone()).await?;
    let retry_after = refused.headers()["retry-after"].to_str()?.parse::<u32>()?;
    assert!((1..=86_400).contains(&retry_after), "{retry_after}");
    let refused = problem(refused, StatusCode::TOO_MANY_REQUESTS).await?;
    assert_eq!(refused["type"], "urn:allegiant:problem:budget-exhausted");
    assert!(
        refused["detail"]
            .as_str()
            .is_some_and(|text| text.contains("800"))
    );
    // Another user's budget is their own.
    let other = service.client().registered().await?;
    orders(&other, 2).await?;
    service.stop().await
}

#[tokio::test]
async fn what_was_spent_counts_and_orders_at_once_do_not_exceed_the_budget() -> anyhow::Result<()> {
    let world = World::new(script_ms(1.0))
        .await?
        .set("BUDGET_USD_MICROS_PER_USER_DAY", 50_000)
        .set("GENERATION_COST_ESTIMATE_USD_MICROS", 10_000);
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let body = order(&[&user.upload(1).await?]);
    let sent = (0..12).map(|_| user.post("/api/v1/generations", body.clone()));
    let mut accepted: Vec<Value> = Vec::new();
    for answer in futures::future::join_all(sent).await {
        let answer = answer?;
        if answer.status() == StatusCode::ACCEPTED {
            accepted.push(answer.json().await?);
        } else {
            problem(answer, StatusCode::TOO_MANY_REQUESTS).await?;
        }
    }
    assert_eq!(accepted.len(), 5);
    // Their real cost takes the place of the estimate when they end.
    let worker = world.serve(Role::Worker).await?;
    for row in &accepted {
        user.wait_for(row["id"].as_str().unwrap_or_default(), "succeeded")
            .await?;
    }
    let left = 50_000 - spent(&world).await?;
    let mut more = 0;
    while user
        .post("/api/v1/generations", body.clone())
        .await?
        .status()
        == StatusCode::ACCEPTED
    {
        more += 1;
        let metrics = || async {
            let sql = "SELECT count(*) FROM generations WHERE status IN ('queued', 'running')";
            let pool = world.database().await.ok()?;
            sqlx::query_scalar::<_, i64>(sql)
                .fetch_one(&pool)
                .await
                .ok()
        };
        until("it to end", || async { metrics().await == Some(0) }).await?;
    }
    assert!(more <= left / 1_000, "{more} more for {left} micro-dollars");
    assert!(spent(&world).await? <= 50_000);
    worker.stop().await?;
    service.stop().await
}
