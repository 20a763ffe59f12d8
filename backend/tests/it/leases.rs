//! The lease itself, query by query: who may claim, and that the fence holds.

use std::time::Duration;

use backend::Role;
use backend::db::leases::{self, AfterFailure, Ask, Claim, Failure};
use backend::db::steps::{self, Bill, Material, StoredPdf, TakenUp};
use backend::db::workers::{self, Beat};
use backend::domain::generation::Step;
use backend::domain::ids::WorkerId;
use backend::openai::Usage;
use serde_json::Value;
use sqlx::PgPool;

use crate::app::{Service, World, script_ms};
use crate::client::Client;

const LEASE: Duration = Duration::from_secs(60);
const ATTEMPTS_MAX: i32 = 3;

fn ask(limit: i64, lease: Duration) -> Ask {
    Ask {
        limit,
        lease,
        per_user_max: 100,
    }
}

struct Queue {
    pool: PgPool,
    user: Client,
    id: String,
    service: Service,
    _world: World,
}

/// One generation in the queue and no worker.
async fn one_queued() -> anyhow::Result<Queue> {
    let world = World::new(script_ms(1.0)).await?;
    let service = world.serve(Role::Api).await?;
    let user = service.client().registered().await?;
    let id = user.generate().await?;
    Ok(Queue {
        pool: world.database().await?,
        user,
        id,
        service,
        _world: world,
    })
}

impl Queue {
    async fn claim(&self, worker: WorkerId, lease: Duration) -> anyhow::Result<Option<Claim>> {
        Ok(leases::claim(&self.pool, worker, ask(10, lease))
            .await?
            .into_iter()
            .next())
    }

    async fn everything(&self) -> anyhow::Result<Value> {
        let sql = "SELECT jsonb_build_object('generations', (SELECT jsonb_agg(g) FROM generations g),
                                             'steps', (SELECT jsonb_agg(s) FROM generation_steps s))";
        Ok(sqlx::query_scalar(sql).fetch_one(&self.pool).await?)
    }
}

#[tokio::test]
async fn a_claimed_generation_is_nobody_elses() -> anyhow::Result<()> {
    let queue = one_queued().await?;
    let (first, second) = (WorkerId::new(), WorkerId::new());
    assert!(leases::anything_waits(&queue.pool).await?);
    let claim = queue.claim(first, LEASE).await?.expect("it is queued");
    assert!(!leases::anything_waits(&queue.pool).await?);
    assert_eq!((claim.attempt, claim.resumed), (1, false));
    assert!(queue.claim(second, LEASE).await?.is_none());
    assert_eq!(
        leases::rescue_expired(&queue.pool, ATTEMPTS_MAX).await?,
        (0, 0)
    );
    let known = [(claim.id, 1)];
    let beat = |worker| Beat {
        worker,
        slots: 6,
        lease: LEASE,
    };
    let heard = workers::beat(&queue.pool, beat(first), &known).await?;
    assert_eq!(heard.held, known);
    assert!(!heard.leases_expired && !heard.webhooks_due);
    let unheard = workers::beat(&queue.pool, beat(first), &[]).await?;
    assert!(unheard.held.is_empty());
    let others = workers::beat(&queue.pool, beat(second), &known).await?;
    assert!(others.held.is_empty());
    queue.service.stop().await
}

#[tokio::test]
async fn expired_lease_is_claimed_again() -> anyhow::Result<()> {
    let queue = one_queued().await?;
    queue
        .claim(WorkerId::new(), Duration::ZERO)
        .await?
        .expect("it is queued");
    let other = Beat {
        worker: WorkerId::new(),
        slots: 6,
        lease: LEASE,
    };
    assert!(workers::beat(&queue.pool, other, &[]).await?.leases_expired);
    assert_eq!(
        leases::rescue_expired(&queue.pool, ATTEMPTS_MAX).await?,
        (1, 0)
    );
    let second = queue
        .claim(WorkerId::new(), LEASE)
        .await?
        .expect("it is queued again");
    assert_eq!((second.attempt, second.resumed), (2, true));
    queue.service.stop().await
}

