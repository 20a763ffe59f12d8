//! A report as one self-contained HTML page: no network, no script, light and dark, readable on a phone and in print.

use std::fmt::Write;

use super::document::{Block, Document, Table, Tile};
use super::figures::{Figure, Value};

/// The page's look; the colours of the figures are custom properties in it.
pub(crate) const STYLE: &str = include_str!("page.css");
/// Rows up to which a figure's numbers stand below it; longer tables are for download only.
const ROWS_SHOWN_MAX: usize = 60;
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
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n{}</header>\n<main>\n",
        contents(document)
    );
    for block in &document.blocks {
        let _ = match block {
            Block::Heading(heading) => {
                writeln!(
                    page,
                    "<h2 id=\"{}\">{}</h2>",
                    slug(heading),
                    escaped(heading)
                )
            }
            Block::Subheading(heading) => writeln!(page, "<h3>{}</h3>", escaped(heading)),
            Block::Paragraph(paragraph) => writeln!(page, "<p>{}</p>", escaped(paragraph)),
            Block::Tiles(tiles) => writeln!(page, "{}", tiled(tiles)),
            Block::Verdict { pass, text } => {
                let (class, word) = verdict(*pass);
                writeln!(
                    page,
                    "<p class=\"verdict {class}\"><b>{word}</b> {}</p>",
                    escaped(text)
                )
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
            let class = tile.pass.map_or("", |pass| verdict(pass).0);
            format!(
                "<div class=\"tile {class}\"><b>{}</b><span>{}</span></div>",
                escaped(&tile.number),
                escaped(&tile.says)
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
    // A region that scrolls must be reachable by the keyboard.
    let label = escaped(&table.header.join(", "));
    let mut html = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"table: {label}\"><table>\n<thead><tr>"
    );
    for (column, heading) in table.header.iter().enumerate() {
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
        for (column, cell) in row.iter().enumerate() {
            // A long text in a table that scrolls would be squeezed into a tall, thin column.
            let class = if cell.len() > LONG_CELL {
                " class=\"long\""
            } else {
                class(column)
            };
            let text = escaped(cell).replace('\n', "<br>");
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
        "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-label=\"{}\"><desc>{}</desc>{body}",
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
