//! The capacity formula: what each resource alone would carry, and which one gives out first.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::platform::silent_request_max;
use crate::scenario::{Mode, Scenario};

/// What may limit the throughput. Ties go to the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Slots that run one generation at a time.
    Workers,
    /// vCPU at the autoscaling target.
    Cpu,
    /// Memory for generations in flight.
    Memory,
    /// Database connections that async workers hold, or the pools of tasks where they do not all find room.
    DbConnections,
    /// Requests that the AI provider accepts.
    UpstreamRequests,
    /// Tokens that the AI provider accepts.
    UpstreamTokens,
    /// In sync mode: the load balancer, or the platform, lets only the generations through that end within its idle time-out.
    AlbIdleTimeout,
}

impl Resource {
    /// The name that JSON uses.
    pub fn name(self) -> &'static str {
        match self {
            Resource::Workers => "workers",
            Resource::Cpu => "cpu",
            Resource::Memory => "memory",
            Resource::DbConnections => "db_connections",
            Resource::UpstreamRequests => "upstream_requests",
            Resource::UpstreamTokens => "upstream_tokens",
            Resource::AlbIdleTimeout => "alb_idle_timeout",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Generations per hour that each resource of so many tasks would carry if it were the only limit.
///
/// `workers / length`, `vcpu * target / cpu_s`, and `(memory - base) / memory_per_generation / length`, each times
/// the tasks; the last in whole generations per task. Async workers run as many generations as their pools have
/// connections, and all tasks together no more than the database has. A resource that a generation does not use is left out.
pub fn capacity_per_hour(scenario: &Scenario, tasks: f64) -> BTreeMap<Resource, f64> {
    let Scenario {
        workload,
        profile,
        fleet,
        ..
    } = scenario;
    let length_s = workload.generation.mean().as_secs_f64();
    let per_slot_and_hour = 3600.0 / length_s;
    let workers = fleet.generations_per_task() * tasks * per_slot_and_hour;
    let mut terms = BTreeMap::from([(Resource::Workers, workers)]);

    let polls = match fleet.mode {
        Mode::Queue => length_s / workload.poll_every.as_secs_f64(),
        Mode::Sync => 0.0,
    };
    let gunicorn = fleet.async_workers();
    let pdf_cpu_s = gunicorn.map_or(0.0, |settings| settings.pdf_cpu_s);
    let cpu_s = profile.cpu_s_per_generation + polls * profile.cpu_s_per_poll + pdf_cpu_s;
    let connections = fleet.db_connections();
    if gunicorn.is_some() {
        terms.insert(
            Resource::DbConnections,
            f64::from(connections) * per_slot_and_hour,
        );
    }
    // Only where it is a limit of this fleet: tasks that fit into the database are limited by their own means.
    if let Some(pool) = fleet.db_pool_connections
        && pool.saturating_mul(fleet.tasks.max) > connections
    {
        let pools = f64::from(connections / pool.max(1));
        let limit = pools * fleet.generations_per_task() * per_slot_and_hour;
        terms.insert(Resource::DbConnections, limit);
    }
    if let Some(per_minute) = fleet.upstream_requests_per_minute {
        let steps = f64::from(workload.steps_per_generation);
        terms.insert(Resource::UpstreamRequests, per_minute * 60.0 / steps);
    }
    if let Some(per_minute) = fleet.upstream_tokens_per_minute
        && workload.tokens_per_generation > 0
    {
        let tokens = f64::from(workload.tokens_per_generation);
        terms.insert(Resource::UpstreamTokens, per_minute * 60.0 / tokens);
    }
    if cpu_s > 0.0 {
        let target = fleet.autoscaling.cpu_target_percent / 100.0;
        terms.insert(Resource::Cpu, fleet.vcpu * target * tasks * 3600.0 / cpu_s);
    }
    if profile.memory_per_generation_kib > 0.0 {
        let free_kib = (fleet.memory_gib * 1024.0 - profile.memory_base_mib) * 1024.0;
        let slots = (free_kib / profile.memory_per_generation_kib)
            .floor()
            .max(0.0);
        terms.insert(Resource::Memory, slots * tasks * per_slot_and_hour);
    }
    if fleet.mode == Mode::Sync {
        let share = workload.generation.share_within(silent_request_max(fleet));
        terms.insert(Resource::AlbIdleTimeout, workers * share);
    }
    terms
}

/// The resource with the smallest capacity.
pub fn bottleneck(capacity_per_hour: &BTreeMap<Resource, f64>) -> Resource {
    capacity_per_hour
        .iter()
        .min_by(|(_, one), (_, other)| one.total_cmp(other))
        .map_or(Resource::Workers, |(resource, _)| *resource)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Arrivals, Fleet, GenerationLength, Profile, Tasks, Workload};
    use crate::time::Duration;

    fn scenario(cpu_s: f64, memory_per_generation_kib: f64) -> Scenario {
        let workload = Workload::new(
            Arrivals::Poisson { per_hour: 10.0 },
            GenerationLength::Deterministic {
                length: Duration::from_minutes(15),
            },
        );
        let profile = Profile {
            cpu_s_per_generation: cpu_s,
            memory_base_mib: 1024.0,
            memory_per_generation_kib,
            cpu_s_per_poll: 0.0,
        };
        Scenario::new(workload, profile, Fleet::new(2.0, 4.0, 6, Tasks::fixed(2)))
    }

    #[test]
    fn the_smallest_term_is_the_bottleneck() {
        // 12 workers at 4 generations per hour.
        let terms = capacity_per_hour(&scenario(1.0, 1024.0), 2.0);
        assert_eq!(terms[&Resource::Workers].to_bits(), 48_f64.to_bits());
        assert_eq!(bottleneck(&terms), Resource::Workers);
        // 2.8 vCPU of 4 for 420 CPU-seconds each: 24 per hour.
        let terms = capacity_per_hour(&scenario(420.0, 1024.0), 2.0);
        assert!((terms[&Resource::Cpu] - 24.0).abs() < 1e-9, "{terms:?}");
        assert_eq!(bottleneck(&terms), Resource::Cpu);
        // 3 GiB free hold 3 generations of 1000 MiB on each task.
        let terms = capacity_per_hour(&scenario(1.0, 1000.0 * 1024.0), 2.0);
        assert!((terms[&Resource::Memory] - 24.0).abs() < 1e-9, "{terms:?}");
        assert_eq!(bottleneck(&terms), Resource::Memory);
    }

    #[test]
    fn a_silent_request_longer_than_the_idle_timeout_carries_nothing() {
        let mut sync = scenario(1.0, 1024.0);
        sync.fleet.mode = Mode::Sync;
        let terms = capacity_per_hour(&sync, 2.0);
        assert_eq!(bottleneck(&terms), Resource::AlbIdleTimeout);
        assert!(terms[&Resource::AlbIdleTimeout].abs() < f64::EPSILON);
        sync.fleet.alb_idle_timeout = Duration::from_secs(1000);
        assert_eq!(
            bottleneck(&capacity_per_hour(&sync, 2.0)),
            Resource::Workers
        );
    }
}
