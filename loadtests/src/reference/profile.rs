//! The reference as the simulator runs it, of measured cost: async workers, each an event loop of its own, or sync ones,
//! each with one generation.

use simulator::platform::ALB_IDLE_TIMEOUT_S_MAX;
use simulator::scenario::{
    Fleet, Gunicorn, JobStore, Mode, Profile, Tasks, UpstreamCall, WorkerModel,
};
use simulator::time::Duration;

use crate::reference::comparison::Comparison;
use crate::reference::costs::Costs;
use crate::reference::service::{Conditions, Kind};

/// Connections of one worker's pool: ten that it keeps and twenty more (`loadtests/reference/service/settings.py`).
const POOL_CONNECTIONS_MAX: u32 = 30;
/// More connections than any class takes.
const DB_CONNECTIONS_UNBOUND: u32 = 100_000;

/// What one worker process of the reference costs, whatever their number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stack {
    /// CPU seconds of a generation beside its polls and its PDF.
    pub cpu_s_beside: f64,
    /// CPU seconds of one poll.
    pub cpu_s_per_poll: f64,
    /// CPU seconds for which its PDF occupies a worker.
    pub pdf_cpu_s: f64,
    /// Memory of the first process, in MiB.
    pub first_process_mib: f64,
    /// Memory of one worker process that has written PDFs, in MiB.
    pub worker_mib: f64,
    /// Memory of one generation in flight, in KiB.
    pub generation_kib: f64,
}

impl Stack {
    /// From what was measured in the base cell; `None` where it was not. Memory is that after the generations: a worker
    /// never returns what it has allocated.
    pub fn of(costs: &Costs, conditions: &Conditions) -> Option<Self> {
        let cell = costs.cell(conditions.base())?;
        let cpu_s_per_poll = costs.cpu_s_per_poll(conditions.base());
        let pdf_cpu_s = cell.rendering_cpu_s.map_or(0.0, |mean| mean.value);
        let polls_s = cell.polls_per_generation * cpu_s_per_poll;
        let workers = f64::from(conditions.workers);
        Some(Self {
            cpu_s_beside: (cell.cpu_s_per_generation.value - pdf_cpu_s - polls_s).max(0.0),
            cpu_s_per_poll,
            pdf_cpu_s,
            first_process_mib: costs.memory_first_process_mib.value,
            worker_mib: (costs.memory_used_mib - costs.memory_first_process_mib.value) / workers,
            generation_kib: (costs.memory_mib_per_generation.value * 1024.0).max(0.0),
        })
    }

    /// The reference as proposed; `None` where it was not measured.
    pub fn proposed(comparison: &Comparison) -> Option<Self> {
        Self::of(comparison.costs(Kind::FastApi)?, &comparison.conditions)
    }

    /// The cost of a generation on a task of so many worker processes.
    pub fn profile(&self, workers: u32) -> Profile {
        Profile {
            cpu_s_per_generation: self.cpu_s_beside,
            memory_base_mib: self.first_process_mib + f64::from(workers) * self.worker_mib,
            memory_per_generation_kib: self.generation_kib,
            cpu_s_per_poll: self.cpu_s_per_poll,
        }
    }

    /// The same stack where CPU time is dearer by this factor.
    #[must_use]
    pub fn at_pace(&self, factor: f64) -> Self {
        Self {
            cpu_s_beside: self.cpu_s_beside * factor,
            cpu_s_per_poll: self.cpu_s_per_poll * factor,
            pdf_cpu_s: self.pdf_cpu_s * factor,
            ..*self
        }
    }

    /// CPU seconds of a generation whose request is held: no client polls.
    pub fn held_cpu_s(&self) -> f64 {
        self.cpu_s_beside + self.pdf_cpu_s
    }

    /// The cost of such a generation on a task of so many worker processes.
    pub fn held_profile(&self, workers: u32) -> Profile {
        Profile {
            cpu_s_per_generation: self.held_cpu_s(),
            cpu_s_per_poll: 0.0,
            ..self.profile(workers)
        }
    }

    /// What its worker processes do.
    pub fn workers(&self) -> Gunicorn {
        Gunicorn {
            pool_connections_max: POOL_CONNECTIONS_MAX,
            pdf_cpu_s: self.pdf_cpu_s,
            ..Gunicorn::new()
        }
    }

    /// Turns `fleet` into one of this stack: jobs in process, blocking calls, a connection for each generation.
    #[must_use]
    pub fn on(&self, fleet: Fleet) -> Fleet {
        Fleet {
            mode: Mode::Queue,
            job_store: JobStore::InProcess,
            worker_model: WorkerModel::Async,
            gunicorn: Some(self.workers()),
            upstream_call: UpstreamCall::Blocking,
            ..fleet
        }
    }

    /// Turns `fleet` into one of this stack's sync workers: each holds one request, and nobody cuts it.
    #[must_use]
    pub fn held(fleet: Fleet) -> Fleet {
        Fleet {
            mode: Mode::Sync,
            worker_model: WorkerModel::Sync,
            gunicorn: None,
            upstream_call: UpstreamCall::Blocking,
            // Compressed, far longer than any request.
            alb_idle_timeout: Duration::from_secs(ALB_IDLE_TIMEOUT_S_MAX.into()),
            ..fleet
        }
    }

    /// A fleet of this stack with the default of everything else, and more connections than were ever taken.
    pub fn fleet(&self, vcpu: f64, memory_gib: f64, workers: u32, tasks: Tasks) -> Fleet {
        let mut fleet = self.on(Fleet::new(vcpu, memory_gib, workers, tasks));
        fleet.db_connections_max = Some(DB_CONNECTIONS_UNBOUND);
        fleet
    }
}
