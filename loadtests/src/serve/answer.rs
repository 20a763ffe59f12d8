//! One what-if question and its answer: pure.

use std::path::Path;

use serde::{Deserialize, Serialize};
use simulator::capacity::{bottleneck, capacity_per_hour};
use simulator::prices::price_book;
use simulator::replications::Interval;
use simulator::scenario::{Arrivals, InvalidScenario, Mode, Profile, Scenario};
use simulator::slo::Failure;

use crate::judgement::judge;
use crate::report::{figures, html};
use crate::requirements::Requirements;
use crate::stages::{PROPOSAL, SLO_USERS, STAGES};
use crate::terraform::{Sizing, TerraformError, parse_sizing};

/// Seeds of an answer: few, since it must come at once; its interval says what that costs.
const REPLICATIONS: u32 = 3;
/// Most users that are simulated.
const USERS_MAX: f64 = 60_000.0;

/// The presets: name, users, values.
pub(super) const PRESETS: [(&str, f64, &str); 4] = [
    ("proposal", SLO_USERS, PROPOSAL),
    STAGES[0],
    STAGES[1],
    STAGES[2],
];

/// What is asked: the controls of the page, and the query of its link.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The preset that everything without a control comes from.
    pub stage: String,
    /// Users, each of whom asks for a generation every second day.
    pub users: f64,
    /// `queue` or `sync`.
    pub mode: Mode,
    /// CPU units of a task.
    pub task_cpu: u32,
    /// Memory of a task in MiB.
    pub task_memory_mib: u32,
    /// Generations that a task runs at a time.
    pub generation_workers: u32,
    /// Fewest tasks.
    pub tasks_min: u32,
    /// Tasks at the start.
    pub tasks_desired: u32,
    /// Most tasks.
    pub tasks_max: u32,
    /// What autoscaling follows.
    pub autoscaling_metric: String,
    /// NAT gateways.
    pub nat_gateways: u32,
    /// Where sessions live.
    pub cache_mode: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No preset has this name.
    #[error("there is no stage \"{0}\": take proposal, mvp, growth or scale")]
    Stage(String),
    /// Too many or too few users.
    #[error("users must be from 1 to {USERS_MAX}, not {0}")]
    Users(f64),
    /// A value that Terraform would refuse.
    #[error(transparent)]
    Sizing(#[from] TerraformError),
    /// A fleet that cannot be simulated.
    #[error(transparent)]
    Scenario(#[from] InvalidScenario),
}

/// A mean over seeds with half of its 95 % interval.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Estimate {
    mean: f64,
    half_width: f64,
}

impl From<Interval> for Estimate {
    fn from(interval: Interval) -> Estimate {
        Estimate {
            mean: interval.mean,
            half_width: interval.half_width,
        }
    }
}

/// What becomes of it.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// Whether the promise of `slo.toml` is held.
    pub pass: bool,
    /// Every promise missed, in words.
    pub misses: Vec<String>,
    /// Generations an hour that come at the peak.
    pub asked_per_hour: f64,
    /// Generations an hour that the most tasks carry.
    pub capacity_per_hour: f64,
    /// What limits them.
    pub bottleneck: String,
    /// Generations an hour that were done.
    pub done_per_hour: Estimate,
    /// The wait that one in twenty exceeds, in seconds.
    pub wait_p95_s: Estimate,
    /// Generations lost in a day.
    pub lost: Estimate,
    /// The whole bill.
    pub cost_usd_month: Estimate,
    /// Lines of the bill that are not zero.
    pub bill: Vec<(String, f64)>,
    /// CPU used, in percent.
    pub cpu_percent: f64,
    /// The simulated day, as HTML.
    pub day: String,
    /// The values for Terraform.
    pub tfvars: String,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// Everything an answer rests on that no control changes.
#[derive(Clone, Debug)]
pub struct Lab {
    profile: Profile,
    requirements: Requirements,
}

impl Lab {
    /// With this cost of a generation, and this promise.
    pub fn new(profile: Profile, requirements: Requirements) -> Lab {
        Lab {
            profile,
            requirements,
        }
    }

