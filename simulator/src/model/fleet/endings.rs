//! How generations, workers and tasks come to an untimely end.

use super::{Event, Fleet, Home, Queue};
use crate::model::generation::GenerationKey;
use crate::model::place::Place;
use crate::model::task::State;
use crate::outcome::LossCause;
use crate::time::{Duration, Instant};
use crate::trace::Happening;

/// The longest `Retry-After` that the provider's own client obeys: `openai` 3.54.0, `_constants.py`.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);

impl Fleet<'_> {
    pub(super) fn stop_if_drained(&mut self, now: Instant, slot: usize) {
        let task = self.service.task(slot);
        if task.state == State::Draining && task.outstanding == 0 {
            self.empty(now, slot, LossCause::DeregisteredInFlight);
        }
    }

    /// A generation leaves the system without a result.
    pub(super) fn lose(&mut self, now: Instant, key: GenerationKey, cause: LossCause) {
        let Some(generation) = self.generations.remove(key) else {
            return;
        };
        // One whose connection was cut counts as lost since then.
        if !generation.cut {
            self.meter.lose(now, &generation, cause);
        }
    }

    /// Closes the connections whose client or load balancer waits no longer. A worker that runs such a request does not
    /// learn of it and runs on; one that waits in a backlog is gone.
    pub(super) fn cut_silent(&mut self, now: Instant, queue: &mut Queue) {
        while let Some((key, cause)) = self.balancer.pop_due(now) {
            let Some(generation) = self.generations.get(key) else {
                continue;
            };
            self.meter.events += 1;
            let slot = generation.task.map(Place::index);
            if generation.runs_on.is_some() {
                generation.cut = true;
                self.meter.lose(now, generation, cause);
            } else {
                self.lose(now, key, cause);
            }
            if let Some(slot) = slot {
                let task = self.service.task(slot);
                task.outstanding = task.outstanding.saturating_sub(1);
                // Deadlines come in the order of arrival, so those given up are at the front.
                while task
                    .backlog
                    .front()
                    .is_some_and(|front| self.generations.get(*front).is_none())
                {
                    task.backlog.pop_front();
                }
                self.stop_if_drained(now, slot);
                self.note_idle(slot);
            }
        }
        if let Some(deadline) = self.balancer.next_deadline() {
            queue.push(deadline, Event::IdleTimeout);
        }
    }

    /// What may end this run of a generation before its time, whichever comes first.
    pub(super) fn interruption(&self, length: Duration) -> Option<(Duration, LossCause)> {
        let reset = self
            .upstream
            .cut_after(length)
            .map(|after| (after, LossCause::NatIdleReset));
        let timeout = self
            .scenario
            .fleet
            .worker_timeout
            // An async worker keeps sending its heartbeat while it waits.
            .filter(|_| self.gunicorn.is_none())
            .map(|after| (after, LossCause::WorkerTimeout));
        reset.into_iter().chain(timeout).min()
    }

    /// How long a generation that a worker takes up waits for the AI provider to accept its requests; none when that is
    /// longer than its client tries. A durable job tries until they are.
    pub(super) fn stall(&mut self, now: Instant, key: GenerationKey) -> Option<Duration> {
        if self.rate_limits.are_off() {
            return Some(Duration::ZERO);
        }
        let Some(generation) = self.generations.get(key) else {
            return Some(Duration::ZERO);
        };
        let patience = match self.home {
            Home::Queue => Duration::LONGEST,
            Home::Request | Home::Process => RETRY_AFTER_MAX,
        };
        let requests = self.upstream.requests_left(generation);
        self.rate_limits.take(now, requests, patience)
    }

    /// A generation that a worker has just taken is lost to the rate limit.
    pub(super) fn refuse(
        &mut self,
        now: Instant,
        slot: usize,
        key: GenerationKey,
        queue: &mut Queue,
    ) {
        self.meter.events += 1;
        let task = self.service.task(slot);
        task.outstanding = task.outstanding.saturating_sub(1);
        let process = self
            .generations
            .get(key)
            .and_then(|generation| generation.process)
            .map(Place::index);
        self.lose(now, key, LossCause::OpenaiRateLimit);
        self.leave_process(now, (slot, process), key, queue);
        self.stop_if_drained(now, slot);
        self.note_idle(slot);
    }

    /// One worker is torn from its generation; the task lives on.
    pub(super) fn interrupt(
        &mut self,
        now: Instant,
        (key, run): (GenerationKey, u32),
        cause: LossCause,
        queue: &mut Queue,
    ) {
        let Some(generation) = self.generations.get(key).filter(|known| known.runs == run) else {
            return;
        };
        let Some(slot) = generation.runs_on.take().map(Place::index) else {
            return;
        };
        self.meter.events += 1;
        self.service.advance(now, slot);
        let task = self.service.task(slot);
        let process = generation.process.map(Place::index);
        let left = task.take(key, generation.demand_pico_vcpu);
        generation.done = generation.length.saturating_sub(left);
        generation.released = Some(now);
        match self.home {
            Home::Queue => self.requeue(now, key, cause),
            Home::Request | Home::Process => {
                if !generation.cut {
                    task.outstanding = task.outstanding.saturating_sub(1);
                }
                self.lose(now, key, cause);
            }
        }
        self.leave_process(now, (slot, process), key, queue);
        self.pull(now, slot, queue);
        self.schedule_progress(now, slot, queue);
        self.stop_if_drained(now, slot);
        self.note_idle(slot);
    }

    /// Stops a task now. Durable jobs go back to the front of the queue, all else is lost with the task.
    pub(super) fn empty(&mut self, now: Instant, slot: usize, cause: LossCause) {
        self.service.advance(now, slot);
        let mut released = Vec::new();
        while let Some((key, left)) = self.service.task(slot).pop_unfinished() {
            if let Some(generation) = self.generations.get(key) {
                generation.done = generation.length.saturating_sub(left);
                generation.released = Some(now);
                generation.runs_on = None;
                released.push((generation.submitted, key));
            }
        }
        let waiting = self
            .gunicorn
            .as_mut()
            .map_or_else(Vec::new, |workers| workers.stop(now, slot));
        let backlog = std::mem::take(&mut self.service.task(slot).backlog);
        for key in waiting.into_iter().chain(backlog) {
            if let Some(generation) = self.generations.get(key) {
                released.push((generation.submitted, key));
            }
        }
        if self.service.task(slot).state != State::Starting {
            self.pools.close();
            self.meter
                .sink
                .record(now, Happening::TaskStopped { task: slot });
        }
        self.service.stop(now, slot);
        self.unsettled = true;
        released.sort_unstable();
        for (_, key) in released.into_iter().rev() {
            match self.home {
                Home::Queue => self.requeue(now, key, cause),
                Home::Request | Home::Process => self.lose(now, key, cause),
            }
        }
    }

    fn requeue(&mut self, now: Instant, key: GenerationKey, cause: LossCause) {
        let Some(generation) = self.generations.get(key) else {
            return;
        };
        // A stop is announced and costs no attempt; a crash does.
        generation.crashes += u32::from(cause.is_crash());
        if generation.crashes >= self.scenario.workload.attempts_max {
            self.lose(now, key, cause);
        } else {
            let generation = generation.number;
            self.meter
                .sink
                .record(now, Happening::Requeued { generation, cause });
            self.queue.push_front(key);
            self.meter.requeued += 1;
            self.requeued = true;
        }
    }

    pub(super) fn kill_out_of_memory(&mut self, now: Instant, slot: usize) {
        self.meter.events += 1;
        self.empty(now, slot, LossCause::Oom);
    }
}
