//! How a service answers: at a fixed rate while something else goes on, and as fast as it can.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::reference::process_tree::ProcessTree;
use crate::reference::service::ServiceError;
use crate::reference::user::{UserError, client};
use crate::stats::count_u64_as_f64;

/// How often `/health` is asked while nothing runs.
pub(super) const IDLE_EVERY: Duration = Duration::from_millis(20);
/// How often while generations run: seldom enough that what is measured of them meanwhile is theirs. In compressed
/// time a question every 20 ms was a fifth of what a generation seemed to cost the Rust service.
pub(super) const BUSY_EVERY: Duration = Duration::from_millis(200);
/// Clients that ask in turn, each on a connection that stays with the worker process that accepted it.
const PROBE_CLIENTS: usize = 12;
/// Connections and length of one throughput measurement.
const CONNECTIONS: usize = 16;
const THROUGHPUT_FOR: Duration = Duration::from_secs(2);

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

/// Asks `url` `every` so often, whatever the answers take, while `work` runs; the latency of each answer in milliseconds.
///
/// # Errors
/// When no client can be made.
pub(super) async fn probed<T>(
    url: &str,
    every: Duration,
    work: impl Future<Output = T>,
) -> Result<(Vec<Option<f64>>, T), ServiceError> {
    let clients = std::iter::repeat_with(|| client(Duration::from_secs(60)));
    let clients: Vec<_> = clients.take(PROBE_CLIENTS).collect::<Result<_, _>>()?;
    let mut turns = clients.iter().cycle();
    let mut asked = JoinSet::new();
    let mut ticks = tokio::time::interval(every);
    let mut work = std::pin::pin!(work);
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = ticks.tick() => {
                let Some(request) = turns.next().map(|http| http.get(url)) else { continue };
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
///
/// # Errors
/// When a request cannot be made.
pub(super) async fn throughput(
    tree: &ProcessTree,
    request: impl Fn() -> Result<reqwest::RequestBuilder, UserError>,
) -> Result<Throughput, ServiceError> {
    let mut connections = JoinSet::new();
    let (cpu_before_s, began) = (tree.cpu_s(), Instant::now());
    let until = began + THROUGHPUT_FOR;
    for _ in 0..CONNECTIONS {
        let request = request()?;
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
