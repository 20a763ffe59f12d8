//! A report as one self-contained HTML page: no network, light and dark, readable on a phone.

use std::fmt::Write;

use super::document::{Block, Document, Table};

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8886; --pass: #0a7d33; --fail: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --pass: #5fd38a; --fail: #ff8a80; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
.n { text-align: right; white-space: nowrap; }
.verdict { border-left: .4rem solid; padding: .6rem 1rem; margin: 1rem 0; }
.verdict.pass { border-color: var(--pass); } .verdict.fail { border-color: var(--fail); }
.verdict.pass b { color: var(--pass); } .verdict.fail b { color: var(--fail); }
figure { margin: 1.5rem 0; } figure svg { width: 100%; height: auto; background: #fff; border-radius: .4rem; }
figcaption { font-size: .9rem; opacity: .8; } pre { overflow-x: auto; padding: .8rem; border: 1px solid var(--line); }
";

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
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    );
    for block in &document.blocks {
        let _ = match block {
            Block::Heading(heading) => writeln!(page, "<h2>{}</h2>", escaped(heading)),
            Block::Subheading(heading) => writeln!(page, "<h3>{}</h3>", escaped(heading)),
            Block::Paragraph(paragraph) => writeln!(page, "<p>{}</p>", escaped(paragraph)),
            Block::Verdict { pass, text } => {
                let (class, word) = if *pass {
                    ("pass", "PASS")
                } else {
                    ("fail", "FAIL")
                };
                writeln!(
                    page,
                    "<p class=\"verdict {class}\"><b>{word}</b> {}</p>",
                    escaped(text)
                )
            }
            Block::Table(table) => writeln!(page, "{}", rendered(table)),
            Block::Figure { svg, alternative } => writeln!(
                page,
                "<figure>{}<figcaption>{}</figcaption></figure>",
                labelled(svg, alternative),
                escaped(alternative)
            ),
            Block::Code(code) => writeln!(page, "<pre><code>{}</code></pre>", escaped(code)),
        };
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn rendered(table: &Table) -> String {
    let class = |column| {
        if table.is_numeric(column) {
            " class=\"n\""
        } else {
            ""
        }
    };
    let mut html = String::from("<div class=\"scroll\"><table>\n<thead><tr>");
    for (column, heading) in table.header.iter().enumerate() {
        let _ = write!(html, "<th{}>{}</th>", class(column), escaped(heading));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        html.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let _ = write!(
                html,
                "<td{}>{}</td>",
                class(column),
                escaped(cell).replace('\n', "<br>")
            );
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>");
    html
}

/// The picture with a role and a label that a screen reader says.
fn labelled(svg: &str, alternative: &str) -> String {
    let label = escaped(alternative);
    svg.replacen(
        "<svg ",
        &format!("<svg role=\"img\" aria-label=\"{label}\" "),
        1,
    )
}

fn escaped(text: &str) -> String {
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
