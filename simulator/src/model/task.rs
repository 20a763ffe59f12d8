//! One Fargate task: workers over a shared CPU.
//!
//! The CPU is shared by processor sharing. Each generation in flight asks for its CPU time over its length; while
//! the sum is at most the vCPU, all run at full speed, and above it all slow down by the same factor. The task keeps
//! a virtual clock that runs at that factor, so that a generation ends at a virtual time fixed when it starts, and
//! an event costs O(log n) instead of O(n).

mod in_flight;

use std::collections::VecDeque;

use self::in_flight::{Ending, InFlight};
use super::generation::GenerationKey;
use crate::time::{Duration, Instant};

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The slot holds no task.
    Free,
    /// Paid for, but not serving yet.
    Starting,
    /// Taking work.
    Running,
    /// Finishing its open requests; takes no new ones.
    Draining,
}

/// Time that tasks spent, summed over all of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Nanoseconds of serving tasks.
    pub(super) serving_ns: u128,
    /// Nanoseconds of busy workers.
    pub(super) busy_ns: u128,
    /// Picoseconds-of-vCPU times a thousandth: 10^-12 vCPU times nanoseconds.
    pub(super) cpu: u128,
}

impl Usage {
    pub(super) fn since(self, earlier: Usage) -> Usage {
        Usage {
            serving_ns: self.serving_ns - earlier.serving_ns,
            busy_ns: self.busy_ns - earlier.busy_ns,
            cpu: self.cpu - earlier.cpu,
        }
    }
}

/// A slot for one task, used again after the task has stopped.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) state: State,
    /// The version it runs.
    pub(super) revision: u32,
    /// The availability zone it is in.
    pub(super) zone: u32,
    /// Marks the start or the drain deadline that is still to come; older ones are outdated.
    pub(super) lifecycle_token: u32,
    /// Marks the completion that is still to come; older ones are outdated.
    pub(super) progress_token: u32,
    /// Health checks failed one after the other.
    pub(super) checks_failed: u32,
    /// When that completion is scheduled.
    pub(super) scheduled: Instant,
    /// Requests that wait in the task for a worker, in sync mode. Those given up stay until they reach the front.
    pub(super) backlog: VecDeque<GenerationKey>,
    /// Open requests, waiting and running, whose client is still there.
    pub(super) outstanding: u32,
    capacity_pico_vcpu: u128,
    demand_pico_vcpu: u128,
    /// The most that was ever asked for in this slot.
    pub(super) demand_peak_pico_vcpu: u128,
    virtual_ns: u64,
    updated: Instant,
    in_flight: InFlight,
}

impl Task {
    pub(super) fn free_slot(capacity_pico_vcpu: u128) -> Task {
        Task {
            state: State::Free,
            revision: 0,
            zone: 0,
            lifecycle_token: 0,
            progress_token: 0,
            checks_failed: 0,
            scheduled: Instant::NEVER,
            backlog: VecDeque::new(),
            outstanding: 0,
            capacity_pico_vcpu,
            demand_pico_vcpu: 0,
            demand_peak_pico_vcpu: 0,
            virtual_ns: 0,
            updated: Instant::START,
            in_flight: InFlight::new(),
        }
    }

    /// Busy workers.
    pub(super) fn busy(&self) -> usize {
        self.in_flight.len()
    }

    /// How many times as long everything takes as if the CPU were its own.
    pub(super) fn slowdown(&self) -> f64 {
        (self.demand_pico_vcpu as f64 / self.capacity_pico_vcpu as f64).max(1.0)
    }

