//! Poisson arrivals at a service, and what the simulator says of the same arrivals.

mod arrivals;
pub(super) mod table;

use serde::{Deserialize, Serialize};
use simulator::scenario::{
    Arrivals, Fleet, GenerationLength, InvalidScenario, Scenario, Tasks, WorkerModel, Workload,
};
use simulator::simulate;

use crate::fidelity::{seconds, tracks};
use crate::histogram::Latencies;
use crate::reference::profile::Stack;
use crate::reference::service::{CALLS_PER_GENERATION, Conditions, Kind};
use crate::stats::{count_as_f64, count_u64_as_f64};

pub(super) use arrivals::of;

/// How the workers of a service are measured, one run each: the reference as proposed also with workers that do one thing
/// at a time.
pub(super) fn worker_models(kind: Kind) -> &'static [WorkerModel] {
    match kind {
        Kind::FastApi => &[WorkerModel::Async, WorkerModel::Sync],
        // A slot of the backend is no process, and tuned is of the async workers.
        Kind::Rust | Kind::FastApiTuned => &[WorkerModel::Async],
    }
}

/// The name of a service with such workers.
pub fn label(worker_model: WorkerModel, kind: Kind) -> String {
    match worker_model {
        WorkerModel::Async => kind.label().to_owned(),
        WorkerModel::Sync => format!("{}, sync workers", kind.label()),
    }
}

/// One run under Poisson arrivals. Times are compressed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenRun {
    /// What a worker does while its generation waits for OpenAI: take others (`async`), whose clients poll, or nothing
    /// (`sync`), where each client holds its request open for its generation.
    pub worker_model: WorkerModel,
    /// Arrivals per hour of real time, as planned.
    pub rate_per_hour: f64,
    /// When each generation arrived, in seconds after the first: was accepted, by the service's clock; or was sent, where
    /// the request is held, for it may wait for long until a worker accepts it.
    pub arrived_s: Vec<f64>,
    /// From then until it had ended, or was answered.
    pub sojourn_s: Vec<f64>,
    /// Which worker process wrote each, counted from 0 in the order in which they are met.
    pub worker: Vec<u32>,
    /// Answered polls, of all of them; none where requests are held.
    pub polls: u64,
    /// CPU seconds of the service from the first arrival until the last end.
    pub cpu_s: f64,
    /// CPU seconds that one PDF took, by the service's log.
    pub rendering_cpu_s: f64,
}

