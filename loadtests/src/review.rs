//! `sizing review`: every question that the infrastructure review of 2025-10-22 asks, in its order, answered with
//! numbers that are computed when the command runs, from the committed calibration, the simulator and the price book.
//!
//! A person wrote the sentences; the numbers in them are inserted. So that no sentence outlives its numbers, each
//! answer carries the claim it rests on as a condition ([`Question::holds`]), and a report says so where one fails.

mod alternatives;
mod costs;
mod document;
mod evidence;
mod facts;
mod figure;
mod questions;
mod score;
mod stacks;
mod stages;
mod words;

use serde::Serialize;

pub use alternatives::Alternative;
pub use costs::CostRow;
pub use document::document;
pub use evidence::{Evidence, EvidenceError, Input};
pub use figure::{Figure, Unit};
pub use score::Score;
pub use stacks::Stacks;
pub use stages::{Stage, unmetered};
pub use words::{Language, Text};

/// The whole review, answered.
#[derive(Clone, Debug, Serialize)]
pub struct Review {
    /// What the numbers rest on: commit and machine of the calibration, load, seeds.
    pub basis: Text,
    /// The answer to all of it in a few sentences.
    pub summary: Text,
    /// Every question, in the order of the review.
    pub questions: Vec<Question>,
    /// The review's cost table, priced again.
    pub costs: Vec<CostRow>,
    /// The platforms that the review compares.
    pub alternatives: Vec<Alternative>,
    /// The review's three stages, simulated and priced.
    pub stages: Vec<Stage>,
    /// The proposal's own stack beside this backend, where the recorded comparison has both.
    pub stacks: Option<Stacks>,
    /// The review's score card, computed again where a number can decide.
    pub scores: Vec<Score>,
}

/// One question of the review.
#[derive(Clone, Debug, Serialize)]
pub struct Question {
    /// Its place in the review, from 1.
    pub number: usize,
    /// The part of the review that it stands in.
    pub part: Text,
    /// The question: Spanish to the letter, English translated.
    pub asked: Text,
    /// The answer in a sentence or two.
    pub answer: Text,
    /// The numbers behind it.
    pub figures: Vec<Figure>,
    /// The command that computes them again.
    pub command: String,
    /// One that shows by itself what some of them rest on: a fleet, a plan, a verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown_by: Option<String>,
    /// What would change the answer.
    pub would_change: Text,
    /// Whether the numbers still say what the answer claims.
    pub holds: bool,
}

impl Review {
    /// Answers every question from `evidence`; `stacks` stand beside the answers and are part of none.
    pub fn new(evidence: &Evidence, stacks: Option<Stacks>) -> Review {
        let costs = costs::rows(evidence);
        let stages = stages::rows(evidence);
        let alternatives = alternatives::rows(evidence);
        Review {
            basis: questions::basis(evidence),
            summary: questions::summary(evidence),
            questions: questions::all(evidence),
            scores: score::rows(evidence),
            costs,
            alternatives,
            stages,
            stacks,
        }
    }

    /// Numbers of the questions whose answers no longer follow from the numbers.
    pub fn stale(&self) -> Vec<usize> {
        self.questions
            .iter()
            .filter(|question| !question.holds)
            .map(|question| question.number)
            .collect()
    }
}
