//! A proposal as PDF bytes: cover, contents, numbered sections, page numbers, bookmarks.
//!
//! The same proposal always gives the same bytes (no clock is read), so a repeated rendering
//! after a crash stores the same object again.

use krilla::Document;
use krilla::SerializeSettings;
use krilla::color::luma;
use krilla::destination::XyzDestination;
use krilla::geom::{PathBuilder, Point, Rect};
use krilla::metadata::Metadata;
use krilla::num::NormalizedF32;
use krilla::outline::{Outline, OutlineNode};
use krilla::page::PageSettings;
use krilla::paint::{Fill, FillRule};
use krilla::surface::Surface;
use krilla::text::KrillaGlyph;

use crate::pdf::fonts::Fonts;
use crate::pdf::layout::{
    Face, Item, Layout, MARGIN_BOTTOM, MARGIN_TOP, MARGIN_X, PAGE_HEIGHT, PAGE_WIDTH, Place,
    TEXT_WIDTH, Typesetter,
};
use crate::pdf::markdown::{Block, parse, plain};

/// What is rendered.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// Title on the cover.
    pub title: String,
    /// A line below it.
    pub subtitle: String,
    /// The sections, in order.
    pub sections: Vec<Section>,
}

/// One section.
#[derive(Debug, Clone)]
pub struct Section {
    /// Its heading, without a number.
    pub title: String,
    /// Its text.
    pub markdown: String,
}

/// A rendered PDF.
#[derive(Debug)]
pub struct RenderedPdf {
    /// The file.
    pub bytes: Vec<u8>,
    /// Pages in it.
    pub page_count: usize,
}

/// The PDF writer refused the document.
#[derive(Debug, thiserror::Error)]
#[error("write the PDF: {0}")]
pub struct RenderError(String);

const CONTENTS_LINE: f32 = 18.0;
const CONTENTS_SIZE: f32 = 11.0;

/// Renders a proposal. Takes some milliseconds of one core: not for an async thread.
///
/// # Errors
/// When the PDF writer refuses the document.
pub fn render(proposal: &Proposal) -> Result<RenderedPdf, RenderError> {
    let fonts = Fonts::get();
    let body = body(fonts, proposal);
    let cover = cover(fonts, proposal);
    let contents = contents(fonts, &body.places);
    let front = cover.pages.len() + contents.pages.len();
    let pages: Vec<&Vec<Item>> = cover
        .pages
        .iter()
        .chain(&contents.pages)
        .chain(&body.pages)
        .collect();

    let settings = SerializeSettings {
        enable_tagging: false,
        ..SerializeSettings::default()
    };
    let mut document = Document::new_with(settings);
    for (index, items) in pages.iter().enumerate() {
        let settings =
            PageSettings::from_wh(PAGE_WIDTH, PAGE_HEIGHT).expect("A4 is a valid page size");
        let mut page = document.start_page_with(settings);
        let mut surface = page.surface();
        for item in items.iter() {
            draw(&mut surface, fonts, item);
        }
        // The cover carries no number, as in print.
        if index >= cover.pages.len() {
            draw_page_number(&mut surface, fonts, index + 1, pages.len());
        }
        surface.finish();
        page.finish();
    }
    document.set_outline(outline(&body.places, front));
    document.set_metadata(
        Metadata::new()
            .title(proposal.title.clone())
            .creator("Allegiant".to_owned()),
    );
    let page_count = pages.len();
    let bytes = document
        .finish()
        .map_err(|error| RenderError(format!("{error:?}")))?;
    Ok(RenderedPdf { bytes, page_count })
}

fn body(fonts: &Fonts, proposal: &Proposal) -> Layout {
    let mut typesetter = Typesetter::new(fonts);
    for (index, section) in proposal.sections.iter().enumerate() {
        if index > 0 {
            typesetter.new_page();
        }
        typesetter.heading(1, &format!("{} {}", index + 1, section.title));
        typesetter.blocks(&below(&section.title, parse(&section.markdown)));
    }
    typesetter.finish()
}

/// The blocks of a section under its own heading: models often repeat the title, and their
/// headings begin at any level, so the highest one becomes level 2.
fn below(title: &str, mut blocks: Vec<Block>) -> Vec<Block> {
    let repeats = |text: &str| {
        let bare = text
            .trim()
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ' ');
        bare.eq_ignore_ascii_case(title.trim()) || text.trim().eq_ignore_ascii_case(title.trim())
    };
    if let Some(Block::Heading { text, .. }) = blocks.first()
        && repeats(&plain(text))
    {
        blocks.remove(0);
    }
    let level_of = |block: &Block| match block {
        Block::Heading { level, .. } => Some(*level),
        _ => None,
    };
    let highest = blocks.iter().filter_map(level_of).min().unwrap_or(2);
    for block in &mut blocks {
        if let Block::Heading { level, .. } = block {
            *level = (*level - highest).saturating_add(2).min(6);
        }
    }
    blocks
}

