//! One what-if question and its answer: the gate's, without what takes the gate seconds.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use simulator::capacity::{bottleneck, capacity_per_hour};
use simulator::cost::regions;
use simulator::outcome::Outcome;
use simulator::prices::price_book;
use simulator::replications::{Interval, at_replication, combine};
use simulator::scenario::{Arrivals, InvalidScenario, Profile, Scenario};

use super::ask::{Ask, AskError};
use super::copied::{self, Copied};
use super::presets::PRESETS;
use crate::calibrate::Calibration;
use crate::command_line::REPLICATIONS;
use crate::gate::{Candidate, judged};
use crate::judgement::{cores, parallel, timed_simulation};
use crate::report::figures::{self, Day};
use crate::report::{html, wording};
use crate::requirements::{Requirements, RequirementsError};
use crate::stages::STAGE_SLOS;
use crate::terraform::Configuration;
use crate::vcpu_factor::{VcpuFactor, profile_on};

/// Fleets whose runs are kept: whoever compares two goes back and forth, and a price changes no run.
const KEPT: usize = 16;

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
    /// Whether the gate would let it pass.
    pub pass: bool,
    /// Why not: every promise missed and every finding of `findings.tf`, in words.
    pub misses: Vec<String>,
    /// The same by their keys.
    pub missed: Vec<String>,
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
    /// What limits them.
    pub bottleneck: String,
    /// Generations an hour that were done.
    pub done_per_hour: Estimate,
    /// The wait that one in twenty exceeds, in seconds.
    pub wait_p95_s: Estimate,
    /// Whether so many still waited in the end that it would be longer, had the day gone on.
    pub wait_p95_is_lower_bound: bool,
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
    /// What to copy.
    #[serde(flatten)]
    pub copied: Copied,
    /// What a reader must know, and what the gate only warns of.
    pub notes: Vec<String>,
}

/// The runs of one fleet, and its day: what takes time, and what no price changes.
#[derive(Debug)]
struct Simulated {
    outcomes: Vec<Outcome>,
    day: Day,
}

/// A stage's load and promises.
#[derive(Debug)]
struct Stage {
    name: &'static str,
    /// Users that the load stands for.
    users: f64,
    /// The file that states both.
    slo_file: String,
    requirements: Requirements,
}

/// What a generation costs on the deployment, and where that is from.
#[derive(Debug)]
pub struct Cost {
    profile: Profile,
    calibration_file: String,
    vcpu: VcpuFactor,
    cpu_model: String,
}

impl Cost {
    /// As this calibration from this file has it, on a vCPU of this score.
    pub fn new(calibration: &Calibration, file: &Path, vcpu_score: Option<f64>) -> Cost {
        let vcpu = VcpuFactor::new(calibration, vcpu_score);
        Cost {
            profile: profile_on(calibration, vcpu),
            calibration_file: file.display().to_string(),
            vcpu,
            cpu_model: calibration.cpu_model.clone(),
        }
    }
}

/// Everything an answer rests on that no control changes, and what was simulated last.
#[derive(Debug)]
pub struct Lab {
    cost: Cost,
    stages: Vec<Stage>,
    kept: Mutex<VecDeque<(String, Arc<Simulated>)>>,
}

impl Lab {
    /// With this cost of a generation, and what is promised of the proposal with its file; the stages are held to their
    /// own files.
    ///
    /// # Errors
    /// When the file of a stage is not valid, which a test rules out.
    pub fn new(
        cost: Cost,
        (proposal, slo_file): (Requirements, &Path),
    ) -> Result<Lab, RequirementsError> {
        let mut stages = vec![Stage {
            name: PRESETS[0].name,
            // A trace says nothing of users, and cannot be scaled to any.
            users: proposal.users().unwrap_or(PRESETS[0].users),
            slo_file: slo_file.display().to_string(),
            requirements: proposal,
        }];
        for (preset, (file, text)) in PRESETS.into_iter().skip(1).zip(STAGE_SLOS) {
            stages.push(Stage {
                name: preset.name,
                users: preset.users,
                slo_file: file.to_owned(),
                requirements: Requirements::parse(Path::new(file), text)?,
            });
        }
        Ok(Lab {
            cost,
            stages,
            kept: Mutex::default(),
        })
    }

    pub(super) fn calibration_file(&self) -> &str {
        &self.cost.calibration_file
    }

    /// Users that a stage's load stands for.
    pub(super) fn users_of(&self, stage: &str) -> Option<f64> {
        let found = self.stages.iter().find(|known| known.name == stage);
        found.map(|stage| stage.users)
    }

    pub(super) fn vcpu_score(&self) -> Option<f64> {
        self.cost.vcpu.deployment_score
    }

