//! What a generation costs a service: its CPU in every cell of the grid, its memory between few and many in flight; and
//! what a service does that is measured once, beside the cell that all else is measured in.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::histogram::Latencies as Histogram;
use crate::measurement::VcpuLimit;
use crate::reference::batch::{Batch, batch};
use crate::reference::cells::{Cell, CellCosts, Pace};
use crate::reference::comparison::Asked;
use crate::reference::fate;
use crate::reference::in_flight::{self, Round, mib};
use crate::reference::probe::{BUSY_EVERY, IDLE_EVERY, Latencies, Throughput, probed, throughput};
use crate::reference::process_tree::ProcessTree;
use crate::reference::service::{Conditions, Service, ServiceError};
use crate::reference::user::{User, client};
use crate::stats::{Mean, mean};

/// Patience with one request under full load.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Half of the 95 % interval of a generation's CPU, as a share, at which a cell needs no further batch.
const CPU_CI95_SHARE_MAX: f64 = 0.08;
/// How long `/health` is asked of a service that does nothing else.
const IDLE_FOR: Duration = Duration::from_secs(2);

/// What one service was found to cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// CPU of a generation, and what else depends on how many there are at a time.
    pub cells: Vec<CellCosts>,
    /// CPU seconds from its start until it was ready, over fresh starts.
    pub start_cpu_s: Mean,
    /// CPU use after a fresh start while nothing is asked, in cores of real time; absent where nobody looked.
    #[serde(default)]
    pub idle_cores: Option<Mean>,
    /// Memory after a fresh start, in MiB: proportional set sizes of all its processes.
    pub memory_idle_mib: Mean,
    /// Of it, that of the first process, which in Python only looks after the others.
    pub memory_first_process_mib: Mean,
    /// Memory after the generations of the base cell, none of them running, in MiB.
    pub memory_used_mib: f64,
    /// Processes after its start.
    pub processes: usize,
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
    /// `/health` under full load.
    pub health: Throughput,
    /// The status of a generation under full load.
    pub poll: Throughput,
    /// The base cell with clients that poll as often as those of the other service; absent where nobody looked.
    #[serde(default)]
    pub polled_alike: Option<PolledAlike>,
}

/// What a generation costs when its clients poll as often as those of the other service: every 5 s at the backend, as the
/// reference asks for, and every 37.5 s at the reference, as the backend does on average.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolledAlike {
    /// CPU seconds of one generation with its polls, over the batches.
    pub cpu_s_per_generation: Mean,
    /// Polls of its client, on average.
    pub polls_per_generation: f64,
}

impl Costs {
    /// What was found in one cell, if it was measured.
    pub fn cell(&self, cell: Cell) -> Option<&CellCosts> {
        self.cells.iter().find(|one| one.cell == cell)
    }

    /// CPU seconds of one poll among generations that run, from batches of few and of many polls; where there were none,
    /// under full load, where one costs less.
    pub fn cpu_s_per_poll(&self, base: Cell) -> f64 {
        let slope = || {
            let (usual, other) = (self.cell(base)?, self.polled_alike?);
            let polls = usual.polls_per_generation - other.polls_per_generation;
            let cpu_s = usual.cpu_s_per_generation.value - other.cpu_s_per_generation.value;
            (polls.abs() >= 1.0).then(|| (cpu_s / polls).max(0.0))
        };
        slope().unwrap_or(self.poll.cpu_ms / 1000.0)
    }
}

/// Measures a service that nothing else uses.
///
/// # Errors
/// When it does not start, does not answer as the contract says, or a generation of the base cell fails.
pub(super) async fn of(
    service: &Service<'_>,
    asked: Asked<'_>,
    document: &[u8],
    say: &impl Fn(&str),
) -> Result<Costs, ServiceError> {
    let Asked {
        cells,
        polled_alike,
        ..
    } = asked;
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
    let mut found = Found {
        polled_alike,
        ..Found::default()
    };
    for &vcpu in cells.vcpus() {
        for together in service.shared_starts(cells.generations()) {
            let mut left = together;
            while !left.is_empty() {
                let measured = busy(service, (vcpu, left), document, say, &mut found).await?;
                left = &left[measured..];
            }
        }
    }
    joined(&conditions, &rounds, in_flight_max, found).ok_or(ServiceError::Nothing)
}