    /// The answer to one question.
    ///
    /// # Errors
    /// When a value is not one that Terraform or the simulator accepts.
    pub fn answer(&self, ask: &Ask) -> Result<Answer, AskError> {
        if !(1.0..=USERS_MAX).contains(&ask.users) {
            return Err(AskError::Users(ask.users));
        }
        let tfvars = tfvars(ask)?;
        let sizing = parse_sizing(Path::new("these values"), &tfvars)?;
        let mut notes = Vec::new();
        let scenario = self.scenario(ask, &sizing, &mut notes)?;
        let judgement = judge(&scenario, REPLICATIONS)?;
        let runs = &judgement.replications;
        let capacity = capacity_per_hour(&scenario, f64::from(sizing.tasks_max));
        let limit = bottleneck(&capacity);
        let mut misses: Vec<String> = judgement
            .verdict
            .failures
            .iter()
            .map(Failure::to_string)
            .collect();
        if ask.cache_mode != "elasticache" && sizing.tasks_max > 1 {
            misses.push(format!(
                "up to {} tasks, but sessions in a cache that only one task sees",
                sizing.tasks_max
            ));
        }
        let first = runs.outcomes.first();
        let day = figures::simulate_day(&scenario)?;
        Ok(Answer {
            pass: misses.is_empty(),
            misses,
            asked_per_hour: scenario.workload.arrivals.mean_per_hour(),
            capacity_per_hour: capacity[&limit],
            bottleneck: limit.name().replace('_', " "),
            done_per_hour: runs.throughput_per_hour.into(),
            wait_p95_s: runs.wait_p95_s.into(),
            lost: runs.lost.into(),
            cost_usd_month: runs.cost_usd_month.into(),
            bill: first.map_or_else(Vec::new, |outcome| {
                outcome
                    .cost_usd_month
                    .lines()
                    .filter(|(_, amount)| amount.as_micros() > 0)
                    .map(|(line, amount)| (line.name().replace('_', " "), amount.as_usd()))
                    .collect()
            }),
            cpu_percent: first.map_or(0.0, |outcome| outcome.cpu_utilization * 100.0),
            day: html::drawn(&figures::of_day(&day)),
            tfvars,
            notes,
        })
    }

    fn scenario(
        &self,
        ask: &Ask,
        sizing: &Sizing,
        notes: &mut Vec<String>,
    ) -> Result<Scenario, InvalidScenario> {
        let mut fleet = sizing.fleet(ask.mode);
        let book = price_book();
        if book.rds_nanos(&fleet.db_instance_class).is_none() {
            let dearest = book
                .rds_instance
                .iter()
                .max_by_key(|row| row.price_usd_nanos);
            let stands_in = dearest.map_or_else(String::new, |row| row.class.clone());
            notes.push(format!(
                "{} has no price in the book: the bill has {stands_in} instead.",
                fleet.db_instance_class
            ));
            fleet.db_instance_class = stands_in;
        }
        let mut scenario = self.requirements.scenario(fleet, self.profile.clone())?;
        scenario.workload.arrivals = Arrivals::Poisson {
            per_hour: scenario.workload.arrivals.mean_per_hour() * ask.users / SLO_USERS,
        };
        scenario.validate()?;
        Ok(scenario)
    }
}

