//! Sets blocks into pages: pure, so that no word lost and no line too wide are property tests.
//!
//! Lengths are PDF points (1/72 inch), y counts from the top of the page to the baseline.

mod table;

use crate::pdf::markdown::{Block, Span, Style, plain};

/// Width of A4.
pub const PAGE_WIDTH: f32 = 595.28;
/// Height of A4.
pub const PAGE_HEIGHT: f32 = 841.89;
/// Left and right margin.
pub const MARGIN_X: f32 = 70.0;
/// Top margin.
pub const MARGIN_TOP: f32 = 72.0;
/// Bottom margin; the page number stands in it.
pub const MARGIN_BOTTOM: f32 = 76.0;
/// What text may fill across.
pub const TEXT_WIDTH: f32 = PAGE_WIDTH - 2.0 * MARGIN_X;

const BOTTOM: f32 = PAGE_HEIGHT - MARGIN_BOTTOM;
const BODY_SIZE: f32 = 10.5;
const CODE_SIZE: f32 = 8.5;
const LINE_FACTOR: f32 = 1.38;
const INDENT: f32 = 18.0;

/// A font of the proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// Running text.
    Regular,
    /// Headings and strong words.
    Bold,
    /// Emphasis.
    Italic,
    /// Both.
    BoldItalic,
    /// Code.
    Mono,
}

impl Face {
    /// How many there are.
    pub const COUNT: usize = 5;
    /// All of them.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Regular,
        Self::Bold,
        Self::Italic,
        Self::BoldItalic,
        Self::Mono,
    ];

    fn of(style: Style) -> Self {
        match (style.mono, style.bold, style.italic) {
            (true, _, _) => Self::Mono,
            (false, true, true) => Self::BoldItalic,
            (false, true, false) => Self::Bold,
            (false, false, true) => Self::Italic,
            (false, false, false) => Self::Regular,
        }
    }
}

/// Widths of characters.
pub trait Measure {
    /// Advance in units of the font size; `None` when the face lacks the character.
    fn advance_em(&self, face: Face, character: char) -> Option<f32>;
}

/// Something on a page.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A run of text in one face.
    Text {
        /// Left edge.
        x: f32,
        /// Baseline.
        y: f32,
        /// Font size.
        size: f32,
        /// Font.
        face: Face,
        /// The text.
        text: String,
    },
    /// A filled box: lines and table heads.
    Box {
        /// Left edge.
        x: f32,
        /// Top edge.
        y: f32,
        /// Width.
        width: f32,
        /// Height.
        height: f32,
        /// 0 black to 255 white.
        gray: u8,
    },
}

/// A heading's place, for contents and bookmarks.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// 1 for sections, 2 below.
    pub level: u8,
    /// Its text.
    pub title: String,
    /// Page of the body, from 0.
    pub page: usize,
    /// Top edge.
    pub y: f32,
}

/// Blocks set into pages.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Layout {
    /// The pages.
    pub pages: Vec<Vec<Item>>,
    /// Headings of level 1 and 2, in order.
    pub places: Vec<Place>,
}

struct Piece {
    text: String,
    face: Face,
    width: f32,
}

/// A word with the pieces it changes its look in.
struct Word {
    pieces: Vec<Piece>,
    width: f32,
}

type Line = Vec<Piece>;

/// The typesetter: a cursor that moves down pages.
pub struct Typesetter<'a, M: Measure> {
    measure: &'a M,
    layout: Layout,
    y: f32,
}

impl<M: Measure> std::fmt::Debug for Typesetter<'_, M> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Typesetter")
            .field("pages", &self.layout.pages.len())
            .finish_non_exhaustive()
    }
}

impl<'a, M: Measure> Typesetter<'a, M> {
    /// Starts with an empty page.
    pub fn new(measure: &'a M) -> Self {
        let layout = Layout {
            pages: vec![Vec::new()],
            places: Vec::new(),
        };
        Self {
            measure,
            layout,
            y: MARGIN_TOP,
        }
    }

    /// Hands over what was set.
    pub fn finish(self) -> Layout {
        self.layout
    }

    /// Goes on at the top of a new page, unless it is there already.
    pub fn new_page(&mut self) {
        if self.y > MARGIN_TOP {
            self.layout.pages.push(Vec::new());
            self.y = MARGIN_TOP;
        }
    }

    /// Moves down by a space, which is dropped at the top of a page.
    pub fn space(&mut self, height: f32) {
        if self.y > MARGIN_TOP {
            self.y += height;
        }
    }

