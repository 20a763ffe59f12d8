//! What it costs, and what to save first.

use super::{Answer, PLAN_OF_THE_PROPOSAL, cheapest, done_per_hour, waits_hold};
use crate::review::evidence::{Evidence, IN_PROCESS};
use crate::review::facts::{
    DAY_OVER_PEAK_HOUR, DAYS_PER_MONTH, SEED_OPENAI_USD, SEED_TOTAL_USD, TOKEN_USD_PER_MILLION,
    TOKENS,
};
use crate::review::words::{grouped, percent, say, usd};
use crate::review::{Figure, Text, Unit};
use simulator::prices::seed_table;
use simulator::scenario::Architecture;

fn openai_usd_per_generation() -> f64 {
    TOKENS
        .iter()
        .zip(TOKEN_USD_PER_MILLION)
        .map(|(tokens, usd)| tokens * usd / 1e6)
        .sum()
}

fn generations_per_month(evidence: &Evidence) -> f64 {
    evidence.asked_per_hour() * DAY_OVER_PEAK_HOUR * DAYS_PER_MONTH
}

pub(super) fn reasonable(evidence: &Evidence) -> Answer {
    let bill = evidence.proposal_bill().total().as_usd();
    let stated = seed_table().total().as_usd();
    let each = openai_usd_per_generation();
    let generations = generations_per_month(evidence);
    Answer {
        asked: say!(
            "Is $233 a month reasonable for an MVP with AI processing?",
            "¿$233/mes razonable para un MVP con AI processing?"
        ),
        answer: say!(
            "The figure is wrong twice. The table's own list costs {bill} with both tasks on, not {stated}: its Fargate row leaves out the memory and the second task. And $50 buys {bought:.0} generations of OpenAI at ${each:.3} each, while the load it is sized for makes {generations} a month: {openai}.",
            "La cifra está mal dos veces. La propia lista de la tabla cuesta {bill} con las dos tareas encendidas, no {stated}: su fila de Fargate omite la memoria y la segunda tarea. Y $50 compran {bought:.0} generaciones de OpenAI a ${each:.3} cada una, cuando la carga para la que se dimensiona hace {generations} al mes: {openai}.",
            bill = usd(bill),
            stated = usd(stated),
            bought = (SEED_OPENAI_USD / each).floor(),
            each = each,
            generations = grouped(&format!("{generations:.0}")),
            openai = usd(generations * each)
        ),
        figures: vec![
            Figure::exact(
                say!(
                    "the table's list, priced again",
                    "la lista de la tabla, recalculada"
                ),
                Unit::UsdPerMonth,
                bill,
                2,
            ),
            Figure::exact(
                say!(
                    "with the review's $50 of OpenAI",
                    "con los $50 de OpenAI del documento"
                ),
                Unit::UsdPerMonth,
                bill + SEED_OPENAI_USD,
                2,
            ),
            Figure::exact(
                say!(
                    "infrastructure per thousand generations",
                    "infraestructura por mil generaciones"
                ),
                Unit::Usd,
                1000.0 * bill / generations,
                2,
            ),
            Figure::exact(
                say!(
                    "OpenAI per thousand generations (20,000 tokens in, 30,000 out, gpt-5)",
                    "OpenAI por mil generaciones (20,000 tokens de entrada, 30,000 de salida, gpt-5)"
                ),
                Unit::Usd,
                1000.0 * each,
                2,
            ),
        ],
        command: String::new(),
        would_change: say!(
            "The tokens of a generation, which are assumed, and the model's price, which was cut within 2026: the infrastructure is the small part either way.",
            "Los tokens por generación, que son un supuesto, y el precio del modelo, que bajó durante 2026: en todo caso, la infraestructura es la parte pequeña."
        ),
        holds: bill + SEED_OPENAI_USD > SEED_TOTAL_USD && generations * each > bill,
    }
}

