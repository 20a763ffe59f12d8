//! What responses say: outlines and sections of a technical proposal, recomputable from a seed.

use std::fmt::Write as _;

use serde_json::Value;

use super::random::Stream;
use super::wire::CreateRequest;

/// An outline never has more sections, whatever number a prompt holds.
const SECTIONS_MAX: u32 = 50;

/// A prompt's own words stand at its ends; what lies between is quoted documents, whose numbers and
/// words say nothing about the task.
const PROMPT_END_CHARS: usize = 3000;

/// A heading is cut at this length.
const TITLE_CHARS_MAX: usize = 160;

const TITLES: [&str; 12] = [
    "Executive summary",
    "Site conditions and influent characterisation",
    "Process design basis",
    "Treatment train and equipment",
    "Hydraulic profile and civil works",
    "Instrumentation and control",
    "Operation and maintenance",
    "Energy and chemical consumption",
    "Capital and operating cost",
    "Schedule and commissioning",
    "Risks and mitigation",
    "Regulatory compliance",
];

const SUBJECTS: [&str; 12] = [
    "The equalisation basin",
    "The dissolved air flotation unit",
    "The membrane bioreactor",
    "The reverse osmosis skid",
    "The aeration system",
    "The sludge dewatering line",
    "The proposed control system",
    "The pilot campaign",
    "The operating team",
    "The chemical dosing station",
    "The influent survey",
    "The effluent monitoring plan",
];

const VERBS: [&str; 10] = [
    "keeps",
    "reduces",
    "stabilises",
    "documents",
    "limits",
    "confirms",
    "balances",
    "measures",
    "controls",
    "guarantees",
];

const OBJECTS: [&str; 12] = [
    "the organic load during the evening peak",
    "the concentration of suspended solids",
    "the specific energy demand per cubic metre",
    "the flux through the membranes",
    "the oil and grease that reach the biology",
    "the dosing of coagulant and polymer",
    "the volume of sludge that leaves the site",
    "the conductivity of the reused water",
    "the dissolved oxygen in the aerobic zone",
    "the time between two chemical cleanings",
    "the quality that the discharge permit demands",
    "the cost of a treated cubic metre",
];

const ENDINGS: [&str; 10] = [
    "as the data of the last twelve months show",
    "within the limits of the discharge permit",
    "at every flow between a third of the design value and the design value itself",
    "without interrupting production",
    "with one unit out of service",
    "which the supplier confirms in writing",
    "so that the operators can react in time",
    "even when the temperature of the influent falls below twelve degrees",
    "and leaves a margin of fifteen percent",
    "before the next stage of the treatment train begins",
];

/// The text of a response, or what is needed to write it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// A text that the script prescribes.
    Prescribed(std::sync::Arc<str>),
    /// Section titles as JSON.
    Outline {
        sections: u32,
        /// `{"sections": [...]}` instead of a bare list.
        wrapped: bool,
    },
    /// Markdown.
    Section { title: Option<Box<str>>, words: u32 },
}

impl Plan {
    /// Reads from a request what is to be written.
    pub(super) fn of(request: &CreateRequest, default_sections: u32, section_words: u32) -> Self {
        let prompt = Prompt::of(request);
        let step = request
            .metadata_value("step")
            .unwrap_or_default()
            .to_lowercase();
        let outline = if step.is_empty() {
            prompt.mentions("json")
                && (prompt.mentions("outline") || prompt.mentions("section titles"))
        } else {
            step.contains("outline")
        };
        if outline {
            let sections = request
                .schema_items()
                .or_else(|| request.metadata_value("sections")?.parse().ok())
                .or_else(|| prompt.section_count())
                .unwrap_or(default_sections)
                .clamp(1, SECTIONS_MAX);
            let wrapped = request.has_schema()
                || prompt.mentions("\"sections\"")
                || prompt.mentions("{sections");
            Self::Outline { sections, wrapped }
        } else {
            Self::Section {
                title: prompt.section_title(),
                words: section_words,
            }
        }
    }

    /// Writes the text; the same seed writes the same.
    pub(super) fn write(&self, seed: u64) -> String {
        let mut stream = Stream::from_seed(seed);
        match self {
            Self::Prescribed(text) => text.to_string(),
            Self::Outline { sections, wrapped } => outline(&mut stream, *sections, *wrapped),
            Self::Section { title, words } => section(&mut stream, title.as_deref(), *words),
        }
    }

    /// Bytes on the heap that no other response shares.
    pub(super) fn size_bytes(&self) -> usize {
        match self {
            Self::Section {
                title: Some(title), ..
            } => title.len(),
            _ => 0,
        }
    }
}

fn pick<'a>(stream: &mut Stream, from: &[&'a str]) -> &'a str {
    from.get(stream.below(from.len()))
        .copied()
        .unwrap_or_default()
}

