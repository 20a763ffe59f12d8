//! What a generation costs either service, and what a rendering does to everybody else.

use std::path::Path;
use std::time::Duration;

use harness::{Provider, Stack};
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::hardware::Hardware;
use crate::reference::environment::{Environment, NotMeasured};
use crate::reference::fate::{self, Event, Fate};
use crate::reference::process_tree::{ProcessTree, memory_of_kib};
use crate::reference::service::{Conditions, Kind, Service, ServiceError};
use crate::reference::user::{User, client};
use crate::stats::{Mean, count_as_f64, count_u64_as_f64, mean};

/// Version of the JSON form of [`Comparison`]; raised whenever a field changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;
/// How often `/health` is asked while generations run.
const PROBE_EVERY: Duration = Duration::from_millis(20);
/// Connections and length of one throughput measurement.
const CONNECTIONS: usize = 16;
const THROUGHPUT_FOR: Duration = Duration::from_secs(2);

/// Both services, side by side.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// [`SCHEMA_VERSION`] at the time of writing.
    pub schema_version: u32,
    /// The machine.
    pub hardware: Hardware,
    /// What every service was given.
    pub conditions: Conditions,
    /// The services that were measured.
    pub services: Vec<Measured>,
    /// The services that were not, and why.
    pub not_measured: Vec<(Kind, String)>,
}

/// What one service was found to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Which one.
    pub kind: Kind,
    /// CPU seconds from its start until it was ready.
    pub start_cpu_s: f64,
    /// Memory after its start, in MiB: proportional set sizes of all its processes.
    pub memory_idle_mib: f64,
    /// The same after the measured generations, none of them running.
    pub memory_used_mib: f64,
    /// Processes after its start.
    pub processes: usize,
    /// CPU seconds of one generation with its polls, over the batches.
    pub cpu_s_per_generation: Mean,
    /// What one generation in flight adds to the service's memory, in MiB.
    pub memory_mib_per_generation: Mean,
    /// What it adds to the memory of its connections' Postgres processes, in MiB.
    pub postgres_mib_per_generation: Mean,
    /// Pages of its PDF, mean.
    pub pdf_pages: f64,
    /// Bytes of its PDF, mean.
    pub pdf_bytes: f64,
    /// `/health` while nothing runs.
    pub health_idle: Latencies,
    /// `/health` while generations run and render.
    pub health_rendering: Latencies,
    /// `/health` under full load.
    pub health: Throughput,
    /// The status of a generation under full load.
    pub poll: Throughput,
    /// What became of generations in flight.
    pub fates: Vec<Fate>,
}

/// Latencies of an open-loop probe, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latencies {
    /// Median.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// Requests that had no answer.
    pub errors: usize,
}

impl Latencies {
    /// From single latencies; `None` stands for no answer.
    pub fn of(answers: &[Option<f64>]) -> Self {
        let mut answered: Vec<f64> = answers.iter().flatten().copied().collect();
        answered.sort_by(f64::total_cmp);
        let at = |share: usize| {
            let index = (answered.len() * share).div_ceil(100).max(1) - 1;
            answered.get(index).copied().unwrap_or(0.0)
        };
        Self {
            p50_ms: at(50),
            p99_ms: at(99),
            max_ms: at(100),
            errors: answers.len() - answered.len(),
        }
    }
}

/// Closed-loop throughput; the load generator shares the machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throughput {
    /// Answers in a second.
    pub per_s: f64,
    /// CPU of the service for one answer, in milliseconds: this does not depend on the rest of the machine.
    pub cpu_ms: f64,
}

/// What services are started from.
#[derive(Clone, Copy, Debug)]
pub struct Services<'a> {
    /// Postgres, Redis and S3.
    pub stack: &'a Stack,
    /// The backend's binary.
    pub binary: &'a Path,
    /// The reference's environment, or why there is none.
    pub environment: &'a Result<Environment, NotMeasured>,
}

/// Measures the services one after the other. What cannot be measured is told with its reason and
/// does not end the run; `say` is told what is being done.
///
/// # Errors
/// When the Rust service cannot be measured: that is a failure of this checkout.
pub async fn compare(
    from: &Services<'_>,
    hardware: Hardware,
    conditions: Conditions,
    kinds: &[Kind],
    document: &[u8],
    say: impl Fn(&str),
) -> Result<Comparison, ServiceError> {
    let mut comparison = Comparison {
        schema_version: SCHEMA_VERSION,
        hardware,
        conditions,
        services: vec![],
        not_measured: vec![],
    };
    for &kind in kinds {
        say(&format!("measuring {}", kind.label()));
        let measured = match (kind, from.environment) {
            (Kind::Rust, _) => {
                let service = Service::rust(from.stack, conditions, from.binary);
                Ok(measure(&service, document, &say).await?)
            }
            (_, Err(reason)) => Err(reason.to_string()),
            (_, Ok(_)) if from.stack.provider() != Provider::Native => {
                Err(NotMeasured::Provider.to_string())
            }
            (_, Ok(environment)) => {
                let tuned = kind == Kind::FastApiTuned;
                let service = Service::fastapi(from.stack, conditions, environment, tuned);
                let measured = measure(&service, document, &say).await;
                measured.map_err(|error| crate::backend_process::chain(&error))
            }
        };
        match measured {
            Ok(measured) => comparison.services.push(measured),
            Err(reason) => comparison.not_measured.push((kind, reason)),
        }
    }
    Ok(comparison)
}

