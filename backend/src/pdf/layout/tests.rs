//! Properties of the typesetter, measured with a font whose every character is half as wide as high.

use proptest::prelude::*;

use super::*;
use crate::pdf::markdown::parse;

struct Even;

impl Measure for Even {
    fn advance_em(&self, _: Face, character: char) -> Option<f32> {
        (character.is_ascii() || character == '\u{a0}' || character == '•').then_some(0.5)
    }
}

fn set(markdown: &str) -> Layout {
    let mut typesetter = Typesetter::new(&Even);
    typesetter.blocks(&parse(markdown));
    typesetter.finish()
}

fn texts(layout: &Layout) -> Vec<(&str, f32, f32, f32)> {
    let items = layout.pages.iter().flatten();
    let of_text = |item| match item {
        &Item::Text {
            x,
            y,
            size,
            ref text,
            ..
        } => Some((text.as_str(), x, y, size)),
        Item::Box { .. } => None,
    };
    items.filter_map(of_text).collect()
}

fn within_margins(layout: &Layout) -> bool {
    texts(layout).iter().all(|(text, x, y, size)| {
        let width = lines_as_f32(text.chars().count()) * 0.5 * size;
        *x >= MARGIN_X - 0.01
            && x + width <= PAGE_WIDTH - MARGIN_X + 0.01
            && *y <= BOTTOM + 0.01
            && *y >= MARGIN_TOP
    })
}

fn words(layout: &Layout) -> Vec<String> {
    texts(layout)
        .iter()
        .flat_map(|(text, ..)| text.split_whitespace())
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_heading_never_ends_a_page() {
    for filler in 0..60 {
        let markdown = "line\n\n".repeat(filler) + "## Head\n\nbody body\n\nmore";
        let layout = set(&markdown);
        let page_of = |wanted: &str| {
            layout.pages.iter().position(|page| {
                page.iter()
                    .any(|item| matches!(item, Item::Text { text, .. } if text == wanted))
            })
        };
        assert!(page_of("Head").is_some());
        assert_eq!(
            page_of("Head"),
            page_of("body body"),
            "after {filler} paragraphs"
        );
    }
}

#[test]
fn a_long_table_repeats_its_head_on_every_page() {
    let markdown = "| Name | Cost |\n|---|---|\n".to_owned() + &"| item | 1 |\n".repeat(120);
    let layout = set(&markdown);
    assert!(layout.pages.len() > 2, "{} pages", layout.pages.len());
    for page in &layout.pages {
        let heads = page
            .iter()
            .filter(|item| matches!(item, Item::Text { text, .. } if text == "Name"))
            .count();
        assert_eq!(heads, 1);
    }
    assert_eq!(
        words(&layout).iter().filter(|word| *word == "item").count(),
        120
    );
}

#[test]
fn a_character_without_glyph_leaves_a_mark() {
    assert_eq!(words(&set("a\u{4e2d}b")), ["a?b"]);
}

#[test]
fn code_keeps_its_indentation() {
    let layout = set("```\nif x:\n    y\n```");
    let lines: Vec<&str> = texts(&layout).iter().map(|(text, ..)| *text).collect();
    assert_eq!(lines, ["if\u{a0}x:", "\u{a0}\u{a0}\u{a0}\u{a0}y"]);
}

#[test]
fn the_same_text_is_always_set_the_same() {
    let markdown = "# A\n\nb **c** d\n\n| x | y |\n|---|---|\n| 1 | 2 |\n";
    assert_eq!(set(markdown), set(markdown));
}

proptest! {
    #[test]
    fn no_word_is_lost_and_all_stay_in_order(words_in in prop::collection::vec("[a-z]{1,14}", 1..400)) {
        let layout = set(&words_in.join(" "));
        prop_assert_eq!(words(&layout), words_in);
        prop_assert!(within_margins(&layout));
    }

    #[test]
    fn a_word_wider_than_the_page_is_cut_and_not_lost(word in "[a-z]{100,400}") {
        let layout = set(&word);
        prop_assert_eq!(words(&layout).concat(), word);
        prop_assert!(within_margins(&layout));
    }

    #[test]
    fn nothing_ever_leaves_the_margins(markdown in "(?s)(# [a-z ]{1,200}\n\n|[a-z *`]{1,300}\n\n|- [a-z ]{1,80}\n|> [a-z ]{1,40}\n\n|\\| a \\| b \\|\n\\|---\\|---\\|\n\\| [a-z]{1,200} \\| 2 \\|\n\n){1,30}") {
        prop_assert!(within_margins(&set(&markdown)));
    }

    #[test]
    fn anything_is_set_without_panic(markdown in "(?s).{0,300}") {
        let _ = set(&markdown);
    }
}
