//! OpenAI misbehaves: what is retried, what is paid, what ends with which reason.

use backend::Role;
use chrono::{DateTime, Utc};
use harness::openai::{Action, Call, Script, When};
use serde_json::Value;

use crate::app::{CALLS, World, script_ms, until};

/// Runs one generation against a script until it is in a state.
async fn outcome(world: &World, status: &str) -> anyhow::Result<Value> {
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let id = user.generate().await?;
    let row = user.wait_for(&id, status).await?;
    service.stop().await?;
    Ok(row)
}

/// Work is looked for when there is some: once an hour would be too late for any test.
async fn with_fault(on: Call, when: When, action: Action) -> anyhow::Result<World> {
    let world = World::new(script_ms(20.0).fault(on, when, action)).await?;
    Ok(world.set("CLAIM_INTERVAL_MS", 3_600_000))
}

fn took_ms(row: &Value) -> anyhow::Result<i64> {
    let at = |key: &str| {
        row[key]
            .as_str()
            .unwrap_or_default()
            .parse::<DateTime<Utc>>()
    };
    Ok((at("finished_at")? - at("started_at")?).num_milliseconds())
}

#[tokio::test]
async fn a_rate_limited_create_waits_as_long_as_it_is_told() -> anyhow::Result<()> {
    let action = Action::RateLimited {
        retry_after_ms: 700.0,
    };
    let world = with_fault(Call::Create, When::First(1), action).await?;
    let row = outcome(&world, "succeeded").await?;
    // The backoff alone ends at 100 ms.
    assert!(took_ms(&row)? >= 700, "{row}");
    assert_eq!(world.openai.billing().responses_created, CALLS);
    assert_eq!(
        world.openai.stats().creates,
        CALLS + 1,
        "one call was refused, none was sent too early"
    );
    Ok(())
}

#[tokio::test]
async fn a_rate_limited_poll_waits_as_long_as_it_is_told() -> anyhow::Result<()> {
    let action = Action::RateLimited {
        retry_after_ms: 700.0,
    };
    let world = with_fault(Call::Poll, When::Nth(1), action).await?;
    let row = outcome(&world, "succeeded").await?;
    assert!(took_ms(&row)? >= 700, "{row}");
    assert_eq!(world.openai.billing().responses_created, CALLS);
    Ok(())
}

#[tokio::test]
async fn server_errors_and_garbage_on_polls_cost_nothing_extra() -> anyhow::Result<()> {
    let script = script_ms(100.0)
        .fault(
            Call::Poll,
            When::Every(3),
            Action::ServerError { status: 503 },
        )
        .fault(Call::Poll, When::Every(4), Action::Garbage);
    let world = World::new(script).await?;
    let row = outcome(&world, "succeeded").await?;
    assert_eq!(
        (
            row["attempt"].as_i64(),
            world.openai.billing().responses_created
        ),
        (Some(1), CALLS)
    );
    Ok(())
}

#[tokio::test]
async fn server_errors_on_creates_are_retried_within_the_step() -> anyhow::Result<()> {
    let world = with_fault(
        Call::Create,
        When::First(3),
        Action::ServerError { status: 500 },
    )
    .await?;
    let row = outcome(&world, "succeeded").await?;
    assert_eq!(
        (
            row["attempt"].as_i64(),
            world.openai.billing().responses_created
        ),
        (Some(1), CALLS)
    );
    Ok(())
}

#[tokio::test]
async fn a_poll_that_stalls_is_given_up_and_repeated() -> anyhow::Result<()> {
    let stall = Action::Stall { ms: 60_000.0 };
    let world = with_fault(Call::Poll, When::Nth(1), stall)
        .await?
        .set("OPENAI_REQUEST_TIMEOUT_MS", 200);
    let row = outcome(&world, "succeeded").await?;
    assert_eq!(
        (
            row["attempt"].as_i64(),
            world.openai.billing().responses_created
        ),
        (Some(1), CALLS)
    );
    Ok(())
}

#[tokio::test]
async fn an_expired_response_is_replaced() -> anyhow::Result<()> {
    let world = with_fault(Call::Create, When::Nth(2), Action::Expired).await?;
    let row = outcome(&world, "succeeded").await?;
    assert_eq!(
        (
            row["attempt"].as_i64(),
            world.openai.billing().responses_created
        ),
        (Some(1), CALLS + 1)
    );
    Ok(())
}

