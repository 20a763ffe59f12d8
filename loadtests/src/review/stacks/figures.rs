//! Each of the review's figures, held against both stacks.

use simulator::capacity::Resource;

use super::{in_units, table};
use crate::reference::needs::{BothNeeds, Needs};
use crate::reference::service::Kind;
use crate::report::Document;
use crate::review::facts::PUBLIC_FASTAPI_GIB;
use crate::review::words::{Language, Text, grouped, percent, say};

/// The proposal's time-out, in seconds.
const TIMEOUT_S: f64 = 900.0;

/// One figure.
struct Held {
    figure: Text,
    proposed: Text,
    /// What would do on either stack.
    fastapi: Text,
    rust: Text,
    /// By which rule it stands.
    confirmed_if: Text,
    /// Whether it does on its own stack; `None` where that was not measured.
    confirmed: Option<bool>,
}

/// Adds the table, and what each stack is charged in it.
pub(super) fn add(document: &mut Document, needs: &BothNeeds, language: Language) {
    let word = |text: &Text| text.get(language).to_owned();
    let (fastapi, rust) = (&needs.fastapi, &needs.rust);
    let workers = |kind, needs: &Needs| in_units(kind, needs.workers_simulated);
    let (processes, slots) = (workers(Kind::FastApi, fastapi), workers(Kind::Rust, rust));
    document.paragraph(word(&say!(
        "The review's figures, on two tasks that are always on and asked for {asked:.0} generations an hour (loadtests/slo.toml): what would do on either stack, simulated. A generation is charged {fastapi:.2} CPU seconds of FastAPI, by the batches, its polls and its PDF included, and {rust:.2} of Rust, the dearest of its calibration: one that runs alone. All but the first row is of {processes} or {slots} a task. Confirmed or refuted is a figure for this FastAPI service: by the same rule the {public:.1} GiB of the public one confirm the memory.",
        "Las cifras del documento, con dos tareas siempre encendidas y {asked:.0} generaciones por hora (loadtests/slo.toml): lo que bastaría en cada stack, simulado. Por generación se cuentan {fastapi:.2} segundos de CPU en FastAPI, según los lotes, con sus consultas de estado y su PDF, y {rust:.2} en Rust, lo más caro de su calibración: una que corre sola. Salvo la primera fila, todo es con {processes_es} o {slots_es} por tarea. Una cifra queda confirmada o refutada para este servicio FastAPI: con la misma regla, los {public:.1} GiB del público confirman la memoria.",
        asked = needs.asked_per_hour,
        fastapi = fastapi.cpu_s_per_generation,
        rust = rust.cpu_s_per_generation,
        processes = processes.en.clone(),
        processes_es = processes.es.clone(),
        slots = slots.en.clone(),
        slots_es = slots.es.clone(),
        public = PUBLIC_FASTAPI_GIB
    )));
    let mut rows = table(
        language,
        &[
            say!("figure", "cifra"),
            say!("proposed", "propuesta"),
            say!("FastAPI, as proposed", "FastAPI, según la propuesta"),
            say!("Rust", "Rust"),
            say!("confirmed if on FastAPI", "confirmada si en FastAPI"),
            say!("on its own stack", "en su propio stack"),
        ],
    );
    for held in all(needs) {
        rows.row([
            word(&held.figure),
            word(&held.proposed),
            word(&held.fastapi),
            word(&held.rust),
            word(&held.confirmed_if),
            word(&match held.confirmed {
                Some(true) => say!("confirmed", "confirmada"),
                Some(false) => say!("refuted", "refutada"),
                None => say!("not measured", "sin medir"),
            }),
        ]);
    }
    document.table(rows);
}

fn all(needs: &BothNeeds) -> [Held; 6] {
    [
        workers(needs),
        vcpu(needs),
        memory(needs),
        silence(needs),
        stop(needs),
        cpu_target(needs),
    ]
}

