//! One what-if question and its answer: pure.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use simulator::capacity::{bottleneck, capacity_per_hour};
use simulator::cost::{Region, regions};
use simulator::outcome::Outcome;
use simulator::prices::price_book;
use simulator::replications::{Interval, Replications, at_replication, combine};
use simulator::scenario::{Arrivals, InvalidScenario, Mode, Profile, Scenario};
use simulator::slo::{Failure, judge_replications};

use crate::judgement::{cores, parallel, timed_simulation};
use crate::report::figures::{self, Day};
use crate::report::{html, wording};
use crate::requirements::{Requirements, RequirementsError};
use crate::stages::{PROPOSAL, SLO_USERS, STAGES};
use crate::terraform::{Sizing, TerraformError, parse_sizing};

/// Seeds of an answer: few, since it must come at once; its interval says what that costs.
const REPLICATIONS: u32 = 3;
/// Most users that are simulated.
const USERS_MAX: f64 = 60_000.0;
/// Fleets whose runs are kept: whoever compares two goes back and forth, and a price changes no run.
const KEPT: usize = 16;

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
    /// RDS instance class.
    pub db_instance_class: String,
    /// Whether RDS has a standby.
    pub db_multi_az: bool,
    /// The region whose prices the bill has.
    pub region: String,
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
    /// No prices are known of this region.
    #[error("there are no prices of the region \"{region}\": take {known}")]
    Region {
        /// What was asked for.
        region: String,
        /// What there is.
        known: String,
    },
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
    /// What is promised, in words.
    pub promised: String,
    /// The load, in words.
    pub asked: String,
    /// Generations an hour that come on average.
    pub asked_per_hour: f64,
    /// Whether as many come in every hour; where not, those of the warm-up's hour are not in the average of the done.
    pub steady: bool,
    /// Generations an hour that the most tasks carry.
    pub capacity_per_hour: f64,
    /// Those most tasks.
    pub tasks_max: u32,
    /// Promises missed, by their keys.
    pub missed: Vec<String>,
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

/// The runs of one fleet, and its day: what takes time, and what no price changes.
#[derive(Debug)]
struct Simulated {
    outcomes: Vec<Outcome>,
    day: Day,
}

/// Everything an answer rests on that no control changes, and what was simulated last.
#[derive(Debug)]
pub struct Lab {
    profile: Profile,
    /// By preset: the users that the load stands for, and what is promised them.
    requirements: Vec<(&'static str, f64, Requirements)>,
    kept: Mutex<VecDeque<(String, Arc<Simulated>)>>,
}

/// What each stage must do is committed beside the load that it is for, as the gate reads it.
const STAGE_REQUIREMENTS: [&str; 3] = [
    include_str!("../../slo/mvp.toml"),
    include_str!("../../slo/growth.toml"),
    include_str!("../../slo/scale.toml"),
];

impl Lab {
    /// With this cost of a generation, and what is promised of the proposal; the stages are held to their own files.
    ///
    /// # Errors
    /// When the file of a stage is not valid, which a test rules out.
    pub fn new(profile: Profile, proposal: Requirements) -> Result<Lab, RequirementsError> {
        let mut requirements = vec![("proposal", SLO_USERS, proposal)];
        for ((name, users, _), text) in STAGES.into_iter().zip(STAGE_REQUIREMENTS) {
            requirements.push((name, users, Requirements::parse(Path::new(name), text)?));
        }
        Ok(Lab {
            profile,
            requirements,
            kept: Mutex::default(),
        })
    }

    /// The answer to one question.
    ///
    /// # Errors
    /// When a value is not one that Terraform or the simulator accepts.
    pub fn answer(&self, ask: &Ask) -> Result<Answer, AskError> {
        if !(1.0..=USERS_MAX).contains(&ask.users) {
            return Err(AskError::Users(ask.users));
        }
        let region = region(&ask.region)?;
        let tfvars = tfvars(ask)?;
        let sizing = parse_sizing(Path::new("these values"), &tfvars)?;
        let scenario = self.scenario(ask, &sizing)?;
        let simulated = self.simulated(&scenario)?;
        let runs = &priced(&simulated.outcomes, region);
        let verdict = judge_replications(runs, &scenario.slo);
        let capacity = capacity_per_hour(&scenario, f64::from(sizing.tasks_max));
        let limit = bottleneck(&capacity);
        let mut misses: Vec<String> = verdict.failures.iter().map(Failure::to_string).collect();
        let missed = verdict.failures.into_iter().map(|failure| failure.key);
        if ask.cache_mode != "elasticache" && sizing.tasks_max > 1 {
            misses.push(format!(
                "up to {} tasks, but sessions in a cache that only one task sees",
                sizing.tasks_max
            ));
        }
        let first = runs.outcomes.first();
        Ok(Answer {
            pass: misses.is_empty(),
            misses,
            missed: missed.collect(),
            promised: wording::slo(&scenario),
            asked: wording::arrivals(&scenario),
            tasks_max: sizing.tasks_max,
            steady: !matches!(scenario.workload.arrivals, Arrivals::Daily { .. }),
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
            day: html::drawn(&figures::of_day(&simulated.day)),
            tfvars,
            notes: notes(ask, &simulated.outcomes, region),
        })
    }