    /// Sets blocks.
    pub fn blocks(&mut self, blocks: &[Block]) {
        for block in blocks {
            match block {
                Block::Heading { level, text } => self.heading(*level, &plain(text)),
                Block::Paragraph { depth, text } => {
                    self.paragraph(text, f32::from(*depth) * INDENT);
                    self.space(BODY_SIZE * 0.55);
                }
                Block::Item {
                    depth,
                    marker,
                    text,
                } => self.item(*depth, marker, text),
                Block::Table { rows } => self.table(rows),
                Block::Code { lines } => self.code(lines),
                Block::Rule => {
                    self.room_for(12.0);
                    self.space(4.0);
                    self.line_across(self.y, 0.6, 170);
                    self.y += 10.0;
                }
            }
        }
    }

    /// Sets a heading, together with the beginning of what follows it.
    pub fn heading(&mut self, level: u8, title: &str) {
        let size = match level {
            1 => 19.0,
            2 => 14.0,
            3 => 12.0,
            _ => 11.0,
        };
        let title = title.trim();
        let span = Span {
            text: title.to_owned(),
            style: Style {
                bold: true,
                ..Style::default()
            },
        };
        let lines = self.lines(&[span], TEXT_WIDTH, size);
        self.space(size * 0.9);
        let height = size * LINE_FACTOR * lines_as_f32(lines.len());
        self.room_for(height + 2.5 * BODY_SIZE * LINE_FACTOR);
        if level <= 2 {
            let page = self.layout.pages.len() - 1;
            self.layout.places.push(Place {
                level,
                title: title.to_owned(),
                page,
                y: self.y,
            });
        }
        self.set_lines(lines, MARGIN_X, size);
        self.space(size * 0.35);
    }

    /// Sets running text at an indent.
    pub fn paragraph(&mut self, text: &[Span], indent: f32) {
        let lines = self.lines(text, TEXT_WIDTH - indent, BODY_SIZE);
        self.set_lines(lines, MARGIN_X + indent, BODY_SIZE);
    }

    /// Sets one line of text that is not broken; the caller sees to its width.
    pub fn single_line(&mut self, x: f32, y: f32, size: f32, face: Face, text: &str) {
        let covered = self.covered(face, text);
        let mut x = x;
        for piece in covered {
            let width = self.width(&piece.text, piece.face, size);
            self.push(Item::Text {
                x,
                y,
                size,
                face: piece.face,
                text: piece.text,
            });
            x += width;
        }
    }

    /// The width of a text.
    pub fn text_width(&self, text: &str, face: Face, size: f32) -> f32 {
        self.covered(face, text)
            .iter()
            .map(|piece| self.width(&piece.text, piece.face, size))
            .sum()
    }

    /// Lines that a text takes, as plain strings.
    pub fn broken(&self, text: &str, face: Face, size: f32, width: f32) -> Vec<String> {
        let style = Style {
            bold: face == Face::Bold,
            italic: face == Face::Italic,
            mono: face == Face::Mono,
        };
        let lines = self.lines(
            &[Span {
                text: text.to_owned(),
                style,
            }],
            width,
            size,
        );
        lines
            .into_iter()
            .map(|line| line.into_iter().map(|piece| piece.text).collect())
            .collect()
    }

    fn item(&mut self, depth: u8, marker: &str, text: &[Span]) {
        let indent = f32::from(depth.max(1)) * INDENT;
        self.room_for(BODY_SIZE * LINE_FACTOR);
        let baseline = self.y + BODY_SIZE;
        let x = MARGIN_X + indent - 5.0 - self.text_width(marker, Face::Regular, BODY_SIZE);
        self.single_line(x.max(MARGIN_X), baseline, BODY_SIZE, Face::Regular, marker);
        self.paragraph(text, indent);
        self.space(BODY_SIZE * 0.25);
    }

    fn code(&mut self, lines: &[String]) {
        self.space(2.0);
        let style = Style {
            mono: true,
            ..Style::default()
        };
        for line in lines {
            // Spaces carry meaning here and would be collapsed between words.
            let kept = line.replace('\t', "    ").replace(' ', "\u{a0}");
            let set = self.lines(
                &[Span { text: kept, style }],
                TEXT_WIDTH - INDENT,
                CODE_SIZE,
            );
            if set.is_empty() {
                self.y += CODE_SIZE * LINE_FACTOR;
            }
            self.set_lines(set, MARGIN_X + INDENT, CODE_SIZE);
        }
        self.space(BODY_SIZE * 0.7);
    }

    fn set_lines(&mut self, lines: Vec<Line>, x: f32, size: f32) {
        for line in lines {
            self.room_for(size * LINE_FACTOR);
            self.set_line(line, x, size);
            self.y += size * LINE_FACTOR;
        }
    }

