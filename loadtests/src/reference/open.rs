//! Poisson arrivals at a service, and what the simulator says of the same arrivals.

use std::collections::HashMap;
use std::time::Duration as WallDuration;

use serde::{Deserialize, Serialize};
use simulator::scenario::{Arrivals, GenerationLength, InvalidScenario, Scenario, Tasks, Workload};
use simulator::simulate;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fidelity::{seconds, tracks};
use crate::histogram::Latencies;
use crate::measurement::{Plan, Shard};
use crate::reference::profile::Stack;
use crate::reference::service::{Conditions, Service, ServiceError};
use crate::reference::user::{Generation, User};
use crate::schedule::arrivals_s;
use crate::stats::{count_as_f64, count_u64_as_f64};

/// Arrivals in an hour of real time: compressed, they use a quarter of the proposal's 2 vCPU on quick cores and half on
/// slow ones, so that PDFs are rendered side by side and one after the other.
const RATE_PER_HOUR: f64 = 24.0;
/// Length of the schedule, in generations.
const GENERATIONS_LONG: f64 = 10.0;

/// One run under Poisson arrivals. Times are compressed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenRun {
    /// Arrivals per hour of real time, as planned.
    pub rate_per_hour: f64,
    /// When each generation was accepted, in seconds after the first.
    pub accepted_s: Vec<f64>,
    /// From then until it had ended, by the service's clock.
    pub sojourn_s: Vec<f64>,
    /// Which worker process wrote each, counted from 0 in the order in which they are met.
    pub worker: Vec<u32>,
    /// Answered polls, of all of them.
    pub polls: u64,
    /// CPU seconds of the service from the first acceptance until the last end.
    pub cpu_s: f64,
}

/// The figures of one side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Generations per compressed hour, from the first acceptance until the last end.
    pub throughput_per_hour: f64,
    /// Median of accepted until ended, in compressed seconds.
    pub sojourn_p50_s: f64,
    /// Its 95 % quantile.
    pub sojourn_p95_s: f64,
    /// The same without the calls of OpenAI, which are of an even length: what the service adds.
    pub beyond_openai_p95_s: f64,
    /// Used share of the vCPU.
    pub cpu_utilization: f64,
}

impl Figures {
    /// Each figure with its name, the greatest error that the lab promises for it, and its digits.
    pub fn rows(self) -> [(&'static str, f64, Option<f64>, usize); 5] {
        [
            (
                "throughput, generations/h",
                self.throughput_per_hour,
                Some(0.03),
                0,
            ),
            ("sojourn p50, s", self.sojourn_p50_s, None, 2),
            ("sojourn p95, s", self.sojourn_p95_s, Some(0.10), 2),
            ("beyond OpenAI p95, s", self.beyond_openai_p95_s, None, 2),
            ("CPU use, %", self.cpu_utilization * 100.0, Some(0.10), 1),
        ]
    }

    fn of(
        accepted_s: &[f64],
        sojourn_s: &[f64],
        (window_s, openai_s): (f64, f64),
        cpu_utilization: f64,
    ) -> Self {
        let sojourns = Latencies::of(sojourn_s.iter().copied());
        Self {
            throughput_per_hour: count_as_f64(accepted_s.len()) * 3600.0 / window_s,
            sojourn_p50_s: sojourns.quantile_s(0.5).unwrap_or(0.0),
            sojourn_p95_s: sojourns.quantile_s(0.95).unwrap_or(0.0),
            beyond_openai_p95_s: sojourns
                .quantile_s(0.95)
                .map_or(0.0, |sojourn_s| sojourn_s - openai_s),
            cpu_utilization,
        }
    }
}

impl OpenRun {
    /// From the first acceptance until the last end, in compressed seconds.
    fn window_s(&self) -> f64 {
        let ends = self.accepted_s.iter().zip(&self.sojourn_s);
        ends.map(|(at_s, took_s)| at_s + took_s).fold(0.0, f64::max)
    }

    /// What was measured, on the vCPU of these conditions.
    pub fn measured(&self, conditions: &Conditions) -> Figures {
        let window_s = self.window_s();
        let used = self.cpu_s / window_s / conditions.vcpu;
        let openai_s = conditions.generation().as_secs_f64();
        Figures::of(
            &self.accepted_s,
            &self.sojourn_s,
            (window_s, openai_s),
            used,
        )
    }

