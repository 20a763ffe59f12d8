//! This backend beside the proposal's own stack: what each of the review's figures would have to be on either, and what
//! each stage costs.

use serde::Serialize;

use super::words::{Language, Text, about, grouped, percent, say, usd};
use crate::calibrate::Calibration;
use crate::reference::comparison::Comparison;
use crate::reference::needs::{BothNeeds, Needs, needs};
use crate::reference::pricing::{Priced, PricingError, StagePrices, stages};
use crate::reference::promises::{Promise, Standing, Subject, promises, shown};
use crate::report::Document;
use crate::report::document::{Block, Table};

/// The command that shows the same.
const COMMAND: &str = "cargo sizing compare --recorded";

/// Both stacks: promises, the review's figures, stages.
#[derive(Clone, Debug, Serialize)]
pub struct Stacks {
    /// Promises of this backend against the other, as they were measured.
    #[serde(skip)]
    promises: Vec<Promise>,
    /// What both need where the review states a figure.
    pub needs: BothNeeds,
    /// The cheapest sizing that holds each stage.
    pub stages: Vec<StagePrices>,
}

/// One of the review's figures, held against both stacks.
struct Held {
    figure: Text,
    proposed: &'static str,
    fastapi: Text,
    rust: Text,
    confirmed: bool,
}