async fn measure(
    service: &Service<'_>,
    document: &[u8],
    say: &impl Fn(&str),
) -> Result<Measured, ServiceError> {
    let conditions = *service.conditions();
    let sandbox = service.sandbox().await?;
    let openai = conditions.openai().await?;
    let started = service.start(&sandbox, &openai, "measured", &[]).await?;
    let tree = started.tree;
    let start_cpu_s = tree.cpu_s();
    let (memory_idle_mib, processes) = (mib(tree.memory_kib()), tree.count());
    let mut database = PgConnection::connect(sandbox.database_url()).await?;

    let user = User::enter(started.base_url(), document.to_vec()).await?;
    let health = format!("{}/health", started.base_url());
    let (health_idle, ()) = probed(&health, tokio::time::sleep(Duration::from_secs(2))).await?;
    // Not measured: it loads what only a first generation loads.
    batch(&user, tree, &mut database, &conditions).await?;
    let (mut batches, mut probes) = (vec![], vec![]);
    for repetition in 1..=conditions.repetitions {
        say(&format!(
            "{}: batch {repetition} of {}",
            service.kind.label(),
            conditions.repetitions
        ));
        let (answers, measured) =
            probed_raw(&health, batch(&user, tree, &mut database, &conditions)).await?;
        probes.extend(answers);
        batches.push(measured?);
    }
    let memory_used_mib = mib(tree.memory_kib());
    let failed: usize = batches.iter().map(|batch| batch.failed).sum();
    if failed > 0 {
        let total = batches.len() * usize::try_from(conditions.generations).unwrap_or(1);
        return Err(ServiceError::Failures {
            service: service.kind.label(),
            failed,
            total,
            log: started.log.clone(),
        });
    }
    let health_full = throughput(tree, || {
        let (http, url) = (client(Duration::from_secs(30)), health.clone());
        async move { Ok(http?.get(url)) }
    })
    .await?;
    let ended = batches
        .last()
        .map(|batch| batch.last_id.clone())
        .unwrap_or_default();
    let poll = throughput(tree, || {
        let (user, path) = (
            user.at(started.base_url()),
            format!("/api/v1/generations/{ended}"),
        );
        async move { Ok(user?.get(&path)) }
    })
    .await?;
    database.close().await?;
    started.stop().await;
    openai.stop().await;

    let mut fates = Vec::new();
    for event in [Event::Sigterm, Event::Sigkill, Event::MaxRequests] {
        if event.applies_to(service.kind) {
            say(&format!("{}: {}", service.kind.label(), event.label()));
            fates.push(fate::of(service, event, document).await?);
        }
    }
    let over = |value: fn(&Batch) -> f64| -> Vec<f64> { batches.iter().map(value).collect() };
    let stated = |value| {
        mean(&over(value)).unwrap_or(Mean {
            value: 0.0,
            std_err: 0.0,
            n: 0,
        })
    };
    Ok(Measured {
        kind: service.kind,
        start_cpu_s,
        memory_idle_mib,
        memory_used_mib,
        processes,
        cpu_s_per_generation: stated(|batch| batch.cpu_s),
        memory_mib_per_generation: stated(|batch| batch.memory_mib),
        postgres_mib_per_generation: stated(|batch| batch.postgres_mib),
        pdf_pages: stated(|batch| batch.pdf_pages).value,
        pdf_bytes: stated(|batch| batch.pdf_bytes).value,
        health_idle,
        health_rendering: Latencies::of(&probes),
        health: health_full,
        poll,
        fates,
    })
}

/// What one batch of generations took, each figure for one of them.
struct Batch {
    cpu_s: f64,
    memory_mib: f64,
    postgres_mib: f64,
    pdf_pages: f64,
    pdf_bytes: f64,
    failed: usize,
    last_id: String,
}

