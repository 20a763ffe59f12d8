//! The responses that are remembered, in bounded memory.
//!
//! A response in progress is never forgotten. Of the ended ones the first to go are those whose end a
//! client was told, oldest first; then those that nobody came back for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::record::{Echo, Record};
use crate::openai::wire::CreateRequest;

/// Responses that are remembered at most.
pub const RESPONSES_MAX: usize = 20_000;

/// Responses whose end a client was told are remembered for a client that comes again.
const TOLD_MAX: usize = 10_000;

/// What ended responses may keep on the heap together, told or not.
const ENDED_BYTES_MAX: usize = 10 << 20;

/// Recent texts (models, instructions) of which one copy serves all responses that repeat them.
const SHARED_MAX: usize = 16;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Store {
    records: BTreeMap<u64, Record>,
    /// Ends to come.
    due: BTreeSet<(Duration, u64)>,
    /// Ended, no client was told.
    untold: BTreeSet<(Duration, u64)>,
    /// Ended and told, in the order of telling, with the end.
    told: VecDeque<(Duration, u64)>,
    ended_bytes: usize,
    /// Lost to clients, but still to end and to be billed.
    hidden: BTreeSet<u64>,
    shared: VecDeque<Arc<str>>,
    shared_formats: VecDeque<Arc<Value>>,
}

impl Store {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Bytes that all responses keep, about.
    #[cfg(test)]
    pub(super) fn size_bytes(&self) -> usize {
        self.records.values().map(Record::size_bytes).sum()
    }

    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut Record> {
        self.records.get_mut(&key)
    }

    /// Whether clients can ask for it.
    pub(super) fn visible(&self, key: u64) -> bool {
        self.records.contains_key(&key) && !self.hidden.contains(&key)
    }

    /// Makes room for one more; `false` when all that are remembered are in progress.
    pub(super) fn make_room(&mut self) -> bool {
        while self.records.len() >= RESPONSES_MAX {
            if !self.forget_one() {
                return false;
            }
        }
        true
    }

    pub(super) fn insert(&mut self, record: Record, hidden: bool) {
        let key = record.key;
        if let Some(ends_at) = record.ends_at {
            self.due.insert((ends_at, key));
        }
        // What was not to be stored was never there for others (`store: false` while blocking).
        if hidden || !(record.echo.store || record.echo.background) {
            self.hidden.insert(key);
        }
        self.records.insert(key, record);
    }

    /// The next response to end by `now`, with the instant of its end.
    pub(super) fn pop_due(&mut self, now: Duration) -> Option<(Duration, u64)> {
        self.due.first().filter(|(ends_at, _)| *ends_at <= now)?;
        self.due.pop_first()
    }

    /// Takes back a planned end.
    pub(super) fn not_due(&mut self, key: u64, ends_at: Option<Duration>) {
        if let Some(ends_at) = ends_at {
            self.due.remove(&(ends_at, key));
        }
    }

    /// A response in progress will not end by itself any more.
    pub(super) fn never_ends(&mut self, key: u64) {
        if let Some(record) = self.records.get_mut(&key)
            && record.ended_at.is_none()
        {
            let planned = record.ends_at.take();
            self.not_due(key, planned);
        }
    }

    /// Clients hear no more of it.
    pub(super) fn hide(&mut self, key: u64) {
        match self.records.get(&key).map(|record| record.ended_at) {
            Some(None) => {
                self.hidden.insert(key);
            }
            // An ended one is on the bill already. Its place in `told` is skipped when its turn comes.
            Some(Some(ended_at)) => {
                self.untold.remove(&(ended_at, key));
                self.forget(key);
            }
            None => {}
        }
    }

    /// Files a response that has ended at `at`.
    pub(super) fn ended(&mut self, key: u64, at: Duration, told: bool) {
        if self.hidden.remove(&key) {
            self.records.remove(&key);
            return;
        }
        self.ended_bytes += self.records.get(&key).map_or(0, Record::size_bytes);
        if told {
            self.told.push_back((at, key));
        } else {
            self.untold.insert((at, key));
        }
        self.keep_bounds();
    }