#[tokio::test]
async fn a_fenced_out_worker_writes_nothing() -> anyhow::Result<()> {
    let queue = one_queued().await?;
    let old = queue
        .claim(WorkerId::new(), Duration::ZERO)
        .await?
        .expect("it is queued");
    steps::take_up(&queue.pool, &old, Step::WriteOutline, 5).await?;
    assert!(steps::remember_response(&queue.pool, &old, Step::WriteOutline, "resp_1").await?);
    leases::rescue_expired(&queue.pool, ATTEMPTS_MAX).await?;
    // Fenced out while it waits in the queue, and while another one runs it.
    for round in 0..2 {
        let before = queue.everything().await?;
        let (pool, step) = (&queue.pool, Step::WriteOutline);
        let bill = Bill {
            usage: Usage {
                input_tokens: 1,
                output_tokens: 1,
            },
            cost_usd_micros: 1,
        };
        let pdf = StoredPdf {
            key: "k",
            size_bytes: 1,
            page_count: 1,
        };
        let failure = Failure {
            code: "c",
            detail: "d",
            retry_in: None,
        };
        assert!(!steps::announce(pool, &old, step, 50).await?);
        assert_eq!(steps::take_up(pool, &old, step, 50).await?, None);
        assert!(!steps::intend_again(pool, &old, step).await?);
        assert!(!steps::remember_response(pool, &old, step, "resp_2").await?);
        assert!(!steps::discard_response(pool, &old, step, "resp_1", bill).await?);
        assert!(!steps::finish(pool, &old, step, "output", bill).await?);
        assert!(!steps::succeed(pool, &old, &pdf).await?);
        assert_eq!(
            leases::fail_attempt(pool, &old, &failure, ATTEMPTS_MAX).await?,
            AfterFailure::Fenced
        );
        assert_eq!(queue.everything().await?, before, "round {round}");
        if round == 0 {
            queue
                .claim(WorkerId::new(), LEASE)
                .await?
                .expect("it is queued again");
        }
    }
    queue.service.stop().await
}

#[tokio::test]
async fn the_response_of_a_lost_worker_is_known_to_the_next() -> anyhow::Result<()> {
    let queue = one_queued().await?;
    let old = queue
        .claim(WorkerId::new(), Duration::ZERO)
        .await?
        .expect("it is queued");
    steps::take_up(&queue.pool, &old, Step::WriteOutline, 5).await?;
    steps::remember_response(&queue.pool, &old, Step::WriteOutline, "resp_1").await?;
    leases::rescue_expired(&queue.pool, ATTEMPTS_MAX).await?;
    let new = queue
        .claim(WorkerId::new(), LEASE)
        .await?
        .expect("it is queued again");
    let taken_up = steps::take_up(&queue.pool, &new, Step::WriteOutline, 5).await?;
    assert!(
        matches!(&taken_up, Some(TakenUp::Waiting { response_id, .. }) if response_id == "resp_1"),
        "{taken_up:?}"
    );
    queue.service.stop().await
}

