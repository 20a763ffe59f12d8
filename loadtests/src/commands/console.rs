//! What the commands say, and how it looks on this terminal. Nothing of this crate prints past it.

use std::io::{ErrorKind, IsTerminal, Write};

use anyhow::{Context, Result};
use loadtests::report::{self, Document};

pub(crate) fn show(document: &Document) -> Result<()> {
    let color = std::io::stdout().is_terminal() && !no_color();
    print(&report::terminal::render(document, color))
}

/// A line of the result.
pub(crate) fn say(line: &str) -> Result<()> {
    print(&format!("{line}\n"))
}

/// Text of the result, to standard output. A reader that has gone, as `head` does after its lines, has read enough: the
/// rest is left out, and the command ends as it would have ended.
pub(crate) fn print(text: &str) -> Result<()> {
    printed(std::io::stdout().lock().write_all(text.as_bytes()))
}

/// What became of something that was written to standard output.
pub(crate) fn printed(written: std::io::Result<()>) -> Result<()> {
    // Some of it may wait for its line to end, and only now find no room.
    match written.and_then(|()| std::io::stdout().flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("print the result to standard output; send it where there is room")
        }
        _ => Ok(()),
    }
}

/// A line about the run, to standard error. Nobody left to tell is no reason to stop.
pub(crate) fn complain(line: &str) {
    writeln!(std::io::stderr(), "{line}").ok();
}

/// Whether the user wants no colours: `NO_COLOR` is set and not empty (<https://no-color.org>).
pub(crate) fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}
