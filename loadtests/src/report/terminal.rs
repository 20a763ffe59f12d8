//! A report as text for a terminal of 80 columns.

use std::fmt::Write;

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, TableStyle};

use super::document::{Block, Document, Table};

/// One rule below the header: rows are short, and lines between them would double the table.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// Columns that a report is laid out for.
const WIDTH: u16 = 80;

/// Renders `document`; `color` adds ANSI colours to the verdicts.
pub fn render(document: &Document, color: bool) -> String {
    let mut text = format!("{}\n", document.title);
    for block in &document.blocks {
        text.push('\n');
        match block {
            Block::Heading(heading) => {
                let _ = writeln!(text, "{}\n{}", heading, "─".repeat(heading.chars().count()));
            }
            Block::Subheading(heading) => text.push_str(&wrapped(heading)),
            Block::Paragraph(paragraph) => text.push_str(&wrapped(paragraph)),
            Block::Verdict {
                pass,
                text: sentence,
            } => {
                let word = if *pass { "PASS" } else { "FAIL" };
                let word = match (color, pass) {
                    (false, _) => word.to_owned(),
                    (true, true) => format!("\u{1b}[1;32m{word}\u{1b}[0m"),
                    (true, false) => format!("\u{1b}[1;31m{word}\u{1b}[0m"),
                };
                text.push_str(&wrapped(&format!("{word}  {sentence}")));
            }
            Block::Table(table) => {
                let _ = writeln!(text, "{}", rendered(table));
            }
            // Pictures are for the page; what tiles say stands in the verdicts.
            Block::Figure(_) | Block::Tiles(_) => {
                text.pop();
            }
            Block::Code(code) => {
                for line in code.lines() {
                    let _ = writeln!(text, "    {line}");
                }
            }
        }
    }
    text
}

fn rendered(table: &Table) -> comfy_table::Table {
    let mut rendered = comfy_table::Table::new();
    rendered
        .load_style(STYLE)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(&table.header)
        .add_rows(&table.rows);
    for (index, column) in rendered.column_iter_mut().enumerate() {
        if table.is_numeric(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    rendered
}

/// Breaks a paragraph at spaces.
fn wrapped(paragraph: &str) -> String {
    let width = usize::from(WIDTH);
    let mut text = String::with_capacity(paragraph.len() + 16);
    let mut column = 0;
    for word in paragraph.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            text.push('\n');
            column = 0;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut document = Document {
            title: "Title".into(),
            blocks: vec![],
        };
        document.paragraph("word ".repeat(100));
        let mut table = Table::new(["a", "b"]);
        table.row(["long text ".repeat(30), "1".into()]);
        document.table(table);
        let text = render(&document, false);
        assert!(
            text.lines()
                .all(|line| line.chars().count() <= usize::from(WIDTH)),
            "{text}"
        );
    }
}
