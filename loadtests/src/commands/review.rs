//! `sizing review`: the infrastructure review's questions, answered.

use anyhow::{Context, Result, bail};
use loadtests::command_line::{REPLICATIONS, ReviewArguments, ReviewFormat};
use loadtests::exit_code::Outcome;
use loadtests::reference::recorded;
use loadtests::report;
use loadtests::requirements::Requirements;
use loadtests::review::{self, Evidence, Input, Language, Review, Stacks};

use super::console::{complain, print, say, show};
use super::files::{existing, json, read_calibration, workspace, write};

pub(crate) fn run(arguments: &ReviewArguments, quiet: bool) -> Result<Outcome> {
    let requirements = Requirements::read(&existing(&arguments.slo))?;
    let calibration = read_calibration(&arguments.calibration)?;
    let input = Input {
        calibration: &calibration,
        requirements: &requirements,
        replications: REPLICATIONS,
    };
    if let Some(name) = &arguments.simulate {
        let judgement = Evidence::one(&input, name)?;
        match arguments.format {
            Some(ReviewFormat::Json) => say(&json(&judgement)?)?,
            other => {
                let mut document = report::sections::replicated(name, &judgement);
                if let Some(note) = review::unmetered(name) {
                    document.paragraph(note);
                }
                match other {
                    Some(ReviewFormat::Markdown) => print(&report::markdown::render(&document))?,
                    Some(ReviewFormat::Html) => print(&report::html::render(&document))?,
                    _ => show(&document)?,
                }
            }
        }
        return Ok(Outcome::Success);
    }
    // One question shows nothing of both stacks, whose stages take most of the time.
    let is_whole = arguments.question.is_none()
        || arguments.write
        || matches!(arguments.format, Some(ReviewFormat::Json));
    let stacks = if is_whole {
        Stacks::new(recorded::comparison(), &calibration)
            .context("hold both stacks against each other")?
    } else {
        None
    };
    let review = Review::new(&Evidence::gather(&input)?, stacks);
    for number in review.stale() {
        complain(&format!(
            "question {number}: the numbers no longer say what its answer claims"
        ));
    }
    if arguments.write {
        for (language, file) in [(Language::En, "review.md"), (Language::Es, "review.es.md")] {
            let path = workspace().join("docs").join(file);
            let document = review::document(&review, language, None);
            write(&path, &report::markdown::render(&document))?;
            if !quiet {
                say(&format!("Written: docs/{file}"))?;
            }
        }
        return Ok(Outcome::Success);
    }
    let count = review.questions.len();
    if let Some(number) = arguments.question
        && !(1..=count).contains(&number)
    {
        bail!("find question {number}: the review has the questions 1 to {count}");
    }
    let document = review::document(&review, arguments.lang, arguments.question);
    match arguments.format {
        None => show(&document)?,
        Some(ReviewFormat::Markdown) => print(&report::markdown::render(&document))?,
        Some(ReviewFormat::Html) => {
            print(&report::html::render_in(&document, arguments.lang.code()))?;
        }
        Some(ReviewFormat::Json) => say(&json(&review)?)?,
    }
    Ok(Outcome::Success)
}
