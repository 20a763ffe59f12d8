//! The exit codes of `sizing`: a contract that scripts and CI rely on.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The command did its job; for `gate`, the sizing holds.
    Success,
    /// `gate` only: the sizing misses the SLO or the budget, or a finding breaks it. Not an error.
    Refused,
    /// The input, the machine or the stack is at fault, and the message says what to do.
    Failed,
    /// The user pressed Ctrl-C, or the process was told to end.
    Interrupted,
}

impl Outcome {
    /// The number that the process ends with: 0, 1, 2, or 130 (128 + SIGINT, as shells have it).
    pub fn number(self) -> u8 {
        match self {
            Outcome::Success => 0,
            Outcome::Refused => 1,
            Outcome::Failed => 2,
            Outcome::Interrupted => 130,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        ExitCode::from(outcome.number())
    }
}
