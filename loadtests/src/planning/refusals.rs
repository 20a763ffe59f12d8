//! What the gate refuses of a candidate before anything is simulated, so that a plan does not propose it: the findings
//! of `findings.tf`, and workers that the task's memory cannot hold.

use simulator::platform::Platform;
use simulator::scenario::{Architecture, Autoscaling, Fleet, GenerationLength, Profile, Scenario};
use simulator::slo::Failure;

use crate::stats::count_u64_as_f64;
use crate::terraform::Configuration;

/// The refusals of each of `fleets`, which vary that of `base`; none for what is not on Fargate, of which Terraform and
/// its gate know nothing. `vcpu_quota` stands for the settings' own.
pub(crate) fn refusals(
    base: &Scenario,
    vcpu_quota: Option<f64>,
    fleets: &[Fleet],
) -> Vec<Vec<Failure>> {
    // Candidates are many, and differ mostly in what no finding looks at.
    let mut known: Vec<(Fleet, Vec<Failure>)> = Vec::new();
    fleets
        .iter()
        .map(|fleet| {
            if fleet.platform != Platform::Fargate {
                return Vec::new();
            }
            let looked_at = Fleet {
                workers: 1,
                autoscaling: Autoscaling::none(),
                nat_gateways: 0,
                architecture: Architecture::X86,
                ..fleet.clone()
            };
            let found = known.iter().find(|(other, _)| *other == looked_at);
            let mut failures = if let Some((_, failures)) = found {
                failures.clone()
            } else {
                let failures = broken(&looked_at, &base.workload.generation, vcpu_quota);
                known.push((looked_at, failures.clone()));
                failures
            };
            failures.extend(worker_memory(
                fleet.memory_gib * 1024.0,
                fleet.workers,
                &base.profile,
            ));
            failures
        })
        .collect()
}

/// Workers that the task's memory could never hold all at once: the first rush would kill it. Terraform cannot say
/// this, because it knows no calibration.
pub(crate) fn worker_memory(memory_mib: f64, workers: u32, profile: &Profile) -> Option<Failure> {
    let free_kib = (memory_mib - profile.memory_base_mib).max(0.0) * 1024.0;
    let fit = (free_kib / profile.memory_per_generation_kib).floor();
    let workers = f64::from(workers);
    (workers > fit).then(|| Failure {
        key: "worker_memory".to_owned(),
        limit: fit,
        actual: workers,
    })
}

/// The findings that a fleet breaks. That tasks need a shared cache, the search finds by itself.
fn broken(fleet: &Fleet, length: &GenerationLength, vcpu_quota: Option<f64>) -> Vec<Failure> {
    let Ok(configuration) = Configuration::of_fleet(fleet, longest_s(length), vcpu_quota) else {
        return Vec::new();
    };
    if configuration.holds() {
        return Vec::new();
    }
    let local = |name| configuration.local_number(name);
    let findings = configuration.findings().0.into_iter();
    findings
        .filter(|finding| finding.name != "shared_cache")
        .map(|finding| {
            let (limit, actual) = match finding.name.as_str() {
                "vcpu_quota" => (
                    configuration.number("fargate_vcpu_quota"),
                    local("vcpu_peak"),
                ),
                "database_connections" => (
                    local("database_connections_free"),
                    local("connections_peak"),
                ),
                "alb_idle_timeout" => (
                    configuration.number("generation_duration_s"),
                    configuration.number("alb_idle_timeout_s"),
                ),
                "deregistration_delay" => (
                    local("drain_need"),
                    configuration.number("deregistration_delay_s"),
                ),
                "stop_timeout" => (
                    local("stop_timeout_need"),
                    configuration.number("stop_timeout_s"),
                ),
                _ => (0.0, 1.0),
            };
            Failure {
                key: finding.name,
                limit,
                actual,
            }
        })
        .collect()
}

/// Seconds of the longest generation, where there is a longest.
fn longest_s(length: &GenerationLength) -> Option<f64> {
    let longest = match length {
        GenerationLength::Deterministic { length } => *length,
        GenerationLength::Uniform { max, .. } => *max,
        GenerationLength::Trace { lengths } => lengths.iter().copied().max()?,
        GenerationLength::Exponential { .. } | GenerationLength::Lognormal { .. } => return None,
    };
    Some(count_u64_as_f64(longest.as_nanos().div_ceil(1_000_000_000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use simulator::scenario::{CacheMode, Mode, Tasks};
    use simulator::time::Duration;

    fn keys(fleet: &Fleet, vcpu_quota: Option<f64>) -> Vec<String> {
        let text = include_str!("../../../simulator/scenarios/proposal.toml");
        let base = Scenario::from_toml(text).expect("the committed scenario");
        let failures = refusals(&base, vcpu_quota, std::slice::from_ref(fleet)).remove(0);
        failures.into_iter().map(|failure| failure.key).collect()
    }

    #[test]
    fn a_candidate_is_refused_for_what_the_gate_refuses() {
        let fleet = Fleet::new(1.0, 2.0, 24, Tasks::fixed(6));
        assert!(keys(&fleet, None).is_empty());
        let many = Fleet::new(0.25, 0.5, 24, Tasks::fixed(8));
        assert_eq!(keys(&many, None), ["database_connections"]);
        let large = Fleet::new(4.0, 8.0, 24, Tasks::fixed(2));
        assert_eq!(keys(&large, None), ["vcpu_quota"]);
        assert!(keys(&large, Some(8.0)).is_empty());
        let full = Fleet::new(1.0, 2.0, 100_000, Tasks::fixed(1));
        assert_eq!(keys(&full, None), ["worker_memory"]);
        let mut open = fleet.clone();
        open.mode = Mode::Sync;
        open.alb_idle_timeout = Duration::from_secs(1000);
        open.deregistration_delay = Duration::from_secs(900);
        assert_eq!(keys(&open, None), ["stop_timeout"]);
        // The search refuses it by a name of its own.
        let mut alone = fleet;
        alone.cache_mode = CacheMode::Sidecar;
        assert!(keys(&alone, None).is_empty());
    }

    #[test]
    fn what_is_not_on_fargate_is_none_of_terraforms_business() {
        let mut fleet = Fleet::new(4.0, 8.0, 24, Tasks::fixed(40));
        fleet.platform = Platform::CloudRun;
        assert!(keys(&fleet, None).is_empty());
    }
}