fn outline(stream: &mut Stream, sections: u32, wrapped: bool) -> String {
    let start = stream.below(TITLES.len());
    let titles: Vec<Value> = (0..sections as usize)
        .map(|place| {
            let (round, index) = (
                (start + place) / TITLES.len(),
                (start + place) % TITLES.len(),
            );
            let title = TITLES.get(index).copied().unwrap_or_default();
            // A second round through the titles is numbered, so that no two sections share one.
            if place < TITLES.len() {
                Value::from(title)
            } else {
                Value::from(format!("{title} ({})", round + 1))
            }
        })
        .collect();
    let list = Value::from(titles);
    if wrapped {
        serde_json::json!({ "sections": list }).to_string()
    } else {
        list.to_string()
    }
}

fn section(stream: &mut Stream, title: Option<&str>, words: u32) -> String {
    let title = title.unwrap_or_else(|| pick(stream, &TITLES));
    let mut text = format!("## {title}\n\n");
    let words = words as usize;
    let mut written = paragraphs(stream, &mut text, words / 2);
    text.push_str(
        "### Design values\n\n| Parameter | Unit | Influent | Effluent |\n|---|---|---|---|\n",
    );
    for (parameter, unit) in [
        ("COD", "mg/L"),
        ("BOD5", "mg/L"),
        ("TSS", "mg/L"),
        ("Oil and grease", "mg/L"),
        ("Flow", "m3/d"),
    ] {
        let influent = 200 + stream.below(1800);
        let effluent = 5 + stream.below(60);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {parameter} | {unit} | {influent} | {effluent} |");
    }
    text.push_str("\n### Scope of supply\n\n");
    for _ in 0..4 {
        let _ = writeln!(
            text,
            "- {} {}",
            pick(stream, &SUBJECTS),
            pick(stream, &ENDINGS)
        );
    }
    text.push('\n');
    written += paragraphs(stream, &mut text, words.saturating_sub(written));
    debug_assert!(
        written >= words,
        "prose is written until there is enough of it"
    );
    text
}

/// Appends paragraphs of five sentences until at least `words` words are written; says how many.
fn paragraphs(stream: &mut Stream, text: &mut String, words: usize) -> usize {
    let mut written = 0;
    while written < words {
        for _ in 0..5 {
            let sentence = [
                pick(stream, &SUBJECTS),
                pick(stream, &VERBS),
                pick(stream, &OBJECTS),
                pick(stream, &ENDINGS),
            ]
            .join(" ");
            written += sentence.split(' ').count();
            text.push_str(&sentence);
            text.push_str(". ");
        }
        text.truncate(text.trim_end().len());
        text.push_str("\n\n");
    }
    written
}

/// The ends of a request's texts, where the instructions stand.
struct Prompt {
    text: String,
    lower: String,
}

impl Prompt {
    fn of(request: &CreateRequest) -> Self {
        let mut text = request.instructions.clone().unwrap_or_default();
        request.for_each_input_text(&mut |part| {
            text.push('\n');
            let cut = part
                .char_indices()
                .nth(PROMPT_END_CHARS)
                .map_or(part.len(), |(at, _)| at);
            let (head, tail) = part.split_at(cut);
            text.push_str(head);
            let cut = tail
                .char_indices()
                .rev()
                .nth(PROMPT_END_CHARS)
                .map_or(0, |(at, _)| at);
            text.push('\n');
            text.push_str(tail.split_at(cut).1);
        });
        let lower = text.to_lowercase();
        Self { text, lower }
    }

    fn mentions(&self, words: &str) -> bool {
        self.lower.contains(words)
    }

