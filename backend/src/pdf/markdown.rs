//! Markdown as a model writes it, read into the blocks a proposal is set from.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// Strong emphasis.
    pub bold: bool,
    /// Emphasis.
    pub italic: bool,
    /// Code.
    pub mono: bool,
}

/// A piece of text in one style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The text; breaks are spaces.
    pub text: String,
    /// Its look.
    pub style: Style,
}

/// Pieces of text that follow each other in a line.
pub type Inline = Vec<Span>;

/// What a page is filled with, from top to bottom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// A heading; 1 is the most important.
    Heading {
        /// 1 to 6.
        level: u8,
        /// Its text.
        text: Inline,
    },
    /// Running text.
    Paragraph {
        /// How deep inside lists and quotes.
        depth: u8,
        /// Its text.
        text: Inline,
    },
    /// One item of a list.
    Item {
        /// How deep inside lists and quotes; 1 is the outermost list.
        depth: u8,
        /// A bullet or a number.
        marker: String,
        /// Its text.
        text: Inline,
    },
    /// A table; the first row is its head.
    Table {
        /// Rows of cells.
        rows: Vec<Vec<Inline>>,
    },
    /// Lines to be set as they are.
    Code {
        /// The lines.
        lines: Vec<String>,
    },
    /// A line across.
    Rule,
}

/// Nesting beyond this looks like this.
const DEPTH_MAX: usize = 4;

/// Reads Markdown with tables. Whatever it does not know (HTML, images) comes out as its text.
pub fn parse(markdown: &str) -> Vec<Block> {
    let mut reader = Reader::default();
    for event in Parser::new_ext(
        markdown,
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH,
    ) {
        reader.take(event);
    }
    reader.flush_paragraph();
    reader.blocks
}

/// The text of some spans, without their looks.
pub fn plain(inline: &[Span]) -> String {
    inline.iter().map(|span| span.text.as_str()).collect()
}

#[derive(Default)]
struct Reader {
    blocks: Vec<Block>,
    text: Inline,
    bold: usize,
    italic: usize,
    /// For every open list the number of its next item, if it has numbers.
    lists: Vec<Option<u64>>,
    quotes: usize,
    marker: Option<String>,
    rows: Vec<Vec<Inline>>,
    code: Option<String>,
}

impl Reader {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.open(&tag),
            Event::End(tag) => self.close(tag),
            Event::Text(text) => match &mut self.code {
                Some(code) => code.push_str(&text),
                None => self.push(&text, false),
            },
            Event::Code(text) => self.push(&text, true),
            Event::SoftBreak | Event::HardBreak => self.push(" ", false),
            Event::Html(text) | Event::InlineHtml(text) if text.trim().starts_with("<br") => {
                self.push(" ", false)
            }
            Event::Html(text) | Event::InlineHtml(text) => self.push(&text, false),
            Event::Rule => {
                self.flush_paragraph();
                self.blocks.push(Block::Rule);
            }
            _ => {}
        }
    }

    fn open(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Strong => self.bold += 1,
            Tag::Emphasis => self.italic += 1,
            Tag::Paragraph | Tag::Heading { .. } => self.flush_paragraph(),
            Tag::BlockQuote(_) => {
                self.flush_paragraph();
                self.quotes += 1;
            }
            Tag::List(first) => {
                self.flush_paragraph();
                self.lists.push(*first);
            }
            Tag::Item => {
                self.flush_paragraph();
                self.marker = Some(match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let marker = format!("{number}.");
                        *number += 1;
                        marker
                    }
                    _ => "•".to_owned(),
                });
            }
            Tag::CodeBlock(_) => {
                self.flush_paragraph();
                self.code = Some(String::new());
            }
            Tag::Table(_) => self.flush_paragraph(),
            Tag::TableHead | Tag::TableRow => self.rows.push(Vec::new()),
            _ => {}
        }
    }

    fn close(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Strong => self.bold = self.bold.saturating_sub(1),
            TagEnd::Emphasis => self.italic = self.italic.saturating_sub(1),
            TagEnd::Paragraph | TagEnd::HtmlBlock => self.flush_paragraph(),
            TagEnd::Heading(level) => {
                let text = std::mem::take(&mut self.text);
                if !plain(&text).trim().is_empty() {
                    self.blocks.push(Block::Heading {
                        level: level_number(level),
                        text,
                    });
                }
            }
            TagEnd::Item => {
                self.flush_paragraph();
                self.marker = None;
            }
            TagEnd::List(_) => {
                self.flush_paragraph();
                self.lists.pop();
            }
            TagEnd::BlockQuote(_) => {
                self.flush_paragraph();
                self.quotes = self.quotes.saturating_sub(1);
            }
            TagEnd::CodeBlock => {
                let code = self.code.take().unwrap_or_default();
                let lines = code
                    .trim_end_matches('\n')
                    .split('\n')
                    .map(str::to_owned)
                    .collect();
                self.blocks.push(Block::Code { lines });
            }
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.text);
                if let Some(row) = self.rows.last_mut() {
                    row.push(cell);
                }
            }
            TagEnd::Table => {
                let rows = std::mem::take(&mut self.rows);
                self.blocks.push(Block::Table { rows });
            }
            _ => {}
        }
    }

    fn push(&mut self, text: &str, mono: bool) {
        let style = Style {
            bold: self.bold > 0,
            italic: self.italic > 0,
            mono,
        };
        match self.text.last_mut() {
            Some(last) if last.style == style => last.text.push_str(text),
            _ => self.text.push(Span {
                text: text.to_owned(),
                style,
            }),
        }
    }

    fn flush_paragraph(&mut self) {
        let text = std::mem::take(&mut self.text);
        if plain(&text).trim().is_empty() {
            return;
        }
        let depth = u8::try_from((self.lists.len() + self.quotes).min(DEPTH_MAX)).unwrap_or(0);
        self.blocks.push(match self.marker.take() {
            Some(marker) => Block::Item {
                depth,
                marker,
                text,
            },
            None => Block::Paragraph { depth, text },
        });
    }
}

