//! A rule that no sizing can break judges nothing, and is refused.

use simulator::cost;
use simulator::prices::{fargate_pairs, price_book};
use simulator::scenario::{Fleet, InvalidScenario, Mode, Profile, Scenario, Tasks};
use simulator::slo::judge_replications;
use simulator::time::Duration;

use crate::judgement::judge;
use crate::requirements::Requirements;

/// Most tasks that a service may have (`variables.tf`).
const TASKS_MAX: u32 = 5_000;

/// A rule that no sizing can break, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Vacuous {
    /// Nobody comes.
    #[error(
        "no generation arrives after the warm-up, so every sizing would pass; raise the load of [workload]"
    )]
    NoLoad,
    /// Even the weakest sizing holds it.
    #[error(
        "even one worker on the smallest task, with every request cut by the load balancer, meets `{key}`, so \
         every sizing would; tighten it, or ask for more load"
    )]
    NeverMissed {
        /// The promise.
        key: &'static str,
    },
    /// Even the dearest sizing stays below it.
    #[error(
        "even {TASKS_MAX} of the largest tasks cost less than `budget_usd_month`, so every sizing would; lower it"
    )]
    NeverTooDear,
}

/// Tries each promise on the weakest and on the dearest sizing there are.
pub(super) fn check(
    requirements: &Requirements,
    profile: &Profile,
    replications: u32,
) -> Result<Result<(), Vacuous>, InvalidScenario> {
    let weakest = |mode| {
        let mut fleet = Fleet::new(0.25, 0.5, 1, Tasks::fixed(1));
        fleet.mode = mode;
        fleet.alb_idle_timeout = Duration::from_secs(1);
        requirements.scenario(fleet, profile.clone())
    };
    let mut missed: Vec<String> = Vec::new();
    let mut slo = None;
    for mode in [Mode::Queue, Mode::Sync] {
        let scenario: Scenario = weakest(mode)?;
        let replications = judge(&scenario, replications)?.replications;
        let failures = judge_replications(&replications, &scenario.slo).failures;
        missed.extend(failures.into_iter().map(|failure| failure.key));
        slo = Some(scenario.slo);
    }
    let slo = slo.unwrap_or_default();
    if missed.iter().any(|key| key == "generations") {
        return Ok(Err(Vacuous::NoLoad));
    }
    let promised = [
        ("wait_p95", slo.wait_p95.is_some()),
        ("lost_max", slo.lost_max.is_some()),
        (
            "throughput_per_hour_min",
            slo.throughput_per_hour_min.is_some(),
        ),
    ];
    for (key, promised) in promised {
        if promised && !missed.iter().any(|miss| miss == key) {
            return Ok(Err(Vacuous::NeverMissed { key }));
        }
    }
    if let Some(budget) = slo.budget_usd_month
        && cost::monthly(&dearest(), TASKS_MAX.into())?.total() <= budget
    {
        return Ok(Err(Vacuous::NeverTooDear));
    }
    Ok(Ok(()))
}

fn dearest() -> Fleet {
    let (vcpu, memory_gib) = fargate_pairs().last().copied().unwrap_or((0.25, 0.5));
    let mut fleet = Fleet::new(vcpu, memory_gib, 1, Tasks::fixed(TASKS_MAX));
    let dearest = price_book()
        .rds_instance
        .iter()
        .max_by_key(|row| row.price_usd_nanos);
    if let Some(row) = dearest {
        fleet.db_instance_class.clone_from(&row.class);
    }
    fleet.db_multi_az = true;
    fleet
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const SLO: &str = include_str!("../../slo.toml");

    fn checked(text: &str) -> Result<(), Vacuous> {
        let profile = Profile {
            cpu_s_per_generation: 0.06,
            memory_base_mib: 48.0,
            memory_per_generation_kib: 140.0,
            cpu_s_per_poll: 0.0,
        };
        let requirements = Requirements::parse(Path::new("slo.toml"), text).expect("it parses");
        check(&requirements, &profile, 3).expect("it is simulated")
    }

    #[test]
    fn the_committed_rules_can_be_broken() {
        assert_eq!(checked(SLO), Ok(()));
    }

    #[test]
    fn rules_that_cannot_be_broken_are_named() {
        let wait = SLO.replace("wait_p95 = \"60s\"", "wait_p95 = \"24h\"");
        assert_eq!(
            checked(&wait),
            Err(Vacuous::NeverMissed { key: "wait_p95" })
        );
        let lost = SLO.replace("lost_max = 0", "lost_max = 100000");
        assert_eq!(
            checked(&lost),
            Err(Vacuous::NeverMissed { key: "lost_max" })
        );
        let budget = SLO.replace("budget_usd_month = 200", "budget_usd_month = 1000000000");
        assert_eq!(checked(&budget), Err(Vacuous::NeverTooDear));
        let load = SLO.replace("per_hour = 40", "per_hour = 0.000001");
        assert_eq!(checked(&load), Err(Vacuous::NoLoad));
    }
}
