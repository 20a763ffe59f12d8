//! The load balancer: which task gets a request, and when a silent connection is cut.
//!
//! Durable jobs need none of it: their requests are answered at once, whoever answers.

use std::collections::VecDeque;

use super::generation::GenerationKey;
use super::service::Service;
use crate::outcome::LossCause;
use crate::platform::{Platform, silent_request_max};
use crate::scenario::{Fleet, LoadBalancing};
use crate::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct LoadBalancer {
    algorithm: LoadBalancing,
    /// How long a request may be silent, and who closes its connection then.
    patience: Duration,
    impatient: LossCause,
    next_slot: usize,
    /// Open requests by the moment they are cut. The patience is the same for all, so the order is that of arrival.
    deadlines: VecDeque<(Instant, GenerationKey)>,
}

impl LoadBalancer {
    /// Both the load balancer and the client lose patience; no byte flows before the answer, so it is always the same
    /// one of them.
    pub(super) fn new(fleet: &Fleet, client_gives_up_after: Option<Duration>) -> LoadBalancer {
        let held = silent_request_max(fleet);
        let (patience, impatient) = match client_gives_up_after {
            Some(client) if client < held => (client, LossCause::ClientGaveUp),
            _ if fleet.platform == Platform::Fargate => (held, LossCause::AlbIdleTimeout),
            _ => (held, LossCause::PlatformRequestLimit),
        };
        LoadBalancer {
            algorithm: fleet.load_balancing,
            // An answer that takes just as long still arrives.
            patience: patience.plus(Duration::from_nanos(1)),
            impatient,
            next_slot: 0,
            deadlines: VecDeque::new(),
        }
    }

    /// The slot of the task that gets the next request; none when no task is registered.
    pub(super) fn pick(&mut self, service: &Service) -> Option<usize> {
        let slots = service.slots();
        let running = |slot: &usize| service.takes_requests(*slot);
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
        let deadline = now.after(self.patience);
        let first = self.deadlines.is_empty();
        self.deadlines.push_back((deadline, key));
        first.then_some(deadline)
    }

    /// The next request whose deadline has come, and who closes it. It may long be answered.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(GenerationKey, LossCause)> {
        let (deadline, key) = *self.deadlines.front()?;
        if deadline > now {
            return None;
        }
        self.deadlines.pop_front();
        Some((key, self.impatient))
    }

    /// When to look at the connections again.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }
}
