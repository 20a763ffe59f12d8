//! How the work is asked for and done: tools, held requests, queues, and what else to change.

use super::{Answer, cheapest, compute, done_per_hour, lost, simulate, worker_capacity};
use crate::review::evidence::{Evidence, ROOMY_WORKERS, peak_per_hour};
use crate::review::facts::{NAT_IDLE_S, SQS_LONG_POLL_S, SQS_USD_PER_MILLION};
use crate::review::words::{say, usd};
use crate::review::{Figure, Unit};
use crate::stages::STAGES;

const MINUTES_PER_MONTH: f64 = 730.0 * 60.0;

pub(super) fn copilot(evidence: &Evidence) -> Answer {
    let bill = evidence.proposal_bill().total().as_usd();
    Answer {
        asked: say!(
            "Not to use AWS Copilot or the ECS CLI",
            "No usar AWS Copilot o ECS CLI"
        ),
        answer: say!(
            "Right. Terraform is what the gate reads: the same tfvars that AWS gets are simulated and priced before they are applied: {metered} a month for the proposal with the one task that its alarms leave, {bill} with both of its tasks always on. Neither Copilot nor the ECS CLI would make the bill smaller or the request survive.",
            "Correcto. Terraform es lo que lee `cargo sizing gate`: los mismos tfvars que recibe AWS se simulan y se calculan antes de aplicarse: {metered} al mes para la propuesta con la única tarea que dejan sus alarmas, {bill} con sus dos tareas siempre encendidas. Ni Copilot ni ECS CLI reducirían la cuenta ni harían sobrevivir la petición.",
            metered = usd(evidence.proposal_metered_usd()),
            bill = usd(bill)
        ),
        figures: vec![
            Figure::over_seeds(
                say!(
                    "the proposal, with the tasks that its alarms leave",
                    "la propuesta, con las tareas que dejan sus alarmas"
                ),
                Unit::UsdPerMonth,
                evidence.run("proposed").replications.cost_usd_month,
                2,
            ),
            Figure::exact(
                say!(
                    "the same with both tasks always on",
                    "lo mismo con las dos tareas siempre encendidas"
                ),
                Unit::UsdPerMonth,
                bill,
                2,
            ),
        ],
        command: "cargo sizing gate --sizing terraform/environments/proposal.tfvars".to_owned(),
        would_change: say!(
            "Nothing measurable: it is a matter of taste and of who maintains it.",
            "Nada medible: es cuestión de gusto y de quién lo mantiene."
        ),
        holds: evidence.proposal_metered_usd() < bill,
    }
}

pub(super) fn asynchronous(evidence: &Evidence) -> Answer {
    let proposed = evidence.run("proposed");
    let (held, queued) = (
        evidence.run("sync_deployed"),
        evidence.run("queue_deployed"),
    );
    let silent = evidence.run("sync_one_silent_call");
    Answer {
        asked: say!(
            "Timeout of 900 s: should it be async + webhook?",
            "Timeout de 900s: ¿Debería ser async + webhook?"
        ),
        answer: say!(
            "Yes. Held open, the requests of a day lose {lost:.0} generations to the balancer's 60 s. With the balancer at 1000 s and {workers} workers a task, four deployments still lose {held:.0}; queued, the same four lose {queued:.0}. The webhook spares the client's polls; the queue is what saves the work.",
            "Sí. Con la petición abierta, un día pierde {lost:.0} generaciones por los 60 s del balanceador. Con el balanceador en 1000 s y {workers} workers por tarea, cuatro despliegues aún pierden {held:.0}; con cola, los mismos cuatro pierden {queued:.0}. El webhook ahorra consultas al cliente; lo que salva el trabajo es la cola.",
            lost = proposed.replications.lost.mean,
            workers = ROOMY_WORKERS,
            held = held.replications.lost.mean,
            queued = queued.replications.lost.mean
        ),
        figures: vec![
            lost(
                say!(
                    "lost in a day as proposed",
                    "perdidas en un día según la propuesta"
                ),
                proposed,
            ),
            lost(
                say!(
                    "lost with the time-out raised, four deployments",
                    "perdidas con el tiempo ampliado, cuatro despliegues"
                ),
                held,
            ),
            lost(
                say!(
                    "lost with the queue, four deployments",
                    "perdidas con la cola, cuatro despliegues"
                ),
                queued,
            ),
            lost(
                say!(
                    "lost with the time-out raised and one silent call to OpenAI through NAT",
                    "perdidas con el tiempo ampliado y una sola llamada silenciosa a OpenAI por el NAT"
                ),
                silent,
            ),
        ],
        command: simulate("sync_deployed"),
        would_change: say!(
            "Generations shorter than a minute. Streaming alone would not do: a task that is stopped has 120 s at most.",
            "Generaciones de menos de un minuto. Transmitir datos no bastaría: una tarea detenida tiene 120 s como máximo."
        ),
        holds: held.replications.lost.mean > 0.0 && queued.replications.lost.mean <= 0.0,
    }
}

