//! The minute of the simulated day in which a sizing broke its promise, found in the trace of one run.

use std::collections::BTreeMap;

use serde::Serialize;
use simulator::outcome::LossCause;
use simulator::replications::Replications;
use simulator::scenario::{InvalidScenario, Scenario};
use simulator::simulate_traced;
use simulator::slo::judge;
use simulator::trace::{Happening, TraceEvent};

const NANOS_PER_MINUTE: u64 = 60_000_000_000;

/// When and how a sizing broke its promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CounterExample {
    /// Seed of the run; `sizing simulate --seed` replays it.
    pub seed: u64,
    /// The promise: `lost_max` or `wait_p95`.
    pub promise: String,
    /// Minutes after the start of the simulated day.
    pub minute: u64,
    /// The same as a time of the day, `HH:MM`.
    pub time: String,
    /// The generation that broke it, numbered from 0 in the order of submission.
    pub generation: u64,
    /// Generations that waited at that moment.
    pub queued: u64,
    /// Generations that ran.
    pub running: u64,
    /// Tasks that served.
    pub tasks: u64,
    /// What happened, in a sentence.
    pub text: String,
}

/// The first moment at which the run could no longer hold its promise; none when it held it, or when it
/// missed only what no minute can be named for, such as the budget.
///
/// A promise of losses is broken by the loss that exceeds it; a promise of the wait's 95 % quantile when
/// more than 5 % of the day's generations have waited for longer than was promised.
pub(super) fn find(
    scenario: &Scenario,
    replications: &Replications,
) -> Result<Option<CounterExample>, InvalidScenario> {
    let mut slo = scenario.slo.clone();
    slo.budget_usd_month = None;
    slo.throughput_per_hour_min = None;
    let Some(broken) = replications
        .outcomes
        .iter()
        .find(|outcome| !judge(outcome, &slo).pass)
    else {
        return Ok(None);
    };
    let mut seeded = scenario.clone();
    seeded.seed = broken.seed;
    seeded.slo = slo;
    let mut events = Vec::new();
    simulate_traced(&seeded, &mut |event| events.push(event))?;
    Ok(first_break(&seeded, &events, broken.wait_s.count))
}

/// What the fleet did up to some moment.
#[derive(Default)]
struct Watch {
    /// Submission times of those that never started, by generation.
    waiting: BTreeMap<u64, u64>,
    requeued: u64,
    running: u64,
    tasks: u64,
}

fn first_break(
    scenario: &Scenario,
    events: &[TraceEvent],
    measured: u64,
) -> Option<CounterExample> {
    let lost_max = scenario.slo.lost_max.unwrap_or(u64::MAX);
    let limit_ns = scenario
        .slo
        .wait_p95
        .map_or(u64::MAX, |limit| limit.as_nanos());
    let warmup_ns = scenario.warmup.as_nanos();
    // The quantile is missed by the first wait beyond the slowest 5 %.
    let late_max = measured / 20;
    let (mut lost, mut late) = (0, 0);
    let mut watch = Watch::default();
    for event in events {
        // Whoever became late since the last event became so before it.
        let overdue = |(generation, at): (&u64, &u64)| {
            (*at >= warmup_ns && at.saturating_add(limit_ns) < event.at_ns)
                .then(|| (at.saturating_add(limit_ns), *generation))
        };
        let count = watch.waiting.iter().filter_map(overdue).count() as u64;
        if late + count > late_max {
            let needed = usize::try_from(late_max - late).unwrap_or(usize::MAX);
            let mut since: Vec<_> = watch.waiting.iter().filter_map(overdue).collect();
            since.sort_unstable();
            let (at_ns, generation) = since.get(needed).copied()?;
            let text = format!(
                "generation {generation} was the {} of {measured} to wait longer than {}: more than 5 %",
                ordinal(late_max + 1),
                scenario.slo.wait_p95.unwrap_or_default(),
            );
            return Some(watch.example(scenario, "wait_p95", at_ns, generation, text));
        }
        match event.what {
            Happening::Lost { generation, cause } => {
                lost += 1;
                if lost > lost_max {
                    let text = loss_in_words(generation, cause, lost, lost_max);
                    return Some(watch.example(
                        scenario,
                        "lost_max",
                        event.at_ns,
                        generation,
                        text,
                    ));
                }
            }
            Happening::Started { generation, .. } => {
                let was_late = watch.waiting.get(&generation).is_some_and(|at| {
                    *at >= warmup_ns && at.saturating_add(limit_ns) < event.at_ns
                });
                late += u64::from(was_late);
            }
            _ => {}
        }
        watch.take(event);
    }
    None
}

