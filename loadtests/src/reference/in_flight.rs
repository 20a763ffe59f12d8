//! Memory of one generation in flight, and how many there can be at a time.
//!
//! A first generation costs what its process keeps for good, so a generation's own memory is the difference between few
//! and many in flight. They stand still while they are counted: their first call of OpenAI takes minutes, not seconds.

use std::time::Duration;

use harness::Sandbox;
use harness::openai::LoadOpenAi;
use harness::poll::{self, Progress};
use procfs::process::all_processes;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::reference::process_tree::{ProcessTree, memory_of_kib};
use crate::reference::service::{Conditions, POOL_OVERFLOW, Service, ServiceError, Started};
use crate::reference::user::User;
use crate::stats::count_u64_as_f64;

/// Users' orders that are on their way at a time.
const ORDERS_AT_ONCE: u32 = 12;
/// The same where some are expected to get nowhere: they shall not do so one dozen after the other.
const HOPELESS_ORDERS_AT_ONCE: u32 = 24;
/// Patience with an order where some are expected to get nowhere.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);
/// Patience until all orders that were accepted have asked OpenAI.
const ASKED_TIMEOUT: Duration = Duration::from_secs(60);
/// How long nothing more may be asked of OpenAI until no more is expected.
const COMES_TO_REST_FOR: Duration = Duration::from_secs(2);
/// How long a service is left alone before its memory is read.
const SETTLES_FOR: Duration = Duration::from_secs(1);

/// How long the CPU of a service that does nothing is read: several of its beats.
const IDLE_FOR: Duration = Duration::from_secs(2);

/// What one start of a service took, and what one of its generations in flight does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) start_cpu_s: f64,
    /// CPU use of the service while it does nothing, in cores. Nothing is compressed here.
    pub(super) idle_cores: f64,
    pub(super) idle_mib: f64,
    pub(super) first_process_mib: f64,
    /// Of one generation in flight, in the service.
    pub(super) memory_mib: f64,
    /// Of one generation in flight, in the Postgres processes of the service's connections.
    pub(super) postgres_mib: f64,
}

/// Starts a service, puts few and then many generations in flight, and ends it.
pub(super) async fn round(service: &Service<'_>, document: &[u8]) -> Result<Round, ServiceError> {
    let still = still(service);
    let conditions = *still.conditions();
    // Which worker accepts is the kernel's choice: without a limit of its pool none has too many.
    let pool = conditions.in_flight_many();
    let (sandbox, openai, started) = begin(&still, "still", pool).await?;
    let tree = &started.tree;
    tokio::time::sleep(SETTLES_FOR).await;
    let start_cpu_s = tree.cpu_s();
    let idle_mib = mib(tree.memory_kib());
    let first_process_mib = mib(started.first_process_kib());
    let (began, cpu_before_s) = (Instant::now(), tree.cpu_s());
    tokio::time::sleep(IDLE_FOR).await;
    let idle_cores = (tree.cpu_s() - cpu_before_s) / began.elapsed().as_secs_f64();
    let mut database = PgConnection::connect(sandbox.database_url()).await?;
    let user = User::enter(started.base_url(), document.to_vec()).await?;

    let (few, many) = (conditions.in_flight_few(), conditions.in_flight_many());
    order(&user, few, None).await?;
    let at_few = settled(&openai, few, tree, &mut database).await?;
    order(&user, many - few, None).await?;
    let at_many = settled(&openai, many, tree, &mut database).await?;
    let per_one = |few_mib: f64, many_mib: f64| (many_mib - few_mib) / f64::from(many - few);
    database.close().await?;
    end(started, openai).await;
    Ok(Round {
        start_cpu_s,
        idle_cores,
        idle_mib,
        first_process_mib,
        memory_mib: per_one(at_few.0, at_many.0),
        postgres_mib: per_one(at_few.1, at_many.1),
    })
}

/// Asks a service for more generations than the proposal's pools have connections; how many come to be in flight.
pub(super) async fn most(service: &Service<'_>, document: &[u8]) -> Result<u64, ServiceError> {
    let still = still(service);
    let (_sandbox, openai, started) = begin(&still, "most", POOL_OVERFLOW).await?;
    let user = User::enter(started.base_url(), document.to_vec()).await?;
    let asked = still.conditions().in_flight_asked();
    order(&user, asked, Some(ORDER_TIMEOUT)).await?;
    let in_flight = at_rest(&openai).await;
    end(started, openai).await;
    Ok(in_flight)
}

