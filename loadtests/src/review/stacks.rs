//! This backend beside the proposal's own stack: what each of the review's figures would have to be on either, and what
//! each stage costs.

mod figures;
mod origin;
mod prices;

use serde::Serialize;

use super::words::{Language, Text, say};
use crate::calibrate::Calibration;
use crate::reference::cells::Cell;
use crate::reference::comparison::Comparison;
use crate::reference::needs::{BothNeeds, needs};
use crate::reference::pricing::{PricingError, StagePrices, stages};
use crate::reference::promises::{Promise, Standing, Subject, promises, shown};
use crate::reference::service::Kind;
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
    /// Of which measurement each of this backend's figures is.
    #[serde(skip)]
    origin: Text,
    /// What of the prices was not measured on their vCPU.
    #[serde(skip)]
    extrapolated: Text,
    /// What both need where the review states a figure.
    pub needs: BothNeeds,
    /// The cheapest sizing that holds each stage.
    pub stages: Vec<StagePrices>,
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
            origin: origin::of(comparison, calibration),
            extrapolated: origin::extrapolated(comparison, calibration),
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
            "FastAPI under Gunicorn with six workers, written for this comparison as the proposal describes it (loadtests/reference; not the public service of question 3 in docs/review.md, for it draws without a browser), and this backend, measured one after the other on one machine (loadtests/results/comparison.json). Of what FastAPI takes, Rust takes:",
            "FastAPI con Gunicorn y seis workers, escrito para esta comparación tal como lo describe la propuesta (loadtests/reference; no es el servicio público de la pregunta 3 en docs/review.es.md, pues dibuja sin navegador), y este backend, medidos uno tras otro en la misma máquina (loadtests/results/comparison.json). De lo que usa FastAPI, Rust usa:"
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
        document.paragraph(word(&self.origin));
        figures::add(document, &self.needs, language);
        prices::add(document, &self.stages, &self.extrapolated, language);
        document.blocks.push(Block::Code(COMMAND.to_owned()));
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

fn in_words(subject: Subject) -> Text {
    let spanish = match subject {
        Subject::Cpu(cell) => format!("CPU de una generación, {}", cell_in_spanish(cell)),
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

fn cell_in_spanish(cell: Cell) -> String {
    format!("{} a la vez con {} vCPU", cell.generations, cell.vcpu)
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

/// So many workers in the unit of their stack: slots of this backend, processes of `FastAPI`.
fn in_units(kind: Kind, workers: u32) -> Text {
    match (kind, workers) {
        (Kind::Rust, 1) => say!("1 slot", "1 slot"),
        (Kind::Rust, _) => say!("{workers} slots", "{workers} slots", workers = workers),
        (_, 1) => say!("1 process", "1 proceso"),
        _ => say!(
            "{workers} processes",
            "{workers} procesos",
            workers = workers
        ),
    }
}
