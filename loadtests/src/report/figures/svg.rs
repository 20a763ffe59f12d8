//! Drawing: sizes, colours and scales that all figures share.
//!
//! plotters knows colours only as numbers. The few that a figure uses are marks which are replaced by the page's custom
//! properties afterwards, so that one drawing serves the light and the dark page.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Drawing;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type DrawResult = Result<(), Box<dyn std::error::Error>>;

/// Text and axes.
pub(super) const INK: RGBColor = RGBColor(1, 2, 3);
/// Lines behind the data.
pub(super) const GRID: RGBColor = RGBColor(1, 2, 4);
/// Text beside the data.
pub(super) const FAINT: RGBColor = RGBColor(1, 2, 5);
/// First series: blue.
pub(super) const BLUE: RGBColor = RGBColor(1, 2, 6);
/// Second series, and what to look at: vermilion.
pub(super) const VERMILION: RGBColor = RGBColor(1, 2, 7);
/// Third series: bluish green.
pub(super) const GREEN: RGBColor = RGBColor(1, 2, 8);

/// The page behind the drawing.
pub(super) const PAPER: RGBColor = RGBColor(1, 2, 9);

const PROPERTIES: [(&str, &str); 7] = [
    ("#010203", "var(--ink)"),
    ("#010204", "var(--grid)"),
    ("#010205", "var(--faint)"),
    ("#010206", "var(--blue)"),
    ("#010207", "var(--vermilion)"),
    ("#010208", "var(--green)"),
    ("#010209", "var(--paper)"),
];

/// Where a figure is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Canvas {
    pub(super) width: i32,
    pub(super) height: i32,
    /// Whether it is for a telephone.
    pub(super) narrow: bool,
}

impl Canvas {
    /// Height of its letters.
    pub(super) fn letters(self) -> i32 {
        if self.narrow { 12 } else { 13 }
    }
}

const WIDE: i32 = 760;
const NARROW: i32 = 350;

