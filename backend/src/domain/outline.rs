//! Reads the outline that the model wrote.

use serde::Deserialize;

/// Section titles longer than this are cut.
const TITLE_CHARS_MAX: usize = 160;

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    List(Vec<Entry>),
    Object { sections: Vec<Entry> },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Title(String),
    Object { title: String },
}

/// The section titles in the model's answer, at most `sections_max`; `None` when there are none.
///
/// The answer is asked for as `{"sections": [...]}`, but models without structured output wrap the
/// same list in a code fence or leave the object out: reading all of these costs nothing.
pub fn section_titles(answer: &str, sections_max: usize) -> Option<Vec<String>> {
    let body = answer.trim();
    let body = body
        .strip_prefix("```json")
        .or_else(|| body.strip_prefix("```"))
        .unwrap_or(body);
    let body = body.strip_suffix("```").unwrap_or(body);
    let entries = match serde_json::from_str(body.trim()).ok()? {
        Written::List(entries) | Written::Object { sections: entries } => entries,
    };
    let titles: Vec<String> = entries
        .into_iter()
        .map(|entry| match entry {
            Entry::Title(title) | Entry::Object { title } => title,
        })
        .map(|title| title.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|title| !title.is_empty())
        .map(|title| title.chars().take(TITLE_CHARS_MAX).collect())
        .take(sections_max)
        .collect();
    (!titles.is_empty()).then_some(titles)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_usual_shape_of_an_outline_is_read() {
        for answer in [
            r#"["Scope", "Cost"]"#,
            r#"{"sections": ["Scope", "Cost"]}"#,
            r#"{"sections": [{"title": "Scope"}, {"title": "Cost", "goal": "x"}]}"#,
            "```json\n[\"Scope\",\n \" Cost \"]\n```",
        ] {
            assert_eq!(
                section_titles(answer, 9),
                Some(vec!["Scope".to_owned(), "Cost".to_owned()]),
                "{answer}"
            );
        }
    }

    #[test]
    fn an_answer_without_titles_is_no_outline() {
        for answer in [
            "",
            "Sure! Here it is",
            "[]",
            r#"{"sections": ["", " "]}"#,
            "{}",
            "[1, 2]",
        ] {
            assert_eq!(section_titles(answer, 9), None, "{answer}");
        }
    }

    proptest! {
        #[test]
        fn never_more_sections_than_asked_for(titles in prop::collection::vec("[a-z]{1,300}", 0..20), max in 1_usize..9) {
            let answer = serde_json::to_string(&titles).expect("a list of strings");
            let read = section_titles(&answer, max).unwrap_or_default();
            prop_assert_eq!(read.len(), titles.len().min(max));
            prop_assert!(read.iter().all(|title| title.chars().count() <= TITLE_CHARS_MAX));
        }
    }
}
