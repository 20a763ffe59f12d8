//! Sends orders on a schedule that is planned before anything is sent, and waits for the last one.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use simulator::scenario::WorkerModel;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::OpenRun;
use crate::measurement::{Plan, Shard};
use crate::reference::service::{Conditions, GENERATION_S, Service, ServiceError};
use crate::reference::user::{Generation, User};
use crate::sampler::unix_s;
use crate::schedule::arrivals_s;
use crate::stats::mean;

/// Arrivals in an hour of real time at async workers: compressed, they use a quarter of the proposal's 2 vCPU on quick cores
/// and half on slow ones, so that PDFs are rendered side by side and one after the other.
const RATE_PER_HOUR: f64 = 24.0;
/// Length of their schedule, in generations.
const GENERATIONS_LONG: f64 = 10.0;
/// Busy share of sync workers, were a generation nothing but its calls: enough that orders wait for a worker, and few enough
/// that they do not pile up. What a generation computes beside its calls, compressed time makes dear, comes on top.
const HELD_WORKERS_BUSY: f64 = 0.7;
/// Length of their schedule, in generations: about as many orders as at the others.
const HELD_GENERATIONS_LONG: f64 = 13.0;

/// When orders are sent to such workers.
fn plan(worker_model: WorkerModel, conditions: &Conditions) -> Plan {
    let (rate_per_hour, generations_long) = match worker_model {
        WorkerModel::Async => (RATE_PER_HOUR, GENERATIONS_LONG),
        WorkerModel::Sync => {
            let workers_per_hour = f64::from(conditions.workers) * 3600.0 / GENERATION_S;
            (workers_per_hour * HELD_WORKERS_BUSY, HELD_GENERATIONS_LONG)
        }
    };
    Plan {
        rate_per_hour,
        length_s: conditions.generation().as_secs_f64() * generations_long,
        warmup_s: 0.0,
        seed: conditions.seed,
    }
}

/// Everything of an order that is done before its time has come.
enum Order {
    /// Uploads, asks, and polls.
    Polled(User),
    /// Asks, and waits for the answer: only that needs a worker. On a connection of its own.
    Held {
        user: User,
        document: String,
        key: String,
    },
}

/// A generation, and when it was on its way.
struct Sojourn {
    generation: Generation,
    from_s: f64,
    took_s: f64,
}

impl Order {
    async fn prepare(
        worker_model: WorkerModel,
        user: &User,
        key: String,
    ) -> Result<Self, ServiceError> {
        Ok(match worker_model {
            WorkerModel::Async => Self::Polled(user.clone()),
            WorkerModel::Sync => Self::Held {
                document: user.upload().await?,
                user: user.apart()?,
                key,
            },
        })
    }

    /// None when it has not ended in time.
    async fn send(self, patience: Duration) -> Result<Option<Sojourn>, ServiceError> {
        match self {
            Self::Polled(user) => {
                let begun = user.begin().await?;
                let ended = user.follow(&begun.id, Instant::now() + patience).await;
                Ok(ended.and_then(|generation| {
                    Some(Sojourn {
                        from_s: unix_s(generation.created_at.into()),
                        took_s: generation.sojourn_s()?,
                        generation,
                    })
                }))
            }
            Self::Held {
                user,
                document,
                key,
            } => {
                let (from_s, sent) = (unix_s(SystemTime::now()), Instant::now());
                let generation = user.hold(&document, &key).await?;
                Ok(Some(Sojourn {
                    from_s,
                    took_s: sent.elapsed().as_secs_f64(),
                    generation,
                }))
            }
        }
    }
}

/// Sends each order at its time, and waits for the last one.
async fn send(
    orders: impl Iterator<Item = (Duration, Order)>,
    patience: Duration,
) -> Result<Vec<Option<Sojourn>>, ServiceError> {
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for (at, order) in orders {
        tokio::time::sleep_until(began + at).await;
        clients.spawn(order.send(patience));
    }
    clients.join_all().await.into_iter().collect()
}

