//! M/M/64 at 85 % load: what is drawn, what the queue does, and what is seen of it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use simulator::rng::Stream;

pub const WORKERS: u32 = 64;
pub const LENGTH_MEAN_S: u64 = 10;
pub const PER_HOUR: f64 = 0.85 * WORKERS as f64 * 3600.0 / LENGTH_MEAN_S as f64;
/// About 3 million events.
pub const HORIZON_HOURS: u64 = 77;
pub const SEED: u64 = 42;

/// The simulator's own streams, rounded as it rounds them: everyone is given the same generations.
pub struct Draws {
    gaps: Stream,
    lengths: Stream,
}

impl Draws {
    pub fn new() -> Draws {
        Draws {
            gaps: Stream::named(SEED, "arrivals"),
            lengths: Stream::named(SEED, "generation lengths"),
        }
    }

    /// Nanoseconds until the next arrival.
    pub fn gap_ns(&mut self) -> u64 {
        (self.gaps.exponential() * (3.6e12 / PER_HOUR)).round() as u64
    }

    /// Nanoseconds of the next generation's work; never none.
    pub fn length_ns(&mut self) -> u64 {
        let mean_ns = LENGTH_MEAN_S as f64 * 1e9;
        ((mean_ns * self.lengths.exponential()).round() as u64).max(1_000)
    }
}

/// A generation on its way through the queue.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Generation {
    pub submitted_ns: u64,
    pub length_ns: u64,
}

/// Workers and the queue before them. Who drives it schedules the end of every generation that it hands out.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Station {
    busy: u32,
    queue: VecDeque<Generation>,
    seen: Seen,
}

impl Station {
    /// A generation arrives; gives it back when a worker starts it at once.
    pub fn arrive(&mut self, generation: Generation) -> Option<Generation> {
        self.seen.arrivals += 1;
        if self.busy == WORKERS {
            self.queue.push_back(generation);
            return None;
        }
        self.busy += 1;
        self.seen.started += 1;
        Some(generation)
    }

    /// A generation is done; gives the one that its worker starts next.
    pub fn complete(&mut self, now_ns: u64, generation: Generation) -> Option<Generation> {
        self.seen.completions += 1;
        self.seen.sojourns_ns += now_ns - generation.submitted_ns;
        let Some(next) = self.queue.pop_front() else {
            self.busy -= 1;
            return None;
        };
        self.seen.started += 1;
        self.seen.waits_ns += now_ns - next.submitted_ns;
        Some(next)
    }

    pub fn seen(&self) -> Seen {
        self.seen
    }
}

/// What a run shows.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    pub arrivals: u64,
    pub completions: u64,
    pub started: u64,
    pub waits_ns: u64,
    pub sojourns_ns: u64,
}

impl Seen {
    pub fn events(&self) -> u64 {
        self.arrivals + self.completions
    }

    pub fn wait_mean_s(&self) -> f64 {
        self.waits_ns as f64 / self.started as f64 / 1e9
    }

    fn sojourn_mean_s(&self) -> f64 {
        self.sojourns_ns as f64 / self.completions as f64 / 1e9
    }

    pub fn agrees_with(&self, other: &Seen) -> bool {
        let close = |one: f64, other: f64| (one - other).abs() <= 1e-4 * other;
        self.arrivals == other.arrivals
            && self.completions == other.completions
            && close(self.wait_mean_s(), other.wait_mean_s())
            && close(self.sojourn_mean_s(), other.sojourn_mean_s())
    }
}