#[tokio::test]
async fn a_step_is_taken_up_where_it_was_left() -> anyhow::Result<()> {
    let queue = one_queued().await?;
    let claim = queue
        .claim(WorkerId::new(), LEASE)
        .await?
        .expect("it is queued");
    let (pool, step) = (&queue.pool, Step::WriteOutline);
    let bill = Bill::default();
    let material = |taken_up: Option<TakenUp>| match taken_up {
        Some(TakenUp::Intended {
            material,
            uncertain,
        }) => (material, uncertain),
        other => panic!("no intent but {other:?}"),
    };
    steps::finish(pool, &claim, Step::ExtractText, "what was read", bill).await?;
    let task: (String, String) =
        sqlx::query_as("SELECT title, instructions FROM generations WHERE id = $1")
            .bind(claim.id)
            .fetch_one(pool)
            .await?;
    let expected = Material {
        title: task.0,
        instructions: task.1,
        documents: "what was read".to_owned(),
    };
    let first = material(steps::take_up(pool, &claim, step, 5).await?);
    assert_eq!(first, (expected.clone(), false));
    let after_a_crash = material(steps::take_up(pool, &claim, step, 5).await?);
    assert_eq!(after_a_crash, (expected.clone(), true));
    assert!(steps::intend_again(pool, &claim, step).await?);
    assert!(steps::remember_response(pool, &claim, step, "resp_1").await?);
    let found = steps::take_up(pool, &claim, step, 5).await?;
    assert!(
        matches!(&found, Some(TakenUp::Waiting { response_id, age_ms }) if response_id == "resp_1" && *age_ms >= 0.0),
        "{found:?}"
    );
    assert!(steps::discard_response(pool, &claim, step, "resp_1", bill).await?);
    let after_a_loss = material(steps::take_up(pool, &claim, step, 5).await?);
    assert_eq!(after_a_loss, (expected, false));
    let asked: i32 = sqlx::query_scalar(
        "SELECT creates FROM generation_steps WHERE generation_id = $1 AND ordinal = $2",
    )
    .bind(claim.id)
    .bind(step.ordinal())
    .fetch_one(pool)
    .await?;
    assert_eq!(
        asked, 4,
        "two of a crash, one of a failed call, one of a lost response"
    );
    assert!(steps::finish(pool, &claim, step, "[\"A\"]", bill).await?);
    // Who passes a step that is done says nothing to those who poll.
    steps::take_up(pool, &claim, Step::WriteSection(1), 50).await?;
    let before = queue.everything().await?;
    let done = TakenUp::Done {
        output: "[\"A\"]".to_owned(),
    };
    assert_eq!(steps::take_up(pool, &claim, step, 5).await?, Some(done));
    assert_eq!(queue.everything().await?, before);
    queue.service.stop().await
}

#[tokio::test]
async fn a_generation_that_kills_its_workers_fails_at_the_cap() -> anyhow::Result<()> {
    let queue = one_queued().await?;
    for attempt in 1..=ATTEMPTS_MAX {
        let claim = queue
            .claim(WorkerId::new(), Duration::ZERO)
            .await?
            .expect("attempts are left");
        assert_eq!(claim.attempt, attempt);
        let expected = if attempt < ATTEMPTS_MAX {
            (1, 0)
        } else {
            (0, 1)
        };
        assert_eq!(
            leases::rescue_expired(&queue.pool, ATTEMPTS_MAX).await?,
            expected
        );
    }
    assert!(queue.claim(WorkerId::new(), LEASE).await?.is_none());
    let row = queue.user.generation(&queue.id).await?;
    assert_eq!(
        (&row["status"], &row["error"]["code"]),
        (&"failed".into(), &"attempts_exhausted".into())
    );
    queue.service.stop().await
}

#[tokio::test]
async fn released_attempts_do_not_count_against_the_cap() -> anyhow::Result<()> {
    let queue = one_queued().await?;
    for attempt in 1..=2 * ATTEMPTS_MAX {
        let worker = WorkerId::new();
        assert_eq!(
            queue
                .claim(worker, LEASE)
                .await?
                .expect("it is queued")
                .attempt,
            attempt
        );
        assert_eq!(leases::release_all(&queue.pool, worker).await?, 1);
    }
    let claim = queue
        .claim(WorkerId::new(), LEASE)
        .await?
        .expect("it is queued");
    let failure = Failure {
        code: "c",
        detail: "d",
        retry_in: Some(Duration::ZERO),
    };
    let after = leases::fail_attempt(&queue.pool, &claim, &failure, ATTEMPTS_MAX).await?;
    assert_eq!(
        after,
        AfterFailure::Queued,
        "it is the first attempt that failed"
    );
    queue.service.stop().await
}