/// Draws for a wide and for a narrow screen; the heights are those of each.
pub(super) fn drawn(
    heights: [i32; 2],
    draw: impl Fn(Canvas, &Area<'_>) -> DrawResult,
) -> [Drawing; 2] {
    [(WIDE, heights[0], false), (NARROW, heights[1], true)].map(|(width, height, narrow)| {
        let canvas = Canvas {
            width,
            height,
            narrow,
        };
        Drawing {
            svg: drawing(canvas, &draw),
        }
    })
}

fn drawing(canvas: Canvas, draw: &impl Fn(Canvas, &Area<'_>) -> DrawResult) -> String {
    let mut svg = String::new();
    {
        let size = (canvas.width.unsigned_abs(), canvas.height.unsigned_abs());
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let result = draw(canvas, &area).and_then(|()| Ok(area.present()?));
        if let Err(error) = result {
            // A picture is lost, but no number: its table stands beside it.
            tracing::warn!(%error, "figure not drawn");
        }
    }
    for (mark, property) in PROPERTIES {
        svg = svg.replace(mark, property);
    }
    svg
}

/// Text of this colour, anchored at the left, middle or right of its line.
pub(super) fn text(
    area: &Area<'_>,
    words: &str,
    at: (i32, i32),
    size: i32,
    color: RGBColor,
    anchor: HPos,
) -> DrawResult {
    let style = TextStyle::from(("sans-serif", size).into_font())
        .color(&color)
        .pos(Pos::new(anchor, VPos::Center));
    area.draw(&Text::new(words.to_owned(), at, style))?;
    Ok(())
}

/// Writes the words of one figure, all of one size.
#[derive(Clone, Copy)]
pub(super) struct Pen<'a, 'b> {
    pub(super) area: &'a Area<'b>,
    pub(super) size: i32,
}

impl Pen<'_, '_> {
    /// Words that begin here.
    pub(super) fn left(self, words: &str, at: (i32, i32), color: RGBColor) -> DrawResult {
        text(self.area, words, at, self.size, color, HPos::Left)
    }

    /// Words whose middle is here.
    pub(super) fn center(self, words: &str, at: (i32, i32), color: RGBColor) -> DrawResult {
        text(self.area, words, at, self.size, color, HPos::Center)
    }

    /// Words that end here.
    pub(super) fn right(self, words: &str, at: (i32, i32), color: RGBColor) -> DrawResult {
        text(self.area, words, at, self.size, color, HPos::Right)
    }
}

/// A straight line.
pub(super) fn line(
    area: &Area<'_>,
    from: (i32, i32),
    to: (i32, i32),
    style: impl Into<ShapeStyle>,
) -> DrawResult {
    area.draw(&PathElement::new([from, to], style.into()))?;
    Ok(())
}

/// A filled box.
pub(super) fn bar(
    area: &Area<'_>,
    from: (i32, i32),
    to: (i32, i32),
    style: impl Into<ShapeStyle>,
) -> DrawResult {
    area.draw(&Rectangle::new([from, to], style.into()))?;
    Ok(())
}

/// A frame of this width; the library's own rectangles have hairlines only.
pub(super) fn frame(
    area: &Area<'_>,
    from: (i32, i32),
    to: (i32, i32),
    style: impl Into<ShapeStyle>,
) -> DrawResult {
    let corners = [from, (to.0, from.1), to, (from.0, to.1), from];
    area.draw(&PathElement::new(corners, style.into()))?;
    Ok(())
}

/// A scale from values to pixels, linear or logarithmic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Scale {
    pub(super) fn linear(values: [f64; 2], pixels: [i32; 2]) -> Scale {
        Scale {
            low: values[0],
            high: values[1],
            from: f64::from(pixels[0]),
            to: f64::from(pixels[1]),
            logarithmic: false,
        }
    }

    pub(super) fn log(values: [f64; 2], pixels: [i32; 2]) -> Scale {
        Scale {
            logarithmic: true,
            ..Scale::linear(values.map(f64::ln), pixels)
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "pixels, and a float cast saturates"
    )]
    pub(super) fn at(&self, value: f64) -> i32 {
        let value = if self.logarithmic { value.ln() } else { value };
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        (self.from + share * (self.to - self.from)).round() as i32
    }
}

/// Round values that divide `0..=high` into at most so many steps.
pub(super) fn ticks(high: f64, steps: f64) -> Vec<f64> {
    let raw = (high / steps).max(1e-9);
    let power = 10_f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= raw * 0.999)
        .unwrap_or(10.0 * power);
    std::iter::successors(Some(0.0), |at| Some(at + step))
        .take_while(|at| *at <= high * 1.0001)
        .collect()
}

/// 1, 10, 100, ... within the bounds.
pub(super) fn decades(low: f64, high: f64) -> Vec<f64> {
    std::iter::successors(Some(10_f64.powf(low.log10().ceil())), |at| Some(at * 10.0))
        .take_while(|at| *at <= high * 1.0001)
        .collect()
}

/// A number in as few digits as tell it.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => trimmed(format!("{value:.1}")),
        size if !(1e-12..0.1).contains(&size) => trimmed(format!("{value:.2}")),
        _ => trimmed(format!("{value:.3}")),
    }
}

fn trimmed(number: String) -> String {
    if number.contains('.') {
        number
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned()
    } else {
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        assert_eq!(ticks(100.0, 5.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(decades(0.5, 200.0), [1.0, 10.0, 100.0]);
    }

    #[test]
    fn colours_become_those_of_the_page() {
        let [wide, _] = drawn([40, 40], |_, area| {
            text(area, "a", (5, 5), 12, INK, HPos::Left)
        });
        assert!(wide.svg.contains("var(--ink)"), "{}", wide.svg);
        assert!(!wide.svg.contains("#0102"), "{}", wide.svg);
    }
}
