//! What a run says while it works: a bar on a terminal, a line for each step elsewhere.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

/// Steps that one second of expected work counts for.
const STEPS_PER_S: f64 = 10.0;

/// Progress of one run, written to standard error.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Progress {
    /// A run that is expected to take `expected_s` seconds, and says nothing when it is to be quiet.
    pub fn new(expected_s: f64, quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(steps(expected_s));
            let style =
                ProgressStyle::with_template("{bar:30} {percent:>3} % {eta:>4} left  {msg}")
                    .expect("the template is a constant");
            bar.set_style(style);
            bar.enable_steady_tick(std::time::Duration::from_millis(250));
            bar
        });
        Self { bar, quiet }
    }

    /// Says what is being done.
    pub fn say(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None if self.quiet => {}
            // Nobody left to tell is no reason to stop.
            None => drop(writeln!(std::io::stderr(), "{what}")),
        }
    }

    /// Says that it will take so many seconds after all.
    pub fn expect(&self, expected_s: f64) {
        if let Some(bar) = &self.bar {
            bar.set_length(steps(expected_s));
        }
    }

    /// Says how many of the expected seconds are done.
    pub fn at(&self, done_s: f64) {
        if let Some(bar) = &self.bar {
            bar.set_position(steps(done_s));
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and seconds are neither negative nor near 2^63"
)]
fn steps(seconds: f64) -> u64 {
    (seconds * STEPS_PER_S) as u64
}
