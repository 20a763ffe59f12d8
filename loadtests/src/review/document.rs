//! The review as a document, in one language.

use super::words::{Language, Text, grouped, say, usd};
use super::{Question, Review};
use crate::report::Document;
use crate::report::document::{Block, Table};

/// The review to read, or the one question of that number.
pub fn document(review: &Review, language: Language, only: Option<usize>) -> Document {
    let word = |text: Text| text.get(language).to_owned();
    let mut document = Document {
        title: word(say!(
            "The infrastructure review, answered",
            "La revisión de infraestructura, respondida"
        )),
        blocks: vec![],
    };
    if only.is_none() {
        document.paragraph(review.summary.get(language));
        document.paragraph(review.basis.get(language));
        document.paragraph(word(say!(
            "Written by `cargo sizing review --write`; a test fails when it is out of date. Numbers in parentheses are the ends of the 95 % interval, or of the range that a source states; a number without them follows from prices and limits, or did not vary.",
            "Escrito por `cargo sizing review --write`; una prueba falla cuando no está al día. Los números entre paréntesis son los extremos del intervalo del 95 %, o del rango que da una fuente; un número sin ellos se sigue de precios y límites, o no varió."
        )));
    }
    let mut part = "";
    for question in &review.questions {
        if only.is_some_and(|number| number != question.number) {
            continue;
        }
        if part != question.part.en {
            part = &question.part.en;
            document.heading(question.part.get(language));
        }
        answered(&mut document, question, language);
    }
    if only.is_none() {
        costs(&mut document, review, language);
        alternatives(&mut document, review, language);
        stages(&mut document, review, language);
        if let Some(stacks) = &review.stacks {
            stacks.add(&mut document, language);
        }
        scores(&mut document, review, language);
    }
    document
}

fn answered(document: &mut Document, question: &Question, language: Language) {
    document.blocks.push(Block::Subheading(format!(
        "{}. {}",
        question.number,
        question.asked.get(language)
    )));
    if !question.holds {
        let warning = say!(
            "The numbers no longer say what this answer claims: read the numbers, and write the answer again.",
            "Los números ya no dicen lo que esta respuesta afirma: lee los números y reescribe la respuesta."
        );
        document.blocks.push(Block::Verdict {
            pass: false,
            text: warning.get(language).to_owned(),
        });
    }
    document.paragraph(question.answer.get(language));
    let number = say!("number", "número");
    let header = say!("what", "qué");
    let mut table = Table::new([header.get(language), number.get(language)]);
    for figure in &question.figures {
        table.row([figure.what.get(language).to_owned(), figure.shown(language)]);
    }
    document.table(table);
    let changes = say!("Would change it: ", "Lo cambiaría: ");
    document.paragraph(format!(
        "{}{}",
        changes.get(language),
        question.would_change.get(language)
    ));
    let mut code = question.command.clone();
    if let Some(shown_by) = &question.shown_by {
        let comment = say!("some of it by itself:", "una parte, por separado:");
        code.push_str(&format!("\n# {}\n{shown_by}", comment.get(language)));
    }
    document.blocks.push(Block::Code(code));
}

fn heading(document: &mut Document, language: Language, title: &Text) {
    document.heading(title.get(language));
}

fn table(language: Language, header: &[Text]) -> Table {
    Table::new(header.iter().map(|text| text.get(language)))
}

fn costs(document: &mut Document, review: &Review, language: Language) {
    heading(
        document,
        language,
        &say!(
            "The cost table, priced again",
            "La tabla de costos, recalculada"
        ),
    );
    let mut rows = table(
        language,
        &[
            say!("row", "fila"),
            say!("stated, USD/month", "según el documento, USD/mes"),
            say!("priced again", "recalculado"),
            say!("difference", "diferencia"),
            say!("why", "por qué"),
        ],
    );
    for row in &review.costs {
        rows.row([
            row.item.clone(),
            format!("{:.2}", row.stated_usd),
            format!("{:.2}", row.priced_usd),
            format!("{:+.2}", row.priced_usd - row.stated_usd),
            row.why.get(language).to_owned(),
        ]);
    }
    document.table(rows);
}