    /// What the simulator says of the same arrivals: async workers, each with PDFs in its event loop, of what such a stack
    /// was found to cost.
    ///
    /// # Errors
    /// When they cannot be simulated.
    pub fn predicted(
        &self,
        stack: &Stack,
        conditions: &Conditions,
    ) -> Result<Figures, InvalidScenario> {
        let at = self.accepted_s.iter().map(|at_s| seconds(*at_s));
        let length = GenerationLength::Deterministic {
            length: seconds(conditions.generation().as_secs_f64()),
        };
        // A client waits for an answer before it waits to ask again, which no speed-up shrinks.
        let poll_every_s = self.sojourn_s.iter().sum::<f64>() / count_u64_as_f64(self.polls);
        let workload = Workload {
            poll_every: seconds(poll_every_s),
            ..Workload::new(Arrivals::Trace { at: at.collect() }, length)
        };
        let memory_gib = count_u64_as_f64(conditions.memory_mib) / 1024.0;
        let fleet = stack.fleet(
            conditions.vcpu,
            memory_gib,
            conditions.workers,
            Tasks::fixed(1),
        );
        let mut scenario = Scenario::new(workload, stack.profile(conditions.workers), fleet);
        // Long enough for all to end; then again for as long as that took, for CPU use.
        scenario.warmup = simulator::time::Duration::ZERO;
        scenario.horizon = seconds(self.window_s() * 3.0);
        scenario.validate()?;
        let tracks = tracks(&scenario)?;
        let ended = tracks
            .iter()
            .filter_map(|track| Some((track.created_s, track.finished_s?)));
        let (accepted_s, ends_s): (Vec<f64>, Vec<f64>) = ended.unzip();
        let sojourn_s: Vec<f64> = ends_s
            .iter()
            .zip(&accepted_s)
            .map(|(end, at)| end - at)
            .collect();
        let window_s = ends_s.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        scenario.horizon = seconds(window_s);
        let used = simulate(&scenario)?.cpu_utilization;
        let openai_s = conditions.generation().as_secs_f64();
        Ok(Figures::of(
            &accepted_s,
            &sojourn_s,
            (window_s, openai_s),
            used,
        ))
    }
}

/// Sends users on a schedule that is planned before anything is sent, and waits for the last one.
pub(super) async fn of(service: &Service<'_>, document: &[u8]) -> Result<OpenRun, ServiceError> {
    let conditions = *service.conditions();
    let sandbox = service.sandbox().await?;
    let openai = conditions.openai().await?;
    let started = service.start(&sandbox, &openai, "open", &[]).await?;
    let user = User::enter(started.base_url(), document.to_vec()).await?;
    // One generation for each worker that is not counted: it loads what only a first one loads.
    let mut first = Vec::new();
    for _ in 0..2 * conditions.workers {
        first.push(user.begin().await?);
    }
    let patience = conditions.patience();
    super::fate::follow(&user, &first, Instant::now() + patience).await;

    let plan = Plan {
        rate_per_hour: RATE_PER_HOUR,
        length_s: conditions.generation().as_secs_f64() * GENERATIONS_LONG,
        warmup_s: 0.0,
        seed: conditions.seed,
    };
    let planned_s = arrivals_s(&plan, conditions.speedup, Shard { index: 1, of: 1 });
    let first_s = planned_s.first().copied().unwrap_or(0.0);
    let (cpu_before_s, polls_before) = (started.tree.cpu_s(), user.polls());
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for at_s in &planned_s {
        tokio::time::sleep_until(began + WallDuration::from_secs_f64(at_s - first_s)).await;
        let user = user.clone();
        clients.spawn(async move {
            let begun = user.begin().await?;
            let ended = user.follow(&begun.id, Instant::now() + patience).await;
            Ok::<_, ServiceError>(ended)
        });
    }
    let followed: Vec<_> = clients
        .join_all()
        .await
        .into_iter()
        .collect::<Result<_, _>>()?;
    let ended: Vec<Generation> = followed.into_iter().flatten().collect();
    let cpu_s = started.tree.cpu_s() - cpu_before_s;
    let polls = user.polls() - polls_before;
    let log = std::fs::read_to_string(&started.log).unwrap_or_default();
    started.stop().await;
    openai.stop().await;
    let mut spans: Vec<(f64, f64, &str)> = ended
        .iter()
        .filter(|generation| generation.succeeded())
        .filter_map(|generation| {
            let created_s = crate::sampler::unix_s(generation.created_at.into());
            let finished_s = crate::sampler::unix_s(generation.finished_at?.into());
            Some((created_s, finished_s - created_s, &*generation.id))
        })
        .collect();
    if spans.len() < planned_s.len() {
        return Err(ServiceError::Failures {
            service: service.kind.label(),
            failed: planned_s.len() - spans.len(),
            total: planned_s.len(),
            reason: ended
                .iter()
                .find_map(|generation| generation.error.as_ref())
                .map_or("not ended in time".to_owned(), |error| error.detail.clone()),
        });
    }
    spans.sort_by(|one, other| one.0.total_cmp(&other.0));
    let origin_s = spans.first().map_or(0.0, |span| span.0);
    Ok(OpenRun {
        rate_per_hour: RATE_PER_HOUR,
        accepted_s: spans.iter().map(|span| span.0 - origin_s).collect(),
        sojourn_s: spans.iter().map(|span| span.1).collect(),
        worker: workers(&log, spans.iter().map(|span| span.2)),
        polls,
        cpu_s,
    })
}

/// Which process wrote each generation, by the lines `date time PID … generation ID: render took …`.
fn workers<'a>(log: &str, ids: impl Iterator<Item = &'a str>) -> Vec<u32> {
    let mut by_id = HashMap::new();
    for line in log.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [_, _, pid, .., "generation", id, "render", "took", _, _] = words[..] {
            by_id.insert(id.trim_end_matches(':'), pid);
        }
    }
    let mut met = vec![];
    ids.map(|id| {
        let pid = by_id.get(id).copied().unwrap_or_default();
        let known = met.iter().position(|one| *one == pid);
        let index = known.unwrap_or_else(|| {
            met.push(pid);
            met.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    })
    .collect()
}