/// What services that were started for cells did there.
#[derive(Default)]
struct Found {
    /// Whether to look what polls alike cost.
    polled_alike: bool,
    cells: Vec<CellCosts>,
    once: Option<Once>,
}

/// What is measured of one start alone, that of the base cell.
struct Once {
    processes: usize,
    memory_used_mib: f64,
    pdf_pages: f64,
    pdf_bytes: f64,
    health_idle: Latencies,
    health: Throughput,
    poll: Throughput,
    polled_alike: Option<PolledAlike>,
}

/// Starts a service on `vcpu` and measures the cells of these `generations`, one after the other; how many it came to.
/// A generation that fails ends it, for what it has left running would be counted in the next cell.
async fn busy(
    service: &Service<'_>,
    (vcpu, generations): (f64, &[u32]),
    document: &[u8],
    say: &impl Fn(&str),
    found: &mut Found,
) -> Result<usize, ServiceError> {
    let base = service.conditions().base();
    let conditions = Conditions {
        vcpu,
        ..*service.conditions()
    };
    let service = service.under(conditions);
    let (first, most) = (generations[0], generations[generations.len() - 1]);
    let sandbox = service.sandbox().await?;
    let openai = conditions.openai().await?;
    let (name, room) = (format!("busy-{vcpu}-{first}"), [service.room_for(most)]);
    let started = service.start(&sandbox, &openai, &name, &room).await?;
    let (tree, log) = (&started.tree, started.log.clone());
    let processes = tree.count();
    let user = User::enter(started.base_url(), document.to_vec()).await?;
    let health = format!("{}/health", started.base_url());
    let is_base = |count: u32| {
        Cell {
            generations: count,
            vcpu,
        } == base
    };
    let idle = match generations.iter().copied().any(is_base) {
        true => {
            probed(&health, IDLE_EVERY, tokio::time::sleep(IDLE_FOR))
                .await?
                .0
        }
        false => vec![],
    };
    // Not measured: it loads what only a first generation of each process loads.
    batch(&user, (tree, &log), &conditions, service.warm_up()).await?;
    let mut measured = 0;
    for &count in generations {
        let cell = Cell {
            generations: count,
            vcpu,
        };
        let (mut batches, mut probes) = (vec![], vec![]);
        while !enough(&batches, &conditions) {
            say(&format!(
                "{}: {}, batch {} of {} at most",
                service.kind.label(),
                cell.label(),
                batches.len() + 1,
                conditions.repetitions_max()
            ));
            let one = batch(&user, (tree, &log), &conditions, count);
            let (answers, one) = probed(&health, BUSY_EVERY, one).await?;
            probes.extend(answers);
            batches.push(one?);
            if batches.iter().any(|one| one.failed > 0) {
                break;
            }
        }
        measured += 1;
        let costs = in_cell(cell, &batches, &probes, started.limit(), &conditions);
        let costs = costs.ok_or(ServiceError::Nothing)?;
        if is_base(count) {
            if costs.failed > 0 {
                return Err(ServiceError::Failures {
                    service: service.kind.label(),
                    failed: as_usize(costs.failed),
                    total: as_usize(costs.asked),
                    reason: costs.failure.unwrap_or_default(),
                });
            }
            let memory_used_mib = mib(tree.memory_kib());
            let polled_alike = match found.polled_alike {
                true => alike(&service, &user, (tree, &log, &health), say).await?,
                false => None,
            };
            let health_full = throughput(tree, || Ok(client(REQUEST_TIMEOUT)?.get(&health)));
            let health_full = health_full.await?;
            // Of one that runs, as nearly all polls are.
            let running = [user.begin().await?];
            let poll = format!("/api/v1/generations/{}", running[0].id);
            let poll = throughput(tree, || Ok(user.at(started.base_url())?.get(&poll))).await?;
            fate::follow(&user, &running, Instant::now() + conditions.patience()).await;
            found.once = Some(Once {
                processes,
                memory_used_mib,
                pdf_pages: over(&batches, |batch| batch.pdf_pages).map_or(0.0, |mean| mean.value),
                pdf_bytes: over(&batches, |batch| batch.pdf_bytes).map_or(0.0, |mean| mean.value),
                health_idle: Latencies::of(&idle),
                health: health_full,
                poll,
                polled_alike,
            });
        }
        let failed = costs.failed > 0;
        found.cells.push(costs);
        if failed {
            // It would wait for what it still runs.
            started.kill().await;
            break;
        }
    }
    started.stop().await;
    openai.stop().await;
    Ok(measured)
}