    fn set_line(&mut self, line: Line, x: f32, size: f32) {
        let mut x = x;
        let y = self.y + size;
        for piece in line {
            let width = piece.width;
            self.push(Item::Text {
                x,
                y,
                size,
                face: piece.face,
                text: piece.text,
            });
            x += width;
        }
    }

    fn line_across(&mut self, y: f32, height: f32, gray: u8) {
        self.push(Item::Box {
            x: MARGIN_X,
            y,
            width: TEXT_WIDTH,
            height,
            gray,
        });
    }

    fn room_for(&mut self, height: f32) {
        if self.y + height > BOTTOM {
            self.new_page();
        }
    }

    fn push(&mut self, item: Item) {
        self.layout
            .pages
            .last_mut()
            .expect("a layout begins with a page and never loses one")
            .push(item);
    }

    fn width(&self, text: &str, face: Face, size: f32) -> f32 {
        text.chars()
            .map(|character| self.measure.advance_em(face, character).unwrap_or(0.0))
            .sum::<f32>()
            * size
    }

    /// Splits a text where its face lacks a character that another face has; what none has becomes `?`.
    fn covered(&self, face: Face, text: &str) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        for character in text.chars().filter(|character| !character.is_control()) {
            let has = |face: Face| self.measure.advance_em(face, character).is_some();
            let (face, character) = match character {
                _ if has(face) => (face, character),
                _ if has(Face::Mono) => (Face::Mono, character),
                _ => (face, '?'),
            };
            match pieces.last_mut() {
                Some(last) if last.face == face => last.text.push(character),
                _ => pieces.push(Piece {
                    text: character.to_string(),
                    face,
                    width: 0.0,
                }),
            }
        }
        pieces
    }

    fn words(&self, inline: &[Span], size: f32) -> Vec<Word> {
        let mut words: Vec<Word> = Vec::new();
        let mut inside = false;
        for span in inline {
            let face = Face::of(span.style);
            for (index, part) in span.text.split([' ', '\n', '\t', '\r']).enumerate() {
                // A split stands between two parts; a span's first part goes on with the word before it.
                inside &= index == 0;
                if part.is_empty() {
                    continue;
                }
                if !inside {
                    words.push(Word {
                        pieces: Vec::new(),
                        width: 0.0,
                    });
                    inside = true;
                }
                let word = words.last_mut().expect("a word was begun just above");
                for mut piece in self.covered(face, part) {
                    piece.width = self.width(&piece.text, piece.face, size);
                    word.width += piece.width;
                    word.pieces.push(piece);
                }
            }
        }
        words
    }

    /// Breaks spans into lines of at most `width`, greedily; words wider than that are cut.
    fn lines(&self, inline: &[Span], width: f32, size: f32) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        let mut line: Line = Vec::new();
        let mut used = 0.0;
        for word in self.words(inline, size) {
            let face = word
                .pieces
                .first()
                .map_or(Face::Regular, |piece| piece.face);
            let space = self.width(" ", face, size);
            if !line.is_empty() && used + space + word.width > width {
                lines.push(std::mem::take(&mut line));
                used = 0.0;
            }
            if !line.is_empty() {
                append(
                    &mut line,
                    Piece {
                        text: " ".to_owned(),
                        face,
                        width: space,
                    },
                );
                used += space;
            }
            if word.width <= width {
                used += word.width;
                for piece in word.pieces {
                    append(&mut line, piece);
                }
                continue;
            }
            for piece in word.pieces {
                for character in piece.text.chars() {
                    let advance = self.width(character.encode_utf8(&mut [0; 4]), piece.face, size);
                    if !line.is_empty() && used + advance > width {
                        lines.push(std::mem::take(&mut line));
                        used = 0.0;
                    }
                    append(
                        &mut line,
                        Piece {
                            text: character.to_string(),
                            face: piece.face,
                            width: advance,
                        },
                    );
                    used += advance;
                }
            }
        }
        if !line.is_empty() {
            lines.push(line);
        }
        lines
    }
}

/// Adds a piece to a line, as one run with the piece before it where they look alike.
fn append(line: &mut Line, piece: Piece) {
    match line.last_mut() {
        Some(last) if last.face == piece.face => {
            last.text.push_str(&piece.text);
            last.width += piece.width;
        }
        _ => line.push(piece),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "numbers of lines and columns are far below 2^24"
)]
fn lines_as_f32(count: usize) -> f32 {
    count as f32
}

#[cfg(test)]
mod tests;