impl Watch {
    fn take(&mut self, event: &TraceEvent) {
        match event.what {
            Happening::Submitted { generation } => {
                self.waiting.insert(generation, event.at_ns);
            }
            Happening::Started { generation, .. } => {
                if self.waiting.remove(&generation).is_none() {
                    self.requeued = self.requeued.saturating_sub(1);
                }
                self.running += 1;
            }
            Happening::Requeued { .. } => {
                self.running = self.running.saturating_sub(1);
                self.requeued += 1;
            }
            Happening::Completed { .. } => self.running = self.running.saturating_sub(1),
            Happening::Lost { generation, .. } => {
                if self.waiting.remove(&generation).is_none() {
                    self.running = self.running.saturating_sub(1);
                }
            }
            Happening::TaskServes { .. } => self.tasks += 1,
            Happening::TaskStopped { .. } => self.tasks = self.tasks.saturating_sub(1),
        }
    }

    fn example(
        &self,
        scenario: &Scenario,
        promise: &str,
        at_ns: u64,
        generation: u64,
        text: String,
    ) -> CounterExample {
        let minute = at_ns / NANOS_PER_MINUTE;
        CounterExample {
            seed: scenario.seed,
            promise: promise.to_owned(),
            minute,
            time: format!("{:02}:{:02}", minute / 60, minute % 60),
            generation,
            queued: self.waiting.len() as u64 + self.requeued,
            running: self.running,
            tasks: self.tasks,
            text,
        }
    }
}

fn loss_in_words(generation: u64, cause: LossCause, lost: u64, lost_max: u64) -> String {
    format!(
        "generation {generation} was lost ({cause}), the {} where at most {lost_max} may be",
        ordinal(lost)
    )
}

fn ordinal(number: u64) -> String {
    let suffix = match (number % 10, number % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use simulator::scenario::{Fleet, Mode, Profile, Tasks};

    use super::*;
    use crate::judgement::judge as judge_scenario;
    use crate::requirements::Requirements;

    fn found(workers: u32, mode: Mode) -> Option<CounterExample> {
        let profile = Profile {
            cpu_s_per_generation: 0.06,
            memory_base_mib: 48.0,
            memory_per_generation_kib: 140.0,
            cpu_s_per_poll: 0.0,
        };
        let mut fleet = Fleet::new(1.0, 2.0, workers, Tasks::fixed(1));
        fleet.mode = mode;
        let scenario = Requirements::parse(Path::new("slo.toml"), include_str!("../../slo.toml"))
            .expect("the committed file")
            .scenario(fleet, profile)
            .expect("a possible fleet");
        let judgement = judge_scenario(&scenario, 3).expect("it is simulated");
        find(&scenario, &judgement.replications).expect("it is simulated")
    }

    #[test]
    fn a_drowning_fleet_breaks_at_a_minute_with_a_queue() {
        let example = found(4, Mode::Queue).expect("4 workers carry 19 of 40 an hour");
        assert_eq!(example.promise, "wait_p95");
        // 5 % of the day's 920 generations are late about an hour after the warm-up at the latest.
        assert!((60..180).contains(&example.minute), "{example:?}");
        assert!(
            example.queued > 0 && example.running == 4 && example.tasks == 1,
            "{example:?}"
        );
    }

    #[test]
    fn a_cut_request_breaks_at_the_first_loss() {
        let example = found(24, Mode::Sync).expect("60 s of idle time-out cut every generation");
        assert_eq!(example.promise, "lost_max");
        assert!(example.minute < 30, "{example:?}");
        assert!(example.text.contains("alb_idle_timeout"), "{example:?}");
    }

    #[test]
    fn a_sizing_that_holds_has_none() {
        assert_eq!(found(24, Mode::Queue), None);
    }

    #[test]
    fn numbers_are_read_aloud() {
        let spoken: Vec<_> = [1, 2, 3, 11, 47, 112, 121].map(ordinal).into();
        assert_eq!(
            spoken,
            ["1st", "2nd", "3rd", "11th", "47th", "112th", "121st"]
        );
    }
}
