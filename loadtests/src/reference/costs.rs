//! What a generation costs a service: CPU over batches, memory between few and many in flight, and what a rendering
//! does to everybody else.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::reference::fate;
use crate::reference::in_flight::{self, Round, mib};
use crate::reference::probe::{Latencies, Throughput, probed, throughput};
use crate::reference::process_tree::ProcessTree;
use crate::reference::service::{Conditions, Service, ServiceError};
use crate::reference::user::{User, client};
use crate::stats::{Mean, count_as_f64, count_u64_as_f64, mean};

/// Patience with one request under full load.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What one service was found to cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// CPU seconds from its start until it was ready, over fresh starts.
    pub start_cpu_s: Mean,
    /// Memory after a fresh start, in MiB: proportional set sizes of all its processes.
    pub memory_idle_mib: Mean,
    /// Of it, that of the first process, which in Python only looks after the others.
    pub memory_first_process_mib: Mean,
    /// Memory after the measured generations, none of them running, in MiB.
    pub memory_used_mib: f64,
    /// Processes after its start.
    pub processes: usize,
    /// CPU seconds of one generation with its polls, over the batches.
    pub cpu_s_per_generation: Mean,
    /// Polls of its client, on average.
    pub polls_per_generation: f64,
    /// Of its CPU seconds, those in which its PDFs were read; absent where the service does not say.
    pub reading_cpu_s: Option<Mean>,
    /// Of its CPU seconds, those in which its PDF was rendered; absent where the service does not say.
    pub rendering_cpu_s: Option<Mean>,
    /// What one generation in flight adds to the service's memory, in MiB.
    pub memory_mib_per_generation: Mean,
    /// What it adds to the memory of its connections' Postgres processes, in MiB.
    pub postgres_mib_per_generation: Mean,
    /// Both together.
    pub in_flight_mib_per_generation: Mean,
    /// Generations that were asked for at once, and how many of them came to be in flight.
    pub in_flight_asked: u32,
    /// See [`Costs::in_flight_asked`].
    pub in_flight_max: u64,
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
}

/// Measures a service that nothing else uses.
///
/// # Errors
/// When it does not start, does not answer as the contract says, or a generation fails.
pub(super) async fn of(
    service: &Service<'_>,
    document: &[u8],
    say: &impl Fn(&str),
) -> Result<Costs, ServiceError> {
    let label = service.kind.label();
    let conditions = *service.conditions();
    let mut rounds = Vec::new();
    for round in 1..=conditions.rounds {
        say(&format!(
            "{label}: memory in flight, start {round} of {}",
            conditions.rounds
        ));
        rounds.push(in_flight::round(service, document).await?);
    }
    say(&format!("{label}: as many in flight as there can be"));
    let in_flight_max = in_flight::most(service, document).await?;
    let busy = busy(service, document, say).await?;
    rounds_and_batches(&conditions, &rounds, in_flight_max, busy).ok_or(ServiceError::Nothing)
}

/// What a service that has been started once did, batch after batch.
struct Busy {
    batches: Vec<Batch>,
    processes: usize,
    memory_used_mib: f64,
    health_idle: Latencies,
    health_rendering: Latencies,
    health: Throughput,
    poll: Throughput,
}

async fn busy(
    service: &Service<'_>,
    document: &[u8],
    say: &impl Fn(&str),
) -> Result<Busy, ServiceError> {
    let conditions = *service.conditions();
    let sandbox = service.sandbox().await?;
    let openai = conditions.openai().await?;
    let started = service.start(&sandbox, &openai, "measured", &[]).await?;
    let tree = started.tree;
    let processes = tree.count();
    let user = User::enter(started.base_url(), document.to_vec()).await?;
    let health = format!("{}/health", started.base_url());
    let (idle, ()) = probed(&health, tokio::time::sleep(Duration::from_secs(2))).await?;
    // Not measured: it loads what only a first generation loads.
    batch(&user, tree, &started.log, &conditions).await?;
    let (mut batches, mut probes) = (vec![], vec![]);
    for repetition in 1..=conditions.repetitions {
        say(&format!(
            "{}: batch {repetition} of {}",
            service.kind.label(),
            conditions.repetitions
        ));
        let one = batch(&user, tree, &started.log, &conditions);
        let (answers, measured) = probed(&health, one).await?;
        probes.extend(answers);
        batches.push(measured?);
    }
    let memory_used_mib = mib(tree.memory_kib());
    let failed: usize = batches.iter().map(|batch| batch.failed).sum();
    let last = batches.last().map(|batch| batch.last_id.clone());
    let (Some(last), 0) = (last, failed) else {
        let total = batches.len() * usize::try_from(conditions.generations).unwrap_or(1);
        return Err(ServiceError::Failures {
            service: service.kind.label(),
            failed,
            total,
            log: started.log.clone(),
        });
    };
    let health_full = throughput(tree, || Ok(client(REQUEST_TIMEOUT)?.get(&health))).await?;
    let poll = format!("/api/v1/generations/{last}");
    let poll = throughput(tree, || Ok(user.at(started.base_url())?.get(&poll))).await?;
    started.stop().await;
    openai.stop().await;
    Ok(Busy {
        batches,
        processes,
        memory_used_mib,
        health_idle: Latencies::of(&idle),
        health_rendering: Latencies::of(&probes),
        health: health_full,
        poll,
    })
}

