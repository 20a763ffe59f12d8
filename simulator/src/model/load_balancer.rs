//! The load balancer in sync mode: which task gets a request, and when a silent connection is cut.
//!
//! Queue mode needs none of it: its requests are answered at once.

use std::collections::VecDeque;

use super::generation::GenerationKey;
use super::service::Service;
use super::task::State;
use crate::scenario::LoadBalancing;
use crate::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct LoadBalancer {
    algorithm: LoadBalancing,
    idle_timeout: Duration,
    next_slot: usize,
    /// Open requests by the moment they are cut. The time-out is the same for all, so the order is that of arrival.
    deadlines: VecDeque<(Instant, GenerationKey)>,
}

impl LoadBalancer {
    pub(super) fn new(algorithm: LoadBalancing, idle_timeout: Duration) -> LoadBalancer {
        LoadBalancer {
            algorithm,
            idle_timeout,
            next_slot: 0,
            deadlines: VecDeque::new(),
        }
    }

    /// The slot of the task that gets the next request; none when no task is registered.
    pub(super) fn pick(&mut self, service: &Service) -> Option<usize> {
        let slots = service.slots();
        let running = |slot: &usize| slots[*slot].state == State::Running;
        let picked = match self.algorithm {
            LoadBalancing::RoundRobin => {
                let count = slots.len();
                (self.next_slot..self.next_slot + count)
                    .map(|slot| slot % count)
                    .find(running)?
            }
            LoadBalancing::LeastOutstandingRequests => (0..slots.len())
                .filter(running)
                .min_by_key(|slot| slots[*slot].outstanding)?,
        };
        self.next_slot = picked + 1;
        Some(picked)
    }

    /// Watches a request submitted now. Gives the moment to look at the connections again, if nobody looks yet.
    ///
    /// No byte flows before the answer, so the silence counts from the submission.
    pub(super) fn watch(&mut self, now: Instant, key: GenerationKey) -> Option<Instant> {
        // A connection is cut when it is silent for longer than the time-out.
        let deadline = now.after(self.idle_timeout).after(Duration::from_nanos(1));
        let first = self.deadlines.is_empty();
        self.deadlines.push_back((deadline, key));
        first.then_some(deadline)
    }

    /// The next request whose deadline has come. It may long be answered.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<GenerationKey> {
        let (deadline, key) = *self.deadlines.front()?;
        if deadline > now {
            return None;
        }
        self.deadlines.pop_front();
        Some(key)
    }

    /// When to look at the connections again.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }
}