/// The preset with the controls written over it, as a tfvars file.
fn tfvars(ask: &Ask) -> Result<String, AskError> {
    let (_, _, text) = PRESETS
        .into_iter()
        .find(|(name, _, _)| *name == ask.stage)
        .ok_or_else(|| AskError::Stage(ask.stage.clone()))?;
    let preset = parse_sizing(Path::new(&ask.stage), text)?;
    let wrong_word = |word: &str| {
        !word
            .chars()
            .all(|character| character.is_ascii_lowercase() || character == '_')
    };
    let word = |word: &str| {
        if wrong_word(word) {
            "\"\"".to_owned()
        } else {
            format!("\"{word}\"")
        }
    };
    let lines: [(&str, String); 19] = [
        ("task_cpu", ask.task_cpu.to_string()),
        ("task_memory_mib", ask.task_memory_mib.to_string()),
        ("generation_workers", ask.generation_workers.to_string()),
        ("tasks_min", ask.tasks_min.to_string()),
        ("tasks_desired", ask.tasks_desired.to_string()),
        ("tasks_max", ask.tasks_max.to_string()),
        ("autoscaling_metric", word(&ask.autoscaling_metric)),
        (
            "autoscaling_cpu_target_percent",
            preset.autoscaling_cpu_target_percent.to_string(),
        ),
        (
            "autoscaling_memory_target_percent",
            preset.autoscaling_memory_target_percent.to_string(),
        ),
        (
            "autoscaling_queue_depth_target",
            preset.autoscaling_queue_depth_target.to_string(),
        ),
        (
            "scale_out_cooldown_s",
            preset.scale_out_cooldown_s.to_string(),
        ),
        (
            "scale_in_cooldown_s",
            preset.scale_in_cooldown_s.to_string(),
        ),
        ("nat_gateways", ask.nat_gateways.to_string()),
        ("alb_idle_timeout_s", preset.alb_idle_timeout_s.to_string()),
        (
            "deregistration_delay_s",
            preset.deregistration_delay_s.to_string(),
        ),
        ("stop_timeout_s", preset.stop_timeout_s.to_string()),
        (
            "db_instance_class",
            format!("\"{}\"", preset.db_instance_class),
        ),
        ("db_multi_az", preset.db_multi_az.to_string()),
        ("cache_mode", word(&ask.cache_mode)),
    ];
    Ok(lines
        .map(|(name, value)| format!("{name} = {value}\n"))
        .concat())
}

/// What a preset asks.
pub(super) fn preset(name: &str, users: f64, text: &str) -> Result<Ask, TerraformError> {
    let sizing = parse_sizing(Path::new(name), text)?;
    let word = |value: serde_json::Result<serde_json::Value>| {
        value
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default()
    };
    Ok(Ask {
        stage: name.to_owned(),
        users,
        mode: Mode::Queue,
        task_cpu: sizing.task_cpu,
        task_memory_mib: u32::try_from(sizing.task_memory_mib).unwrap_or(u32::MAX),
        generation_workers: sizing.generation_workers,
        tasks_min: sizing.tasks_min,
        tasks_desired: sizing.tasks_desired,
        tasks_max: sizing.tasks_max,
        autoscaling_metric: word(serde_json::to_value(sizing.autoscaling_metric)),
        nat_gateways: sizing.nat_gateways,
        cache_mode: word(serde_json::to_value(sizing.cache_mode)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab() -> Lab {
        let calibration: crate::calibrate::Calibration =
            serde_json::from_str(include_str!("../../results/calibration.json"))
                .expect("committed");
        let requirements =
            Requirements::parse(Path::new("slo.toml"), include_str!("../../slo.toml"))
                .expect("committed");
        Lab::new(crate::vcpu_factor::profile(&calibration), requirements)
    }

    fn asked(index: usize) -> Ask {
        let (name, users, text) = PRESETS[index];
        preset(name, users, text).expect("a committed file")
    }

    #[test]
    fn every_preset_has_an_answer_whose_tfvars_are_read_back() {
        for index in 0..PRESETS.len() {
            let ask = asked(index);
            let answer = lab().answer(&ask).expect("a preset is possible");
            let sizing =
                parse_sizing(Path::new("copied"), &answer.tfvars).expect("Terraform's own names");
            assert_eq!(sizing.generation_workers, ask.generation_workers);
            assert!(answer.day.contains("role=\"img\""));
        }
    }

    #[test]
    fn more_workers_shorten_the_wait_and_cost_nothing() {
        let mut ask = asked(0);
        let few = lab().answer(&ask).expect("possible");
        ask.generation_workers = 24;
        let many = lab().answer(&ask).expect("possible");
        assert!(many.wait_p95_s.mean < few.wait_p95_s.mean);
        assert!(many.cost_usd_month.mean <= few.cost_usd_month.mean + 1.0);
    }

    #[test]
    fn impossible_values_are_refused_by_name() {
        let mut ask = asked(0);
        ask.task_memory_mib = 3000;
        let error = lab().answer(&ask).expect_err("no such pair").to_string();
        assert!(error.contains("task_memory_mib"), "{error}");
        let mut ask = asked(0);
        ask.cache_mode = "x\" }".to_owned();
        lab().answer(&ask).expect_err("no such cache");
        let mut ask = asked(0);
        ask.users = f64::NAN;
        lab().answer(&ask).expect_err("no such number of users");
    }
}