fn workers(needs: &BothNeeds) -> Held {
    let cell = |kind, needs: &Needs| {
        let Some(count) = needs.workers else {
            return none_found();
        };
        let workers = in_units(kind, count);
        say!(
            "{workers}, each of {many} at a time",
            "{workers_es}, cada uno de {many} a la vez",
            workers = workers.en.clone(),
            workers_es = workers.es.clone(),
            many = needs.generations_per_worker
        )
    };
    Held {
        figure: say!("workers of a task", "workers por tarea"),
        proposed: say!("6 processes", "6 procesos"),
        fastapi: cell(Kind::FastApi, &needs.fastapi),
        rust: cell(Kind::Rust, &needs.rust),
        confirmed_if: say!(
            "6 are the fewest that keep the promise",
            "6 es el mínimo que cumple lo prometido"
        ),
        confirmed: Some(needs.fastapi.workers == Some(6)),
    }
}

fn vcpu(needs: &BothNeeds) -> Held {
    let cell = |needs: &Needs| {
        let least = needs
            .vcpu
            .map_or_else(none_found, |vcpu| say!("{vcpu}", "{vcpu}", vcpu = vcpu));
        say!(
            "{least}; of 2 vCPU it uses {used}",
            "{least_es}; de 2 vCPU usa el {used}",
            least = least.en.clone(),
            least_es = least.es.clone(),
            used = percent(needs.cpu_share)
        )
    };
    Held {
        figure: say!("vCPU of a task", "vCPU por tarea"),
        proposed: say!("2", "2"),
        fastapi: cell(&needs.fastapi),
        rust: cell(&needs.rust),
        confirmed_if: say!("1 is too little", "1 no basta"),
        confirmed: Some(needs.fastapi.vcpu.is_some_and(|vcpu| vcpu > 1.0)),
    }
}

fn memory(needs: &BothNeeds) -> Held {
    let cell = |needs: &Needs| {
        say!(
            "{mib:.0} MiB in use",
            "{mib:.0} MiB en uso",
            mib = needs.memory_mib
        )
    };
    Held {
        figure: say!("memory of a task", "memoria por tarea"),
        proposed: say!("4 GB", "4 GB"),
        fastapi: cell(&needs.fastapi),
        rust: cell(&needs.rust),
        confirmed_if: say!("more than half is in use", "se usa más de la mitad"),
        confirmed: Some(needs.fastapi.memory_mib > 2048.0),
    }
}

/// Gunicorn's `--timeout` judges how long a worker says nothing, not how long a generation takes.
fn silence(needs: &BothNeeds) -> Held {
    Held {
        figure: say!(
            "time-out of a worker: for so long it may be silent",
            "timeout de un worker: cuánto puede callar"
        ),
        proposed: say!("900 s", "900 s"),
        fastapi: say!(
            "one worker is silent for {silent} at the longest, while the others answer",
            "un worker calla {silent} como máximo, mientras los demás responden",
            silent = seconds(needs.fastapi.silent_s_max)
        ),
        rust: say!(
            "its one process is silent for {silent} at the longest",
            "su único proceso calla {silent} como máximo",
            silent = seconds(needs.rust.silent_s_max)
        ),
        confirmed_if: say!(
            "a worker is silent for more than half of it",
            "un worker calla más de la mitad"
        ),
        confirmed: Some(needs.fastapi.silent_s_max > TIMEOUT_S / 2.0),
    }
}

/// Gunicorn's `--graceful-timeout`, which the service has at the same length.
fn stop(needs: &BothNeeds) -> Held {
    let cell = |needs: &Needs| match needs.lost_on_stop {
        Some((lost, of)) => say!(
            "a stop loses {lost} of {of} in flight",
            "una parada pierde {lost} de {of} en curso",
            lost = lost,
            of = of
        ),
        None => say!("not measured", "sin medir"),
    };
    Held {
        figure: say!(
            "the same at a stop: for so long generations may end",
            "el mismo en una parada: cuánto tienen las generaciones para terminar"
        ),
        proposed: say!(
            "900 s, of which ECS grants 30",
            "900 s, de los que ECS concede 30"
        ),
        fastapi: cell(&needs.fastapi),
        rust: cell(&needs.rust),
        confirmed_if: say!("a stop loses nothing", "una parada no pierde nada"),
        confirmed: needs.fastapi.lost_on_stop.map(|(lost, _)| lost == 0),
    }
}

