//! A report as text for a terminal of 80 columns.

use std::fmt::Write;

use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, TableStyle, Width,
};

use super::document::{Block, Document, Table};

/// One rule below the header: rows are short, and lines between them would double the table.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// Columns that a report is laid out for.
const WIDTH: u16 = 80;
/// Of them, those around the text of a cell.
const PADDING: u16 = 2;

/// Renders `document`; `color` adds ANSI colours to the verdicts.
pub fn render(document: &Document, color: bool) -> String {
    let mut text = format!("{}\n", document.title);
    for (index, block) in document.blocks.iter().enumerate() {
        if is_for_the_page(&document.blocks[index..]) {
            continue;
        }
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
            Block::Open(sentence) => {
                let word = if color {
                    "\u{1b}[1;33mOPEN\u{1b}[0m"
                } else {
                    "OPEN"
                };
                text.push_str(&wrapped(&format!("{word}  {sentence}")));
            }
            Block::Table(table) => {
                let parts: Vec<_> = parts(table)
                    .iter()
                    .map(|columns| rendered(table, columns).to_string())
                    .collect();
                let _ = writeln!(text, "{}", parts.join("\n\n"));
            }
            Block::Figure(_) | Block::Tiles(_) => {}
            Block::Code(code) => {
                for line in code.lines() {
                    let _ = writeln!(text, "    {line}");
                }
            }
        }
    }
    text
}

/// Whether the first of `blocks` is nothing for a terminal: a picture, tiles (the verdicts say what they
/// say), or a heading with nothing else below it.
fn is_for_the_page(blocks: &[Block]) -> bool {
    match blocks {
        [Block::Figure(_) | Block::Tiles(_), ..] => true,
        [Block::Heading(_), below @ ..] => below
            .iter()
            .take_while(|block| !matches!(block, Block::Heading(_)))
            .all(|block| is_for_the_page(std::slice::from_ref(block))),
        _ => false,
    }
}

/// The columns of `table` that say anything, from left to right, in as many parts as it takes for each to
/// fit the terminal; every part begins with the columns that say what a row is about.
fn parts(table: &Table) -> Vec<Vec<usize>> {
    let keys: Vec<usize> = (0..table.key_columns).collect();
    let keys_width: usize = keys.iter().map(|key| width_of(table, *key)).sum();
    let mut parts = vec![keys.clone()];
    let mut width = keys_width;
    for column in table.key_columns..table.header.len() {
        if table.rows.iter().all(|row| row[column].is_empty()) {
            continue;
        }
        let wanted = width_of(table, column);
        let last = parts.len() - 1;
        if width + wanted > usize::from(WIDTH) && parts[last].len() > keys.len() {
            parts.push(keys.clone());
            width = keys_width;
        }
        let last = parts.len() - 1;
        parts[last].push(column);
        width += wanted;
    }
    parts
}

/// Columns of the terminal, with the space around it, below which a column of the table reads badly:
/// numbers, words and paths stay whole, text may wrap.
fn width_of(table: &Table, column: usize) -> usize {
    const TEXT_WIDTH_MIN: usize = 14;
    const WORD_WIDTH_MAX: usize = WIDTH as usize / 2;
    let longest_word = |text: &str| text.split(' ').map(|word| word.chars().count()).max();
    let heading = longest_word(&table.header[column]);
    let cells = table.rows.iter().map(|row| row[column].as_str());
    let widest = cells.clone().map(|cell| cell.chars().count()).max();
    let cells = match widest {
        Some(widest) if !table.is_numeric(column) => {
            let word = cells.filter_map(longest_word).max();
            widest.min(word.unwrap_or(0).clamp(TEXT_WIDTH_MIN, WORD_WIDTH_MAX))
        }
        widest => widest.unwrap_or(0),
    };
    heading.unwrap_or(0).max(cells) + usize::from(PADDING) + 1
}

fn rendered(table: &Table, columns: &[usize]) -> comfy_table::Table {
    let of =
        |row: &[String]| -> Vec<String> { columns.iter().map(|at| row[*at].clone()).collect() };
    let mut rendered = comfy_table::Table::new();
    rendered
        .load_style(STYLE)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(of(&table.header))
        .add_rows(table.rows.iter().map(|row| of(row)));
    for (shown, column) in rendered.column_iter_mut().zip(columns) {
        let wanted = u16::try_from(width_of(table, *column) - 1).unwrap_or(WIDTH);
        shown.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(wanted)));
        if table.is_numeric(*column) {
            shown.set_cell_alignment(CellAlignment::Right);
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
    #[test]
    fn a_table_that_is_too_wide_goes_on_below_itself_under_the_same_keys() {
        let header = [
            "vCPU",
            "workers",
            "transactions",
            "connections",
            "empty",
            "commands",
            "milliseconds",
            "polls",
        ];
        let mut table = Table::new(header.map(|name| format!("generation {name}"))).keyed_by(2);
        table.row(["0.25", "6", "140", "12", "", "380", "1.5", "33"].map(str::to_owned));
        let mut document = Document::default();
        document.table(table);
        let text: Vec<_> = render(&document, false)
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect();
        insta::assert_snapshot!(text.join("\n"), @r"
 generation   generation     generation    generation   generation commands
       vCPU      workers   transactions   connections
────────────────────────────────────────────────────────────────────────────
       0.25            6            140            12                   380

 generation vCPU   generation workers     generation   generation polls
                                        milliseconds
────────────────────────────────────────────────────────────────────────
            0.25                    6            1.5                 33
");
    }
}