fn cover(fonts: &Fonts, proposal: &Proposal) -> Layout {
    let mut typesetter = Typesetter::new(fonts);
    let mut y = PAGE_HEIGHT * 0.36;
    // The title's rule allows 200 characters: seven lines at most, which this page holds.
    for line in typesetter.broken(&proposal.title, Face::Bold, 28.0, TEXT_WIDTH) {
        typesetter.single_line(MARGIN_X, y, 28.0, Face::Bold, &line);
        y += 36.0;
    }
    y += 8.0;
    for line in typesetter.broken(&proposal.subtitle, Face::Italic, 13.0, TEXT_WIDTH) {
        typesetter.single_line(MARGIN_X, y, 13.0, Face::Italic, &line);
        y += 18.0;
    }
    typesetter.finish()
}

fn contents(fonts: &Fonts, places: &[Place]) -> Layout {
    let per_page = contents_lines_per_page();
    let count = places.len().div_ceil(per_page).max(1);
    let first_body_page = 1 + count;
    let mut layout = Layout::default();
    for page in 0..count {
        let mut typesetter = Typesetter::new(fonts);
        let mut y = MARGIN_TOP + 19.0;
        if page == 0 {
            typesetter.single_line(MARGIN_X, y, 19.0, Face::Bold, "Contents");
        }
        y += 34.0;
        for place in places.iter().skip(page * per_page).take(per_page) {
            contents_line(&mut typesetter, place, first_body_page + place.page + 1, y);
            y += CONTENTS_LINE;
        }
        layout.pages.append(&mut typesetter.finish().pages);
    }
    layout
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few dozen lines fit a page"
)]
fn contents_lines_per_page() -> usize {
    ((PAGE_HEIGHT - MARGIN_TOP - MARGIN_BOTTOM - 53.0) / CONTENTS_LINE).floor() as usize
}

fn contents_line(typesetter: &mut Typesetter<'_, Fonts>, place: &Place, page: usize, y: f32) {
    let (face, indent) = if place.level == 1 {
        (Face::Bold, 0.0)
    } else {
        (Face::Regular, 18.0)
    };
    let number = page.to_string();
    let number_width = typesetter.text_width(&number, Face::Regular, CONTENTS_SIZE);
    let number_x = PAGE_WIDTH - MARGIN_X - number_width;
    let room = number_x - MARGIN_X - indent - 12.0;
    let lines = typesetter.broken(&place.title, face, CONTENTS_SIZE, room);
    let title = match lines.as_slice() {
        [] => String::new(),
        [whole] => whole.clone(),
        [first, ..] => format!("{}…", first.trim_end()),
    };
    typesetter.single_line(MARGIN_X + indent, y, CONTENTS_SIZE, face, &title);
    typesetter.single_line(number_x, y, CONTENTS_SIZE, Face::Regular, &number);
}

fn outline(places: &[Place], front: usize) -> Outline {
    let destination =
        |place: &Place| XyzDestination::new(front + place.page, Point::from_xy(MARGIN_X, place.y));
    let mut outline = Outline::new();
    let mut sections = places.chunk_by(|_, next| next.level > 1);
    for section in &mut sections {
        let Some((head, rest)) = section.split_first() else {
            continue;
        };
        let mut node = OutlineNode::new(head.title.clone(), destination(head));
        for place in rest {
            node.push_child(OutlineNode::new(place.title.clone(), destination(place)));
        }
        outline.push_child(node);
    }
    outline
}

fn draw_page_number(surface: &mut Surface<'_>, fonts: &Fonts, number: usize, count: usize) {
    let text = format!("{number} / {count}");
    let size = 9.0;
    let advance = |character| {
        fonts
            .glyph(Face::Regular, character)
            .map_or(0.0, |glyph| glyph.advance_em)
    };
    let width: f32 = text.chars().map(advance).sum::<f32>() * size;
    let (x, y) = (
        (PAGE_WIDTH - width) / 2.0,
        PAGE_HEIGHT - MARGIN_BOTTOM / 2.0,
    );
    draw(
        surface,
        fonts,
        &Item::Text {
            x,
            y,
            size,
            face: Face::Regular,
            text,
        },
    );
}

