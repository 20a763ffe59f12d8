//! The async workers of each task: which of them accept, what they hold, and when they recycle.
//!
//! ```text
//! accepting -- has answered its requests --> draining -- its generations end --> booting --> accepting
//! ```
//!
//! Polls come on new connections, so they spread evenly over the workers that accept. All of these have therefore
//! answered equally many since they booted, and one clock per task counts for all: a worker recycles when the clock
//! reaches a reading fixed at its boot, brought forward by every submission it accepts.

use std::collections::VecDeque;

use super::generation::{Generation, GenerationKey};
use super::place::Place;
use crate::rng::Stream;
use crate::scenario::{Gunicorn, Mode, Scenario};
use crate::time::{Duration, Instant, nanos_from_f64};

/// The clock counts in 10^-15 of a request, so that a rate per second times 10^6 is a rate per nanosecond.
const REQUEST: u128 = 1_000_000_000_000_000;
const RATE_UNIT: f64 = 1e6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Accepting,
    Draining,
    Booting,
}

#[derive(Debug)]
struct Process {
    state: State,
    /// Marks its current life; events of earlier ones are outdated.
    life: u32,
    /// The clock's reading at which it has answered its requests.
    recycles_at: u128,
    members: Vec<GenerationKey>,
    /// The one of them that occupies the event loop.
    on_loop: Option<GenerationKey>,
    /// Those that wait for it.
    waiting: VecDeque<GenerationKey>,
}

/// The workers of one task.
#[derive(Debug, Default)]
struct Crew {
    processes: Vec<Process>,
    accepting: usize,
    in_flight: usize,
    clock: u128,
    updated: Instant,
    scheduled: Option<Instant>,
    token: u32,
}

/// Names one life of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    slot: Place,
    process: Place,
    life: u32,
}

impl Life {
    fn of(slot: usize, process: usize, life: u32) -> Life {
        Life {
            slot: Place::of(slot),
            process: Place::of(process),
            life,
        }
    }

    pub(super) fn slot(self) -> usize {
        self.slot.index()
    }

    pub(super) fn process(self) -> usize {
        self.process.index()
    }
}

#[derive(Debug)]
pub(super) struct Workers {
    settings: Gunicorn,
    /// Calls of a generation, as far as there is work between them.
    calls: u32,
    /// Work on the event loop after each call.
    after_call: Duration,
    /// Work on the event loop for the PDF.
    pdf: Duration,
    stream: Stream,
    processes_per_task: usize,
    /// Polls of one generation, and other requests of one task, in units of the clock per nanosecond.
    poll_rate: u128,
    other_rate: u128,
    crews: Vec<Crew>,
    connections: u32,
    connections_max: u32,
    exhausted_since: Option<Instant>,
    exhausted_ns: u128,
    unanswering_ns: u128,
}

impl Workers {
    pub(super) fn new(scenario: &Scenario, settings: Gunicorn) -> Workers {
        let fleet = &scenario.fleet;
        let polls_per_s = match fleet.mode {
            Mode::Queue => 1.0 / scenario.workload.poll_every.as_secs_f64(),
            Mode::Sync => 0.0,
        };
        let cpu = |cpu_s: f64| Duration::from_nanos(nanos_from_f64(cpu_s * 1e9));
        let steps = scenario.workload.steps_per_generation;
        let after_call = cpu(scenario.profile.cpu_s_per_generation / f64::from(steps));
        Workers {
            settings,
            calls: if after_call.is_zero() { 1 } else { steps },
            after_call,
            pdf: cpu(settings.pdf_cpu_s),
            stream: Stream::named(scenario.seed, "gunicorn"),
            processes_per_task: usize::try_from(fleet.workers).unwrap_or(usize::MAX),
            poll_rate: u128::from(nanos_from_f64(polls_per_s * RATE_UNIT)),
            other_rate: u128::from(nanos_from_f64(settings.other_requests_per_s * RATE_UNIT)),
            crews: Vec::new(),
            connections: 0,
            connections_max: fleet.db_connections(),
            exhausted_since: None,
            exhausted_ns: 0,
            unanswering_ns: 0,
        }
    }

