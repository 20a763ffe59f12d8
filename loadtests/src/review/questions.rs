//! The questions in the review's order, each with its answer. One file per subject holds the answers; the order and the
//! parts are here.

mod compute;
mod data;
mod design;
mod money;
mod network;
mod platform;

use simulator::capacity::{Resource, capacity_per_hour};
use simulator::outcome::Outcome;
use simulator::plan::Evaluated;
use simulator::precision::is_lower_bound;
use simulator::replications::Interval;

use super::evidence::Evidence;
use super::words::{say, usd};
use super::{Figure, Question, Text, Unit};
use crate::judgement::Judgement;

/// An answer before it has its place.
struct Answer {
    asked: Text,
    answer: Text,
    figures: Vec<Figure>,
    command: String,
    would_change: Text,
    holds: bool,
}

pub(super) fn all(evidence: &Evidence) -> Vec<Question> {
    let parts: [(Text, Vec<Answer>); 6] = [
        (
            say!(
                "Key decision: Fargate over App Runner",
                "Decisión clave: Fargate sobre App Runner"
            ),
            vec![platform::premature(evidence)],
        ),
        (
            say!("The infrastructure in detail", "Infraestructura detallada"),
            vec![
                network::nat_for_mvp(evidence),
                compute::two_vcpu(evidence),
                data::multi_az_from_day_one(evidence),
                data::elasticache_from_day_one(evidence),
                network::alb_or_nlb(evidence),
            ],
        ),
        (
            say!(
                "Specific questions for the reviewer",
                "Preguntas específicas para el reviewer"
            ),
            vec![
                platform::fargate_over_app_runner(evidence),
                platform::complexity(evidence),
                network::nat_from_day_one(evidence),
                network::vpc(evidence),
                compute::speculative(evidence),
                compute::thresholds(evidence),
                compute::min_and_max(evidence),
                data::micro(evidence),
                data::wait_for_metrics(evidence),
                data::managed_or_in_memory(evidence),
                data::remove_redis(evidence),
                money::reasonable(evidence),
                money::first(evidence),
                platform::option_a(evidence),
                platform::cloud_run(evidence),
                platform::render_or_railway(evidence),
            ],
        ),
        (
            say!("Questionable decisions", "Decisiones cuestionables"),
            vec![
                design::copilot(evidence),
                compute::six_workers(evidence),
                compute::dynamic_workers(evidence),
                design::asynchronous(evidence),
                design::sqs(evidence),
            ],
        ),
        (
            say!("Personal verdict", "Veredicto personal"),
            vec![money::over_engineered(evidence)],
        ),
        (
            say!("Next step", "Siguiente paso"),
            vec![
                platform::justified_against_all(evidence),
                network::for_the_scale(evidence),
                compute::without_metrics(evidence),
                design::what_to_change(evidence),
                design::red_flags(evidence),
            ],
        ),
    ];
    parts
        .into_iter()
        .flat_map(|(part, answers)| {
            answers
                .into_iter()
                .map(move |answer| (part.clone(), answer))
        })
        .enumerate()
        .map(|(index, (part, answer))| Question {
            number: index + 1,
            part,
            asked: answer.asked,
            answer: answer.answer,
            figures: answer.figures,
            command: format!("cargo sizing review --question {}", index + 1),
            // An answer from prices and limits alone has no fleet to show.
            shown_by: Some(answer.command).filter(|command| !command.is_empty()),
            would_change: answer.would_change,
            holds: answer.holds,
        })
        .collect()
}

pub(super) fn basis(evidence: &Evidence) -> Text {
    let calibration = &evidence.calibration;
    say!(
        "One generation costs {cpu:.4} CPU seconds (± {cpu_err:.4}, standard error) among many, {alone:.2} alone, which is what simulations charge, {memory:.0} KiB in flight and {db:.1} ms of PostgreSQL, measured with commit {commit} on {machine}. Asked for: {asked:.0} generations an hour, {length:.1} minutes each on average. Every simulated number is a mean over {runs} seeds from {seed} on, with its 95 % interval.",
        "Una generación cuesta {cpu:.4} segundos de CPU (± {cpu_err:.4}, error estándar) entre muchas y {alone:.2} sola, que es lo que cuentan las simulaciones, {memory:.0} KiB mientras está en curso y {db:.1} ms de PostgreSQL, medidos con el commit {commit} en {machine}. Carga pedida: {asked:.0} generaciones por hora, de {length:.1} minutos en promedio. Cada número simulado es la media de {runs} semillas, a partir de la {seed}, con su intervalo del 95 %.",
        cpu = calibration.cpu_s_per_generation.value,
        cpu_err = calibration.cpu_s_per_generation.std_err,
        alone = calibration.cpu_s_per_generation_at_most(),
        memory = calibration.memory_per_generation_kib.value,
        db = calibration.db_ms_per_generation.value,
        commit = calibration.commit.clone(),
        machine = calibration.cpu_model.clone(),
        asked = evidence.asked_per_hour(),
        length = evidence.generation_s() / 60.0,
        runs = evidence.replications,
        seed = evidence.load.seed
    )
}

