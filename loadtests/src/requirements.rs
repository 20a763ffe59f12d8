//! The SLO, the budget and the load that a sizing is judged by: `slo.toml`.

use std::path::{Path, PathBuf};

use simulator::scenario::{Arrivals, Fleet, InvalidScenario, Profile, Scenario, ScenarioError};
use simulator::slo::Slo;

/// Stands where a sizing will be: an SLO file says what is asked, never of whom.
const PLACEHOLDER: &str = "
[profile]
cpu_s_per_generation = 0
memory_base_mib = 1
memory_per_generation_kib = 0
[fleet]
vcpu = 0.25
memory_gib = 0.5
workers = 1
tasks = { min = 1, desired = 1, max = 1 }
";

/// Why a file states no requirements.
#[derive(Debug, thiserror::Error)]
pub enum RequirementsError {
    /// The file cannot be read.
    #[error("read {path}, which must state an SLO, as loadtests/slo.toml does")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file holds something else than it may.
    #[error("read {path}: {detail}\nloadtests/slo.toml has every key, with comments")]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, the key, what is wrong and what would be right.
        detail: String,
    },
    /// It asks for nothing, so every sizing would pass.
    #[error(
        "read {path}: [slo] has none of wait_p95, lost_max, budget_usd_month, throughput_per_hour_min: every \
         sizing would pass"
    )]
    Nothing {
        /// The file.
        path: PathBuf,
    },
}

/// Generations that a user asks for in the busiest hour: one every second day, 8 % of them then (`slo.toml`).
const PEAK_PER_HOUR_AND_USER: f64 = 0.5 * 0.08;

/// What a sizing must do, and under which load.
#[derive(Clone, Debug)]
pub struct Requirements {
    scenario: Scenario,
    text: String,
}

impl Requirements {
    /// The file that states the requirements of `stage` in the checkout at `workspace`:
    /// `loadtests/slo/STAGE.toml`, or `loadtests/slo.toml` where the stage has none of its own. The path is
    /// relative to the checkout.
    pub fn file_of(stage: Option<&str>, workspace: &Path) -> PathBuf {
        stage
            .map(|stage| PathBuf::from(format!("loadtests/slo/{stage}.toml")))
            .filter(|file| workspace.join(file).is_file())
            .unwrap_or_else(|| PathBuf::from("loadtests/slo.toml"))
    }

    /// Reads `path`.
    ///
    /// # Errors
    /// When the file cannot be read, has unknown keys or impossible values, or asks for nothing.
    pub fn read(path: &Path) -> Result<Self, RequirementsError> {
        let text =
            crate::input_file::read_text(path).map_err(|source| RequirementsError::Read {
                path: path.to_owned(),
                source,
            })?;
        Self::parse(path, &text)
    }

    /// Parses the text of an SLO file; `path` is for messages only.
    ///
    /// # Errors
    /// As [`Requirements::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, RequirementsError> {
        let content = |detail: String| RequirementsError::Content {
            path: path.to_owned(),
            detail,
        };
        // What stands in for both is joined to the text, so that the parser would complain of lines that are not there.
        let stated: toml::Table = text.parse().unwrap_or_default();
        if let Some(foreign) = ["fleet", "profile"]
            .into_iter()
            .find(|name| stated.contains_key(*name))
        {
            return Err(content(format!(
                "[{foreign}] is no part of an SLO file, which states a load and promises; `cargo sizing simulate \
                 --scenario {}` takes a whole scenario",
                path.display()
            )));
        }
        // A client's patience is part of the load, though in queue mode nothing tries it.
        let workload = stated.get("workload").and_then(toml::Value::as_table);
        let is_patience_stated =
            workload.is_some_and(|workload| workload.contains_key("client_gives_up_after"));
        let mode = if is_patience_stated { "sync" } else { "queue" };
        let scenario = Scenario::from_toml(&format!("{text}{PLACEHOLDER}mode = \"{mode}\"\n"))
            .map_err(|error: ScenarioError| content(error.to_string()))?;
        let slo = &scenario.slo;
        if *slo == Slo::default() {
            return Err(RequirementsError::Nothing {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            scenario,
            text: text.to_owned(),
        })
    }