/// Runs generations side by side and waits for the last one.
async fn batch(
    user: &User,
    tree: ProcessTree,
    database: &mut PgConnection,
    conditions: &Conditions,
) -> Result<Batch, ServiceError> {
    let count = f64::from(conditions.generations);
    let (cpu_before_s, memory_before) = (tree.cpu_s(), mib(tree.memory_kib()));
    let postgres_before = mib(postgres_kib(database).await?);
    let mut begun = Vec::new();
    for _ in 0..conditions.generations {
        begun.push(user.begin().await?);
    }
    let deadline = Instant::now() + conditions.generation() * 2 + Duration::from_secs(120);
    let (followed, look) = tokio::join!(
        fate::follow(user, &begun, deadline),
        // In the middle of the third call: documents are read, nothing is rendered yet.
        async {
            tokio::time::sleep(conditions.compressed(450.0)).await;
            Ok::<_, sqlx::Error>((mib(tree.memory_kib()), mib(postgres_kib(database).await?)))
        }
    );
    let (memory_within, postgres_within) = look?;
    let cpu_s = tree.cpu_s() - cpu_before_s;
    let succeeded: Vec<_> = followed
        .iter()
        .filter(|generation| generation.succeeded())
        .collect();
    let mut sizes = Vec::new();
    for generation in &succeeded {
        sizes.push(count_as_f64(user.download(&generation.id).await?.len()));
    }
    let pages: Vec<f64> = succeeded
        .iter()
        .map(|generation| count_as_f64(generation.page_count.unwrap_or(0)))
        .collect();
    let average = |values: &[f64]| mean(values).map_or(0.0, |mean| mean.value);
    Ok(Batch {
        cpu_s: cpu_s / count,
        memory_mib: (memory_within - memory_before) / count,
        postgres_mib: (postgres_within - postgres_before) / count,
        pdf_pages: average(&pages),
        pdf_bytes: average(&sizes),
        failed: begun.len() - succeeded.len(),
        last_id: succeeded
            .last()
            .map(|last| last.id.clone())
            .unwrap_or_default(),
    })
}

/// Memory of the Postgres processes that serve this database; readable where they run on this machine.
async fn postgres_kib(database: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let pids: Vec<i32> = sqlx::query_scalar(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .fetch_all(database)
    .await?;
    Ok(memory_of_kib(&pids))
}

/// Asks `url` at a fixed rate, whatever the answers take, while `work` runs.
async fn probed<T>(
    url: &str,
    work: impl Future<Output = T>,
) -> Result<(Latencies, T), ServiceError> {
    let (answers, done) = probed_raw(url, work).await?;
    Ok((Latencies::of(&answers), done))
}

async fn probed_raw<T>(
    url: &str,
    work: impl Future<Output = T>,
) -> Result<(Vec<Option<f64>>, T), ServiceError> {
    let http = client(Duration::from_secs(60))?;
    let mut asked = JoinSet::new();
    let mut ticks = tokio::time::interval(PROBE_EVERY);
    let mut work = std::pin::pin!(work);
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = ticks.tick() => {
                let request = http.get(url);
                asked.spawn(async move {
                    let began = Instant::now();
                    let answer = request.send().await.ok().filter(|answer| answer.status().is_success());
                    answer.map(|_| began.elapsed().as_secs_f64() * 1000.0)
                });
            }
        }
    };
    Ok((asked.join_all().await, done))
}

/// Asks as fast as the answers come, over a fixed number of connections.
async fn throughput<F>(
    tree: ProcessTree,
    request: impl Fn() -> F,
) -> Result<Throughput, ServiceError>
where
    F: Future<Output = Result<reqwest::RequestBuilder, crate::reference::user::UserError>>,
{
    let mut connections = JoinSet::new();
    let (cpu_before_s, began) = (tree.cpu_s(), Instant::now());
    let until = began + THROUGHPUT_FOR;
    for _ in 0..CONNECTIONS {
        let request = request().await?;
        connections.spawn(async move {
            let mut answers = 0_u64;
            while Instant::now() < until {
                let Some(next) = request.try_clone() else {
                    break;
                };
                if let Ok(answer) = next.send().await
                    && answer.status().is_success()
                    && answer.bytes().await.is_ok()
                {
                    answers += 1;
                }
            }
            answers
        });
    }
    let answers = count_u64_as_f64(connections.join_all().await.into_iter().sum());
    let (took_s, cpu_s) = (began.elapsed().as_secs_f64(), tree.cpu_s() - cpu_before_s);
    Ok(Throughput {
        per_s: answers / took_s,
        cpu_ms: cpu_s * 1000.0 / answers.max(1.0),
    })
}

fn mib(kib: u64) -> f64 {
    count_u64_as_f64(kib) / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_answers_and_missing_ones_are_counted() {
        let answers: Vec<_> = (1..=200)
            .map(|n| Some(f64::from(n)))
            .chain([None])
            .collect();
        let latencies = Latencies::of(&answers);
        assert_eq!(
            latencies,
            Latencies {
                p50_ms: 100.0,
                p99_ms: 198.0,
                max_ms: 200.0,
                errors: 1
            }
        );
        assert_eq!(Latencies::of(&[None]).errors, 1);
    }
}
