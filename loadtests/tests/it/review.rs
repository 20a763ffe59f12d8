//! The answered review: current, complete, and still true.

use std::path::Path;

use loadtests::calibrate::Calibration;
use loadtests::command_line::REPLICATIONS;
use loadtests::reference::recorded;
use loadtests::report::markdown;
use loadtests::requirements::Requirements;
use loadtests::review::{Evidence, Input, Language, Review, Stacks, document};

use super::stderr_of;

/// Questions, and decisions put up for question, in the review of 2025-10-22.
const QUESTIONS: usize = 33;

fn review() -> Review {
    let calibration: Calibration =
        serde_json::from_str(include_str!("../../results/calibration.json"))
            .expect("the committed calibration");
    let requirements = Requirements::parse(Path::new("slo.toml"), include_str!("../../slo.toml"))
        .expect("the committed requirements");
    let input = Input {
        calibration: &calibration,
        requirements: &requirements,
        replications: REPLICATIONS,
    };
    let stacks = Stacks::new(recorded::comparison(), &calibration);
    Review::new(
        &Evidence::gather(&input).expect("every fleet can be simulated"),
        stacks.expect("every stage can be priced"),
    )
}

#[test]
fn the_committed_review_is_current_complete_and_still_true() {
    let review = review();
    assert_eq!(review.questions.len(), QUESTIONS);
    assert!(
        review.stale().is_empty(),
        "the numbers no longer say what these answers claim: {:?}",
        review.stale()
    );
    for question in &review.questions {
        let number = question.number;
        assert!(
            !question.figures.is_empty(),
            "question {number} has no number"
        );
        assert_eq!(
            question.command,
            format!("cargo sizing review --question {number}")
        );
        if let Some(shown_by) = &question.shown_by {
            assert!(
                shown_by.starts_with("cargo sizing "),
                "{number}: {shown_by}"
            );
        }
        for figure in &question.figures {
            assert!(
                figure.low <= figure.value && figure.value <= figure.high,
                "question {number}: {figure:?}"
            );
        }
    }
    for (language, committed) in [
        (Language::En, include_str!("../../../docs/review.md")),
        (Language::Es, include_str!("../../../docs/review.es.md")),
    ] {
        let text = markdown::render(&document(&review, language, None));
        assert!(!text.contains("NaN"), "{text}");
        assert!(
            text == committed,
            "docs/review.md and docs/review.es.md are out of date: run `cargo sizing review --write`"
        );
    }
}

#[test]
fn a_command_of_the_plan_or_the_gate_prints_the_bill_that_the_answer_names() {
    let review = review();
    // The cheapest sizing that holds, all savings together, the proposal as the gate bills it.
    for (number, bill) in [
        (8, "cheapest"),
        (19, "all of it"),
        (23, "the proposal"),
        (28, "cheapest"),
    ] {
        let question = &review.questions[number - 1];
        let figure = question
            .figures
            .iter()
            .find(|figure| figure.what.en.starts_with(bill))
            .unwrap_or_else(|| panic!("question {number} has no figure {bill}"));
        let command = question.shown_by.as_deref().expect("a plan or a verdict");
        let arguments: Vec<&str> = command.split(' ').skip(2).collect();
        let stdout = String::from_utf8(super::sizing(&arguments).stdout).expect("text");
        let expected = format!("{:.2}", figure.value);
        assert!(
            stdout.contains(&expected),
            "question {number}: {expected} in\n{stdout}"
        );
    }
}

#[test]
fn what_the_review_does_not_have_is_refused() {
    let stderr = stderr_of(2, &["review", "--simulate", "nothing"]);
    assert!(stderr.contains("task_quarter_vcpu"), "{stderr}");
    stderr_of(2, &["review", "--lang", "de"]);
    stderr_of(2, &["review", "--question", "1", "--write"]);
}
