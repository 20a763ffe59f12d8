//! What happened in a run, event by event: the caller is handed each and does with it what it likes.

use std::fmt;

use serde::Serialize;

use crate::outcome::LossCause;
use crate::time::Instant;

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TraceEvent {
    /// When, in nanoseconds after the start.
    pub at_ns: u64,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// What happened. Generations are numbered from 0 in the order of their submission; a task has the number of its slot,
/// which later tasks use again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Happening {
    /// A generation was submitted.
    Submitted {
        /// Which.
        generation: u64,
    },
    /// A worker took a generation, for the first time or again.
    Started {
        /// Which.
        generation: u64,
        /// The task of the worker.
        task: usize,
    },
    /// A generation lost its worker and waits for another.
    Requeued {
        /// Which.
        generation: u64,
        /// What took its worker.
        cause: LossCause,
    },
    /// A generation was completed.
    Completed {
        /// Which.
        generation: u64,
    },
    /// A generation was lost.
    Lost {
        /// Which.
        generation: u64,
        /// What it was lost to.
        cause: LossCause,
    },
    /// A task began to serve.
    TaskServes {
        /// Its slot.
        task: usize,
    },
    /// A task was gone.
    TaskStopped {
        /// Its slot.
        task: usize,
    },
}

/// Where the events go, if anywhere.
#[derive(Default)]
pub(crate) struct Sink<'a>(Option<&'a mut dyn FnMut(TraceEvent)>);

impl<'a> Sink<'a> {
    pub(crate) fn to(take: &'a mut dyn FnMut(TraceEvent)) -> Sink<'a> {
        Sink(Some(take))
    }

    pub(crate) fn record(&mut self, now: Instant, what: Happening) {
        if let Some(take) = &mut self.0 {
            take(TraceEvent {
                at_ns: now.as_nanos(),
                what,
            });
        }
    }
}

impl fmt::Debug for Sink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sink").field(&self.0.is_some()).finish()
    }
}