    /// A client was told that it ended at `at`.
    pub(super) fn told(&mut self, key: u64, at: Duration) {
        if self.untold.remove(&(at, key)) {
            self.told.push_back((at, key));
            self.keep_bounds();
        }
    }

    fn keep_bounds(&mut self) {
        while self.told.len() > TOLD_MAX || self.ended_bytes > ENDED_BYTES_MAX {
            if !self.forget_one() {
                break;
            }
        }
    }

    /// Forgets one ended response, if there is one; those that a client was told go first.
    fn forget_one(&mut self) -> bool {
        let next = self.told.pop_front().or_else(|| self.untold.pop_first());
        if let Some((_, key)) = next {
            self.forget(key);
        }
        next.is_some()
    }

    /// Forgets an ended response that has left its queue.
    fn forget(&mut self, key: u64) {
        if let Some(record) = self.records.remove(&key) {
            self.ended_bytes = self.ended_bytes.saturating_sub(record.size_bytes());
        }
    }

    /// Forgets what ended before `instant`.
    pub(super) fn forget_older_than(&mut self, instant: Duration) {
        while let Some((_, key)) = self.told.pop_front_if(|(ended_at, _)| *ended_at < instant) {
            self.forget(key);
        }
        while self
            .untold
            .first()
            .is_some_and(|(ended_at, _)| *ended_at < instant)
        {
            if let Some((_, key)) = self.untold.pop_first() {
                self.forget(key);
            }
        }
    }

    /// One copy of a text for all that repeat it, and whether it was there already.
    pub(super) fn shared(&mut self, text: &str) -> (Arc<str>, bool) {
        if let Some(known) = self.shared.iter().find(|known| known.as_ref() == text) {
            return (known.clone(), true);
        }
        if self.shared.len() >= SHARED_MAX {
            self.shared.pop_front();
        }
        let text: Arc<str> = text.into();
        self.shared.push_back(text.clone());
        (text, false)
    }

    /// The same for the format of an answer, which holds a JSON schema.
    fn shared_format(&mut self, format: Value) -> (Arc<Value>, bool) {
        if let Some(known) = self.shared_formats.iter().find(|known| ***known == format) {
            return (known.clone(), true);
        }
        if self.shared_formats.len() >= SHARED_MAX {
            self.shared_formats.pop_front();
        }
        let format = Arc::new(format);
        self.shared_formats.push_back(format.clone());
        (format, false)
    }

    /// What a response repeats from its request.
    pub(super) fn echo(&mut self, request: CreateRequest, blocking: bool) -> Echo {
        let mut size_bytes = 0;
        let mut share = |text: &str| {
            let (shared, known) = self.shared(text);
            size_bytes += if known { 0 } else { text.len() };
            shared
        };
        let model = share(request.model.as_deref().unwrap_or_default());
        let instructions = request.instructions.as_deref().map(share);
        let metadata: Box<[(Box<str>, Box<str>)]> = request
            .metadata
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key.into_boxed_str(), value.into_boxed_str()))
            .collect();
        size_bytes += size_of_val(metadata.as_ref());
        size_bytes += metadata
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum::<usize>();
        let text = request.text.map(|format| {
            let (format, known) = self.shared_format(format);
            // A tree of JSON takes several times its text; eight is on the safe side.
            size_bytes += if known {
                0
            } else {
                format.to_string().len() * 8
            };
            format
        });
        Echo {
            model,
            instructions,
            metadata,
            background: !blocking,
            store: request.store.unwrap_or(true),
            max_output_tokens: request.max_output_tokens,
            temperature: request.temperature,
            top_p: request.top_p,
            text,
            size_bytes,
        }
    }
}
