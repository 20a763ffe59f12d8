//! How a report looks on this terminal.

use std::io::IsTerminal;

use loadtests::report::{self, Document};

pub(crate) fn show(document: &Document) {
    let color = std::io::stdout().is_terminal() && !no_color();
    print!("{}", report::terminal::render(document, color));
}

/// Whether the user wants no colours: `NO_COLOR` is set and not empty (<https://no-color.org>).
pub(crate) fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}
