//! The answered review: current, complete, and still true.

use std::path::Path;

use loadtests::calibrate::Calibration;
use loadtests::command_line::REPLICATIONS;
use loadtests::report::markdown;
use loadtests::requirements::Requirements;
use loadtests::review::{Evidence, Input, Language, Review, document};

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
    Review::new(&Evidence::gather(&input).expect("every fleet can be simulated"))
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
        assert!(
            question.command.starts_with("cargo sizing "),
            "question {number}: {}",
            question.command
        );
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
fn what_the_review_does_not_have_is_refused() {
    let stderr = stderr_of(2, &["review", "--simulate", "nothing"]);
    assert!(stderr.contains("task_quarter_vcpu"), "{stderr}");
    stderr_of(2, &["review", "--lang", "de"]);
    stderr_of(2, &["review", "--question", "1", "--write"]);
}
