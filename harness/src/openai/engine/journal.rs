//! Every response that was created, with what became of it: for whoever audits a run afterwards.
//!
//! Kept on request only, for it grows with every create while the responses themselves are forgotten.

use std::collections::BTreeMap;
use std::time::Duration;

use super::record::{Ending, Record, id_of};
use crate::openai::script::Action;

/// A response that was created, and would be on the bill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its id.
    pub id: String,
    /// When it was created, on the clock that requests are answered by: for both fronts the time since
    /// the Unix epoch.
    pub at: Duration,
    /// The key that its request was authorized with.
    pub api_key: String,
    /// The metadata of its request, in the order of their names.
    pub metadata: Vec<(String, String)>,
    /// What became of it so far.
    pub fate: Fate,
}

/// What became of a response. What its script spoiled says so, whatever a client did afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is in progress, or has ended `completed`.
    Sound,
    /// The answer to its create was garbage, so that nobody was told its id.
    Garbled,
    /// It ended, or will end, `incomplete`.
    Incomplete,
    /// It ended, or will end, `failed`.
    Failed,
    /// It is not there any more for those who ask.
    Lost,
    /// Its client cancelled it.
    Cancelled,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Journal(Option<BTreeMap<u64, Created>>);

impl Journal {
    /// From now on.
    pub(super) fn keep(&mut self) {
        self.0.get_or_insert_default();
    }

    /// A response has been created, under a fault or none.
    pub(super) fn created(&mut self, record: &Record, api_key: &str, fault: Option<&Action>) {
        let Some(entries) = &mut self.0 else { return };
        let fate = match (fault, &record.ending) {
            (Some(Action::Garbage), _) => Fate::Garbled,
            (Some(Action::Expired), _) => Fate::Lost,
            (_, Ending::Incomplete(_)) => Fate::Incomplete,
            (_, Ending::Failed(_)) => Fate::Failed,
            _ => Fate::Sound,
        };
        let metadata = record.echo.metadata.iter();
        let created = Created {
            id: id_of(record.key),
            at: record.created_at,
            api_key: api_key.to_owned(),
            metadata: metadata
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            fate,
        };
        entries.insert(record.key, created);
    }

    /// A response has ended otherwise than planned.
    pub(super) fn ended(&mut self, key: u64, ending: &Ending) {
        let fate = match ending {
            Ending::Completed => return,
            Ending::Incomplete(_) => Fate::Incomplete,
            Ending::Failed(_) => Fate::Failed,
            Ending::Cancelled => Fate::Cancelled,
        };
        self.became(key, fate);
    }

    /// A response is not there any more.
    pub(super) fn lost(&mut self, key: u64) {
        self.became(key, Fate::Lost);
    }

    fn became(&mut self, key: u64, fate: Fate) {
        let entry = self.0.as_mut().and_then(|entries| entries.get_mut(&key));
        if let Some(entry) = entry.filter(|entry| entry.fate == Fate::Sound) {
            entry.fate = fate;
        }
    }

    /// What was kept, in the order of creation.
    pub(super) fn entries(&self) -> Vec<Created> {
        let mut entries: Vec<_> = self
            .0
            .iter()
            .flat_map(|kept| kept.values().cloned())
            .collect();
        entries.sort_by(|one, other| (one.at, &one.id).cmp(&(other.at, &other.id)));
        entries
    }
}