    /// Users that the load stands for: as it says itself, or else by its busiest hour. None for arrivals at given
    /// instants, and for a load of nobody.
    pub fn users(&self) -> Option<f64> {
        let users = match &self.scenario.workload.arrivals {
            Arrivals::Users { users, .. } => users.mid,
            Arrivals::Poisson { per_hour } | Arrivals::Deterministic { per_hour } => {
                per_hour / PEAK_PER_HOUR_AND_USER
            }
            Arrivals::Daily { per_hour, hourly } => {
                per_hour * hourly.iter().copied().fold(0.0, f64::max) / PEAK_PER_HOUR_AND_USER
            }
            Arrivals::Trace { .. } => return None,
        };
        // Users come whole; what is left is the division's.
        Some(users.round()).filter(|users| *users > 0.0)
    }

    /// The text of an SLO file that asks the same under so many times the load, without this one's comments, which
    /// speak of this one's load. None for arrivals at given instants, of which there are no more or fewer.
    pub fn scaled_text(&self, factor: f64) -> Option<String> {
        let mut table: toml::Table = self.text.parse().ok()?;
        let arrivals = table.get_mut("workload")?.get_mut("arrivals")?;
        let load = ["per_hour", "users"]
            .into_iter()
            .find(|key| arrivals.get(*key).is_some())?;
        scale(arrivals.get_mut(load)?, factor)?;
        // A promise of throughput is one for the load that was asked.
        if let Some(least) = table
            .get_mut("slo")
            .and_then(|slo| slo.get_mut("throughput_per_hour_min"))
        {
            scale(least, factor.min(1.0))?;
        }
        toml::to_string(&table).ok()
    }

    /// The scenario in which `fleet` meets these requirements, or not.
    ///
    /// # Errors
    /// When the fleet or the profile is impossible.
    pub fn scenario(&self, fleet: Fleet, profile: Profile) -> Result<Scenario, InvalidScenario> {
        let scenario = Scenario {
            workload: self.scenario.workload.clone().in_mode(fleet.mode),
            fleet,
            profile,
            ..self.scenario.clone()
        };
        scenario.validate()?;
        Ok(scenario)
    }
}

