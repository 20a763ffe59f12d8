//! The review's three stages: their own tfvars under the load of their users.

use std::path::Path;

use serde::Serialize;
use simulator::capacity::{Resource, capacity_per_hour};
use simulator::replications::Interval;
use simulator::scenario::Fleet;

use super::evidence::{Evidence, database_is_priced};
use super::figure::Unit;
use super::words::{grouped, percent, say, usd};
use super::{Figure, Text};
use crate::gate::extra_usd;
use crate::judgement::Judgement;
use crate::requirements::Requirements;
use crate::stages::{STAGE_SETTINGS, STAGE_SLOS, STAGES};
use crate::terraform::Configuration;

/// What the review says each stage costs, in dollars a month; the last is a lower end.
const STATED_USD: [f64; 3] = [109.0, 233.0, 500.0];

/// One stage.
#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    /// Its name and its users.
    pub name: Text,
    /// Generations an hour that its users ask for at their peak.
    pub asked_per_hour: f64,
    /// Generations an hour of the day by which the gate judges it, on average.
    pub gate_per_hour: f64,
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
    /// What to take, and what to leave, of the review's recommendation for it.
    pub recommendation: Text,
    /// The command that judges it.
    pub command: String,
}

pub(super) fn rows(evidence: &Evidence) -> Vec<Stage> {
    STAGES
        .iter()
        .zip(STATED_USD)
        .enumerate()
        .map(|(index, ((key, users, text), stated))| {
            let run = evidence.run(key);
            let fleet = &run.scenario.fleet;
            let extra_usd = extra_usd(&configuration(index));
            let bill = run.replications.cost_usd_month;
            let bill = Interval {
                mean: bill.mean + extra_usd,
                ..bill
            };
            let note = match (database_is_priced(key, text), *key) {
                (Some(class), _) => say!(
                    "Its {class} has no price in the book and is priced as {other}.",
                    "Su {class} no tiene precio en el libro y se calcula como {other}.",
                    class = class,
                    other = fleet.db_instance_class.clone()
                ),
                (None, "scale") => say!(
                    "{extra} of the bill, which a simulation does not meter, are the read replica, the second cache node and WAF; the CDN is not in it.",
                    "{extra} de la cuenta, que una simulación no mide, son la réplica de lectura, el segundo nodo de caché y el WAF; la CDN no está en ella.",
                    extra = usd(extra_usd)
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
                    users = grouped(&format!("{users:.0}"))
                ),
                asked_per_hour: run.scenario.workload.arrivals.mean_per_hour(),
                gate_per_hour: gate_per_hour(index, fleet, run),
                capacity_per_hour: capacity_per_hour(&run.scenario, f64::from(fleet.tasks.max))
                    [&Resource::Workers],
                stated_usd_month: stated,
                cost: Figure::over_seeds(
                    say!("monthly bill", "cuenta mensual"),
                    Unit::UsdPerMonth,
                    bill,
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
                recommendation: recommendation(evidence, key),
                command: format!("cargo sizing review --simulate {key}"),
            }
        })
        .collect()
}

/// What a stage's settings add to the bill of its simulation, if anything.
pub fn unmetered(name: &str) -> Option<String> {
    let index = STAGES.iter().position(|(key, ..)| *key == name)?;
    let extra = extra_usd(&configuration(index));
    (extra > 0.0).then(|| {
        format!(
            "Its settings (terraform/environments/settings/{name}.tfvars) add {} a month, which a simulation does not \
             meter; the review and the gate count them.",
            usd(extra)
        )
    })
}

/// All of a stage's committed values.
fn configuration(index: usize) -> Configuration {
    let (name, _, sizing) = STAGES[index];
    let text = format!("{sizing}{}", STAGE_SETTINGS[index]);
    Configuration::parse(Path::new(name), &text).expect("a test reads the committed files")
}

/// Generations an hour, on average over the day that the stage's own SLO file states.
fn gate_per_hour(index: usize, fleet: &Fleet, run: &Judgement) -> f64 {
    let (file, text) = STAGE_SLOS[index];
    Requirements::parse(Path::new(file), text)
        .expect("a test reads the committed files")
        .scenario(fleet.clone(), run.scenario.profile.clone())
        .expect("the same fleet was simulated")
        .workload
        .arrivals
        .mean_per_hour()
}

/// The review recommends a change for each stage; which of them its numbers bear out.
fn recommendation(evidence: &Evidence, key: &str) -> Text {
    let run = evidence.run(key);
    let fleet = &run.scenario.fleet;
    let proposed = evidence
        .run("queued")
        .scenario
        .fleet
        .workers
        .saturating_mul(evidence.proposal.tasks_max);
    match key {
        "mvp" => {
            let bill = |nat: u32| {
                let change = |changed: &mut Fleet| {
                    *changed = fleet.clone();
                    (changed.vcpu, changed.memory_gib) = (0.25, 0.5);
                    changed.nat_gateways = nat;
                };
                evidence.total(change, 1)
            };
            say!(
                "of the review's four savings take all, and the third further: not 1 vCPU, which mvp.tfvars keeps, but 0.25, with {workers} workers; one NAT gateway ({one} a month) or none and public addresses ({none}), Redis in process, a single zone for the database.",
                "de los cuatro ahorros del documento, tómalos todos, y el tercero aún más lejos: no 1 vCPU, que mvp.tfvars conserva, sino 0.25, con {workers} workers; un NAT Gateway ({one} al mes) o ninguno y direcciones públicas ({none}), Redis en memoria y la base de datos en una sola zona.",
                workers = fleet.workers,
                one = usd(bill(1)),
                none = usd(bill(0))
            )
        }
        "growth" => say!(
            "Multi-AZ and the second NAT gateway, as the review says; but \"more aggressive autoscaling\" on CPU adds nothing, and its architecture kept as it is runs {proposed} generations at a time where {needed:.0} are in flight on average: {workers} workers a task, scaled on the queue's depth.",
            "Multi-AZ y el segundo NAT Gateway, como dice el documento; pero un «auto-scaling más agresivo» por CPU no aporta nada, y su arquitectura sin cambios ejecuta {proposed} generaciones a la vez cuando hay {needed:.0} en curso en promedio: {workers} workers por tarea, escalados por la longitud de la cola.",
            proposed = proposed,
            needed =
                run.scenario.workload.arrivals.mean_per_hour() * evidence.generation_s() / 3600.0,
            workers = fleet.workers
        ),
        _ => {
            let per_hour = run.scenario.workload.arrivals.mean_per_hour();
            let busy = per_hour * evidence.calibration.db_ms_per_generation.value / 3.6e6;
            say!(
                "none of the review's four additions is needed to carry the load: PostgreSQL executes for {busy} of an hour, so the read replica relieves nothing. The second cache node buys availability, WAF and CDN buy protection; take them for that. What carries the load is {workers} workers a task and the queue.",
                "ninguna de las cuatro adiciones del documento hace falta para soportar la carga: PostgreSQL trabaja el {busy} de cada hora, así que la réplica de lectura no alivia nada. El segundo nodo de caché compra disponibilidad; el WAF y la CDN, protección: son motivos para tomarlos. Lo que soporta la carga son {workers} workers por tarea y la cola.",
                busy = percent(busy),
                workers = fleet.workers
            )
        }
    }
}

fn title(key: &str) -> &str {
    match key {
        "mvp" => "MVP",
        "growth" => "Growth",
        _ => "Scale",
    }
}