fn cpu_target(needs: &BothNeeds) -> Held {
    let cell = |needs: &Needs| {
        let used = percent(needs.cpu_share);
        let per_hour = |rate: f64| grouped(&format!("{rate:.0}"));
        if needs.per_hour_at_target <= needs.per_hour_max {
            return say!(
                "{used} used; 70 % at {rate} generations/h",
                "{used} en uso; 70 % con {rate} generaciones/h",
                used = used,
                rate = per_hour(needs.per_hour_at_target)
            );
        }
        let limit = limit(needs);
        say!(
            "{used} used; never 70 %: at its most, {rate} generations/h by its {limit}, it uses {most}",
            "{used} en uso; nunca el 70 %: en su máximo, {rate} generaciones/h por {limit_es}, usa el {most}",
            used = used,
            rate = per_hour(needs.per_hour_max),
            limit = limit.en.clone(),
            limit_es = limit.es.clone(),
            most = percent(needs.cpu_share_max)
        )
    };
    Held {
        figure: say!("CPU that adds a task", "CPU que añade una tarea"),
        proposed: say!("70 %", "70 %"),
        fastapi: cell(&needs.fastapi),
        rust: cell(&needs.rust),
        confirmed_if: say!("more than half of it is used", "se usa más de la mitad"),
        confirmed: Some(needs.fastapi.cpu_share > 0.35),
    }
}

fn limit(needs: &Needs) -> Text {
    match needs.limited_by {
        Resource::Workers if needs.generations_per_worker == 1 => say!("slots", "sus slots"),
        Resource::Workers => say!("workers' pools", "los pools de sus workers"),
        Resource::DbConnections => say!("database connections", "sus conexiones a la base"),
        Resource::Memory => say!("memory", "su memoria"),
        other => say!("{name}", "{name}", name = other.name()),
    }
}

fn none_found() -> Text {
    say!("none found", "ninguno")
}

/// `0.6 s`; `3 ms` where that is less than a tenth of a second.
fn seconds(value: f64) -> String {
    if value < 0.1 {
        format!("{:.0} ms", value * 1000.0)
    } else {
        format!("{value:.1} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs() -> BothNeeds {
        let rust = Needs {
            cpu_s_per_generation: 0.2,
            generations_per_worker: 1,
            workers: Some(7),
            workers_simulated: 7,
            vcpu: Some(0.25),
            memory_mib: 33.0,
            cpu_share: 0.000_6,
            per_hour_at_target: 45_000.0,
            per_hour_max: 67.2,
            limited_by: Resource::Workers,
            cpu_share_max: 0.001,
            silent_s_max: 0.003,
            lost_on_stop: Some((0, 6)),
        };
        let fastapi = Needs {
            generations_per_worker: 30,
            workers: Some(1),
            workers_simulated: 6,
            memory_mib: 2048.5,
            per_hour_at_target: 300.0,
            per_hour_max: 365.0,
            limited_by: Resource::DbConnections,
            silent_s_max: 0.55,
            lost_on_stop: None,
            ..rust
        };
        BothNeeds {
            asked_per_hour: 40.0,
            rust,
            fastapi,
        }
    }

    #[test]
    fn a_target_above_every_other_limit_is_never_reached() {
        let held = cpu_target(&needs());
        let en = &held.rust.en;
        assert!(
            en.contains("never 70 %: at its most, 67 generations/h by its slots"),
            "{en}"
        );
        assert!(!en.contains("45"), "{en}");
        assert_eq!(held.fastapi.en, "0.060 % used; 70 % at 300 generations/h");
    }

    #[test]
    fn workers_of_either_stack_are_told_in_their_own_unit() {
        let held = workers(&needs());
        assert_eq!(held.fastapi.en, "1 process, each of 30 at a time");
        assert_eq!(held.rust.es, "7 slots, cada uno de 1 a la vez");
    }

    #[test]
    fn a_figure_stands_by_the_rule_beside_it() {
        let verdicts = all(&needs()).map(|held| held.confirmed);
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(verdicts, [no, no, yes, no, None, no]);
        let mut stopped = needs();
        stopped.fastapi.lost_on_stop = Some((0, 6));
        stopped.fastapi.silent_s_max = 451.0;
        let verdicts = all(&stopped).map(|held| held.confirmed);
        assert_eq!(verdicts, [no, no, yes, yes, yes, no]);
    }

    #[test]
    fn short_silences_are_told_in_milliseconds() {
        assert_eq!(seconds(0.003_4), "3 ms");
        assert_eq!(seconds(0.55), "0.6 s");
    }
}