    /// The number that stands within two words of "section": "exactly 4 sections",
    /// "six section titles", "sections: 5".
    fn section_count(&self) -> Option<u32> {
        let words: Vec<&str> = self
            .lower
            .split(|letter: char| !letter.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        words
            .iter()
            .enumerate()
            .filter(|(_, word)| word.starts_with("section"))
            .find_map(|(at, _)| {
                let before = words.iter().take(at).rev().take(2);
                let after = words.iter().skip(at + 1).take(2);
                before.chain(after).find_map(|word| number(word))
            })
    }

    /// What follows "Section:" or "Section title:" on a line, else the first quoted words after
    /// "section".
    fn section_title(&self) -> Option<Box<str>> {
        let labelled = self.text.lines().find_map(|line| {
            let line = line.trim_start_matches(|letter: char| !letter.is_alphanumeric());
            let (label, title) = line.split_once(':')?;
            let label = label.trim().to_lowercase();
            (label.starts_with("section") && label.len() <= 24).then_some(title)
        });
        let quoted = || {
            let at = self
                .text
                .find("section")
                .or_else(|| self.text.find("Section"))?;
            self.text.get(at..)?.split('"').nth(1)
        };
        let title = labelled
            .filter(|title| !title.trim().is_empty())
            .or_else(quoted)?;
        let title = title.trim_matches(|letter: char| {
            letter.is_whitespace() || matches!(letter, '"' | '*' | '`' | '.')
        });
        let title: String = title.chars().take(TITLE_CHARS_MAX).collect();
        (!title.is_empty() && !title.contains('\n')).then(|| title.into_boxed_str())
    }
}

fn number(word: &str) -> Option<u32> {
    const WORDS: [&str; 12] = [
        "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        "twelve",
    ];
    let spelled = || {
        let place = WORDS.iter().position(|spelled| *spelled == word)?;
        u32::try_from(place + 1).ok()
    };
    word.parse()
        .ok()
        .or_else(spelled)
        .filter(|count| (1..=SECTIONS_MAX).contains(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(json: &Value) -> CreateRequest {
        serde_json::from_value(json.clone()).expect("a create request")
    }

    fn plan(json: &Value) -> Plan {
        Plan::of(&request(json), 4, 200)
    }

    #[test]
    fn as_many_sections_are_planned_as_the_prompt_asks_for() {
        for (json, sections) in [
            (
                serde_json::json!({"input": "Write a JSON outline with exactly 6 sections."}),
                6,
            ),
            (
                serde_json::json!({"input": "Outline, as JSON: five section titles"}),
                5,
            ),
            (
                serde_json::json!({"input": "An outline in JSON. Sections: 3. Use 2 languages."}),
                3,
            ),
            (serde_json::json!({"input": "A JSON outline, please"}), 4),
            (
                serde_json::json!({"input": "Write.", "metadata": {"step": "write_outline", "sections": "7"}}),
                7,
            ),
            (
                serde_json::json!({"input": "Go.", "metadata": {"step": "outline"}, "text": {"format":
                    {"type": "json_schema", "schema": {"properties": {"sections": {"minItems": 8}}}}}}),
                8,
            ),
        ] {
            let Plan::Outline {
                sections: planned, ..
            } = plan(&json)
            else {
                panic!("{json}")
            };
            assert_eq!(planned, sections, "{json}");
        }
    }

    #[test]
    fn numbers_in_a_quoted_document_are_no_section_count() {
        let document = format!(
            "{}see 9 sections{}",
            "lorem ".repeat(3000),
            " ipsum".repeat(3000)
        );
        let input =
            format!("Write a JSON outline of this document.\n{document}\nAsked for: 2 sections.");
        let json = serde_json::json!({ "input": [{"role": "user", "content": [{"type": "input_text", "text": input}]}] });
        assert_eq!(
            plan(&json),
            Plan::Outline {
                sections: 2,
                wrapped: false
            }
        );
    }

    #[test]
    fn a_section_is_headed_by_the_title_it_was_asked_for() {
        for input in [
            "Write the section \"Water balance\" of the proposal.",
            "Proposal: X\nSection 2: Water balance\nOutline: a, b",
            "**Section title:** Water balance",
        ] {
            let plan =
                plan(&serde_json::json!({"input": input, "metadata": {"step": "write_section_2"}}));
            assert!(
                plan.write(3).starts_with("## Water balance\n\n"),
                "{input}: {plan:?}"
            );
        }
    }

    #[test]
    fn an_outline_is_json_in_the_shape_asked_for() {
        let wrapped = plan(
            &serde_json::json!({"input": "JSON outline {\"sections\": [\"...\"]}, 3 sections"}),
        );
        let value: Value = serde_json::from_str(&wrapped.write(1)).expect("JSON");
        assert_eq!(value["sections"].as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn a_section_has_a_heading_a_table_a_list_and_its_words() {
        let text = Plan::Section {
            title: None,
            words: 400,
        }
        .write(11);
        assert!(text.starts_with("## "));
        assert!(text.contains("\n|---|---|---|---|\n"));
        assert_eq!(
            text.lines().filter(|line| line.starts_with("- ")).count(),
            4
        );
        let prose: usize = text
            .lines()
            .filter(|line| !line.starts_with(['#', '|', '-']))
            .map(|line| line.split_whitespace().count())
            .sum();
        assert!((400..550).contains(&prose), "{prose}");
    }

    proptest! {
        #[test]
        fn titles_of_an_outline_differ(seed: u64, sections in 1_u32..=SECTIONS_MAX) {
            let text = Plan::Outline { sections, wrapped: false }.write(seed);
            let titles: Vec<String> = serde_json::from_str(&text).expect("a list of strings");
            prop_assert_eq!(titles.len(), sections as usize);
            let distinct: std::collections::BTreeSet<&String> = titles.iter().collect();
            prop_assert_eq!(distinct.len(), titles.len());
        }

        #[test]
        fn any_prompt_gives_a_plan(input: String, instructions: String) {
            let json = serde_json::json!({"input": input, "instructions": instructions});
            prop_assert!(!plan(&json).write(1).is_empty());
        }
    }
}
