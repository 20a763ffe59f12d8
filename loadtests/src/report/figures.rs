//! The figures of the report: each is a table of numbers first, drawn from that table and downloadable as such.

mod agreement;
mod costs;
mod day;
mod heat;
mod losses;
mod pareto;
mod svg;
mod waits;

use std::fmt::Write;

use serde::Serialize;

use crate::pipeline::Results;

pub use day::{Day, simulate_day};

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Stable name; that of its CSV file.
    pub id: &'static str,
    /// What it shows, in a line.
    pub title: String,
    /// What one sees in it, for those who cannot.
    pub alternative: String,
    /// Column headings, with their units.
    pub columns: Vec<String>,
    /// The numbers, a row each.
    pub rows: Vec<Vec<Value>>,
    /// For wide and for narrow screens.
    #[serde(skip)]
    pub drawings: [Drawing; 2],
}

/// A figure as drawn.
#[derive(Clone, Debug, Default)]
pub struct Drawing {
    /// Inline SVG whose colours are the page's.
    pub svg: String,
}

/// A cell of a figure's table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A name.
    Name(String),
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Number(number)
    }
}

impl From<&str> for Value {
    fn from(name: &str) -> Value {
        Value::Name(name.to_owned())
    }
}

impl From<String> for Value {
    fn from(name: String) -> Value {
        Value::Name(name)
    }
}

impl Figure {
    /// The table as comma-separated values (RFC 4180), numbers in full.
    pub fn csv(&self) -> String {
        let mut text = self
            .columns
            .iter()
            .map(|name| quoted(name))
            .collect::<Vec<_>>()
            .join(",");
        text.push_str("\r\n");
        for row in &self.rows {
            for (index, value) in row.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                let _ = match value {
                    Value::Number(number) => write!(text, "{number}"),
                    Value::Name(name) => write!(text, "{}", quoted(name)),
                };
            }
            text.push_str("\r\n");
        }
        text
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Every figure of the main job's report, in reading order.
pub fn of_results(results: &Results) -> Vec<Figure> {
    let profile = &results.queued.scenario;
    let mut figures = vec![
        agreement::figure(&results.measurement),
        heat::capacity(profile, &results.measurement),
        heat::cost(profile),
        losses::figure(results),
        waits::figure(results),
        costs::figure(&results.queued.scenario.fleet),
        pareto::figure(results),
    ];
    match simulate_day(profile) {
        Ok(day) => figures.insert(3, day::figure(&day, "day")),
        Err(error) => tracing::warn!(%error, "the simulated day is left out"),
    }
    figures
}

/// Figures by their stable names.
pub fn find<'a>(figures: &'a [Figure], id: &str) -> Option<&'a Figure> {
    figures.iter().find(|figure| figure.id == id)
}

/// The simulated day of any fleet, drawn.
pub fn of_day(day: &Day) -> Figure {
    day::figure(day, "day")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_what_would_break_a_row() {
        let figure = Figure {
            id: "f",
            title: String::new(),
            alternative: String::new(),
            columns: vec!["a, b".to_owned(), "n".to_owned()],
            rows: vec![vec!["say \"x\"".into(), 0.5.into()]],
            drawings: Default::default(),
        };
        assert_eq!(figure.csv(), "\"a, b\",n\r\n\"say \"\"x\"\"\",0.5\r\n");
    }
}