/// Measures the arrivals at a service with such workers.
pub(in crate::reference) async fn of(
    service: &Service<'_>,
    worker_model: WorkerModel,
    document: &[u8],
) -> Result<OpenRun, ServiceError> {
    let conditions = *service.conditions();
    let patience = conditions.patience();
    let sandbox = service.sandbox().await?;
    let openai = conditions.openai().await?;
    let (name, extra) = match worker_model {
        WorkerModel::Async => ("open", vec![]),
        WorkerModel::Sync => (
            "open-sync",
            vec![("REFERENCE_WORKER_CLASS", "sync".to_owned())],
        ),
    };
    let started = service.start(&sandbox, &openai, name, &extra).await?;
    let user = User::enter(started.base_url(), document.to_vec()).await?;
    // Generations that are not counted load what only a first one loads: one for each worker, which a busy sync worker
    // leaves to the others; where the kernel chooses, two are enough as a rule.
    let first = match worker_model {
        WorkerModel::Async => 2 * conditions.workers,
        WorkerModel::Sync => conditions.workers,
    };
    let mut orders = Vec::new();
    for number in 0..first {
        let order = Order::prepare(worker_model, &user, format!("first-{number}")).await?;
        orders.push((Duration::ZERO, order));
    }
    send(orders.into_iter(), patience).await?;

    let plan = plan(worker_model, &conditions);
    let planned_s = arrivals_s(&plan, conditions.speedup, Shard { index: 1, of: 1 });
    let first_s = planned_s.first().copied().unwrap_or(0.0);
    let mut orders = Vec::new();
    for (number, at_s) in planned_s.iter().enumerate() {
        let order = Order::prepare(worker_model, &user, format!("order-{number}")).await?;
        orders.push((Duration::from_secs_f64(at_s - first_s), order));
    }
    let (cpu_before_s, polls_before) = (started.tree.cpu_s(), user.polls());
    let ended = send(orders.into_iter(), patience).await?;
    let cpu_s = started.tree.cpu_s() - cpu_before_s;
    let polls = user.polls() - polls_before;
    let log = std::fs::read_to_string(&started.log).unwrap_or_default();
    started.stop().await;
    openai.stop().await;

    let ended: Vec<Sojourn> = ended.into_iter().flatten().collect();
    let (mut written, failed): (Vec<_>, Vec<_>) = ended
        .into_iter()
        .partition(|sojourn| sojourn.generation.succeeded());
    if written.len() < planned_s.len() {
        return Err(ServiceError::Failures {
            service: service.kind.label(),
            failed: planned_s.len() - written.len(),
            total: planned_s.len(),
            reason: failed
                .into_iter()
                .find_map(|sojourn| sojourn.generation.error)
                .map_or("not ended in time".to_owned(), |error| error.detail),
        });
    }
    written.sort_by(|one, other| one.from_s.total_cmp(&other.from_s));
    let origin_s = written.first().map_or(0.0, |sojourn| sojourn.from_s);
    let renderings = renderings(&log, written.iter().map(|one| &*one.generation.id));
    let cpu_times_s: Vec<f64> = renderings.iter().map(|one| one.cpu_s).collect();
    Ok(OpenRun {
        worker_model,
        rate_per_hour: plan.rate_per_hour,
        arrived_s: written.iter().map(|one| one.from_s - origin_s).collect(),
        sojourn_s: written.iter().map(|one| one.took_s).collect(),
        worker: workers(&renderings),
        polls,
        cpu_s,
        rendering_cpu_s: mean(&cpu_times_s).map_or(0.0, |mean| mean.value),
    })
}

/// What the log tells of one PDF.
#[derive(Clone, Copy)]
struct Rendering<'a> {
    /// Of the process that rendered it.
    pid: &'a str,
    cpu_s: f64,
}

/// The PDF of each generation, by the lines `date time PID … generation ID: render took 0.5 CPU-s`; those are left out of
/// which there is none.
fn renderings<'a>(log: &'a str, ids: impl Iterator<Item = &'a str>) -> Vec<Rendering<'a>> {
    let mut by_id = HashMap::new();
    for line in log.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [_, _, pid, .., "generation", id, "render", "took", cpu_s, _] = words[..]
            && let Ok(cpu_s) = cpu_s.parse()
        {
            by_id.insert(id.trim_end_matches(':'), Rendering { pid, cpu_s });
        }
    }
    ids.filter_map(|id| by_id.get(id).copied()).collect()
}

/// Which process each was of, counted from 0 in the order in which they are met.
fn workers(renderings: &[Rendering<'_>]) -> Vec<u32> {
    let mut met: Vec<&str> = vec![];
    let mut workers = vec![];
    for one in renderings {
        let known = met.iter().position(|pid| *pid == one.pid);
        let index = known.unwrap_or_else(|| {
            met.push(one.pid);
            met.len() - 1
        });
        workers.push(u32::try_from(index).unwrap_or(u32::MAX));
    }
    workers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_orders_keep_the_proposals_workers_busy_for_seven_tenths_of_the_time() {
        let conditions = Conditions {
            workers: 6,
            vcpu: 2.0,
            memory_mib: 4096,
            speedup: 100.0,
            generations: 6,
            repetitions: 1,
            rounds: 1,
            seed: 42,
        };
        let plan = plan(WorkerModel::Sync, &conditions);
        assert!((plan.rate_per_hour - 16.8).abs() < 1e-9, "{plan:?}");
        assert!((plan.length_s - 117.0).abs() < 1e-9, "{plan:?}");
    }

    #[test]
    fn workers_are_counted_in_the_order_in_which_they_are_met() {
        let log = "\
            2026-11-27 10:00:00,000 71 INFO service.jobs generation a: extract took 0.0421 CPU-s\n\
            2026-11-27 10:00:00,000 71 INFO service.jobs generation a: render took 0.5500 CPU-s\n\
            2026-11-27 10:00:01,000 70 INFO service.jobs generation b: render took 0.5500 CPU-s\n\
            2026-11-27 10:00:02,000 71 INFO service.jobs generation c: render took 0.5500 CPU-s\n";
        let renderings = renderings(log, ["b", "a", "c", "d"].into_iter());
        assert_eq!(workers(&renderings), [0, 1, 1]);
        let all_s: f64 = renderings.iter().map(|one| one.cpu_s).sum();
        assert!((all_s - 1.65).abs() < 1e-9, "{all_s}");
    }
}
