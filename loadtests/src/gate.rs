//! The gate: does a sizing hold under the load that is asked of it, and at what price?

use std::path::{Path, PathBuf};

use serde::Serialize;
use simulator::scenario::{InvalidScenario, Mode, Profile};

use crate::judgement::{Judgement, judge};
use crate::requirements::Requirements;
use crate::terraform::Sizing;

/// One sizing before the gate.
#[derive(Clone, Debug, Serialize)]
pub struct Candidate {
    /// Its file.
    pub file: PathBuf,
    /// What stands in it.
    pub sizing: Sizing,
    /// What became of it.
    pub judgement: Judgement,
}

/// The gate's answer.
#[derive(Clone, Debug, Serialize)]
pub struct GateResult {
    /// Whether the sizing may be deployed.
    pub pass: bool,
    /// The sizing that is to be deployed.
    pub after: Candidate,
    /// The sizing that it replaces.
    pub before: Option<Candidate>,
}

/// Judges `after`, and `before` beside it, with the cost of one generation in `profile`.
///
/// # Errors
/// When a sizing cannot be simulated.
pub fn gate(
    after: (&Path, Sizing),
    before: Option<(&Path, Sizing)>,
    profile: &Profile,
    requirements: &Requirements,
    replications: u32,
) -> Result<GateResult, InvalidScenario> {
    let candidate = |(file, sizing): (&Path, Sizing)| {
        let scenario = requirements.scenario(sizing.fleet(Mode::Queue), profile.clone())?;
        let judgement = judge(&scenario, replications)?;
        Ok(Candidate {
            file: file.to_owned(),
            sizing,
            judgement,
        })
    };
    let after = candidate(after)?;
    let before = before.map(candidate).transpose()?;
    Ok(GateResult {
        pass: after.judgement.verdict.pass,
        after,
        before,
    })
}