    /// The runs of this scenario: kept ones, or else new ones on all cores.
    fn simulated(&self, scenario: &Scenario) -> Result<Arc<Simulated>, InvalidScenario> {
        let key = format!("{scenario:?}");
        // A thread that panicked has left whole entries behind.
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = kept().iter().find(|(known, _)| *known == key) {
            return Ok(Arc::clone(found));
        }
        // The day first: it is the longest piece of work.
        let pieces: Vec<Option<u32>> = std::iter::once(None)
            .chain((0..REPLICATIONS).map(Some))
            .collect();
        let mut day = None;
        let mut outcomes = Vec::new();
        for piece in parallel(cores(), &pieces, |piece| match piece {
            None => figures::simulate_day(scenario).map(|day| Piece::Day(Box::new(day))),
            Some(index) => timed_simulation(&at_replication(scenario, *index))
                .map(|outcome| Piece::Run(Box::new(outcome))),
        })? {
            match piece {
                Piece::Day(simulated) => day = Some(*simulated),
                Piece::Run(outcome) => outcomes.push(*outcome),
            }
        }
        let simulated = Arc::new(Simulated {
            outcomes,
            day: day.expect("one of the pieces is the day"),
        });
        let mut kept = kept();
        kept.push_front((key, Arc::clone(&simulated)));
        kept.truncate(KEPT);
        Ok(simulated)
    }

    /// The fleet under the load of so many users: the stage's own load, as much of it as they are of its users.
    fn scenario(&self, ask: &Ask, sizing: &Sizing) -> Result<Scenario, AskError> {
        let (_, users, requirements) = self
            .requirements
            .iter()
            .find(|(name, _, _)| *name == ask.stage)
            .ok_or_else(|| AskError::Stage(ask.stage.clone()))?;
        let mut scenario = requirements.scenario(sizing.fleet(ask.mode), self.profile.clone())?;
        let share = ask.users / users;
        scenario.workload.arrivals = match scenario.workload.arrivals {
            Arrivals::Daily { per_hour, hourly } => Arrivals::Daily {
                per_hour: per_hour * share,
                hourly,
            },
            other => Arrivals::Poisson {
                per_hour: other.mean_per_hour() * share,
            },
        };
        scenario.validate()?;
        Ok(scenario)
    }
}

/// A piece of the work behind an answer.
enum Piece {
    Day(Box<Day>),
    Run(Box<Outcome>),
}

/// The regions that the page offers, that of the price book first.
pub(super) fn region_names() -> Vec<&'static str> {
    std::iter::once(price_book().region.as_str())
        .chain(regions().iter().map(|region| region.name.as_str()))
        .collect()
}

/// The prices of a region; none for the price book's own.
fn region(name: &str) -> Result<Option<&'static Region>, AskError> {
    let found = regions().iter().find(|region| region.name == name);
    if found.is_none() && name != price_book().region {
        return Err(AskError::Region {
            region: name.to_owned(),
            known: region_names().join(" or "),
        });
    }
    Ok(found)
}

/// The same runs with the bill of a region.
fn priced(outcomes: &[Outcome], region: Option<&Region>) -> Replications {
    let mut outcomes = outcomes.to_vec();
    if let Some(region) = region {
        for outcome in &mut outcomes {
            outcome.cost_usd_month = region.reprice(&outcome.cost_usd_month);
        }
    }
    combine(outcomes)
}

/// What a reader of this bill must know.
fn notes(ask: &Ask, outcomes: &[Outcome], region: Option<&Region>) -> Vec<String> {
    let mut notes = Vec::new();
    if ask.stage == "scale" {
        notes.push(
            "The read replica, the second cache node and the firewall of environments/settings/scale.tfvars are not \
             in this bill: the gate prices them."
                .to_owned(),
        );
    }
    notes.extend(not_of_the_region(outcomes, region));
    notes
}