impl Stacks {
    /// From the recorded comparison; `None` where it lacks one of the two.
    ///
    /// # Errors
    /// When a sizing cannot be simulated.
    pub fn new(
        comparison: &Comparison,
        calibration: &Calibration,
    ) -> Result<Option<Self>, PricingError> {
        let Some(needs) = needs(comparison, calibration)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            promises: promises(comparison),
            needs,
            stages: stages(comparison, calibration)?,
        }))
    }

    /// Adds it to a report or to the review.
    pub fn add(&self, document: &mut Document, language: Language) {
        let word = |text: &Text| text.get(language).to_owned();
        document.heading(word(&say!(
            "The proposal's own stack beside this backend",
            "El propio stack de la propuesta junto a este backend"
        )));
        document.paragraph(word(&say!(
            "FastAPI under Gunicorn with six workers, written for this comparison as the proposal describes it (loadtests/reference), and this backend, measured one after the other on one machine (loadtests/results/comparison.json). Of what FastAPI takes, Rust takes:",
            "FastAPI con Gunicorn y seis workers, escrito para esta comparación tal como lo describe la propuesta (loadtests/reference), y este backend, medidos uno tras otro en la misma máquina (loadtests/results/comparison.json). De lo que usa FastAPI, Rust usa:"
        )));
        let mut shares = table(
            language,
            &[
                say!("of what", "de qué"),
                say!(
                    "Rust's part, 95 % interval",
                    "parte de Rust, intervalo del 95 %"
                ),
                say!("promised at most", "prometido como máximo"),
                say!("promise", "promesa"),
                say!(
                    "of FastAPI tuned, nothing promised",
                    "de FastAPI optimizado, nada prometido"
                ),
            ],
        );
        let has_tuned = self.promises.iter().any(|promise| promise.tuned.is_some());
        let share = |share| shown(share).replace("to", to(language));
        for promise in &self.promises {
            shares.row([
                word(&in_words(promise.subject)),
                share(promise.share),
                format!("1/{}", promise.one_in),
                word(&standing(promise.standing())),
                promise.tuned.map_or_else(String::new, share),
            ]);
        }
        if !has_tuned {
            shares.header.pop();
            shares.rows.iter_mut().for_each(|row| {
                row.pop();
            });
        }
        document.table(shares);
        if has_tuned {
            document.paragraph(word(&say!(
                "Tuned is the same service with a worker per vCPU, PDFs in processes of their own and short transactions. What is promised, and all that follows, is of FastAPI as proposed.",
                "Optimizado es el mismo servicio con un worker por vCPU, los PDF en procesos propios y transacciones cortas. Lo prometido, y todo lo que sigue, se refiere a FastAPI según la propuesta."
            )));
        }
        self.add_figures(document, language);
        self.add_stages(document, language);
        document.blocks.push(Block::Code(COMMAND.to_owned()));
    }

    fn add_figures(&self, document: &mut Document, language: Language) {
        let word = |text: &Text| text.get(language).to_owned();
        document.paragraph(word(&say!(
            "The review's figures, on two tasks that are always on and asked for {asked:.0} generations an hour (loadtests/slo.toml): what would do on either stack, simulated with what each was found to cost.",
            "Las cifras del documento, con dos tareas siempre encendidas y {asked:.0} generaciones por hora (loadtests/slo.toml): lo que bastaría en cada stack, simulado con lo que cada uno cuesta según lo medido.",
            asked = self.needs.asked_per_hour
        )));
        let mut held = table(
            language,
            &[
                say!("figure", "cifra"),
                say!("proposed", "propuesta"),
                say!("FastAPI, as proposed", "FastAPI, según la propuesta"),
                say!("Rust", "Rust"),
                say!("on its own stack", "en su propio stack"),
            ],
        );
        for one in self.held() {
            held.row([
                word(&one.figure),
                one.proposed.to_owned(),
                word(&one.fastapi),
                word(&one.rust),
                word(&if one.confirmed {
                    say!("confirmed", "confirmada")
                } else {
                    say!("refuted", "refutada")
                }),
            ]);
        }
        document.table(held);
    }

    fn add_stages(&self, document: &mut Document, language: Language) {
        let word = |text: &Text| text.get(language).to_owned();
        document.paragraph(word(&say!(
            "The cheapest Fargate sizing of tasks that are always on which holds each stage's own load and promise (loadtests/slo/STAGE.toml, without its budget), on either stack. FastAPI keeps a database connection for each generation, so that its database may have to be larger, and its sessions in a Redis of their own. Nothing is deployed in these days: each deployment costs FastAPI what is in flight.",
            "El dimensionamiento de Fargate más barato, con tareas siempre encendidas, que soporta la carga y lo prometido de cada etapa (loadtests/slo/STAGE.toml, sin su presupuesto), en cada stack. FastAPI retiene una conexión a la base por generación, así que puede necesitar una base más grande, y guarda las sesiones en un Redis propio. En esos días no se despliega nada: cada despliegue le cuesta a FastAPI lo que está en curso."
        )));
        let mut rows = table(
            language,
            &[
                say!("stage", "etapa"),
                say!("peak, generations/h", "pico, generaciones/h"),
                say!("Rust", "Rust"),
                say!("USD/month (Fargate)", "USD/mes (Fargate)"),
                say!("FastAPI", "FastAPI"),
                say!("USD/month (Fargate)", "USD/mes (Fargate)"),
            ],
        );
        for stage in &self.stages {
            let [rust, fastapi] = [&stage.rust, &stage.fastapi].map(Option::as_ref);
            rows.row([
                stage.stage.to_owned(),
                grouped(&format!("{:.0}", stage.peak_per_hour)),
                word(&sizing(rust)),
                bill(rust),
                word(&sizing(fastapi)),
                bill(fastapi),
            ]);
        }
        document.table(rows);
    }

    fn held(&self) -> [Held; 5] {
        let (fastapi, rust) = (&self.needs.fastapi, &self.needs.rust);
        let both = |shown: fn(&Needs) -> Text| (shown(fastapi), shown(rust));
        let held = |figure: Text, proposed, (fastapi, rust): (Text, Text), confirmed| Held {
            figure,
            proposed,
            fastapi,
            rust,
            confirmed,
        };
        [
            held(
                say!("workers of a task", "workers por tarea"),
                "6",
                both(|needs| number(needs.workers.map(|count| count.to_string()))),
                fastapi.workers == Some(6),
            ),
            held(
                say!("vCPU of a task", "vCPU por tarea"),
                "2",
                both(|needs| {
                    let least = number(needs.vcpu.map(|vcpu| vcpu.to_string()));
                    say!(
                        "{least}; of 2 vCPU it uses {used}",
                        "{least_es}; de 2 vCPU usa el {used}",
                        least = least.en.clone(),
                        least_es = least.es.clone(),
                        used = percent(needs.cpu_share)
                    )
                }),
                fastapi.vcpu.is_some_and(|vcpu| vcpu > 1.0),
            ),
            held(
                say!("memory of a task", "memoria por tarea"),
                "4 GB",
                both(|needs| {
                    say!(
                        "{mib:.0} MiB in use",
                        "{mib:.0} MiB en uso",
                        mib = needs.memory_mib
                    )
                }),
                fastapi.memory_mib > 2048.0,
            ),
            held(
                say!("time-out of a worker", "timeout de un worker"),
                "900 s",
                both(|needs| match needs.lost_on_stop {
                    Some((lost, of)) => say!(
                        "answers nobody for {silent:.1} s at a time; a stop loses {lost} of {of} in flight",
                        "no responde a nadie durante {silent:.1} s seguidos; una parada pierde {lost} de {of} en curso",
                        silent = needs.silent_s_max,
                        lost = lost,
                        of = of
                    ),
                    None => say!(
                        "answers nobody for {silent:.1} s at a time",
                        "no responde a nadie durante {silent:.1} s seguidos",
                        silent = needs.silent_s_max
                    ),
                }),
                fastapi.silent_s_max > 450.0
                    && fastapi.lost_on_stop.is_some_and(|(lost, _)| lost == 0),
            ),
            held(
                say!("CPU that adds a task", "CPU que añade una tarea"),
                "70 %",
                both(|needs| {
                    say!(
                        "{used} used; 70 % at {rate} generations/h",
                        "{used} en uso; 70 % con {rate} generaciones/h",
                        used = percent(needs.cpu_share),
                        rate = about(needs.per_hour_at_target)
                    )
                }),
                fastapi.cpu_share > 0.35,
            ),
        ]
    }
}