    /// Calls that a generation waits for one after the other.
    pub(super) fn calls(&self) -> u32 {
        self.calls
    }

    /// How long its next call takes: all are equally long, and the first one has what does not divide.
    pub(super) fn call(&self, generation: &Generation) -> Duration {
        let (length_ns, calls) = (generation.length.as_nanos(), u64::from(self.calls));
        let odd_ns = match generation.calls_left == self.calls {
            true => length_ns % calls,
            false => 0,
        };
        Duration::from_nanos(length_ns / calls + odd_ns)
    }

    /// The work on the event loop that follows the call which has just ended.
    pub(super) fn work_after(&self, generation: &Generation) -> Duration {
        match generation.calls_left {
            0 => self.after_call.plus(self.pdf),
            _ => self.after_call,
        }
    }

    pub(super) fn boot_time(&self) -> Duration {
        self.settings.worker_boot
    }

    /// A task begins to serve with all its workers.
    pub(super) fn serve(&mut self, now: Instant, slot: usize) {
        while self.crews.len() <= slot {
            // Nobody serves there yet.
            self.crews.push(Crew {
                updated: Instant::NEVER,
                ..Crew::default()
            });
        }
        let count = self.processes_per_task;
        let lives: Vec<u32> = self.crews[slot].processes.iter().map(|p| p.life).collect();
        let processes = (0..count)
            .map(|process| Process {
                state: State::Accepting,
                life: lives.get(process).map_or(0, |life| life.wrapping_add(1)),
                recycles_at: self.limit(),
                members: Vec::new(),
                on_loop: None,
                waiting: VecDeque::new(),
            })
            .collect();
        let crew = &mut self.crews[slot];
        crew.processes = processes;
        crew.accepting = count;
        crew.in_flight = 0;
        crew.clock = 0;
        crew.updated = now;
        crew.scheduled = None;
    }

    /// Requests that a fresh worker may answer, on the clock.
    fn limit(&mut self) -> u128 {
        if self.settings.max_requests == 0 {
            return u128::MAX;
        }
        let jitter = usize::try_from(self.settings.max_requests_jitter).unwrap_or(usize::MAX);
        let more = self.stream.below(jitter.saturating_add(1));
        (u128::from(self.settings.max_requests) + more as u128) * REQUEST
    }

    pub(super) fn accepts(&self, slot: usize) -> bool {
        self.crews.get(slot).is_some_and(|crew| crew.accepting > 0)
    }

    /// Whether one of the accepting workers has its event loop free.
    pub(super) fn answers_at_once(&self, slot: usize) -> bool {
        let is_free =
            |process: &Process| process.state == State::Accepting && process.on_loop.is_none();
        self.crews
            .get(slot)
            .is_some_and(|crew| crew.processes.iter().any(is_free))
    }

    /// One of the accepting workers takes a submission; none when it gets no database connection for it. Which of them
    /// accepts is the kernel's choice: a fair draw.
    pub(super) fn take_in(
        &mut self,
        now: Instant,
        slot: usize,
        key: GenerationKey,
    ) -> Option<usize> {
        self.advance(now, slot);
        let crew = &mut self.crews[slot];
        let drawn = self.stream.below(crew.accepting);
        let (index, process) = crew
            .processes
            .iter_mut()
            .enumerate()
            .filter(|(_, process)| process.state == State::Accepting)
            .nth(drawn)?;
        process.recycles_at = process.recycles_at.saturating_sub(REQUEST);
        let full = process.members.len() as u64 >= u64::from(self.settings.pool_connections_max);
        if full || self.exhausted_since.is_some() {
            return None;
        }
        process.members.push(key);
        crew.in_flight += 1;
        self.connections += 1;
        if self.connections >= self.connections_max {
            self.exhausted_since = Some(now);
        }
        Some(index)
    }

