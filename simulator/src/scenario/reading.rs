//! What the TOML reader's complaints mean: the key that each is about, where it stands, and what would be right.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::kinds;
use super::text::ScenarioError;

/// A reader's error, with the key that it is about.
pub(super) fn in_text(text: &str, error: &toml::de::Error) -> ScenarioError {
    let start = error.span().map(|span| span.start);
    let table = DeTable::parse(text).ok();
    let key = start
        .zip(table.as_ref())
        .and_then(|(start, table)| key_at(table.get_ref(), start));
    // The reader's message names its own types, and may have several lines.
    let message = error
        .message()
        .lines()
        .collect::<Vec<_>>()
        .join(", ")
        .replace(
            "expected u32",
            "expected a whole number from 0 to 4294967295",
        )
        .replace("expected u64", "expected a whole number, not negative")
        .replace("expected f64", "expected a number");
    let message = match message.split_once("expected struct ") {
        Some((found, _)) => format!("{found}expected a table of keys"),
        None => message,
    };
    let mut told = ScenarioError {
        line: None,
        column: None,
        key,
        problem: message.clone(),
        remedy: None,
    };
    (told.line, told.column) = start.map_or((None, None), |start| line_and_column(text, start));
    match Complaint::of(&message) {
        Some(Complaint::Unknown(name)) => {
            // The reader stands at the key, or at its table where the kind of that forbids it.
            if told.key.as_deref().and_then(|key| key.rsplit('.').next()) != Some(name) {
                told.key = Some(below(told.key.as_deref(), name));
                if let Some(found) = told.key.as_deref().and_then(|key| place_of(text, key)) {
                    (told.line, told.column) = line_and_column(text, found.name);
                }
            }
            if let Some(expected) = told.key.as_deref().and_then(|key| keys_beside(text, key)) {
                told.problem = format!("unknown field `{name}`, {expected}");
            }
            told.remedy = nearest(name, &told.problem);
        }
        Some(Complaint::Missing(name, rest)) => {
            told.key = Some(below(told.key.as_deref(), name));
            told.problem = "missing".to_owned();
            told.remedy = Some(match told.key.as_deref().and_then(kinds::named) {
                Some(names) => format!("write one of {names}"),
                None if rest.is_empty() => "write it".to_owned(),
                None => rest.to_owned(),
            });
        }
        Some(Complaint::Invalid(name, rest)) => {
            let key = below(told.key.as_deref(), name);
            (told.line, told.column) = position_of(text, &key);
            told.key = Some(key);
            rest.clone_into(&mut told.problem);
        }
        Some(Complaint::Variant(name)) => told.remedy = nearest(name, &told.problem),
        None => {}
    }
    told
}

/// What a reader's message complains of, where it names a key or a word.
enum Complaint<'a> {
    /// There is no such key here.
    Unknown(&'a str),
    /// This key is required; and what else is said of it.
    Missing(&'a str, &'a str),
    /// What this key states does not suit its table.
    Invalid(&'a str, &'a str),
    /// No such word can be written here.
    Variant(&'a str),
}

impl Complaint<'_> {
    fn of(message: &str) -> Option<Complaint<'_>> {
        let named = |start: &str| {
            let (name, rest) = message.strip_prefix(start)?.split_once('`')?;
            Some((name, rest.trim_start_matches(", ")))
        };
        named("unknown field `")
            .map(|(name, _)| Complaint::Unknown(name))
            .or_else(|| named("missing field `").map(|(name, rest)| Complaint::Missing(name, rest)))
            .or_else(|| named("invalid field `").map(|(name, rest)| Complaint::Invalid(name, rest)))
            .or_else(|| named("unknown variant `").map(|(name, _)| Complaint::Variant(name)))
    }
}

fn below(table: Option<&str>, name: &str) -> String {
    table.map_or_else(|| name.to_owned(), |table| format!("{table}.{name}"))
}

/// What may stand beside this key, where the kind of its table says so.
fn keys_beside(text: &str, key: &str) -> Option<String> {
    let (table, _) = key.rsplit_once('.')?;
    let root = DeTable::parse(text).ok()?;
    let mut inner = root.get_ref();
    for part in table.split('.') {
        inner = inner.get(part)?.get_ref().as_table()?;
    }
    let kind = inner.get("kind")?.get_ref().as_str()?;
    let keys = kinds::keys_of(table, kind)?;
    Some(kinds::expected(kind, keys))
}

/// Asks for the expected name that differs least, if one is close: what stands in backticks after the wrong one.
fn nearest(wrong: &str, message: &str) -> Option<String> {
    let expected = message.split('`').skip(3).step_by(2);
    expected
        .map(|name| (strsim::levenshtein(wrong, name), name))
        .filter(|(letters, name)| {
            *letters <= 1.max(name.len() / 3) || name.starts_with(wrong) || wrong.starts_with(name)
        })
        .min()
        .map(|(_, name)| format!("did you mean `{name}`?"))
}

/// Where the value of this key stands; of its nearest stated ancestor, when the key itself is a default.
pub(super) fn position_of(text: &str, key: &str) -> (Option<usize>, Option<usize>) {
    place_of(text, key).map_or((None, None), |found| line_and_column(text, found.value))
}

/// Where a key is written.
struct Place {
    name: usize,
    value: usize,
}

/// The place of this key, or of its nearest stated ancestor.
fn place_of(text: &str, key: &str) -> Option<Place> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut found = None;
    for part in key.split('.') {
        let Some((name, value)) = table
            .iter()
            .find(|(name, _)| name.get_ref().as_ref() == part)
        else {
            break;
        };
        found = Some(Place {
            name: name.span().start,
            value: value.span().start,
        });
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    found
}

/// The path of the innermost key whose name or value covers this position.
fn key_at(table: &DeTable<'_>, position: usize) -> Option<String> {
    for (name, value) in table {
        let inner = match value.get_ref() {
            DeValue::Table(inner) => key_at(inner, position),
            _ => None,
        };
        if let Some(inner) = inner {
            return Some(format!("{}.{inner}", name.get_ref()));
        }
        if covers(name, position) || covers(value, position) {
            return Some(name.get_ref().to_string());
        }
    }
    None
}

fn covers<T>(spanned: &Spanned<T>, position: usize) -> bool {
    spanned.span().contains(&position)
}

fn line_and_column(text: &str, position: usize) -> (Option<usize>, Option<usize>) {
    let before = text.get(..position).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (Some(line), Some(column))
}
