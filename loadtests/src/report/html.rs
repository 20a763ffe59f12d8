//! A report as one self-contained HTML page: no network, no script, light and dark, readable on a phone and in print.

use std::fmt::Write;

use super::document::{Block, Document, Table, Tile};
use super::figures::{Figure, Value};

/// The page's look; the colours of the figures are custom properties in it.
pub(crate) const STYLE: &str = include_str!("page.css");
/// Rows up to which a figure's numbers stand below it; longer tables are for download only.
const ROWS_SHOWN_MAX: usize = 60;
/// Columns up to which a table fits a printed page at its usual size.
const COLUMNS_PRINTED: usize = 12;
/// Bytes from which on the text of a cell wants a width of its own.
const LONG_CELL: usize = 32;

/// Renders `document`, which is in English.
pub fn render(document: &Document) -> String {
    render_in(document, "en")
}

/// Renders `document`, which is in the language of this code.
pub fn render_in(document: &Document, language: &str) -> String {
    let title = escaped(&document.title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{}</h1>\n</header>\n<main>\n",
        // A path may break at its slashes, not within a name.
        title.replace('/', "/<wbr>"),
    );
    // The verdict stands first, what else there is comes after it.
    let mut contents = Some(contents(document));
    for block in &document.blocks {
        let _ = match block {
            Block::Heading(heading) => {
                page.push_str(&contents.take().unwrap_or_default());
                writeln!(
                    page,
                    "<h2 id=\"{}\">{}</h2>",
                    slug(heading),
                    escaped(heading)
                )
            }
            Block::Subheading(heading) => writeln!(page, "<h3>{}</h3>", escaped(heading)),
            Block::Paragraph(paragraph) => writeln!(page, "<p>{}</p>", prose(paragraph)),
            Block::Tiles(tiles) => writeln!(page, "{}", tiled(tiles)),
            Block::Verdict { pass, text } => {
                let (class, word) = verdict(*pass);
                writeln!(
                    page,
                    "<p class=\"verdict {class}\"><b>{word}</b> {}</p>",
                    prose(text)
                )
            }
            Block::Open(text) => {
                writeln!(page, "<p class=\"verdict\"><b>OPEN</b> {}</p>", prose(text))
            }
            Block::Table(table) => writeln!(page, "{}", rendered(table)),
            Block::Figure(figure) => writeln!(page, "{}", drawn(figure)),
            Block::Code(code) => {
                writeln!(
                    page,
                    "<pre tabindex=\"0\"><code>{}</code></pre>",
                    escaped(code)
                )
            }
        };
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn verdict(pass: bool) -> (&'static str, &'static str) {
    if pass {
        ("pass", "PASS")
    } else {
        ("fail", "FAIL")
    }
}

/// Links to the headings.
fn contents(document: &Document) -> String {
    let links: Vec<String> = document
        .blocks
        .iter()
        .filter_map(|block| match block {
            Block::Heading(heading) => Some(format!(
                "<li><a href=\"#{}\">{}</a></li>",
                slug(heading),
                escaped(heading)
            )),
            _ => None,
        })
        .collect();
    if links.len() < 2 {
        return String::new();
    }
    format!(
        "<nav aria-label=\"parts\"><ul>{}</ul></nav>\n",
        links.concat()
    )
}

fn slug(heading: &str) -> String {
    heading
        .to_lowercase()
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

fn tiled(tiles: &[Tile]) -> String {
    let tiles: Vec<String> = tiles
        .iter()
        .map(|tile| {
            let (class, word) = tile.pass.map_or(("", ""), verdict);
            // Colour alone would not tell everybody.
            let word = if word.is_empty() {
                String::new()
            } else {
                format!("<em>{word}</em> ")
            };
            format!(
                "<div class=\"tile {class}\"><b>{}</b><span>{word}{}</span></div>",
                prose(&tile.number),
                prose(&tile.says)
            )
        })
        .collect();
    format!("<div class=\"tiles\">{}</div>", tiles.concat())
}

/// A figure: both drawings, what one sees in it, its numbers, and the file of its numbers.
pub(crate) fn drawn(figure: &Figure) -> String {
    let [wide, narrow] = &figure.drawings;
    let mut html = format!(
        "<figure id=\"figure-{}\">\n<h3>{}</h3>\n",
        figure.id,
        escaped(&figure.title)
    );
    for (class, drawing) in [("wide", wide), ("narrow", narrow)] {
        let _ = writeln!(html, "{}", labelled(&drawing.svg, class, figure));
    }
    let _ = write!(
        html,
        "<figcaption><p>{}</p><p class=\"download\"><a download=\"{}.csv\" href=\"data:text/csv;charset=utf-8,{}\" aria-label=\"The numbers as CSV: {}\">The numbers as CSV</a></p>",
        escaped(&figure.alternative),
        figure.id,
        percent_encoded(&figure.csv()),
        escaped(&figure.title)
    );
    if figure.rows.len() <= ROWS_SHOWN_MAX {
        let _ = write!(
            html,
            "<details><summary>The numbers</summary>{}</details>",
            rendered(&numbers(figure))
        );
    }
    html.push_str("</figcaption>\n</figure>");
    html
}

fn numbers(figure: &Figure) -> Table {
    let shown = |value: &Value| match value {
        Value::Number(number) => format!("{}", (number * 1e4).round() / 1e4),
        Value::Name(name) => name.clone(),
    };
    let mut table = Table::new(figure.columns.clone());
    let rows = figure.rows.iter();
    table
        .rows
        .extend(rows.map(|row| row.iter().map(shown).collect()));
    table
}

fn rendered(table: &Table) -> String {
    let class = |column| {
        if table.is_numeric(column) {
            " class=\"n\""
        } else {
            ""
        }
    };
    // What says nothing in any row only takes room.
    let says = |column: &usize| {
        *column < table.key_columns
            || table.rows.is_empty()
            || table.rows.iter().any(|row| !row[*column].is_empty())
    };
    let columns: Vec<usize> = (0..table.header.len()).filter(says).collect();
    let many = if columns.len() > COLUMNS_PRINTED {
        " class=\"many\""
    } else {
        ""
    };
    // A region that scrolls must be reachable by the keyboard.
    let label = escaped(&table.header.join(", "));
    let mut html = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"table: {label}\"><table{many}>\n<thead><tr>"
    );
    for &column in &columns {
        let heading = &table.header[column];
        let _ = if heading.is_empty() {
            write!(html, "<td></td>")
        } else {
            write!(
                html,
                "<th scope=\"col\"{}>{}</th>",
                class(column),
                escaped(heading)
            )
        };
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        html.push_str("<tr>");
        for &column in &columns {
            let cell = &row[column];
            // A long text in a table that scrolls would be squeezed into a tall, thin column.
            let class = if cell.len() > LONG_CELL {
                " class=\"long\""
            } else {
                class(column)
            };
            let text = prose(cell).replace('\n', "<br>");
            let _ = write!(html, "<td{class}>{text}</td>");
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>");
    html
}

/// The picture with a role, a name and a description that a screen reader says, and free of the library's fixed size.
fn labelled(svg: &str, class: &str, figure: &Figure) -> String {
    let size = |name: &str| {
        svg.split_once(&format!("{name}=\""))
            .and_then(|(_, rest)| rest.split_once('"'))
            .map_or("", |(size, _)| size)
            .to_owned()
    };
    let (width, height) = (size("width"), size("height"));
    let body = svg.split_once('>').map_or("", |(_, body)| body);
    format!(
        "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" xmlns=\"http://www.w3.org/2000/svg\" preserveAspectRatio=\"xMinYMin meet\" role=\"img\" aria-label=\"{}\"><desc>{}</desc>{body}",
        escaped(&figure.title),
        escaped(&figure.alternative)
    )
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.,".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Text to read: what stands between backticks is code, and a number stays on one line with its unit and interval.
fn prose(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + 16);
    let parts: Vec<&str> = text.split('`').collect();
    let paired = parts.len() % 2 == 1;
    for (index, part) in parts.iter().enumerate() {
        let part = escaped(part);
        if index % 2 == 1 && paired {
            let _ = write!(html, "<code>{part}</code>");
        } else {
            if index > 0 && !paired {
                html.push('`');
            }
            html.push_str(
                &part
                    .replace(" ± ", "\u{a0}±\u{a0}")
                    .replace(" %", "\u{a0}%"),
            );
        }
    }
    html
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_backticks_is_code_and_a_lone_one_stays() {
        assert_eq!(prose("run `a < b` now"), "run <code>a &lt; b</code> now");
        assert_eq!(prose("a ` b"), "a ` b");
        assert_eq!(prose("1.0 ± 0.1 %"), "1.0\u{a0}±\u{a0}0.1\u{a0}%");
    }

    #[test]
    fn text_cannot_become_markup() {
        let mut document = Document {
            title: "<script>".into(),
            blocks: vec![],
        };
        document.paragraph("a & b < c");
        let page = render(&document);
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains("a &amp; b &lt; c"), "{page}");
    }
}