#[tokio::test]
async fn a_response_that_failed_by_the_servers_fault_is_worth_another_attempt() -> anyhow::Result<()>
{
    let failed = Action::Failed {
        code: "server_error".to_owned(),
    };
    let world = with_fault(Call::Create, When::Nth(2), failed).await?;
    let row = outcome(&world, "succeeded").await?;
    assert_eq!(
        (
            row["attempt"].as_i64(),
            world.openai.billing().responses_created
        ),
        (Some(2), CALLS + 1)
    );
    Ok(())
}

#[tokio::test]
async fn a_response_that_always_fails_ends_the_generation_at_the_cap() -> anyhow::Result<()> {
    let failed = Action::Failed {
        code: "server_error".to_owned(),
    };
    let world = with_fault(Call::Create, When::Always, failed).await?;
    let row = outcome(&world, "failed").await?;
    assert_eq!(row["error"]["code"], "openai_failed_server_error");
    assert_eq!(
        (
            row["attempt"].as_i64(),
            world.openai.billing().responses_created
        ),
        (Some(3), 3)
    );
    Ok(())
}

#[tokio::test]
async fn a_refused_prompt_is_not_tried_twice() -> anyhow::Result<()> {
    for (action, code) in [
        (
            Action::Failed {
                code: "invalid_prompt".to_owned(),
            },
            "openai_failed_invalid_prompt",
        ),
        (
            Action::Incomplete {
                reason: "content_filter".to_owned(),
            },
            "openai_incomplete_content_filter",
        ),
    ] {
        let world = with_fault(Call::Create, When::Always, action).await?;
        let row = outcome(&world, "failed").await?;
        assert_eq!(row["error"]["code"], code);
        assert!(
            row["error"]["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty())
        );
        assert_eq!(
            (
                row["attempt"].as_i64(),
                world.openai.billing().responses_created
            ),
            (Some(1), 1)
        );
    }
    Ok(())
}

#[tokio::test]
async fn an_outline_that_is_none_is_asked_for_again() -> anyhow::Result<()> {
    // However slow this test is to mend the script, the generation is not out of attempts by then.
    let world = World::new(Script::outline(script_ms(1.0), "I would rather not."))
        .await?
        .set("GENERATION_ATTEMPTS_MAX", 10_000);
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let id = user.generate().await?;
    until("a second outline to be asked for", || async {
        world.openai.stats().creates >= 2
    })
    .await?;
    world.openai.set_script(script_ms(1.0))?;
    let row = user.wait_for(&id, "succeeded").await?;
    let billing = world.openai.billing();
    // What the useless answers cost is booked as well.
    assert_eq!(
        row["tokens"]["output"].as_u64(),
        Some(billing.output_tokens)
    );
    service.stop().await
}

#[tokio::test]
async fn a_response_without_end_is_cancelled_and_the_generation_fails() -> anyhow::Result<()> {
    let world = with_fault(Call::Create, When::Always, Action::NeverEnds).await?;
    let world = world
        .set("OPENAI_STEP_TIMEOUT_MS", 150)
        .set("GENERATION_ATTEMPTS_MAX", 2);
    let row = outcome(&world, "failed").await?;
    assert_eq!(
        (&row["error"]["code"], row["attempt"].as_i64()),
        (&Value::from("openai_timeout"), Some(2))
    );
    until("both to be cancelled", || async {
        world.openai.billing().responses_cancelled == 2
    })
    .await
}

#[tokio::test]
async fn who_has_seen_responses_end_asks_less_often() -> anyhow::Result<()> {
    let world = World::new(script_ms(600.0))
        .await?
        .set("OPENAI_POLL_INTERVAL_MS", 15);
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let mut polls = Vec::new();
    for _ in 0..3 {
        let before = world.openai.stats().polls;
        let id = user.generate().await?;
        user.wait_for(&id, "succeeded").await?;
        polls.push(world.openai.stats().polls - before);
    }
    // The first two have told how long sections take, and not yet enough of outlines.
    assert!(polls[2] * 4 < polls[0] * 3, "{polls:?}");
    service.stop().await
}