/// `None` when nothing was measured.
fn rounds_and_batches(
    conditions: &Conditions,
    rounds: &[Round],
    in_flight_max: u64,
    busy: Busy,
) -> Option<Costs> {
    let over_rounds = |value: fn(&Round) -> f64| {
        let values: Vec<f64> = rounds.iter().map(value).collect();
        mean(&values)
    };
    let over_batches = |value: fn(&Batch) -> f64| {
        let values: Vec<f64> = busy.batches.iter().map(value).collect();
        mean(&values)
    };
    let told = |value: fn(&Batch) -> Option<f64>| {
        let values: Option<Vec<f64>> = busy.batches.iter().map(value).collect();
        mean(&values?)
    };
    Some(Costs {
        start_cpu_s: over_rounds(|round| round.start_cpu_s)?,
        memory_idle_mib: over_rounds(|round| round.idle_mib)?,
        memory_first_process_mib: over_rounds(|round| round.first_process_mib)?,
        memory_used_mib: busy.memory_used_mib,
        processes: busy.processes,
        cpu_s_per_generation: over_batches(|batch| batch.cpu_s)?,
        polls_per_generation: over_batches(|batch| batch.polls)?.value,
        reading_cpu_s: told(|batch| batch.reading_cpu_s),
        rendering_cpu_s: told(|batch| batch.rendering_cpu_s),
        memory_mib_per_generation: over_rounds(|round| round.memory_mib)?,
        postgres_mib_per_generation: over_rounds(|round| round.postgres_mib)?,
        in_flight_mib_per_generation: over_rounds(|round| round.memory_mib + round.postgres_mib)?,
        in_flight_asked: conditions.in_flight_asked(),
        in_flight_max,
        pdf_pages: over_batches(|batch| batch.pdf_pages)?.value,
        pdf_bytes: over_batches(|batch| batch.pdf_bytes)?.value,
        health_idle: busy.health_idle,
        health_rendering: busy.health_rendering,
        health: busy.health,
        poll: busy.poll,
    })
}

/// What one batch of generations took, each figure for one of them.
struct Batch {
    cpu_s: f64,
    polls: f64,
    reading_cpu_s: Option<f64>,
    rendering_cpu_s: Option<f64>,
    pdf_pages: f64,
    pdf_bytes: f64,
    failed: usize,
    last_id: String,
}

/// Runs generations side by side and waits for the last one.
async fn batch(
    user: &User,
    tree: ProcessTree,
    log: &Path,
    conditions: &Conditions,
) -> Result<Batch, ServiceError> {
    let count = f64::from(conditions.generations);
    let (cpu_before_s, polls_before) = (tree.cpu_s(), user.polls());
    let logged_before = std::fs::read_to_string(log).map_or(0, |log| log.len());
    let mut begun = Vec::new();
    for _ in 0..conditions.generations {
        begun.push(user.begin().await?);
    }
    let deadline = Instant::now() + conditions.generation() * 2 + Duration::from_secs(120);
    let followed = fate::follow(user, &begun, deadline).await;
    let cpu_s = tree.cpu_s() - cpu_before_s;
    let polls = count_u64_as_f64(user.polls() - polls_before);
    let logged = std::fs::read_to_string(log).unwrap_or_default();
    let logged = logged.get(logged_before..).unwrap_or_default();
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
        polls: polls / count,
        reading_cpu_s: told_cpu_s(logged, "extract").map(|cpu_s| cpu_s / count),
        rendering_cpu_s: told_cpu_s(logged, "render").map(|cpu_s| cpu_s / count),
        pdf_pages: average(&pages),
        pdf_bytes: average(&sizes),
        failed: begun.len() - succeeded.len(),
        last_id: succeeded
            .last()
            .map(|last| last.id.clone())
            .unwrap_or_default(),
    })
}

/// CPU seconds of one kind of work, by the reference's lines `… render took 0.8412 CPU-s`; `None` without any.
fn told_cpu_s(log: &str, work: &str) -> Option<f64> {
    let mut told = log.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [.., name, "took", cpu_s, "CPU-s"] if name == work => cpu_s.parse::<f64>().ok(),
            _ => None,
        }
    });
    let first = told.next()?;
    Some(first + told.sum::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_of_rendering_is_the_sum_of_what_the_log_says() {
        let log = "2026-01-02 03:04:05 INFO service.jobs render took 0.8000 CPU-s\n\
                   2026-01-02 03:04:06 INFO service.jobs extract took 0.0500 CPU-s\n\
                   2026-01-02 03:04:07 INFO service.jobs render took 0.7000 CPU-s\n\
                   2026-01-02 03:04:08 INFO service.jobs nothing of the kind\n";
        let rendering = told_cpu_s(log, "render").expect("two lines");
        assert!((rendering - 1.5).abs() < 1e-9);
        assert_eq!(told_cpu_s(log, "paint"), None);
    }
}
