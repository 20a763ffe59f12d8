//! The comparison that this repository publishes, and how a new one is joined into it part by part.

use std::sync::LazyLock;

use crate::reference::comparison::{Comparison, Measured};
use crate::reference::service::Conditions;

/// Where it is, in a checkout.
pub const FILE: &str = "loadtests/results/comparison.json";

/// Why two comparisons are not one.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Measured elsewhere, or on something else.
    #[error(
        "join what {new} measured to what {known} did: leave out --record, or put the comparison.json that was just \
         written in its place and record the other parts here too"
    )]
    Hardware {
        /// The machine, its provider and the file's version, of what is recorded.
        known: String,
        /// Of what was measured.
        new: String,
    },
    /// Measured under other conditions.
    #[error(
        "join what was measured under other conditions: leave out --record, or put the comparison.json that was just \
         written in its place and record the other parts so too"
    )]
    Conditions,
}

/// The published comparison.
pub fn comparison() -> &'static Comparison {
    static RECORDED: LazyLock<Comparison> = LazyLock::new(|| {
        serde_json::from_str(include_str!("../../results/comparison.json"))
            .expect("a test reads the committed file")
    });
    &RECORDED
}

/// `new` with the parts that only `known` has.
///
/// # Errors
/// When the two are of different machines, providers or conditions.
pub fn join(known: Comparison, new: Comparison) -> Result<Comparison, JoinError> {
    if known.services.is_empty() {
        return Ok(new);
    }
    let machine = |one: &Comparison| {
        let hardware = &one.hardware;
        format!(
            "{} ({}, {}, schema version {})",
            hardware.cpu_model,
            crate::plural(hardware.cpu_cores as u64, "core"),
            hardware.provider,
            one.schema_version
        )
    };
    let (recorded, measured) = (machine(&known), machine(&new));
    if recorded != measured {
        return Err(JoinError::Hardware {
            known: recorded,
            new: measured,
        });
    }
    // How often costs were measured is told by each figure, and no other part knows of it.
    let of_any_number = |one: &Comparison| Conditions {
        repetitions: 0,
        rounds: 0,
        ..one.conditions
    };
    if of_any_number(&known) != of_any_number(&new) {
        return Err(JoinError::Conditions);
    }
    let mut joined = new;
    if joined.services.iter().all(|one| one.costs.is_none()) {
        joined.conditions = known.conditions;
    }
    for old in known.services {
        match joined.services.iter_mut().find(|one| one.kind == old.kind) {
            Some(one) => fill(one, old),
            None => joined.services.push(old),
        }
    }
    joined.services.sort_by_key(|one| one.kind);
    let measured = |kind| joined.services.iter().any(|one| one.kind == kind);
    joined.not_measured.retain(|(kind, _)| !measured(*kind));
    Ok(joined)
}

fn fill(one: &mut Measured, old: Measured) {
    one.costs = one.costs.take().or(old.costs);
    if one.open.is_empty() {
        one.open = old.open;
    }
    if one.fates.is_empty() {
        one.fates = old.fates;
    }
    if one.contract.is_empty() {
        one.contract = old.contract;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::service::Kind;

    #[test]
    fn a_part_that_was_measured_again_replaces_the_old_one_and_no_other() {
        let known = comparison().clone();
        let mut new = known.clone();
        new.services.retain(|one| one.kind == Kind::Rust);
        let rust = &mut new.services[0];
        rust.costs = None;
        // Of costs alone, of which there are none.
        new.conditions.rounds += 1;
        let rust = &mut new.services[0];
        rust.fates.truncate(1);
        rust.fates[0].lost = 5;
        let joined = join(known.clone(), new).expect("the same machine");
        assert_eq!(joined.services.len(), known.services.len());
        assert_eq!(joined.conditions, known.conditions);
        let fates = &joined.service(Kind::Rust).expect("measured").fates;
        assert_eq!((fates.len(), fates[0].lost), (1, 5));
        assert_eq!(joined.costs(Kind::Rust), known.costs(Kind::Rust));
        assert_eq!(joined.service(Kind::FastApi), known.service(Kind::FastApi));

        let mut elsewhere = known.clone();
        elsewhere.hardware.cpu_model = "another".to_owned();
        assert!(matches!(
            join(known.clone(), elsewhere),
            Err(JoinError::Hardware { .. })
        ));
        let mut otherwise = known.clone();
        otherwise.conditions.speedup = 7.0;
        assert!(matches!(join(known, otherwise), Err(JoinError::Conditions)));
    }
}