/// Multiplies a number, or the ends of an interval.
fn scale(value: &mut toml::Value, factor: f64) -> Option<()> {
    match value {
        toml::Value::Table(ends) => ends
            .iter_mut()
            .try_for_each(|(_, end)| scale(end, factor))?,
        number => {
            let whole = number
                .as_integer()
                .and_then(|whole| i32::try_from(whole).ok());
            let stated = number.as_float().or(whole.map(f64::from))?;
            *number = toml::Value::Float(stated * factor);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Requirements, RequirementsError> {
        Requirements::parse(Path::new("slo.toml"), text)
    }

    #[test]
    fn the_committed_file_is_valid() {
        parse(include_str!("../slo.toml")).expect("valid");
    }

    #[test]
    fn the_stages_have_valid_files_whose_day_is_what_they_say() {
        for (text, per_day) in [
            (include_str!("../slo/growth.toml"), 5_000.0),
            (include_str!("../slo/scale.toml"), 10_000.0),
        ] {
            let requirements = parse(text).expect("valid");
            let per_hour = requirements.scenario.workload.arrivals.mean_per_hour();
            assert!((per_hour * 24.0 - per_day).abs() < 1e-6, "{per_hour}");
        }
        parse(include_str!("../slo/mvp.toml")).expect("valid");
    }

    #[test]
    fn the_files_stand_for_the_users_of_their_stages() {
        use crate::stages::{SLO_USERS, STAGE_SLOS, STAGES};
        let users = |text: &str| parse(text).expect("valid").users();
        assert_eq!(users(include_str!("../slo.toml")), Some(SLO_USERS));
        for ((name, of_stage, _), (_, text)) in STAGES.into_iter().zip(STAGE_SLOS) {
            assert_eq!(users(text), Some(of_stage), "{name}");
        }
        let trace = "[workload]\narrivals = { kind = \"trace\", at = [\"1s\"] }\n\
                     generation = { kind = \"deterministic\", length = \"1s\" }\n[slo]\nlost_max = 0\n";
        assert_eq!(users(trace), None);
    }

    #[test]
    fn what_one_mode_alone_looks_at_is_part_of_a_load_for_both() {
        use simulator::scenario::{Mode, Tasks};
        let judged = |key: &str, mode: Mode| {
            let text = format!(
                "[workload]\narrivals = {{ kind = \"poisson\", per_hour = 6 }}\n\
                 generation = {{ kind = \"deterministic\", length = \"15m\" }}\n{key}\n[slo]\nlost_max = 0\n"
            );
            let profile = Profile {
                cpu_s_per_generation: 0.1,
                memory_base_mib: 40.0,
                memory_per_generation_kib: 100.0,
                cpu_s_per_poll: 0.0,
            };
            let mut fleet = Fleet::new(1.0, 2.0, 6, Tasks::fixed(1));
            fleet.mode = mode;
            let requirements = parse(&text).expect("valid");
            requirements.scenario(fleet, profile).expect("valid")
        };
        for mode in [Mode::Queue, Mode::Sync] {
            let patient = judged("client_gives_up_after = \"5m\"", mode).workload;
            assert_eq!(patient.client_gives_up_after.is_some(), mode == Mode::Sync);
            let retried = judged("attempts_max = 2", mode).workload;
            assert_eq!(retried.attempts_max == 2, mode == Mode::Queue);
        }
    }

    #[test]
    fn a_whole_scenario_is_told_from_an_slo_file() {
        let scenario = include_str!("../../simulator/scenarios/mvp.toml");
        let error = parse(scenario).expect_err("a scenario").to_string();
        assert!(error.contains("[fleet] is no part"), "{error}");
        assert!(error.contains("simulate --scenario slo.toml"), "{error}");
    }

    #[test]
    fn a_stage_without_a_file_of_its_own_has_the_common_one() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let file = |stage| Requirements::file_of(stage, &workspace);
        assert_eq!(file(Some("growth")), Path::new("loadtests/slo/growth.toml"));
        assert_eq!(file(Some("mine")), Path::new("loadtests/slo.toml"));
        assert_eq!(file(None), Path::new("loadtests/slo.toml"));
    }

    #[test]
    fn a_file_of_so_many_times_the_load_asks_the_same_otherwise() {
        for text in [
            include_str!("../slo.toml").to_owned(),
            include_str!("../slo/growth.toml").to_owned(),
            include_str!("../slo.toml").replace(
                "{ kind = \"poisson\", per_hour = 40 }",
                "{ kind = \"users\", users = { low = 10, mid = 20, high = 30 }, \
                 generations_per_user_day = 0.5, hourly = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, \
                 1, 1, 1, 1] }",
            ),
        ] {
            let stated = parse(&text).expect("valid");
            let scaled = parse(&stated.scaled_text(0.25).expect("a load")).expect("valid");
            let per_hour = |of: &Requirements| of.scenario.workload.arrivals.mean_per_hour();
            assert!((per_hour(&scaled) - per_hour(&stated) / 4.0).abs() < 1e-9);
            assert_eq!(scaled.scenario.slo, stated.scenario.slo);
            assert_eq!(scaled.scenario.workload.generation, stated.scenario.workload.generation);
        }
        let trace = include_str!("../slo.toml").replace(
            "{ kind = \"poisson\", per_hour = 40 }",
            "{ kind = \"trace\", at = [\"2h\"] }",
        );
        assert_eq!(parse(&trace).expect("valid").scaled_text(0.5), None);
    }

    #[test]
    fn a_file_that_asks_for_nothing_is_refused() {
        let text = include_str!("../slo.toml");
        let asks_nothing = text.split("[slo]").next().expect("text before [slo]");
        let error = parse(asks_nothing).expect_err("nothing to miss");
        assert!(
            matches!(error, RequirementsError::Nothing { .. }),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let text = include_str!("../slo.toml").replace("wait_p95", "wait_p96");
        let error = parse(&text).expect_err("unknown key").to_string();
        assert!(
            error.contains("wait_p96") && error.contains("line"),
            "{error}"
        );
    }
}