    /// Whether it has nothing to finish.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.outstanding == 0
    }

    fn is_serving(&self) -> bool {
        matches!(self.state, State::Running | State::Draining)
    }

    /// Makes the slot a task that serves from now on.
    pub(super) fn serve(&mut self, now: Instant) {
        self.state = State::Running;
        self.virtual_ns = 0;
        self.updated = now;
        self.checks_failed = 0;
        self.scheduled = Instant::NEVER;
    }

    /// Brings the virtual clock and the usage up to now. Must come before any change of the work in flight.
    #[inline]
    pub(super) fn advance(&mut self, now: Instant, usage: &mut Usage) {
        if !self.is_serving() {
            return;
        }
        let elapsed = u128::from(now.since(self.updated).as_nanos());
        if elapsed == 0 {
            return;
        }
        self.updated = now;
        usage.serving_ns += elapsed;
        usage.busy_ns += elapsed * self.in_flight.len() as u128;
        let (used, progress) = if self.demand_pico_vcpu <= self.capacity_pico_vcpu {
            (self.demand_pico_vcpu, elapsed)
        } else {
            (
                self.capacity_pico_vcpu,
                elapsed * self.capacity_pico_vcpu / self.demand_pico_vcpu,
            )
        };
        usage.cpu += elapsed * used;
        self.virtual_ns = self
            .virtual_ns
            .saturating_add(u64::try_from(progress).unwrap_or(u64::MAX));
    }

    /// A worker takes a generation with so much work left. The clock must be up to date.
    #[inline]
    pub(super) fn start(&mut self, key: GenerationKey, left: Duration, demand_pico_vcpu: u128) {
        let finish_ns = self.virtual_ns.saturating_add(left.as_nanos());
        self.in_flight.push(Ending {
            finish_ns,
            generation: key,
        });
        self.ask(demand_pico_vcpu);
    }

    /// More is asked of the CPU, until it is given back with [`Task::release`]. The clock must be up to date.
    #[inline]
    pub(super) fn ask(&mut self, demand_pico_vcpu: u128) {
        self.demand_pico_vcpu += demand_pico_vcpu;
        self.demand_peak_pico_vcpu = self.demand_peak_pico_vcpu.max(self.demand_pico_vcpu);
    }

    /// The next generation that has come to its end, if there is one. The clock must be up to date; the caller
    /// gives its demand back with [`Task::release`].
    pub(super) fn pop_finished(&mut self) -> Option<GenerationKey> {
        let next = self.in_flight.first()?;
        if next.finish_ns > self.virtual_ns {
            return None;
        }
        self.in_flight.pop().map(|next| next.generation)
    }

    pub(super) fn release(&mut self, demand_pico_vcpu: u128) {
        self.demand_pico_vcpu -= demand_pico_vcpu;
    }

    /// The work that is left of one in flight, at this reading of the clock.
    fn left(&self, ending: Ending) -> Duration {
        Duration::from_nanos(ending.finish_ns.saturating_sub(self.virtual_ns))
    }

    /// When the next completion is to be scheduled, with the token that marks it; none when it is scheduled for that very
    /// moment already, or nothing is in flight.
    #[inline]
    pub(super) fn next_progress(&mut self, now: Instant) -> Option<(Instant, u32)> {
        let next = self.next_finish(now);
        if next == self.scheduled {
            return None;
        }
        self.scheduled = next;
        self.progress_token = self.progress_token.wrapping_add(1);
        (next < Instant::NEVER).then_some((next, self.progress_token))
    }

    /// When the next generation comes to its end if nothing changes until then.
    #[inline]
    fn next_finish(&self, now: Instant) -> Instant {
        let Some(next) = self.in_flight.first() else {
            return Instant::NEVER;
        };
        let left = u128::from(self.left(next).as_nanos());
        let takes = if self.demand_pico_vcpu <= self.capacity_pico_vcpu {
            left
        } else {
            // Rounded up, so that the work is really done by then.
            left.saturating_mul(self.demand_pico_vcpu)
                .div_ceil(self.capacity_pico_vcpu)
        };
        now.after(Duration::from_nanos(
            u64::try_from(takes).unwrap_or(u64::MAX),
        ))
    }

    /// Takes one generation out that has not come to its end, with the work it has left.
    pub(super) fn pop_unfinished(&mut self) -> Option<(GenerationKey, Duration)> {
        let next = self.in_flight.pop()?;
        Some((next.generation, self.left(next)))
    }

    /// Takes this generation out, with its demand; gives the work it has left. Looks at everything in flight.
    pub(super) fn take(&mut self, key: GenerationKey, demand_pico_vcpu: u128) -> Duration {
        let taken = self.in_flight.take(key);
        self.release(demand_pico_vcpu);
        taken.map_or(Duration::ZERO, |ending| self.left(ending))
    }

    /// Empties the slot. Its generations must have been taken out; outdated events find their token changed.
    pub(super) fn stop(&mut self) {
        self.state = State::Free;
        self.lifecycle_token = self.lifecycle_token.wrapping_add(1);
        self.progress_token = self.progress_token.wrapping_add(1);
        self.scheduled = Instant::NEVER;
        self.backlog.clear();
        self.outstanding = 0;
        self.demand_pico_vcpu = 0;
        self.in_flight.clear();
    }
}