fn draw(surface: &mut Surface<'_>, fonts: &Fonts, item: &Item) {
    match item {
        Item::Text {
            x,
            y,
            size,
            face,
            text,
        } => {
            surface.set_fill(Some(fill(0)));
            let glyphs = glyphs(fonts, *face, text);
            surface.draw_glyphs(
                Point::from_xy(*x, *y),
                &glyphs,
                fonts.font(*face).clone(),
                text,
                *size,
                false,
            );
        }
        Item::Box {
            x,
            y,
            width,
            height,
            gray,
        } => {
            surface.set_fill(Some(fill(*gray)));
            let mut path = PathBuilder::new();
            if let Some(rectangle) = Rect::from_xywh(*x, *y, *width, *height) {
                path.push_rect(rectangle);
            }
            if let Some(path) = path.finish() {
                surface.draw_path(&path);
            }
        }
    }
}

/// One glyph per character, placed by the very widths the layout measured with. No shaping: what
/// is set is Latin, Greek and Cyrillic, and shaping would cost more than all the rest.
fn glyphs(fonts: &Fonts, face: Face, text: &str) -> Vec<KrillaGlyph> {
    let placed = text.char_indices().filter_map(|(start, character)| {
        let glyph = fonts.glyph(face, character)?;
        let range = start..start + character.len_utf8();
        Some(KrillaGlyph::new(
            glyph.id,
            glyph.advance_em,
            0.0,
            0.0,
            0.0,
            range,
            None,
        ))
    });
    placed.collect()
}

fn fill(gray: u8) -> Fill {
    Fill {
        paint: luma::Color::new(gray).into(),
        opacity: NormalizedF32::ONE,
        rule: FillRule::NonZero,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(sections: usize) -> Proposal {
        let markdown = "### Scope\n\nWater is treated in **three** stages — ¿dónde? — with `pumps`.\n\n\
                        - one\n- two\n\n| Item | Cost |\n|---|---|\n| Pump | 100 € |\n";
        Proposal {
            title: "Water treatment plant for Ñuñoa".to_owned(),
            subtitle: "Technical proposal".to_owned(),
            sections: (1..=sections)
                .map(|number| Section {
                    title: format!("Part {number}"),
                    markdown: markdown.to_owned(),
                })
                .collect(),
        }
    }

    fn text_of(bytes: &[u8]) -> (usize, String) {
        let document = lopdf::Document::load_mem(bytes).expect("a PDF that another library reads");
        let pages: Vec<u32> = document.get_pages().keys().copied().collect();
        (
            pages.len(),
            document
                .extract_text(&pages)
                .expect("text with its encoding"),
        )
    }

    #[test]
    fn another_library_reads_the_pages_and_the_text() {
        let rendered = render(&proposal(3)).expect("renders");
        let (pages, text) = text_of(&rendered.bytes);
        assert_eq!(pages, rendered.page_count);
        assert_eq!(pages, 5, "cover, contents and one page per section");
        for expected in [
            "Ñuñoa",
            "Contents",
            "2 Part 2",
            "Scope",
            "three",
            "¿dónde?",
            "100 €",
            "4 / 5",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
    }

    #[test]
    fn the_same_proposal_gives_the_same_bytes() {
        let first = render(&proposal(2)).expect("renders");
        let second = render(&proposal(2)).expect("renders");
        assert_eq!(first.bytes, second.bytes);
    }

    #[test]
    fn a_repeated_title_is_set_once() {
        let section = Section {
            title: "Scope".to_owned(),
            markdown: "# 1. Scope\n\nText\n\n## Deep\n\nMore".to_owned(),
        };
        let blocks = below(&section.title, parse(&section.markdown));
        let headings: Vec<String> = blocks
            .iter()
            .filter_map(|block| match block {
                Block::Heading { level, text } => Some(format!("{level} {}", plain(text))),
                _ => None,
            })
            .collect();
        assert_eq!(headings, ["2 Deep"]);
    }

    #[test]
    fn contents_run_over_as_many_pages_as_they_need() {
        let rendered = render(&proposal(60)).expect("renders");
        let (pages, _) = text_of(&rendered.bytes);
        assert_eq!(pages, rendered.page_count);
        assert!(pages > 60 + 1 + 120 / contents_lines_per_page(), "{pages}");
    }

    #[test]
    fn an_empty_proposal_is_a_pdf_too() {
        let empty = Proposal {
            title: "T".to_owned(),
            subtitle: String::new(),
            sections: Vec::new(),
        };
        let rendered = render(&empty).expect("renders");
        assert_eq!(text_of(&rendered.bytes).0, rendered.page_count);
    }
}