/// Generations that have asked OpenAI, once no more do: those that were accepted may still have to read their PDFs.
async fn at_rest(openai: &LoadOpenAi) -> u64 {
    let until = Instant::now() + ASKED_TIMEOUT;
    loop {
        let before = openai.billing().responses_created;
        tokio::time::sleep(COMES_TO_REST_FOR).await;
        let asked = openai.billing().responses_created;
        if (asked == before && asked > 0) || Instant::now() >= until {
            return asked;
        }
    }
}

/// The service in real time: the first call of a generation lasts for three minutes.
fn still<'a>(service: &Service<'a>) -> Service<'a> {
    service.under(Conditions {
        speedup: 1.0,
        ..*service.conditions()
    })
}

async fn begin(
    service: &Service<'_>,
    name: &str,
    pool_overflow: u32,
) -> Result<(Sandbox, LoadOpenAi, Started), ServiceError> {
    let sandbox = service.sandbox().await?;
    let openai = service.conditions().openai().await?;
    // Workers of the backend are slots; those of the reference are processes, which stay as they are.
    let extra = if service.has_slots() {
        let slots = service.conditions().in_flight_asked();
        ("GENERATION_WORKERS", slots.to_string())
    } else {
        ("DATABASE_POOL_OVERFLOW", pool_overflow.to_string())
    };
    let started = service.start(&sandbox, &openai, name, &[extra]).await?;
    Ok((sandbox, openai, started))
}

async fn end(started: Started, openai: LoadOpenAi) {
    // It would wait for its generations.
    started.kill().await;
    started.stop().await;
    openai.stop().await;
}

/// Asks for so many generations, several orders at a time. With a patience, orders that fail count as tried.
async fn order(user: &User, count: u32, patience: Option<Duration>) -> Result<(), ServiceError> {
    let at_once = match patience {
        None => ORDERS_AT_ONCE,
        Some(_) => HOPELESS_ORDERS_AT_ONCE,
    };
    let mut orders = JoinSet::new();
    for _ in 0..count {
        if orders.len() >= usize::try_from(at_once).unwrap_or(usize::MAX)
            && let Some(Ok(Err(error))) = orders.join_next().await
        {
            return Err(error);
        }
        let user = user.clone();
        orders.spawn(async move {
            match patience {
                None => user.begin().await.map(drop).map_err(ServiceError::from),
                Some(patience) => {
                    let _ = tokio::time::timeout(patience, user.begin()).await;
                    Ok(())
                }
            }
        });
    }
    orders.join_all().await.into_iter().collect()
}

/// Memory of the service and of its Postgres processes once `count` generations wait for OpenAI, in MiB.
async fn settled(
    openai: &LoadOpenAi,
    count: u32,
    tree: &ProcessTree,
    database: &mut PgConnection,
) -> Result<(f64, f64), ServiceError> {
    let all = poll::until("the generations to be in flight", ASKED_TIMEOUT, || {
        let asked = openai.billing().responses_created;
        std::future::ready(if asked >= u64::from(count) {
            Progress::Ready(())
        } else {
            Progress::NotYet(format!("{asked} of {count} have asked OpenAI"))
        })
    });
    all.await.map_err(ServiceError::NotInFlight)?;
    // What has read a PDF ends, and what it used is given back.
    let until = Instant::now() + SETTLES_FOR;
    tokio::time::sleep_until(until).await;
    Ok((mib(tree.memory_kib()), mib(postgres_kib(database).await?)))
}

/// Memory of the Postgres processes that serve this database, in KiB. They are found by their titles, `postgres: USER
/// DATABASE …`: the ids that Postgres knows are another world's where it runs in a container.
async fn postgres_kib(database: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let name: String = sqlx::query_scalar("SELECT current_database()::text")
        .fetch_one(database)
        .await?;
    let serving: Vec<i32> = all_processes()
        .into_iter()
        .flatten()
        .flatten()
        .filter(|process| {
            let title = process.cmdline().unwrap_or_default().join(" ");
            let words: Vec<&str> = title.split_whitespace().collect();
            matches!(words[..], ["postgres:", _, database, ..] if database == name)
        })
        .map(|process| process.pid)
        .collect();
    Ok(memory_of_kib(&serving))
}

pub(super) fn mib(kib: u64) -> f64 {
    count_u64_as_f64(kib) / 1024.0
}