/// Each saving alone against the proposal's bill, largest first.
fn savings(evidence: &Evidence) -> Vec<(Text, f64)> {
    let tasks = evidence.proposal.tasks_desired;
    let whole = evidence.proposal_bill().total().as_usd();
    let saves = |usd: f64| whole - usd;
    let mut all = vec![
        (
            say!(
                "tasks of 0.25 vCPU and 0.5 GiB",
                "tareas de 0.25 vCPU y 0.5 GiB"
            ),
            saves(evidence.total(|fleet| (fleet.vcpu, fleet.memory_gib) = (0.25, 0.5), tasks)),
        ),
        (
            say!(
                "no NAT gateway, public addresses",
                "sin NAT, con direcciones públicas"
            ),
            saves(evidence.total(|fleet| fleet.nat_gateways = 0, tasks)),
        ),
        (
            say!("one NAT gateway instead of two", "un NAT en lugar de dos"),
            saves(evidence.total(|fleet| fleet.nat_gateways = 1, tasks)),
        ),
        (
            say!("tasks on ARM", "tareas en ARM"),
            saves(evidence.total(|fleet| fleet.architecture = Architecture::Arm, tasks)),
        ),
        (
            say!(
                "no ElastiCache (one task only)",
                "sin ElastiCache (solo con una tarea)"
            ),
            saves(evidence.total(|fleet| fleet.cache_mode = IN_PROCESS, tasks)),
        ),
    ];
    all.sort_by(|one, other| other.1.total_cmp(&one.1));
    all
}

pub(super) fn first(evidence: &Evidence) -> Answer {
    let savings = savings(evidence);
    let together = evidence.total(
        |fleet| {
            (fleet.vcpu, fleet.memory_gib) = (0.25, 0.5);
            fleet.nat_gateways = 0;
            fleet.architecture = Architecture::Arm;
            fleet.cache_mode = IN_PROCESS;
        },
        1,
    );
    let [proposed, queued, quarter] =
        ["proposed", "queued", "task_quarter_vcpu"].map(|name| evidence.run(name));
    let named = |index: usize| {
        savings
            .get(index)
            .map_or(say!("", ""), |(what, _)| what.clone())
    };
    let amount = |index: usize| savings.get(index).map_or(0.0, |(_, usd)| *usd);
    let mut figures = vec![
        done_per_hour(
            say!("answered as proposed", "respondidas según la propuesta"),
            proposed,
        ),
        done_per_hour(
            say!(
                "answered from the queue, the same tasks",
                "respondidas desde la cola, las mismas tareas"
            ),
            queued,
        ),
        done_per_hour(
            say!(
                "answered with the queue, one task of 0.25 vCPU",
                "respondidas con la cola, una tarea de 0.25 vCPU"
            ),
            quarter,
        ),
    ];
    figures.extend(savings.iter().map(|(what, usd)| {
        Figure::exact(
            say!(
                "saved by {en}",
                "ahorro: {es}",
                en = what.en.clone(),
                es = what.es.clone()
            ),
            Unit::UsdPerMonth,
            *usd,
            2,
        )
    }));
    figures.push(Figure::exact(
        say!("all of it, one task on ARM", "todo junto, una tarea en ARM"),
        Unit::UsdPerMonth,
        together,
        2,
    ));
    Answer {
        asked: say!(
            "Which optimisations would you apply first?",
            "¿Qué optimizaciones aplicarías primero?"
        ),
        answer: say!(
            "First the one that costs nothing: answer at once and work from the queue, which takes the fleet from {before:.1} to {after:.1} generations an hour. Then by size: {one} ({one_usd} a month), {two} ({two_usd}). Together with one ARM task and no cache the bill is {together}.",
            "Primero la que no cuesta nada: responder al instante y trabajar desde la cola, que lleva la flota de {before:.1} a {after:.1} generaciones por hora. Después, por tamaño: {one_es} ({one_usd} al mes) y {two_es} ({two_usd}). Junto con una sola tarea ARM y sin caché, la cuenta queda en {together}.",
            before = proposed.replications.throughput_per_hour.mean,
            after = queued.replications.throughput_per_hour.mean,
            one = named(0).en,
            one_es = named(0).es,
            one_usd = usd(amount(0)),
            two = named(1).en,
            two_es = named(1).es,
            two_usd = usd(amount(1)),
            together = usd(together)
        ),
        figures,
        command:
            "cargo sizing plan --nat-gateways 0 --cache-modes none --architectures arm --top 1"
                .to_owned(),
        would_change: say!(
            "The order follows the price book; a change of prices reorders it by itself.",
            "El orden se sigue de la lista de precios; si los precios cambian, se reordena solo."
        ),
        holds: amount(0) > 100.0 && quarter.replications.throughput_per_hour.mean > 30.0,
    }
}