pub(super) fn sqs(evidence: &Evidence) -> Answer {
    let workers = f64::from(2 * ROOMY_WORKERS);
    let polls = workers * 60.0 / SQS_LONG_POLL_S * MINUTES_PER_MONTH;
    let cost = polls / 1e6 * SQS_USD_PER_MILLION;
    let growth = peak_per_hour(&evidence.load, STAGES[1].1);
    let db_s = growth * evidence.calibration.db_ms_per_generation.value / 1000.0;
    let queued = evidence.run("queue_deployed");
    Answer {
        asked: say!(
            "Not to use SQS for long jobs: AI generation could be async, a synchronous ECS task can be a bottleneck",
            "No usar SQS para jobs largos: AI generation podría ser async, ECS task síncrono puede ser bottleneck"
        ),
        answer: say!(
            "A queue is needed, SQS is not: the jobs are rows in PostgreSQL, claimed by lease, and an hour of the Growth stage takes {db_s:.1} s of the database. SQS would cost only {cost} a month, but the state of a generation would then live in two places.",
            "Hace falta una cola, pero no SQS: los trabajos son filas en PostgreSQL, reservadas con un plazo (lease), y una hora de la etapa Growth ocupa {db_s:.1} s de la base. SQS costaría solo {cost} al mes, pero el estado de una generación viviría entonces en dos sitios.",
            db_s = db_s,
            cost = usd(cost)
        ),
        figures: vec![
            Figure::calibrated(
                say!(
                    "PostgreSQL seconds for an hour of Growth",
                    "segundos de PostgreSQL por hora de Growth"
                ),
                Unit::Seconds,
                evidence.calibration.db_ms_per_generation,
                growth / 1000.0,
                1,
            ),
            Figure::exact(
                say!(
                    "SQS, 48 workers polling for 20 s each",
                    "SQS, 48 workers consultando 20 s cada uno"
                ),
                Unit::UsdPerMonth,
                cost,
                2,
            ),
            lost(
                say!(
                    "lost in a day with four deployments, PostgreSQL queue",
                    "perdidas en un día con cuatro despliegues, cola en PostgreSQL"
                ),
                queued,
            ),
        ],
        command: simulate("queue_deployed"),
        would_change: say!(
            "Workers in another service or another region than the database.",
            "Workers en otro servicio o en otra región que la base de datos."
        ),
        holds: db_s < 360.0 && queued.replications.lost.mean <= 0.0,
    }
}

