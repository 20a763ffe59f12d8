//! The review's three stages: their own tfvars under the load of their users.

use serde::Serialize;
use simulator::capacity::{Resource, capacity_per_hour};

use super::evidence::{Evidence, database_is_priced};
use super::figure::Unit;
use super::words::say;
use super::{Figure, Text};
use crate::stages::STAGES;

/// What the review says each stage costs, in dollars a month; the last is a lower end.
const STATED_USD: [f64; 3] = [109.0, 233.0, 500.0];

/// One stage.
#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    /// Its name and its users.
    pub name: Text,
    /// Generations an hour that its users ask for at their peak.
    pub asked_per_hour: f64,
    /// Generations an hour that its most tasks carry, by formula.
    pub capacity_per_hour: f64,
    /// What the review says it costs.
    pub stated_usd_month: f64,
    /// What it costs under that load.
    pub cost: Figure,
    /// The wait that one in twenty exceeds.
    pub wait_p95: Figure,
    /// Generations lost in one day.
    pub lost: Figure,
    /// What a reader must know of it.
    pub note: Text,
    /// The command that judges it.
    pub command: String,
}

pub(super) fn rows(evidence: &Evidence) -> Vec<Stage> {
    STAGES
        .iter()
        .zip(STATED_USD)
        .map(|((key, users, text), stated)| {
            let run = evidence.run(key);
            let fleet = &run.scenario.fleet;
            let note = match (database_is_priced(key, text), *key) {
                (Some(class), _) => say!(
                    "Its {class} has no price in the book and is priced as {other}; the replica, WAF and CDN of this stage are not in the bill.",
                    "Su {class} no tiene precio en el libro y se calcula como {other}; la réplica, el WAF y la CDN de esta etapa no están en la cuenta.",
                    class = class,
                    other = fleet.db_instance_class.clone()
                ),
                (None, "scale") => say!(
                    "The replica, WAF and CDN of this stage are not in the bill.",
                    "La réplica, el WAF y la CDN de esta etapa no están en la cuenta."
                ),
                (None, "mvp") => say!(
                    "One task, sessions in process: a deployment signs everybody out.",
                    "Una tarea, sesiones en el proceso: un despliegue cierra la sesión de todos."
                ),
                _ => say!(
                    "The queue scales it, not the CPU.",
                    "La escala la cola, no la CPU."
                ),
            };
            Stage {
                name: say!(
                    "{title} ({users} users)",
                    "{title} ({users} usuarios)",
                    title = title(key),
                    users = format!("{users:.0}")
                ),
                asked_per_hour: run.scenario.workload.arrivals.mean_per_hour(),
                capacity_per_hour: capacity_per_hour(&run.scenario, f64::from(fleet.tasks.max))
                    [&Resource::Workers],
                stated_usd_month: stated,
                cost: Figure::over_seeds(
                    say!("monthly bill", "cuenta mensual"),
                    Unit::UsdPerMonth,
                    run.replications.cost_usd_month,
                    2,
                ),
                wait_p95: Figure::over_seeds(
                    say!("wait, 95 %", "espera, 95 %"),
                    Unit::Seconds,
                    run.replications.wait_p95_s,
                    1,
                ),
                lost: Figure::over_seeds(
                    say!("lost in a day", "perdidas en un día"),
                    Unit::Generations,
                    run.replications.lost,
                    0,
                ),
                note,
                command: format!("cargo sizing review --simulate {key}"),
            }
        })
        .collect()
}

fn title(key: &str) -> &str {
    match key {
        "mvp" => "MVP",
        "growth" => "Growth",
        _ => "Scale",
    }
}