    /// A generation has left its worker; gives the worker's life when it was the last one of a draining worker, which
    /// exits.
    pub(super) fn leave(
        &mut self,
        now: Instant,
        slot: usize,
        process: usize,
        key: GenerationKey,
    ) -> Option<Life> {
        self.advance(now, slot);
        let crew = &mut self.crews[slot];
        let held = &mut crew.processes[process];
        let position = held.members.iter().position(|member| *member == key)?;
        held.members.swap_remove(position);
        crew.in_flight -= 1;
        self.give_back(now, 1);
        self.exit_if_drained(slot, process)
    }

    fn give_back(&mut self, now: Instant, connections: u32) {
        if connections == 0 {
            return;
        }
        self.connections -= connections;
        if let Some(since) = self.exhausted_since.take() {
            self.exhausted_ns += u128::from(now.since(since).as_nanos());
        }
    }

    fn exit_if_drained(&mut self, slot: usize, process: usize) -> Option<Life> {
        let exiting = &mut self.crews[slot].processes[process];
        if exiting.state != State::Draining || !exiting.members.is_empty() {
            return None;
        }
        exiting.state = State::Booting;
        exiting.life = exiting.life.wrapping_add(1);
        Some(Life::of(slot, process, exiting.life))
    }

    /// A generation has work for the event loop; true when it begins at once.
    pub(super) fn enter_loop(&mut self, slot: usize, process: usize, key: GenerationKey) -> bool {
        let worker = &mut self.crews[slot].processes[process];
        if worker.on_loop.is_some() {
            worker.waiting.push_back(key);
            return false;
        }
        worker.on_loop = Some(key);
        true
    }

    /// The event loop is free again; gives the generation whose work begins now.
    pub(super) fn next_on_loop(&mut self, slot: usize, process: usize) -> Option<GenerationKey> {
        let worker = &mut self.crews[slot].processes[process];
        worker.on_loop = worker.waiting.pop_front();
        worker.on_loop
    }

    /// A generation goes that may wait for the event loop or occupy it; gives the one that has it now instead.
    pub(super) fn leave_loop(
        &mut self,
        slot: usize,
        process: usize,
        key: GenerationKey,
    ) -> Option<GenerationKey> {
        let worker = &mut self.crews[slot].processes[process];
        worker.waiting.retain(|waiting| *waiting != key);
        if worker.on_loop != Some(key) {
            return None;
        }
        self.next_on_loop(slot, process)
    }

    /// Generations that the workers of a task hold.
    pub(super) fn held(&self, slot: usize) -> usize {
        self.crews.get(slot).map_or(0, |crew| crew.in_flight)
    }

    /// A task is gone; gives the generations that waited for an event loop.
    pub(super) fn stop(&mut self, now: Instant, slot: usize) -> Vec<GenerationKey> {
        self.advance(now, slot);
        let Some(crew) = self.crews.get_mut(slot) else {
            return Vec::new();
        };
        let mut waiting = Vec::new();
        let mut connections = 0;
        for process in &mut crew.processes {
            connections += u32::try_from(process.members.len()).unwrap_or(u32::MAX);
            process.members.clear();
            waiting.extend(process.waiting.drain(..));
            process.life = process.life.wrapping_add(1);
            process.state = State::Booting;
        }
        crew.accepting = 0;
        crew.in_flight = 0;
        crew.token = crew.token.wrapping_add(1);
        crew.scheduled = None;
        // Nobody serves here until the slot is used again.
        crew.updated = Instant::NEVER;
        self.give_back(now, connections);
        waiting
    }

