//! The fonts of a proposal, loaded once per process, and the widths the layout measures with.

use std::collections::HashMap;
use std::sync::LazyLock;

use krilla::text::{Font, GlyphId};
use skrifa::instance::{LocationRef, Size};
use skrifa::{FontRef, MetadataProvider};

use crate::pdf::layout::{Face, Measure};

/// Characters below this have their glyphs in a table; it covers Latin, Greek and Cyrillic.
const TABLE_SIZE: u32 = 0x0530;

/// All faces.
pub(super) struct Fonts {
    faces: [LoadedFace; Face::COUNT],
}

struct LoadedFace {
    font: Font,
    glyphs: HashMap<char, Glyph>,
    table: Vec<Option<Glyph>>,
}

/// A character's place in a font.
#[derive(Debug, Clone, Copy)]
pub(super) struct Glyph {
    pub(super) id: GlyphId,
    /// In units of the font size.
    pub(super) advance_em: f32,
}

static FONTS: LazyLock<Fonts> = LazyLock::new(Fonts::load);

impl Fonts {
    /// The fonts of this process.
    pub(super) fn get() -> &'static Self {
        &FONTS
    }

    fn load() -> Self {
        // The order of typst-assets: Libertinus Serif regular, bold, italic, bold italic come first.
        // DejaVu Sans Mono is the last one.
        let all: Vec<&'static [u8]> = typst_assets::fonts().collect();
        let mono = all.len() - 1;
        Self {
            faces: [0, 1, 2, 3, mono].map(|index| LoadedFace::load(all[index])),
        }
    }

    /// krilla's font of a face.
    pub(super) fn font(&self, face: Face) -> &Font {
        &self.faces[face as usize].font
    }

    /// A character's glyph in a face, if it has one.
    pub(super) fn glyph(&self, face: Face, character: char) -> Option<Glyph> {
        let loaded = &self.faces[face as usize];
        match loaded.table.get(character as usize) {
            Some(entry) => *entry,
            None => loaded.glyphs.get(&character).copied(),
        }
    }
}

impl LoadedFace {
    fn load(data: &'static [u8]) -> Self {
        let font = Font::new(data.into(), 0).expect("an embedded font parses");
        let metrics_of = FontRef::new(data).expect("an embedded font parses");
        let units_per_em = font.units_per_em();
        let advances = metrics_of.glyph_metrics(Size::unscaled(), LocationRef::default());
        let mut table = vec![None; TABLE_SIZE as usize];
        let mut glyphs = HashMap::new();
        for (code_point, glyph_id) in metrics_of.charmap().mappings() {
            let Some(character) = char::from_u32(code_point) else {
                continue;
            };
            let Some(advance) = advances.advance_width(glyph_id) else {
                continue;
            };
            let glyph = Glyph {
                id: GlyphId::new(glyph_id.to_u32()),
                advance_em: advance / units_per_em,
            };
            match table.get_mut(character as usize) {
                Some(entry) => *entry = Some(glyph),
                None => {
                    glyphs.insert(character, glyph);
                }
            }
        }
        Self {
            font,
            glyphs,
            table,
        }
    }
}

impl Measure for Fonts {
    fn advance_em(&self, face: Face, character: char) -> Option<f32> {
        self.glyph(face, character).map(|glyph| glyph.advance_em)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_face_writes_the_languages_of_our_users() {
        for face in Face::ALL {
            for character in "aZ09 áéíóúñÑüç¿¡ßäöŁ€–—“”•…%&".chars() {
                let glyph = Fonts::get().glyph(face, character);
                assert!(
                    glyph.is_some_and(|glyph| glyph.advance_em > 0.0),
                    "{face:?} {character}"
                );
            }
        }
    }

    #[test]
    fn bold_is_wider_than_regular_and_mono_is_even() {
        let fonts = Fonts::get();
        let width = |face, text: &str| -> f32 {
            text.chars().filter_map(|c| fonts.advance_em(face, c)).sum()
        };
        assert!(width(Face::Bold, "Proposal") > width(Face::Regular, "Proposal"));
        assert!((width(Face::Mono, "iii") - width(Face::Mono, "WWW")).abs() < 1e-4);
    }
}
