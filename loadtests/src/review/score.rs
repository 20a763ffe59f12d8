//! The review's score card, computed again where a number can decide.

use serde::Serialize;
use simulator::capacity::{Resource, capacity_per_hour};

use super::Text;
use super::evidence::{Evidence, peak_per_hour};
use super::facts::SUPPORT_MONTHS_LEFT;
use super::words::say;
use crate::stages::STAGES;

/// One criterion, or the total.
#[derive(Clone, Debug, Serialize)]
pub struct Score {
    /// Its name in the review.
    pub criterion: Text,
    /// What the review gives it, of 10; none for a criterion that the card lacks.
    pub stated: Option<f64>,
    /// What the numbers give it; none where no number of this repository can decide.
    pub computed: Option<f64>,
    /// How.
    pub how: Text,
}

pub(super) fn rows(evidence: &Evidence) -> Vec<Score> {
    let undecided = say!(
        "no number of this repository decides it: the review's own score stands",
        "ningún número de este repositorio lo decide: queda la nota del documento"
    );
    let row = |criterion: Text, stated: f64, computed: Option<f64>, how: Text| Score {
        criterion,
        stated: Some(stated),
        computed,
        how,
    };
    let mut rows = vec![
        row(
            say!("Simplicity", "Simplicidad"),
            6.0,
            None,
            undecided.clone(),
        ),
        cost_effectiveness(evidence),
        scalability(evidence),
        row(
            say!("Maintainability", "Mantenibilidad"),
            7.0,
            None,
            undecided.clone(),
        ),
        row(say!("Security", "Seguridad"), 9.0, None, undecided.clone()),
        row(
            say!("Monitoring", "Monitoreo"),
            8.0,
            None,
            say!(
                "not scored: of its six alarms two can be simulated, and neither CPU nor memory ever fires here",
                "sin nota nueva: de sus seis alarmas se pueden simular dos, y ni la de CPU ni la de memoria se disparan aquí"
            ),
        ),
        row(
            say!("Future-proof", "Preparado para el futuro"),
            9.0,
            Some(10.0 * SUPPORT_MONTHS_LEFT[0] / SUPPORT_MONTHS_LEFT[1]),
            say!(
                "{left:.0} months of standard support left to PostgreSQL 14 on the day of the review, {newest:.0} to the newest version",
                "al día del documento le quedan {left:.0} meses de soporte estándar a PostgreSQL 14, y {newest:.0} a la versión más nueva",
                left = SUPPORT_MONTHS_LEFT[0],
                newest = SUPPORT_MONTHS_LEFT[1]
            ),
        ),
        row(
            say!("Developer experience", "Experiencia de desarrollo"),
            6.0,
            None,
            undecided,
        ),
    ];
    let mean = |score: fn(&Score) -> Option<f64>| {
        let values: Vec<f64> = rows.iter().filter_map(score).collect();
        crate::stats::mean(&values).map(|mean| mean.value)
    };
    let total = Score {
        criterion: say!("Total", "Total"),
        stated: mean(|row| row.stated),
        computed: mean(|row| row.computed.or(row.stated)),
        how: say!(
            "mean of the eight, computed where possible",
            "media de los ocho, calculados donde se puede"
        ),
    };
    rows.push(reliability(evidence));
    rows.push(total);
    rows
}

fn cost_effectiveness(evidence: &Evidence) -> Score {
    let proposed = evidence.proposal_bill().total().as_usd();
    let cheapest = evidence
        .plan
        .accepted
        .first()
        .map(|cheapest| cheapest.cost_usd_month.as_usd());
    Score {
        criterion: say!("Cost-effectiveness", "Relación costo-efectividad"),
        stated: Some(7.0),
        computed: cheapest.map(|cheapest| 10.0 * (cheapest / proposed).min(1.0)),
        how: say!(
            "the cheapest sizing that holds on the same network and cache costs {share:.0} % of the proposal with both tasks on",
            "el dimensionamiento más barato que cumple con la misma red y caché cuesta el {share:.0} % de la propuesta con las dos tareas encendidas",
            share = cheapest.map_or(f64::NAN, |cheapest| 100.0 * cheapest / proposed)
        ),
    }
}

fn scalability(evidence: &Evidence) -> Score {
    let queued = &evidence.run("queued").scenario;
    let carried = capacity_per_hour(queued, f64::from(queued.fleet.tasks.max))[&Resource::Workers];
    let growth = peak_per_hour(&evidence.load, STAGES[1].1);
    Score {
        criterion: say!("Scalability", "Escalabilidad"),
        stated: Some(9.0),
        computed: Some(10.0 * (carried / growth).min(1.0)),
        how: say!(
            "all {tasks} tasks carry {carried:.1} generations/h, the Growth stage asks for {growth:.0}",
            "las {tasks} tareas juntas procesan {carried:.1} generaciones/h; la etapa Growth pide {growth:.0}",
            tasks = queued.fleet.tasks.max,
            carried = carried,
            growth = growth
        ),
    }
}

fn reliability(evidence: &Evidence) -> Score {
    let outcomes = &evidence.run("proposed").replications.outcomes;
    let count = |of: fn(&simulator::Outcome) -> u64| {
        crate::stats::count_u64_as_f64(outcomes.iter().map(of).sum::<u64>())
    };
    let completed = count(|outcome| outcome.completed);
    let ended = completed + count(simulator::Outcome::lost_total);
    Score {
        criterion: say!(
            "Reliability (not in the card)",
            "Fiabilidad (falta en la tabla)"
        ),
        stated: None,
        computed: (ended > 0.0).then(|| 10.0 * completed / ended),
        how: say!(
            "generations that end with an answer, of those that end, as proposed; not in the total",
            "generaciones que terminan con respuesta, de las que terminan, según la propuesta; no entra en el total"
        ),
    }
}
