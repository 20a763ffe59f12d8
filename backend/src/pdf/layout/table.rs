//! Tables: column widths, rows that are as high as their highest cell, heads repeated on every page.

use crate::pdf::layout::{
    BODY_SIZE, BOTTOM, Face, Item, LINE_FACTOR, Line, MARGIN_TOP, MARGIN_X, Measure, TEXT_WIDTH,
    Typesetter, lines_as_f32,
};
use crate::pdf::markdown::{Inline, Span, Style, plain};

const TABLE_SIZE: f32 = 9.5;
const CELL_PADDING: f32 = 4.0;
/// Tables with more columns are set as paragraphs: cells would be narrower than words.
const COLUMNS_MAX: usize = 8;

impl<M: Measure> Typesetter<'_, M> {
    pub(super) fn table(&mut self, rows: &[Vec<Inline>]) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        if columns == 0 {
            return;
        }
        if columns > COLUMNS_MAX {
            for row in rows {
                let cells: Vec<String> = row.iter().map(|cell| plain(cell)).collect();
                self.paragraph(
                    &[Span {
                        text: cells.join(" | "),
                        style: Style::default(),
                    }],
                    0.0,
                );
                self.space(3.0);
            }
            return;
        }
        let widths = self.column_widths(rows, columns);
        self.space(3.0);
        // The head stays with the first row below it.
        let first_rows = rows.iter().take(2).enumerate();
        self.room_for(
            first_rows
                .map(|(index, row)| self.row_height(row, &widths, index == 0))
                .sum(),
        );
        for (index, row) in rows.iter().enumerate() {
            self.row(row, &widths, index == 0);
            // The head is repeated on every page the table runs over.
            let next_is_on_a_new_page = rows
                .get(index + 1)
                .is_some_and(|next| self.y + self.row_height(next, &widths, false) > BOTTOM);
            if next_is_on_a_new_page && index > 0 {
                self.new_page();
                self.row(&rows[0], &widths, true);
            }
        }
        self.space(BODY_SIZE);
    }

    /// Columns share the width in proportion to their longest cell, between a sixth and twice of
    /// an even share.
    fn column_widths(&self, rows: &[Vec<Inline>], columns: usize) -> Vec<f32> {
        let even = TEXT_WIDTH / lines_as_f32(columns);
        let wanted: Vec<f32> = (0..columns)
            .map(|column| {
                let cells = rows.iter().filter_map(|row| row.get(column));
                let longest = cells
                    .map(|cell| self.text_width(&plain(cell), Face::Bold, TABLE_SIZE))
                    .fold(0.0, f32::max);
                (longest + 2.0 * CELL_PADDING).clamp(even / 6.0 + 2.0 * CELL_PADDING, even * 2.0)
            })
            .collect();
        let sum: f32 = wanted.iter().sum();
        wanted
            .into_iter()
            .map(|width| width * TEXT_WIDTH / sum)
            .collect()
    }

    fn cell_lines(&self, cell: &Inline, width: f32, head: bool) -> Vec<Line> {
        let emphasized: Inline = cell
            .iter()
            .map(|span| Span {
                text: span.text.clone(),
                style: Style {
                    bold: span.style.bold || head,
                    ..span.style
                },
            })
            .collect();
        self.lines(&emphasized, width - 2.0 * CELL_PADDING, TABLE_SIZE)
    }

    fn row_height(&self, row: &[Inline], widths: &[f32], head: bool) -> f32 {
        let cells = row.iter().zip(widths);
        let lines = cells
            .map(|(cell, width)| self.cell_lines(cell, *width, head).len())
            .max()
            .unwrap_or(0)
            .max(1);
        lines_as_f32(lines) * TABLE_SIZE * LINE_FACTOR + 2.0 * CELL_PADDING
    }

    fn row(&mut self, row: &[Inline], widths: &[f32], head: bool) {
        let cells: Vec<Vec<Line>> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| self.cell_lines(cell, *width, head))
            .collect();
        let count = cells.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let line_height = TABLE_SIZE * LINE_FACTOR;
        let page_lines = ((BOTTOM - MARGIN_TOP - 2.0 * CELL_PADDING) / line_height).floor();
        let height = lines_as_f32(count).min(page_lines) * line_height + 2.0 * CELL_PADDING;
        self.room_for(height);
        if head {
            self.push(Item::Box {
                x: MARGIN_X,
                y: self.y,
                width: TEXT_WIDTH,
                height,
                gray: 235,
            });
        }
        let mut cells: Vec<_> = cells.into_iter().map(Vec::into_iter).collect();
        self.y += CELL_PADDING;
        for number in 0..count {
            // Only a row higher than a page is broken inside.
            if number > 0 && self.y + line_height + CELL_PADDING > BOTTOM {
                self.new_page();
            }
            let mut x = MARGIN_X;
            for (cell, width) in cells.iter_mut().zip(widths) {
                if let Some(line) = cell.next() {
                    self.set_line(line, x + CELL_PADDING, TABLE_SIZE);
                }
                x += width;
            }
            self.y += line_height;
        }
        self.y += CELL_PADDING;
        self.line_across(self.y, 0.5, if head { 90 } else { 200 });
    }
}