/// Batches of the base cell whose clients poll as often as those of the other service; `None` where that is not looked at
/// or a generation fails.
async fn alike(
    service: &Service<'_>,
    user: &User,
    (tree, log, health): (&ProcessTree, &Path, &str),
    say: &impl Fn(&str),
) -> Result<Option<PolledAlike>, ServiceError> {
    let (kind, conditions) = (service.kind, service.conditions());
    let Some(every_s) = kind.polled_alike_every_s() else {
        return Ok(None);
    };
    let base = conditions.base();
    say(&format!(
        "{}: {}, polled every {every_s} s",
        kind.label(),
        base.label()
    ));
    let user = user.polling_every(conditions.compressed(every_s));
    let mut batches = vec![];
    for _ in 0..conditions.repetitions {
        // Asked here too, or its answers would be missing in what is compared with the cell.
        let one = batch(&user, (tree, log), conditions, base.generations);
        let (_, one) = probed(health, BUSY_EVERY, one).await?;
        batches.push(one?);
    }
    let told = || {
        Some(PolledAlike {
            cpu_s_per_generation: over(&batches, |batch| batch.cpu_s)?,
            polls_per_generation: over(&batches, |batch| batch.polls)?.value,
        })
    };
    Ok(told().filter(|_| batches.iter().all(|batch| batch.failed == 0)))
}

/// Whether a cell needs no further batch: it has as many as were asked for, and either its interval is narrow or it has
/// as many as there may be. A single one states no interval, which a second would be needed for.
fn enough(batches: &[Batch], conditions: &Conditions) -> bool {
    let ran = batches.len();
    let narrow = || {
        let share = over(batches, |batch| batch.cpu_s).and_then(Mean::ci95_share);
        share.is_none_or(|share| share <= CPU_CI95_SHARE_MAX)
    };
    ran >= as_usize(conditions.repetitions_max())
        || (ran >= as_usize(conditions.repetitions) && narrow())
}

fn as_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn over(batches: &[Batch], value: fn(&Batch) -> f64) -> Option<Mean> {
    let values: Vec<f64> = batches.iter().map(value).collect();
    mean(&values)
}

/// What the batches of one cell come to; `None` without any.
fn in_cell(
    cell: Cell,
    batches: &[Batch],
    probes: &[Option<f64>],
    vcpu_limit: VcpuLimit,
    conditions: &Conditions,
) -> Option<CellCosts> {
    let told = |value: fn(&Batch) -> Option<f64>| {
        let values: Option<Vec<f64>> = batches.iter().map(value).collect();
        mean(&values?)
    };
    let count = f64::from(cell.generations);
    let beyond = batches.iter().flat_map(|batch| &batch.beyond_openai_s);
    let beyond = Histogram::of(beyond.copied());
    let used_s: f64 = batches.iter().map(|batch| batch.cpu_s * count).sum();
    let took_s: f64 = batches.iter().map(|batch| batch.took_s).sum();
    let pace = Pace {
        beyond_openai_p50_s: beyond.quantile_s(0.5).unwrap_or(0.0),
        beyond_openai_p95_s: beyond.quantile_s(0.95).unwrap_or(0.0),
        cpu_utilization: used_s / took_s / cell.vcpu,
        vcpu_limit,
    };
    Some(CellCosts {
        cell,
        asked: cell.generations * u32::try_from(batches.len()).unwrap_or(conditions.repetitions),
        failed: batches.iter().map(|batch| batch.failed).sum(),
        failure: batches.iter().find_map(|batch| batch.failure.clone()),
        cpu_s_per_generation: over(batches, |batch| batch.cpu_s)?,
        polls_per_generation: over(batches, |batch| batch.polls)?.value,
        reading_cpu_s: told(|batch| batch.reading_cpu_s),
        rendering_cpu_s: told(|batch| batch.rendering_cpu_s),
        health: Latencies::of(probes),
        pace: (beyond.count() > 0).then_some(pace),
    })
}

