//! Counts and times what happens to generations; leaves the warm-up out where the outcome says so.

use std::collections::BTreeMap;

use super::generation::Generation;
use crate::histogram::Histogram;
use crate::outcome::LossCause;
use crate::time::{Duration, Instant};
use crate::trace::{Happening, Sink};

#[derive(Debug, Default)]
pub(super) struct Meter<'a> {
    pub(super) sink: Sink<'a>,
    warmup_end: Instant,
    pub(super) waits: Histogram,
    pub(super) waited: u64,
    pub(super) never_started: u64,
    pub(super) censored: u64,
    pub(super) sojourns: Histogram,
    pub(super) submitted: u64,
    pub(super) completed: u64,
    pub(super) completed_in_window: u64,
    pub(super) started_in_window: u64,
    pub(super) lost: BTreeMap<LossCause, u64>,
    pub(super) requeued: u64,
    pub(super) scale_outs: u64,
    pub(super) scale_ins: u64,
    pub(super) events: u64,
    pub(super) in_system: u64,
    in_system_ns: u128,
    in_system_since: Instant,
    /// Nanoseconds in the system of those that left it. With those of the rest, it is Little's law: exactly the
    /// integral above.
    pub(super) left_after_ns: u128,
}

impl<'a> Meter<'a> {
    pub(super) fn new(warmup: Duration, sink: Sink<'a>) -> Meter<'a> {
        Meter {
            sink,
            warmup_end: Instant::START.after(warmup),
            ..Meter::default()
        }
    }

    fn is_measured(&self, generation: &Generation) -> bool {
        generation.submitted >= self.warmup_end
    }

    pub(super) fn submit(&mut self, now: Instant) {
        self.count_in_system(now);
        let generation = self.submitted;
        self.sink.record(now, Happening::Submitted { generation });
        self.submitted += 1;
        self.in_system += 1;
    }

    pub(super) fn start(&mut self, now: Instant, generation: &Generation) {
        self.started_in_window += u64::from(now >= self.warmup_end);
        if self.is_measured(generation) {
            self.record_wait(now.since(generation.submitted));
        }
    }

    pub(super) fn complete(&mut self, now: Instant, generation: &Generation) {
        self.leave(now, generation);
        let number = generation.number;
        self.sink
            .record(now, Happening::Completed { generation: number });
        self.completed += 1;
        if now >= self.warmup_end {
            self.completed_in_window += 1;
        }
        if self.is_measured(generation) {
            self.sojourns.record(now.since(generation.submitted));
        }
    }

    pub(super) fn lose(&mut self, now: Instant, generation: &Generation, cause: LossCause) {
        self.leave(now, generation);
        let number = generation.number;
        self.sink.record(
            now,
            Happening::Lost {
                generation: number,
                cause,
            },
        );
        *self.lost.entry(cause).or_default() += 1;
        if !generation.started && self.is_measured(generation) {
            self.record_wait(now.since(generation.submitted));
            self.never_started += 1;
        }
    }

    /// A generation that still queues when the run ends counts with its wait so far.
    pub(super) fn censor(&mut self, end: Instant, generation: &Generation) {
        if !generation.started && self.is_measured(generation) {
            self.record_wait(end.since(generation.submitted));
            self.censored += 1;
        }
    }

    /// Generations in the system times nanoseconds, up to now.
    pub(super) fn in_system_ns(&mut self, now: Instant) -> u128 {
        self.count_in_system(now);
        self.in_system_ns
    }

    fn record_wait(&mut self, wait: Duration) {
        self.waits.record(wait);
        self.waited += u64::from(!wait.is_zero());
    }

    fn leave(&mut self, now: Instant, generation: &Generation) {
        self.count_in_system(now);
        self.in_system -= 1;
        self.left_after_ns += u128::from(now.since(generation.submitted).as_nanos());
    }

    fn count_in_system(&mut self, now: Instant) {
        let elapsed = u128::from(now.since(self.in_system_since).as_nanos());
        self.in_system_ns += u128::from(self.in_system) * elapsed;
        self.in_system_since = now;
    }
}