#[tokio::test]
async fn a_retry_waits_for_its_time() -> anyhow::Result<()> {
    let queue = one_queued().await?;
    let claim = queue
        .claim(WorkerId::new(), LEASE)
        .await?
        .expect("it is queued");
    let failure = Failure {
        code: "c",
        detail: "d",
        retry_in: Some(Duration::from_secs(3600)),
    };
    let after = leases::fail_attempt(&queue.pool, &claim, &failure, ATTEMPTS_MAX).await?;
    assert_eq!(after, AfterFailure::Queued);
    assert!(queue.claim(WorkerId::new(), LEASE).await?.is_none());
    queue.service.stop().await
}

#[tokio::test]
async fn a_repeated_write_books_tokens_once() -> anyhow::Result<()> {
    let queue = one_queued().await?;
    let claim = queue
        .claim(WorkerId::new(), LEASE)
        .await?
        .expect("it is queued");
    let bill = Bill {
        usage: Usage {
            input_tokens: 10,
            output_tokens: 20,
        },
        cost_usd_micros: 30,
    };
    steps::take_up(&queue.pool, &claim, Step::WriteOutline, 5).await?;
    steps::remember_response(&queue.pool, &claim, Step::WriteOutline, "resp_1").await?;
    // The answer to the first statement may be lost with the connection; then it is sent again.
    for _ in 0..2 {
        assert!(
            steps::discard_response(&queue.pool, &claim, Step::WriteOutline, "resp_1", bill)
                .await?
        );
    }
    for _ in 0..2 {
        assert!(steps::finish(&queue.pool, &claim, Step::WriteOutline, "[\"A\"]", bill).await?);
    }
    let row = queue.user.generation(&queue.id).await?;
    assert_eq!(
        (&row["tokens"]["input"], &row["tokens"]["output"]),
        (&20.into(), &40.into())
    );
    assert_eq!(row["cost_usd_micros"], 60);
    let sql = "SELECT cost_usd_micros FROM user_spending";
    let spent: i64 = sqlx::query_scalar(sql).fetch_one(&queue.pool).await?;
    assert_eq!(spent, 60);
    queue.service.stop().await
}

#[tokio::test]
async fn workers_that_claim_at_once_share_the_queue_without_overlap() -> anyhow::Result<()> {
    let queue = one_queued().await?;
    for _ in 0..11 {
        queue.user.generate().await?;
    }
    let claims = (0..6).map(|_| leases::claim(&queue.pool, WorkerId::new(), ask(5, LEASE)));
    let mut ids = Vec::new();
    for claimed in futures::future::join_all(claims).await {
        ids.extend(claimed?.into_iter().map(|claim| claim.id));
    }
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!((ids.len(), distinct.len()), (12, 12));
    queue.service.stop().await
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_not_kept_by_its_worker() -> anyhow::Result<()> {
    let world = World::new(script_ms(600_000.0))
        .await?
        .set("GENERATION_WORKERS", 1)
        .set("LEASE_MS", 800)
        .set("HEARTBEAT_MS", 100);
    let service = world.serve(Role::All).await?;
    let user = service.client().registered().await?;
    let held = user.generate().await?;
    user.wait_for(&held, "running").await?;
    let other = user.generate().await?;
    // What a claim leaves that was committed while the connection broke: the worker has never heard of it.
    let unheard = "UPDATE generations g SET status = 'running', attempt = 1, started_at = now(),
                       lease_owner = held.lease_owner, leased_until = now() + interval '800 milliseconds'
                   FROM generations held WHERE held.status = 'running' AND g.status = 'queued'";
    let pool = world.database().await?;
    let done = sqlx::query(unheard).execute(&pool).await?;
    assert_eq!(done.rows_affected(), 1);
    user.wait_for(&other, "queued").await?;
    // The one that it does run is still its own.
    let row = user.generation(&held).await?;
    assert_eq!(
        (&row["status"], &row["attempt"]),
        (&"running".into(), &1.into())
    );
    service.stop().await
}
