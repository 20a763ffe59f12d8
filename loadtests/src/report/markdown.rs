//! A report as Markdown, fit for a pull-request comment.

use std::fmt::Write;

use super::document::{Block, Document, Table};

/// Renders `document`.
pub fn render(document: &Document) -> String {
    let mut text = format!("# {}\n", document.title);
    for block in &document.blocks {
        text.push('\n');
        let _ = match block {
            Block::Heading(heading) => writeln!(text, "## {heading}"),
            Block::Subheading(heading) => writeln!(text, "### {heading}"),
            Block::Paragraph(paragraph) => writeln!(text, "{paragraph}"),
            Block::Verdict {
                pass,
                text: sentence,
            } => {
                writeln!(
                    text,
                    "**{}** {sentence}",
                    if *pass { "PASS" } else { "FAIL" }
                )
            }
            Block::Open(sentence) => writeln!(text, "**OPEN** {sentence}"),
            Block::Table(table) => write!(text, "{}", rendered(table)),
            Block::Tiles(tiles) => tiles
                .iter()
                .try_for_each(|tile| writeln!(text, "- **{}** {}", tile.number, tile.says)),
            Block::Figure(figure) => writeln!(
                text,
                "*{} (in report.html). {}*",
                figure.title, figure.alternative
            ),
            Block::Code(code) => writeln!(text, "```\n{}\n```", code.trim_end()),
        };
    }
    text
}

fn rendered(table: &Table) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<_> = cells
            .iter()
            .map(|cell| cell.replace('|', "\\|").replace('\n', "<br>"))
            .collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule: Vec<_> = (0..table.header.len())
        .map(|column| {
            if table.is_numeric(column) {
                "---:"
            } else {
                "---"
            }
        })
        .collect();
    let mut text = line(&table.header);
    let _ = writeln!(text, "| {} |", rule.join(" | "));
    text.extend(table.rows.iter().map(|row| line(row)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_a_github_table() {
        let mut document = Document {
            title: "T".into(),
            blocks: vec![],
        };
        let mut table = Table::new(["name", "n"]);
        table.row(["a|b".into(), "1".into()]);
        document.table(table);
        insta::assert_snapshot!(render(&document), @r"
        # T

        | name | n |
        | --- | ---: |
        | a\|b | 1 |
        ");
    }
}