    /// When the next worker of a task will have answered its requests, with the token of that event; none when that is
    /// scheduled already, or never comes.
    pub(super) fn next_recycling(&mut self, now: Instant, slot: usize) -> Option<(Instant, u32)> {
        if self.settings.max_requests == 0 {
            return None;
        }
        self.advance(now, slot);
        let (poll_rate, other_rate) = (self.poll_rate, self.other_rate);
        let crew = self.crews.get_mut(slot)?;
        let next = crew
            .processes
            .iter()
            .filter(|process| process.state == State::Accepting)
            .map(|process| process.recycles_at)
            .min();
        let rate = crew.in_flight as u128 * poll_rate + other_rate;
        let at = next.and_then(|reading| {
            let left = reading.saturating_sub(crew.clock) * crew.accepting as u128;
            if left == 0 {
                return Some(now);
            }
            let nanos = left.checked_div(rate)?.saturating_add(1);
            Some(now.after(Duration::from_nanos(
                u64::try_from(nanos).unwrap_or(u64::MAX),
            )))
        });
        if at == crew.scheduled {
            return None;
        }
        crew.scheduled = at;
        crew.token = crew.token.wrapping_add(1);
        at.map(|at| (at, crew.token))
    }

    /// Workers that have answered their requests stop accepting. Gives their lives, and whether each has exited.
    pub(super) fn recycle(&mut self, now: Instant, slot: usize, token: u32) -> Vec<(Life, bool)> {
        if self.crews[slot].token != token {
            return Vec::new();
        }
        self.advance(now, slot);
        let crew = &mut self.crews[slot];
        crew.scheduled = None;
        let mut due = Vec::new();
        for (index, process) in crew.processes.iter_mut().enumerate() {
            if process.state == State::Accepting && process.recycles_at <= crew.clock {
                process.state = State::Draining;
                crew.accepting -= 1;
                due.push((index, process.life));
            }
        }
        due.into_iter()
            .map(
                |(process, life)| match self.exit_if_drained(slot, process) {
                    Some(exited) => (exited, true),
                    None => (Life::of(slot, process, life), false),
                },
            )
            .collect()
    }

    /// A successor accepts; false when it is outdated.
    pub(super) fn boot(&mut self, now: Instant, life: Life) -> bool {
        self.advance(now, life.slot());
        let limit = self.limit();
        let crew = &mut self.crews[life.slot()];
        let process = &mut crew.processes[life.process()];
        if process.life != life.life || process.state != State::Booting {
            return false;
        }
        process.state = State::Accepting;
        process.recycles_at = crew.clock.saturating_add(limit);
        process.on_loop = None;
        crew.accepting += 1;
        true
    }

    /// The generations of a worker that still drains in this life.
    pub(super) fn still_draining(&self, life: Life) -> Vec<GenerationKey> {
        let process = &self.crews[life.slot()].processes[life.process()];
        if process.life == life.life && process.state == State::Draining {
            process.members.clone()
        } else {
            Vec::new()
        }
    }

    /// Brings the clock and the outage of one task up to now. Must come before any change of its workers.
    fn advance(&mut self, now: Instant, slot: usize) {
        let Some(crew) = self.crews.get_mut(slot) else {
            return;
        };
        let elapsed = u128::from(now.since(crew.updated).as_nanos());
        if elapsed == 0 {
            return;
        }
        crew.updated = now;
        let rate = crew.in_flight as u128 * self.poll_rate + self.other_rate;
        match (elapsed * rate).checked_div(crew.accepting as u128) {
            Some(answered) => crew.clock = crew.clock.saturating_add(answered),
            None => self.unanswering_ns += elapsed,
        }
    }

    /// Seconds of tasks none of whose workers accepted, and seconds without a free database connection, up to the end.
    pub(super) fn outages_s(&mut self, end: Instant) -> (f64, f64) {
        for slot in 0..self.crews.len() {
            self.advance(end, slot);
        }
        let open = self
            .exhausted_since
            .map_or(0, |since| end.since(since).as_nanos());
        let exhausted_ns = self.exhausted_ns + u128::from(open);
        (self.unanswering_ns as f64 / 1e9, exhausted_ns as f64 / 1e9)
    }
}