/// `None` when nothing was measured.
fn joined(
    conditions: &Conditions,
    rounds: &[Round],
    in_flight_max: u64,
    found: Found,
) -> Option<Costs> {
    let over_rounds = |value: fn(&Round) -> f64| {
        let values: Vec<f64> = rounds.iter().map(value).collect();
        mean(&values)
    };
    let once = found.once?;
    Some(Costs {
        cells: found.cells,
        start_cpu_s: over_rounds(|round| round.start_cpu_s)?,
        idle_cores: over_rounds(|round| round.idle_cores),
        memory_idle_mib: over_rounds(|round| round.idle_mib)?,
        memory_first_process_mib: over_rounds(|round| round.first_process_mib)?,
        memory_used_mib: once.memory_used_mib,
        processes: once.processes,
        memory_mib_per_generation: over_rounds(|round| round.memory_mib)?,
        postgres_mib_per_generation: over_rounds(|round| round.postgres_mib)?,
        in_flight_mib_per_generation: over_rounds(|round| round.memory_mib + round.postgres_mib)?,
        in_flight_asked: conditions.in_flight_asked(),
        in_flight_max,
        pdf_pages: once.pdf_pages,
        pdf_bytes: once.pdf_bytes,
        health_idle: once.health_idle,
        health: once.health,
        poll: once.poll,
        polled_alike: once.polled_alike,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CELL: Cell = Cell {
        generations: 4,
        vcpu: 0.5,
    };
    const CONDITIONS: Conditions = Conditions {
        workers: 2,
        vcpu: 2.0,
        memory_mib: 512,
        speedup: 100.0,
        generations: 2,
        repetitions: 2,
        rounds: 1,
        seed: 1,
    };

    fn batch(beyond_openai_s: &[f64], failed: u32) -> Batch {
        Batch {
            cpu_s: 0.9,
            polls: 100.0,
            reading_cpu_s: None,
            rendering_cpu_s: Some(0.5),
            pdf_pages: 10.0,
            pdf_bytes: 4e4,
            beyond_openai_s: beyond_openai_s.to_vec(),
            took_s: 10.0,
            failed,
            failure: (failed > 0).then(|| "not ended in 138 s".to_owned()),
        }
    }

    fn found(batches: &[Batch]) -> CellCosts {
        let limit = VcpuLimit::Cgroup;
        in_cell(CELL, batches, &[Some(3.0), None], limit, &CONDITIONS).expect("batches")
    }

    #[test]
    fn a_cell_that_cannot_keep_up_says_how_late_it_is_and_that_cpu_is_what_it_lacks() {
        let found = found(&[batch(&[1.0, 1.0, 2.0, 4.0], 0), batch(&[1.0; 4], 0)]);
        assert_eq!((found.asked, found.failed, found.health.errors), (8, 0, 1));
        let pace = found.pace.expect("some ended");
        // Twice four of 0.9 s, in twice 10 s of half a vCPU.
        assert!((pace.cpu_utilization - 0.72).abs() < 1e-9, "{pace:?}");
        assert!(found.is_cpu_bound());
        assert!((pace.beyond_openai_p50_s - 1.0).abs() < 0.01, "{pace:?}");
        assert!((pace.beyond_openai_p95_s - 4.0).abs() < 0.01, "{pace:?}");
    }

    #[test]
    fn batches_that_differ_are_followed_by_two_more_at_most() {
        let of = |costs: &[f64]| -> Vec<Batch> {
            let batch = |&cpu_s: &f64| Batch {
                cpu_s,
                ..batch(&[], 0)
            };
            costs.iter().map(batch).collect()
        };
        let asked = |repetitions| Conditions {
            repetitions,
            ..CONDITIONS
        };
        assert!(!enough(&of(&[]), &asked(1)));
        assert!(enough(&of(&[1.0]), &asked(1)));
        assert!(!enough(&of(&[1.0, 1.0]), &asked(3)));
        assert!(enough(&of(&[1.0, 1.0, 1.01]), &asked(3)));
        assert!(!enough(&of(&[1.0, 1.2, 1.1]), &asked(3)));
        assert!(!enough(&of(&[1.0, 1.2, 1.4, 0.8]), &asked(3)));
        assert!(enough(&of(&[1.0, 1.2, 1.4, 0.8, 1.0]), &asked(3)));
    }

    #[test]
    fn a_cell_in_which_all_failed_has_no_pace() {
        let found = found(&[batch(&[], 4)]);
        assert_eq!(found.failure.as_deref(), Some("not ended in 138 s"));
        assert_eq!((found.asked, found.failed, found.pace), (4, 4, None));
        assert!(!found.is_cpu_bound());
    }
}
