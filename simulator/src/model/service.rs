//! The ECS service: keeps as many tasks as are desired, and pays for each from its start to its stop.

use super::task::{State, Task, Usage};
use crate::rng::Stream;
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct Service {
    slots: Vec<Task>,
    free_slots: Vec<usize>,
    stream: Stream,
    capacity_pico_vcpu: u128,
    /// Tasks wanted.
    pub(super) desired: u32,
    /// Tasks that start or run; draining ones no longer count as wanted.
    active: u32,
    running: u32,
    running_max: u32,
    existing: u32,
    existing_ns: u128,
    existing_since: Instant,
    /// Time that serving tasks spent.
    pub(super) usage: Usage,
}

impl Service {
    pub(super) fn new(seed: u64, capacity_pico_vcpu: u128, desired: u32) -> Service {
        Service {
            slots: Vec::new(),
            free_slots: Vec::new(),
            stream: Stream::named(seed, "service"),
            capacity_pico_vcpu,
            desired,
            active: 0,
            running: 0,
            running_max: 0,
            existing: 0,
            existing_ns: 0,
            existing_since: Instant::START,
            usage: Usage::default(),
        }
    }

    pub(super) fn slots(&self) -> &[Task] {
        &self.slots
    }

    pub(super) fn task(&mut self, slot: usize) -> &mut Task {
        &mut self.slots[slot]
    }

    pub(super) fn running(&self) -> u32 {
        self.running
    }

    pub(super) fn running_max(&self) -> u32 {
        self.running_max
    }

    /// Tasks still to be started.
    pub(super) fn missing(&self) -> u32 {
        self.desired.saturating_sub(self.active)
    }

    /// Starts one task and pays for it from now on; gives its slot and the token of its start.
    pub(super) fn launch(&mut self, now: Instant) -> (usize, u32) {
        self.count_existing(now);
        self.existing += 1;
        self.active += 1;
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.slots.push(Task::free_slot(self.capacity_pico_vcpu));
            self.slots.len() - 1
        });
        let task = &mut self.slots[slot];
        task.state = State::Starting;
        (slot, task.lifecycle_token)
    }

    /// A launched task begins to serve.
    pub(super) fn serve(&mut self, now: Instant, slot: usize) {
        self.slots[slot].serve(now);
        self.running += 1;
        self.running_max = self.running_max.max(self.running);
    }

    /// The task to give up when there is one too many: one that has not started yet, else any running one. ECS
    /// balances zones and says nothing of what is in flight, so the choice is a fair draw.
    pub(super) fn surplus(&mut self) -> Option<usize> {
        if self.active <= self.desired {
            return None;
        }
        let in_state = |state: State| -> Vec<usize> {
            (0..self.slots.len())
                .filter(|slot| self.slots[*slot].state == state)
                .collect()
        };
        if let Some(starting) = in_state(State::Starting).last() {
            return Some(*starting);
        }
        let running = in_state(State::Running);
        running.get(self.stream.below(running.len())).copied()
    }

    /// A running task is deregistered and finishes what it has; gives the token of its deadline.
    pub(super) fn drain(&mut self, slot: usize) -> u32 {
        self.active -= 1;
        self.running -= 1;
        let task = &mut self.slots[slot];
        task.state = State::Draining;
        task.lifecycle_token = task.lifecycle_token.wrapping_add(1);
        task.lifecycle_token
    }

    /// A task is gone, and nobody pays for it any more. Its generations must have been taken out.
    pub(super) fn stop(&mut self, now: Instant, slot: usize) {
        self.count_existing(now);
        self.existing -= 1;
        match self.slots[slot].state {
            State::Free => unreachable!("only a task that exists is stopped"),
            State::Starting => self.active -= 1,
            State::Running => {
                self.active -= 1;
                self.running -= 1;
            }
            State::Draining => {}
        }
        self.slots[slot].stop();
        self.free_slots.push(slot);
    }

    /// Brings one task up to now.
    pub(super) fn advance(&mut self, now: Instant, slot: usize) {
        self.slots[slot].advance(now, &mut self.usage);
    }

    /// Brings every task and the time paid for up to now.
    pub(super) fn advance_all(&mut self, now: Instant) {
        for task in &mut self.slots {
            task.advance(now, &mut self.usage);
        }
        self.count_existing(now);
    }

    /// Nanoseconds that tasks existed, up to the last [`Service::advance_all`].
    pub(super) fn existing_ns(&self) -> u128 {
        self.existing_ns
    }

    fn count_existing(&mut self, now: Instant) {
        let elapsed = u128::from(now.since(self.existing_since).as_nanos());
        self.existing_ns += u128::from(self.existing) * elapsed;
        self.existing_since = now;
    }
}
