//! The exit codes of `sizing`: a contract that scripts and CI rely on. A reader of standard output who has read enough,
//! such as `head`, changes none of them; a result that cannot be printed for another reason, such as a full disk, is a
//! failed command.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The command did its job; for `gate`, the sizing holds; for `storm`, all went well.
    Success,
    /// `gate`: the sizing misses the SLO or the budget, or a finding breaks it; `storm`: a generation was lost,
    /// duplicated or billed twice. Not an error.
    Refused,
    /// The input, the machine or the stack is at fault, and the message says what to do.
    Failed,
    /// The user pressed Ctrl-C, or the process was told to end.
    Interrupted,
}

impl Outcome {
    /// The number that the process ends with: 0, 1 or 2. An interrupted run is a failed one: its partial
    /// result is kept, but it answers nothing.
    pub fn number(self) -> u8 {
        match self {
            Outcome::Success => 0,
            Outcome::Refused => 1,
            Outcome::Failed | Outcome::Interrupted => 2,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        ExitCode::from(outcome.number())
    }
}
