//! One report, written once as a [`Document`] and rendered for the terminal, as Markdown and as HTML.

pub mod document;
pub mod figures;
pub mod html;
pub mod markdown;
pub mod sections;
pub mod terminal;
pub(crate) mod wording;

pub use document::Document;

use serde::Serialize;

use crate::pipeline::Results;
use figures::Figure;

/// `results.json`, to the letter: what the main job found out, and the numbers of every figure of its report.
#[derive(Debug, Serialize)]
pub struct ResultsFile<'a> {
    /// What the main job found out.
    #[serde(flatten)]
    pub results: &'a Results,
    /// The figures of the report.
    pub figures: &'a [Figure],
}