/// The figures of one side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Generations per compressed hour, from the first arrival until the last end.
    pub throughput_per_hour: f64,
    /// Median of arrived until ended, in compressed seconds.
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
        arrived_s: &[f64],
        sojourn_s: &[f64],
        (window_s, openai_s): (f64, f64),
        cpu_utilization: f64,
    ) -> Self {
        let sojourns = Latencies::of(sojourn_s.iter().copied());
        Self {
            throughput_per_hour: count_as_f64(arrived_s.len()) * 3600.0 / window_s,
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
    /// From the first arrival until the last end, in compressed seconds.
    fn window_s(&self) -> f64 {
        let ends = self.arrived_s.iter().zip(&self.sojourn_s);
        ends.map(|(at_s, took_s)| at_s + took_s).fold(0.0, f64::max)
    }

    /// What was measured, on the vCPU of these conditions.
    pub fn measured(&self, conditions: &Conditions) -> Figures {
        let window_s = self.window_s();
        let used = self.cpu_s / window_s / conditions.vcpu;
        let openai_s = conditions.generation().as_secs_f64();
        Figures::of(&self.arrived_s, &self.sojourn_s, (window_s, openai_s), used)
    }

    /// How dear CPU time was meanwhile: what the same PDF took, in what it took in the batches. On shared cores that is
    /// another figure minutes later, and where fewer are rendered side by side.
    pub fn pace(&self, stack: &Stack) -> f64 {
        match stack.pdf_cpu_s > 0.0 {
            true => self.rendering_cpu_s / stack.pdf_cpu_s,
            false => 1.0,
        }
    }

    /// What the simulator says of the same arrivals: such workers, of what such a stack was found to cost in the batches,
    /// at the [pace](Self::pace) of this run.
    ///
    /// # Errors
    /// When they cannot be simulated.
    pub fn predicted(
        &self,
        stack: &Stack,
        conditions: &Conditions,
    ) -> Result<Figures, InvalidScenario> {
        let mut scenario = self.scenario(&stack.at_pace(self.pace(stack)), conditions);
        // Long enough for all to end; then again for as long as that took, for CPU use.
        scenario.warmup = simulator::time::Duration::ZERO;
        scenario.horizon = seconds(self.window_s() * 3.0);
        scenario.validate()?;
        let tracks = tracks(&scenario)?;
        let ended = tracks
            .iter()
            .filter_map(|track| Some((track.created_s, track.finished_s?)));
        let (arrived_s, ends_s): (Vec<f64>, Vec<f64>) = ended.unzip();
        let sojourn_s: Vec<f64> = ends_s
            .iter()
            .zip(&arrived_s)
            .map(|(end, at)| end - at)
            .collect();
        let window_s = ends_s.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        scenario.horizon = seconds(window_s);
        let used = simulate(&scenario)?.cpu_utilization;
        let openai_s = conditions.generation().as_secs_f64();
        Ok(Figures::of(
            &arrived_s,
            &sojourn_s,
            (window_s, openai_s),
            used,
        ))
    }

    fn scenario(&self, stack: &Stack, conditions: &Conditions) -> Scenario {
        let memory_gib = count_u64_as_f64(conditions.memory_mib) / 1024.0;
        let openai_s = conditions.generation().as_secs_f64();
        let at = self.arrived_s.iter().map(|at_s| seconds(*at_s));
        let arrivals = Arrivals::Trace { at: at.collect() };
        let workload = |length_s| {
            let length = seconds(length_s);
            Workload::new(arrivals, GenerationLength::Deterministic { length })
        };
        let (vcpu, workers, one) = (conditions.vcpu, conditions.workers, Tasks::fixed(1));
        match self.worker_model {
            WorkerModel::Async => {
                // A client waits for an answer before it waits to ask again, which no speed-up shrinks.
                let poll_every_s =
                    self.sojourn_s.iter().sum::<f64>() / count_u64_as_f64(self.polls);
                let workload = Workload {
                    poll_every: seconds(poll_every_s),
                    steps_per_generation: CALLS_PER_GENERATION,
                    ..workload(openai_s)
                };
                let fleet = stack.fleet(vcpu, memory_gib, workers, one);
                Scenario::new(workload, stack.profile(workers), fleet)
            }
            // Such a worker computes while no call of its generation is open, and the simulator spends CPU time within a
            // length: so that is of both.
            WorkerModel::Sync => Scenario::new(
                workload(openai_s + stack.held_cpu_s()),
                stack.held_profile(workers),
                Stack::held(Fleet::new(vcpu, memory_gib, workers, one)),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_order_waits_for_a_worker_that_computes_and_calls_one_after_the_other() {
        let conditions = Conditions {
            workers: 2,
            vcpu: 2.0,
            memory_mib: 4096,
            speedup: 100.0,
            generations: 2,
            repetitions: 1,
            rounds: 1,
            seed: 7,
        };
        let stack = Stack {
            cpu_s_beside: 0.4,
            cpu_s_per_poll: 0.5,
            pdf_cpu_s: 0.6,
            first_process_mib: 30.0,
            worker_mib: 100.0,
            generation_kib: 100.0,
        };
        let run = OpenRun {
            worker_model: WorkerModel::Sync,
            rate_per_hour: 24.0,
            arrived_s: vec![0.0, 1.0, 2.0, 3.0],
            sojourn_s: vec![10.0, 10.0, 18.0, 18.0],
            worker: vec![0, 1, 0, 1],
            polls: 0,
            cpu_s: 4.2,
            rendering_cpu_s: 0.6,
        };
        // Each worker has one for 9 s of OpenAI and a second of its own: ends after 10, 11, 20 and 21 s. Nobody polls.
        let predicted = run.predicted(&stack, &conditions).expect("it can run");
        let by_hand = Figures {
            throughput_per_hour: 4.0 * 3600.0 / 21.0,
            sojourn_p50_s: 10.0,
            sojourn_p95_s: 18.0,
            beyond_openai_p95_s: 9.0,
            cpu_utilization: 4.0 / 21.0 / 2.0,
        };
        for ((name, said, ..), (_, is, ..)) in predicted.rows().into_iter().zip(by_hand.rows()) {
            assert!((said / is - 1.0).abs() < 0.01, "{name}: {said} for {is}");
        }
        // At half the pace all that is computed takes half as long, and OpenAI as long as before.
        let quicker = OpenRun {
            rendering_cpu_s: 0.3,
            ..run.clone()
        };
        let predicted = quicker.predicted(&stack, &conditions).expect("it can run");
        assert!(
            (predicted.sojourn_p50_s - 9.5).abs() < 0.05,
            "{predicted:?}"
        );
        let measured = run.measured(&conditions);
        assert!((measured.throughput_per_hour / by_hand.throughput_per_hour - 1.0).abs() < 1e-9);
        assert!((measured.cpu_utilization - 4.2 / 21.0 / 2.0).abs() < 1e-9);
    }
}