fn level_number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text_of(blocks: &[Block]) -> String {
        let mut all = String::new();
        for block in blocks {
            match block {
                Block::Heading { text, .. }
                | Block::Paragraph { text, .. }
                | Block::Item { text, .. } => {
                    all.push_str(&plain(text));
                }
                Block::Table { rows } => rows
                    .iter()
                    .flatten()
                    .for_each(|cell| all.push_str(&plain(cell))),
                Block::Code { lines } => all.push_str(&lines.join("\n")),
                Block::Rule => {}
            }
            all.push('\n');
        }
        all
    }

    #[test]
    fn a_section_as_a_model_writes_it_becomes_blocks() {
        let blocks = parse(
            "## Scope\n\nWe **build** a\n`plant`.\n\n- one\n- two\n  1. inner\n\n| a | b |\n|---|---|\n| 1 | *2* |\n\n---\n\n```\nx = 1\n  y\n```\n",
        );
        let shapes: Vec<String> = blocks
            .iter()
            .map(|block| match block {
                Block::Heading { level, text } => format!("h{level} {}", plain(text)),
                Block::Paragraph { depth, text } => format!("p{depth} {}", plain(text)),
                Block::Item {
                    depth,
                    marker,
                    text,
                } => format!("i{depth} {marker} {}", plain(text)),
                Block::Table { rows } => format!("table {}x{}", rows.len(), rows[0].len()),
                Block::Code { lines } => format!("code {lines:?}"),
                Block::Rule => "rule".to_owned(),
            })
            .collect();
        let expected = [
            "h2 Scope",
            "p0 We build a plant.",
            "i1 • one",
            "i1 • two",
            "i2 1. inner",
            "table 2x2",
            "rule",
            r#"code ["x = 1", "  y"]"#,
        ];
        assert_eq!(shapes, expected);
    }

    #[test]
    fn looks_follow_the_marks() {
        let blocks = parse("a **b *c*** `d`");
        let Block::Paragraph { text, .. } = &blocks[0] else {
            panic!("{blocks:?}")
        };
        let bold = Style {
            bold: true,
            ..Style::default()
        };
        let both = Style {
            bold: true,
            italic: true,
            mono: false,
        };
        let mono = Style {
            mono: true,
            ..Style::default()
        };
        let styles: Vec<Style> = text.iter().map(|span| span.style).collect();
        assert_eq!(
            styles,
            [Style::default(), bold, both, Style::default(), mono]
        );
    }

    proptest! {
        #[test]
        fn no_word_of_plain_paragraphs_is_lost(words in prop::collection::vec("[a-zA-Z]{1,12}", 1..60), wide in 1_usize..9) {
            let markdown: String = words.chunks(wide).map(|line| line.join(" ") + "\n").collect();
            let text = text_of(&parse(&markdown));
            let read: Vec<&str> = text.split_whitespace().collect();
            prop_assert_eq!(read, words.iter().map(String::as_str).collect::<Vec<_>>());
        }

        #[test]
        fn anything_is_read_without_panic(markdown in "(?s).{0,400}") {
            let _ = parse(&markdown);
        }
    }
}