fn alternatives(document: &mut Document, review: &Review, language: Language) {
    heading(
        document,
        language,
        &say!(
            "The platforms, on the same two instances",
            "Las plataformas, con las mismas dos instancias"
        ),
    );
    let mut rows = table(
        language,
        &[
            say!("platform", "plataforma"),
            say!(
                "longest silent request, s",
                "petición silenciosa más larga, s"
            ),
            say!("generations that fit", "generaciones que caben"),
            say!("compute, USD/month", "cómputo, USD/mes"),
            say!("whole, USD/month", "total, USD/mes"),
            say!("note", "nota"),
        ],
    );
    for row in &review.alternatives {
        rows.row([
            row.name.clone(),
            row.silent_request_s_max
                .map_or_else(String::new, |limit| limit.to_string()),
            super::words::percent(row.share_within),
            format!("{:.2}", row.compute_usd_month),
            row.total_usd_month
                .map_or_else(String::new, |total| format!("{total:.2}")),
            row.note.get(language).to_owned(),
        ]);
    }
    document.table(rows);
    for row in &review.alternatives {
        document.paragraph(format!("{}: {}", row.name, row.source.get(language)));
    }
}

fn stages(document: &mut Document, review: &Review, language: Language) {
    heading(document, language, &say!("The stages", "Las etapas"));
    document.paragraph(
        say!(
            "Each stage's own tfvars under the peak hour of its most users, by the rule of loadtests/slo.toml: one generation per user every second day, 8 % of a day in its busiest hour, held for a day. `cargo sizing gate` judges the same tfvars and the same bill by loadtests/slo/STAGE.toml, in which Growth's and Scale's day has a night: {gate} generations an hour on average. 20,000 users stand for \"10K+\".",
            "Los tfvars de cada etapa bajo la hora pico de su máximo de usuarios, según la regla de loadtests/slo.toml: una generación por usuario cada dos días, el 8 % del día en su hora más cargada, sostenida un día entero. `cargo sizing gate` juzga los mismos tfvars y la misma cuenta según loadtests/slo/STAGE.toml, donde el día de Growth y el de Scale tienen noche: {gate} generaciones por hora en promedio. 20,000 usuarios representan «10K+».",
            gate = review
                .stages
                .iter()
                .map(|stage| format!("{:.0}", stage.gate_per_hour))
                .collect::<Vec<_>>()
                .join(", ")
        )
        .get(language),
    );
    let mut rows = table(
        language,
        &[
            say!("stage", "etapa"),
            say!("asked, generations/h", "pedidas, generaciones/h"),
            say!("carried at most", "procesa como máximo"),
            say!("wait, 95 %", "espera, 95 %"),
            say!("lost in a day", "perdidas en un día"),
            say!("stated", "según el documento"),
            say!("bill", "cuenta"),
            say!("note", "nota"),
        ],
    );
    for stage in &review.stages {
        rows.row([
            stage.name.get(language).to_owned(),
            grouped(&format!("{:.0}", stage.asked_per_hour)),
            grouped(&format!("{:.0}", stage.capacity_per_hour)),
            stage.wait_p95.shown(language),
            stage.lost.shown(language),
            usd(stage.stated_usd_month),
            stage.cost.shown(language),
            stage.note.get(language).to_owned(),
        ]);
    }
    document.table(rows);
    for stage in &review.stages {
        document.paragraph(format!(
            "{}: {}",
            stage.name.get(language),
            stage.recommendation.get(language)
        ));
    }
    let commands: Vec<_> = review
        .stages
        .iter()
        .map(|stage| stage.command.as_str())
        .collect();
    document.blocks.push(Block::Code(commands.join("\n")));
}

fn scores(document: &mut Document, review: &Review, language: Language) {
    heading(
        document,
        language,
        &say!("The score card", "La tabla de puntuación"),
    );
    let mut rows = table(
        language,
        &[
            say!("criterion", "criterio"),
            say!("review", "documento"),
            say!("computed", "calculado"),
            say!("how", "cómo"),
        ],
    );
    let shown = |score: Option<f64>| score.map_or_else(String::new, |score| format!("{score:.1}"));
    for score in &review.scores {
        rows.row([
            score.criterion.get(language).to_owned(),
            shown(score.stated),
            shown(score.computed),
            score.how.get(language).to_owned(),
        ]);
    }
    document.table(rows);
}