/// Which lines of the bill have the price book's prices for want of the region's.
fn not_of_the_region(outcomes: &[Outcome], region: Option<&Region>) -> Option<String> {
    let (region, outcome) = region.zip(outcomes.first())?;
    let unpriced = region.unpriced(&outcome.cost_usd_month);
    if unpriced.is_empty() {
        return None;
    }
    let lines: Vec<String> = unpriced
        .iter()
        .map(|line| line.name().replace('_', " "))
        .collect();
    Some(format!(
        "Billed at the prices of {}, for want of a source for {}: {}.",
        price_book().region,
        region.name,
        lines.join(", ")
    ))
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
            .all(|character| matches!(character, 'a'..='z' | '0'..='9' | '_' | '.'))
    };
    let word = |word: &str| {
        if wrong_word(word) {
            "\"\"".to_owned()
        } else {
            format!("\"{word}\"")
        }
    };
    let mut lines: Vec<(&str, String)> = vec![
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
        ("db_instance_class", word(&ask.db_instance_class)),
        ("db_multi_az", ask.db_multi_az.to_string()),
        ("cache_mode", word(&ask.cache_mode)),
    ];
    // The root module's defaults are those of the price book's region.
    if let Some(region) = region(&ask.region)? {
        let name = &region.name;
        lines.push(("region", format!("\"{name}\"")));
        lines.push(("availability_zones", format!("[\"{name}a\", \"{name}b\"]")));
    }
    // Aligned, as `terraform fmt` leaves a file.
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    Ok(lines
        .iter()
        .map(|(name, value)| format!("{name:width$} = {value}\n"))
        .collect())
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
        db_instance_class: sizing.db_instance_class,
        db_multi_az: sizing.db_multi_az,
        region: price_book().region.clone(),
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
        Lab::new(crate::vcpu_factor::profile(&calibration), requirements).expect("committed")
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
            assert_eq!(sizing.db_multi_az, ask.db_multi_az);
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
    fn the_load_of_each_stage_is_that_of_its_users() {
        for (stage, users, requirements) in &lab().requirements {
            let sizing = parse_sizing(Path::new("proposal"), PROPOSAL).expect("committed");
            let scenario = requirements
                .scenario(sizing.fleet(Mode::Queue), lab().profile)
                .expect("possible");
            // One generation per user every second day, 8 % of them in the busiest hour.
            let expected = users / 2.0 * 0.08;
            match scenario.workload.arrivals {
                Arrivals::Poisson { per_hour } | Arrivals::Daily { per_hour, .. } => {
                    assert!((per_hour - expected).abs() < 1e-9, "{stage}: {per_hour}");
                }
                other => panic!("{stage}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_stages_hold_here_as_they_do_before_the_gate() {
        let lab = lab();
        let pass = |index| lab.answer(&asked(index)).expect("possible").pass;
        assert_eq!([0, 1, 2, 3].map(pass), [false, true, true, true]);
    }

    #[test]
    fn a_region_and_a_standby_change_the_bill_and_nothing_else() {
        let lab = lab();
        let mut ask = asked(0);
        let here = lab.answer(&ask).expect("possible");
        assert!(here.notes.is_empty(), "{:?}", here.notes);
        ask.region = "eu-west-1".to_owned();
        let ireland = lab.answer(&ask).expect("possible");
        // The gateways, their data, the balancer, the instance and its storage are dearer.
        assert!(ireland.cost_usd_month.mean > here.cost_usd_month.mean + 5.0);
        assert!(
            ireland.notes[0].contains("elasticache"),
            "{:?}",
            ireland.notes
        );
        assert!(ireland.tfvars.contains("= \"eu-west-1\"\n"));
        assert_eq!(ireland.day, here.day);
        ask.region = price_book().region.clone();
        ask.db_multi_az = true;
        let standby = lab.answer(&ask).expect("possible").cost_usd_month.mean;
        assert!((standby - here.cost_usd_month.mean - 13.98).abs() < 0.005);
        ask.db_instance_class = "db.t4g.medium".to_owned();
        assert!(lab.answer(&ask).expect("possible").cost_usd_month.mean > standby);
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
        ask.region = "eu-west-9".to_owned();
        let error = lab().answer(&ask).expect_err("no prices").to_string();
        assert!(error.contains("us-east-1 or eu-west-1"), "{error}");
        let mut ask = asked(0);
        ask.db_instance_class = "db.x9.micro".to_owned();
        let error = lab().answer(&ask).expect_err("no price").to_string();
        assert!(
            error.contains("db.x9.micro") && error.contains("db.t4g.micro"),
            "{error}"
        );
        let mut ask = asked(0);
        ask.users = f64::NAN;
        lab().answer(&ask).expect_err("no such number of users");
    }
}