    /// The answer to one question.
    ///
    /// # Errors
    /// When a value is not one that Terraform or the simulator accepts.
    pub fn answer(&self, ask: &Ask) -> Result<Answer, AskError> {
        let names = region_names();
        if !names.contains(&ask.region.as_str()) {
            return Err(AskError::Region {
                region: ask.region.clone(),
                known: names.join(" or "),
            });
        }
        let tfvars = copied::tfvars(ask)?;
        let configuration = Configuration::parse(Path::new("these values"), &tfvars)?;
        let stage = self.stage(&ask.stage)?;
        let slo = scaled(stage, ask.users)?;
        let requirements = match &slo {
            Some(text) => &Requirements::parse(Path::new(&stage.slo_file), text)?,
            None => &stage.requirements,
        };
        let scenario = requirements.scenario(configuration.fleet(), self.cost.profile.clone())?;
        let simulated = self.simulated(&scenario)?;
        let (candidate, _) = judged(
            &configuration,
            scenario,
            combine(simulated.outcomes.clone()),
        );
        let scenario = &candidate.scenario;
        // What nothing scales keeps the tasks that it starts with.
        let tasks_max = match scenario.fleet.autoscaling.metrics.is_empty() {
            true => candidate.sizing.tasks_desired,
            false => candidate.sizing.tasks_max,
        };
        let capacity = capacity_per_hour(scenario, f64::from(tasks_max));
        let limit = bottleneck(&capacity);
        let cost_usd_month = candidate.total_usd().into();
        let (total, lines) = candidate
            .cost_usd_month
            .split_last()
            .expect("every bill ends with its total");
        debug_assert_eq!(total.line, "total");
        Ok(Answer {
            pass: candidate.pass,
            misses: candidate
                .causes
                .iter()
                .map(|cause| cause.text.clone())
                .collect(),
            missed: candidate
                .causes
                .iter()
                .map(|cause| cause.key.clone())
                .collect(),
            promised: wording::slo(scenario),
            asked: wording::arrivals(scenario),
            tasks_max,
            steady: !matches!(
                scenario.workload.arrivals,
                Arrivals::Daily { .. } | Arrivals::Users { .. } | Arrivals::Trace { .. }
            ),
            asked_per_hour: scenario.workload.arrivals.mean_per_hour(),
            capacity_per_hour: capacity[&limit],
            bottleneck: limit.name().replace('_', " "),
            done_per_hour: candidate.throughput_per_hour.into(),
            wait_p95_s: candidate.wait_p95_s.into(),
            wait_p95_is_lower_bound: candidate.wait_p95_is_lower_bound,
            lost: candidate.lost.into(),
            cost_usd_month,
            bill: lines
                .iter()
                .filter(|line| line.usd.mean > 0.0)
                .map(|line| (line.line.replace('_', " "), line.usd.mean))
                .collect(),
            cpu_percent: candidate.cpu_utilization.mean * 100.0,
            day: html::drawn(&figures::of_day(&simulated.day)),
            copied: Copied {
                command: copied::command(self, &stage.slo_file, slo.is_some()),
                tfvars,
                slo,
            },
            notes: self.notes(&candidate),
        })
    }

    /// What the gate warns of, what a single task means, and what a vCPU is taken for.
    fn notes(&self, candidate: &Candidate) -> Vec<String> {
        let warnings = candidate.warnings.iter();
        let mut notes: Vec<String> = warnings
            .map(|warning| capitalised(&warning.remedy))
            .collect();
        let spare = wording::spare(&candidate.scenario.fleet);
        if !spare.is_empty() {
            notes.push(spare.trim().to_owned());
        }
        notes.push(self.cost.vcpu.statement(&self.cost.cpu_model));
        notes
    }

    fn stage(&self, name: &str) -> Result<&Stage, AskError> {
        self.stages
            .iter()
            .find(|stage| stage.name == name)
            .ok_or_else(|| AskError::Stage(name.to_owned()))
    }

    /// The runs of this scenario: kept ones, or else new ones on all cores, as many as the gate makes.
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
}

/// The stage's SLO file under the load of so many users; none where they are the stage's own.
fn scaled(stage: &Stage, users: f64) -> Result<Option<String>, AskError> {
    let factor = users / stage.users;
    if (factor - 1.0).abs() < f64::EPSILON {
        return Ok(None);
    }
    let text = stage
        .requirements
        .scaled_text(factor)
        .ok_or_else(|| AskError::Load {
            file: stage.slo_file.clone(),
            users: stage.users,
        })?;
    Ok(Some(format!(
        "# {}, under the load of {users} users instead of {}.\n{text}",
        stage.slo_file, stage.users
    )))
}

fn capitalised(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
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

#[cfg(test)]
mod tests;