pub(super) fn summary(evidence: &Evidence) -> Text {
    let proposed = evidence.run("proposed");
    let cheapest = cheapest(evidence);
    say!(
        "Fargate is right and the request that stays open for 15 minutes is not: as proposed {done:.1} of {asked:.0} generations an hour get an answer. The size is several times too large and the number of workers too small: what limits the fleet is how many generations it may run at a time, not its CPU. The table says $183 a month, its own list costs {bill} with both tasks on and {metered} with the one that its alarms leave, which is what the gate bills; {cheapest} holds the same load, on the same network and cache, for {cost}.",
        "Fargate es la elección correcta; la petición que queda abierta 15 minutos no lo es: tal como está propuesto, {done:.1} de {asked:.0} generaciones por hora reciben respuesta. Las tareas son varias veces más grandes de lo necesario y los workers, pocos: el límite es cuántas generaciones se ejecutan a la vez, no la CPU. La tabla dice $183 al mes y su propia lista cuesta {bill} con las dos tareas encendidas y {metered} con la única que dejan sus alarmas, que es lo que calcula `cargo sizing gate`; {cheapest_es} soporta la misma carga, con la misma red y caché, por {cost}.",
        done = proposed.replications.throughput_per_hour.mean,
        asked = evidence.asked_per_hour(),
        bill = usd(evidence.proposal_bill().total().as_usd()),
        metered = usd(evidence.proposal_metered_usd()),
        cheapest = cheapest.words.en.clone(),
        cheapest_es = cheapest.words.es.clone(),
        cost = usd(cheapest.usd)
    )
}

/// The command whose first row is the cheapest sizing that holds with the proposal's own gateways and cache.
const PLAN_OF_THE_PROPOSAL: &str =
    "cargo sizing plan --nat-gateways 2 --cache-modes elasticache --top 1";

/// The cheapest sizing of the plan that holds.
struct Cheapest {
    words: Text,
    usd: f64,
    wait_p95: Interval,
    found: bool,
}

fn cheapest(evidence: &Evidence) -> Cheapest {
    let Some(Evaluated {
        fleet,
        cost_usd_month,
        wait_p95_s,
        ..
    }) = evidence.plan.accepted.first()
    else {
        return Cheapest {
            words: say!("no sizing", "ningún dimensionamiento"),
            usd: f64::NAN,
            wait_p95: Interval::of(&[]),
            found: false,
        };
    };
    Cheapest {
        words: say!(
            "{tasks} of {vcpu} vCPU and {gib} GiB with {workers} workers",
            "{tareas} de {vcpu} vCPU y {gib} GiB con {workers} workers",
            tasks = crate::plural(fleet.tasks.max.into(), "task"),
            tareas = crate::plural(fleet.tasks.max.into(), "tarea"),
            vcpu = fleet.vcpu,
            gib = fleet.memory_gib,
            workers = fleet.workers
        ),
        usd: cost_usd_month.as_usd(),
        wait_p95: wait_p95_s.unwrap_or(Interval::of(&[])),
        found: true,
    }
}

/// A figure of every run of a fleet: its mean with its interval.
fn over(run: &Judgement, value: impl Fn(&Outcome) -> f64) -> Interval {
    let values: Vec<f64> = run.replications.outcomes.iter().map(value).collect();
    Interval::of(&values)
}

fn done_per_hour(what: Text, run: &Judgement) -> Figure {
    Figure::over_seeds(
        what,
        Unit::GenerationsPerHour,
        run.replications.throughput_per_hour,
        1,
    )
}

/// The wait that one in twenty exceeds; of a fleet that drowns, at least that.
fn wait_p95(what: Text, run: &Judgement) -> Figure {
    let what = if is_lower_bound(&run.replications.outcomes, 95) {
        say!(
            "{en}, at least",
            "{es}, al menos",
            en = what.en.clone(),
            es = what.es.clone()
        )
    } else {
        what
    };
    Figure::over_seeds(what, Unit::Seconds, run.replications.wait_p95_s, 1)
}

fn lost(what: Text, run: &Judgement) -> Figure {
    Figure::over_seeds(what, Unit::Generations, run.replications.lost, 1)
}

/// What the workers of so many tasks of this run carry.
fn worker_capacity(run: &Judgement, tasks: u32) -> f64 {
    capacity_per_hour(&run.scenario, f64::from(tasks))[&Resource::Workers]
}

/// Whether the wait is within what `slo.toml` promises.
fn waits_hold(evidence: &Evidence, run: &Judgement) -> bool {
    let limit_s = evidence
        .load
        .slo
        .wait_p95
        .map_or(f64::INFINITY, simulator::time::Duration::as_secs_f64);
    run.replications.wait_p95_s.mean <= limit_s
}

fn simulate(name: &str) -> String {
    format!("cargo sizing review --simulate {name}")
}