pub(super) fn what_to_change(evidence: &Evidence) -> Answer {
    let cheapest = cheapest(evidence);
    let growth = evidence.run("growth");
    Answer {
        asked: say!(
            "What would you change, simplify, add?",
            "¿Qué cambiarías / simplificarías / agregarías?"
        ),
        answer: say!(
            "Change: answer 202 and work from a queue; scale on its depth. Simplify: {sizing} and one NAT gateway or none ({cost} a month with two). Add: HTTPS by default, the quota increase before the first blue/green deployment, PostgreSQL 17 instead of 14, and the gate in CI. growth.tfvars then carries its busiest hour, {growth:.0} generations, even all day long, for {growth_usd}.",
            "Cambiar: responder 202 y trabajar desde una cola; escalar por su longitud. Simplificar: {sizing_es} y un NAT o ninguno ({cost} al mes con dos). Agregar: HTTPS por defecto, la ampliación de cuota antes del primer despliegue blue/green, PostgreSQL 17 en lugar de 14 y `cargo sizing gate` en la CI. growth.tfvars procesa entonces su hora pico, {growth:.0} generaciones, incluso durante todo un día, por {growth_usd}.",
            sizing = cheapest.words.en.clone(),
            sizing_es = cheapest.words.es.clone(),
            cost = usd(cheapest.usd),
            growth = growth.replications.throughput_per_hour.mean,
            growth_usd = usd(growth.replications.cost_usd_month.mean)
        ),
        figures: vec![
            Figure::exact(
                say!(
                    "cheapest that holds, same network and cache",
                    "el más barato que cumple, misma red y caché"
                ),
                Unit::UsdPerMonth,
                cheapest.usd,
                2,
            ),
            done_per_hour(
                say!(
                    "Growth stage, its busiest hour all day long",
                    "etapa Growth, su hora pico todo el día"
                ),
                growth,
            ),
            Figure::over_seeds(
                say!("its bill", "su cuenta"),
                Unit::UsdPerMonth,
                growth.replications.cost_usd_month,
                2,
            ),
        ],
        command: simulate("growth"),
        would_change: say!(
            "The measurement of a changed backend; every figure here is computed again from it.",
            "La medición de un backend distinto; todos los números de aquí se recalculan con ella."
        ),
        holds: cheapest.found && growth.replications.lost.mean <= 0.0,
    }
}

pub(super) fn red_flags(evidence: &Evidence) -> Answer {
    let queued = evidence.run("queued");
    let at_growth = evidence.run("proposal_at_growth");
    let silent = evidence.run("sync_one_silent_call");
    let bill = evidence.proposal_bill().total().as_usd();
    Answer {
        asked: say!("Red flags identified", "Red flags identificados"),
        answer: say!(
            "Seven. The held request loses everything. The alarms stay silent and scale in under load. Three tasks at most carry {most:.0} of the {growth:.0} generations an hour of Growth. 30 s of deregistration delay cut what is in flight. A call to OpenAI that is silent for {nat:.0} s is reset by the NAT gateway. PostgreSQL 14 and Redis 6.2 leave support in early 2027. And the bill is {bill} with both tasks on, not $183.",
            "Siete. La petición abierta lo pierde todo. Las alarmas no suenan y quitan tareas bajo carga. Tres tareas como máximo procesan {most:.0} de las {growth:.0} generaciones por hora de Growth. Los 30 s de deregistration delay cortan lo que está en curso. Una llamada a OpenAI en silencio {nat:.0} s es cortada por el NAT. PostgreSQL 14 y Redis 6.2 salen de soporte a comienzos de 2027. Y la cuenta es {bill} con las dos tareas encendidas, no $183.",
            most = worker_capacity(queued, evidence.proposal.tasks_max),
            growth = peak_per_hour(&evidence.load, STAGES[1].1),
            nat = NAT_IDLE_S,
            bill = usd(bill)
        ),
        figures: vec![
            done_per_hour(
                say!(
                    "the proposal's tasks with a queue, at Growth",
                    "las tareas de la propuesta con cola, en Growth"
                ),
                at_growth,
            ),
            lost(
                say!(
                    "lost in a day to one silent call each through NAT",
                    "perdidas en un día por una llamada silenciosa cada una por el NAT"
                ),
                silent,
            ),
            Figure::exact(
                say!(
                    "workers a task that keep the promised wait",
                    "workers por tarea que cumplen la espera prometida"
                ),
                Unit::Workers,
                f64::from(compute::fewest_workers(evidence).unwrap_or(0)),
                0,
            ),
        ],
        command: simulate("proposal_at_growth"),
        would_change: say!(
            "Each flag is lowered by one change of those above; `cargo sizing gate` tells which are left.",
            "Cada una desaparece con alguno de los cambios anteriores; `cargo sizing gate` dice cuáles quedan."
        ),
        holds: at_growth.replications.throughput_per_hour.mean < 200.0
            && silent.replications.lost.mean > 100.0,
    }
}
