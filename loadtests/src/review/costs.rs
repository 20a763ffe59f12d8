//! The review's cost table beside the same rows priced again.

use serde::Serialize;
use simulator::prices::seed_table;

use super::Text;
use super::evidence::Evidence;
use super::words::say;

/// One row, or the total.
#[derive(Clone, Debug, Serialize)]
pub struct CostRow {
    /// The row's title in the review.
    pub item: String,
    /// What the review says, in dollars a month.
    pub stated_usd: f64,
    /// What the price book says.
    pub priced_usd: f64,
    /// Why they differ.
    pub why: Text,
}

pub(super) fn rows(evidence: &Evidence) -> Vec<CostRow> {
    let bill = evidence.proposal_bill();
    let mut rows: Vec<CostRow> = seed_table()
        .row
        .iter()
        .map(|row| CostRow {
            item: row.item.clone(),
            stated_usd: crate::stats::count_u64_as_f64(row.usd_micros_month) / 1e6,
            priced_usd: row.lines.iter().map(|line| bill.get(*line).as_usd()).sum(),
            why: Text {
                en: row.note.clone(),
                es: in_spanish(&row.key, &row.note),
            },
        })
        .collect();
    rows.push(CostRow {
        item: "TOTAL".to_owned(),
        stated_usd: seed_table().total().as_usd(),
        priced_usd: rows.iter().map(|row| row.priced_usd).sum(),
        why: say!(
            "with {tasks} tasks always on, without OpenAI",
            "con {tasks} tareas siempre encendidas, sin OpenAI",
            tasks = evidence.proposal.tasks_desired
        ),
    });
    rows
}

/// The notes of the price book are English; a row that it gains keeps its English note until somebody translates it.
fn in_spanish(key: &str, note: &str) -> String {
    let spanish = match key {
        "nat_gateway" => {
            "las horas son correctas con $1.70 de diferencia; faltan los datos procesados y las direcciones"
        }
        "fargate" => {
            "son exactamente los dos vCPU-mes de una tarea: faltan la memoria y la segunda tarea"
        }
        "rds" => "unos $2 de más",
        "alb" => "faltan las direcciones públicas, las del balanceador y las de los NAT",
        "elasticache" => "correcto",
        "cloudwatch" => "plausible; sin Container Insights",
        "s3_ecr" => "plausible",
        "secrets_manager" => {
            "tres secretos cuestan $1.20, como el propio documento dice en otra parte"
        }
        _ => note,
    };
    spanish.to_owned()
}