pub(super) fn over_engineered(evidence: &Evidence) -> Answer {
    let cheapest = cheapest(evidence);
    let bill = evidence.proposal_bill().total().as_usd();
    let metered = evidence.proposal_metered_usd();
    let six = evidence.run("fixed_two");
    Answer {
        asked: say!("Is it over-engineered?", "¿Es over-engineered?"),
        answer: say!(
            "Over-sized and under-designed. {sizing} holds the load for {share} of what the list costs with both tasks on ({bill}), and for {of_metered} of what the gate bills ({metered}, with the one task that the alarms leave), so up to half of the money buys nothing; and yet the proposal loses every generation, because no piece of it is a queue. Security, networks and Terraform are in proportion.",
            "Está sobredimensionada e infradiseñada. {sizing_es} soporta la carga con el {share} de lo que cuesta la lista con las dos tareas encendidas ({bill}) y con el {of_metered} de lo que calcula `cargo sizing gate` ({metered}, con la única tarea que dejan las alarmas), así que hasta la mitad del dinero no compra nada; y aun así la propuesta pierde todas las generaciones, porque ninguna pieza es una cola. La seguridad, las redes y Terraform están en proporción.",
            sizing = capitalised(&cheapest.words.en),
            sizing_es = capitalised(&cheapest.words.es),
            share = percent(cheapest.usd / bill),
            bill = usd(bill),
            of_metered = percent(cheapest.usd / metered),
            metered = usd(metered)
        ),
        figures: vec![
            Figure::exact(
                say!(
                    "the proposal, both tasks always on",
                    "la propuesta, dos tareas siempre encendidas"
                ),
                Unit::UsdPerMonth,
                bill,
                2,
            ),
            Figure::exact(
                say!(
                    "the proposal, with the tasks that its alarms leave",
                    "la propuesta, con las tareas que dejan sus alarmas"
                ),
                Unit::UsdPerMonth,
                metered,
                2,
            ),
            Figure::exact(
                say!(
                    "cheapest that holds, same network and cache",
                    "el más barato que cumple, misma red y caché"
                ),
                Unit::UsdPerMonth,
                cheapest.usd,
                2,
            ),
            Figure::over_seeds(
                say!("its wait, 95 %", "su espera, 95 %"),
                Unit::Seconds,
                cheapest.wait_p95,
                1,
            ),
            done_per_hour(
                say!("answered as proposed", "respondidas según la propuesta"),
                evidence.run("proposed"),
            ),
        ],
        command: PLAN_OF_THE_PROPOSAL.to_owned(),
        would_change: say!(
            "A promise of a shorter wait or a tenfold load: the plan is searched again with what slo.toml says.",
            "Prometer una espera menor o una carga diez veces mayor: el plan se busca de nuevo con lo que diga slo.toml."
        ),
        holds: cheapest.found
            && (0.3..0.7).contains(&(cheapest.usd / bill))
            && cheapest.usd < metered
            && !waits_hold(evidence, six),
    }
}

fn capitalised(words: &str) -> String {
    let mut characters = words.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(characters).collect()
    })
}