fn table(language: Language, header: &[Text]) -> Table {
    Table::new(header.iter().map(|text| text.get(language)))
}

fn to(language: Language) -> &'static str {
    match language {
        Language::En => "to",
        Language::Es => "a",
    }
}

fn number(found: Option<String>) -> Text {
    match found {
        Some(number) => say!("{number}", "{number}", number = number),
        None => say!("none found", "ninguno"),
    }
}

fn in_words(subject: Subject) -> Text {
    let spanish = match subject {
        Subject::Cpu(cell) => format!(
            "CPU de una generación, {} a la vez con {} vCPU",
            cell.generations, cell.vcpu
        ),
        Subject::InFlightMemory => {
            "memoria de una generación en curso, con su parte de PostgreSQL".to_owned()
        }
        Subject::IdleMemory => "memoria en reposo".to_owned(),
    };
    Text {
        en: subject.label(),
        es: spanish,
    }
}

fn standing(standing: Standing) -> Text {
    let spanish = match standing {
        Standing::Kept => "cumplida",
        Standing::Undecided => "sin decidir",
        Standing::Missed => "incumplida",
    };
    Text {
        en: standing.label().to_owned(),
        es: spanish.to_owned(),
    }
}

fn sizing(priced: Option<&Priced>) -> Text {
    match priced {
        Some(one) => say!(
            "{tasks} × {vcpu} vCPU, {gib} GiB, {workers}; {class}",
            "{tasks} × {vcpu} vCPU, {gib} GiB, {workers}; {class}",
            tasks = one.tasks,
            vcpu = one.vcpu,
            gib = one.memory_gib,
            workers = crate::plural(one.workers.into(), "worker"),
            class = one.db_instance_class.clone()
        ),
        None => say!(
            "none of those searched holds",
            "ninguno de los buscados cumple"
        ),
    }
}

fn bill(priced: Option<&Priced>) -> String {
    priced.map_or_else(String::new, |one| {
        format!("{} ({})", usd(one.usd_month), usd(one.fargate_usd_month))
    })
}
