//! Async workers at work: they accept, compute between calls, recycle.

use super::{Event, Fleet, PICO, Queue};
use crate::model::generation::GenerationKey;
use crate::model::gunicorn::Life;
use crate::model::place::Place;
use crate::model::task::State;
use crate::outcome::LossCause;
use crate::time::{Duration, Instant, nanos_from_f64};

impl Fleet<'_> {
    /// The async workers of a task accept what waits at its socket. One without a database connection answers with an
    /// error.
    pub(super) fn accept(&mut self, now: Instant, slot: usize, queue: &mut Queue) {
        while self
            .gunicorn
            .as_ref()
            .is_some_and(|workers| workers.accepts(slot))
        {
            let Some(key) = self.service.task(slot).backlog.pop_front() else {
                break;
            };
            let (Some(generation), Some(workers)) = (self.generations.get(key), &mut self.gunicorn)
            else {
                continue;
            };
            if let Some(process) = workers.take_in(now, slot, key) {
                generation.process = Some(Place::of(process));
                self.start(now, slot, key, queue);
            } else {
                self.meter.events += 1;
                let task = self.service.task(slot);
                task.outstanding = task.outstanding.saturating_sub(1);
                self.lose(now, key, LossCause::DbConnections);
            }
        }
        self.schedule_recycling(now, slot, queue);
    }

    fn schedule_recycling(&mut self, now: Instant, slot: usize, queue: &mut Queue) {
        if let Some(workers) = &mut self.gunicorn
            && let Some((at, token)) = workers.next_recycling(now, slot)
        {
            let slot = Place::of(slot);
            queue.push(at, Event::Recycle { slot, token });
        }
    }

    /// A generation has come to the end of a call, or of its work on the event loop; false when nothing of it is left.
    ///
    /// What a worker does between the calls and for the PDF occupies its one core, one generation after the other: also
    /// those that only have to send their next call wait for it.
    pub(super) fn go_on(&mut self, slot: usize, key: GenerationKey) -> bool {
        let (Some(generation), Some(workers)) = (self.generations.get(key), &mut self.gunicorn)
        else {
            return false;
        };
        let Some(process) = generation.process.map(Place::index) else {
            return false;
        };
        let task = self.service.task(slot);
        task.release(generation.demand_pico_vcpu);
        generation.demand_pico_vcpu = 0;
        // Its client polls all the while, and other workers answer.
        let polls = self.demand_of_polls_pico_vcpu;
        if generation.on_loop {
            generation.on_loop = false;
            let is_over = generation.calls_left == 0;
            if !is_over {
                generation.demand_pico_vcpu = polls;
                task.start(key, workers.call(generation), generation.demand_pico_vcpu);
            }
            let next = workers.next_on_loop(slot, process);
            self.work(slot, next);
            return !is_over;
        }
        generation.calls_left -= 1;
        if generation.calls_left == 0 {
            // Whatever would have interrupted its calls comes too late.
            generation.runs += 1;
        }
        if workers.work_after(generation).is_zero() {
            // With one call there is nothing between calls either.
            return false;
        }
        generation.on_loop = true;
        generation.demand_pico_vcpu = polls;
        task.ask(polls);
        let first = workers.enter_loop(slot, process, key);
        self.work(slot, first.then_some(key));
        true
    }

    /// The event loop is this generation's now. The task's clock must be up to date.
    fn work(&mut self, slot: usize, key: Option<GenerationKey>) {
        let generation = key.and_then(|key| self.generations.get(key));
        if let (Some(key), Some(generation), Some(workers)) = (key, generation, &self.gunicorn) {
            let core = u128::from(nanos_from_f64(PICO));
            generation.demand_pico_vcpu += core;
            let work = workers.work_after(generation);
            self.service.task(slot).start(key, work, core);
        }
    }

    /// A generation has left the worker process that held it.
    pub(super) fn leave_process(
        &mut self,
        now: Instant,
        (slot, process): (usize, Option<usize>),
        key: GenerationKey,
        queue: &mut Queue,
    ) {
        let (Some(workers), Some(process)) = (&mut self.gunicorn, process) else {
            return;
        };
        let next = workers.leave_loop(slot, process, key);
        let exited = workers.leave(now, slot, process, key);
        if let Some(life) = exited {
            queue.push(now.after(workers.boot_time()), Event::Booted { life });
        }
        self.work(slot, next);
        self.schedule_recycling(now, slot, queue);
    }

    /// Workers that have answered their requests stop accepting. While one drains it sends no heartbeat, so that a
    /// worker time-out kills it.
    pub(super) fn recycle(&mut self, now: Instant, slot: usize, token: u32, queue: &mut Queue) {
        let Some(workers) = &mut self.gunicorn else {
            return;
        };
        for (life, exited) in workers.recycle(now, slot, token) {
            self.meter.events += 1;
            if exited {
                queue.push(now.after(workers.boot_time()), Event::Booted { life });
            } else if let Some(timeout) = self.scenario.fleet.worker_timeout {
                let at = now.after(timeout).after(Duration::from_nanos(1));
                queue.push(at, Event::DrainTimeout { life });
            }
        }
        self.schedule_recycling(now, slot, queue);
    }

    /// A successor accepts, unless its task has been told to stop: then the master starts none.
    pub(super) fn booted(&mut self, now: Instant, life: Life, queue: &mut Queue) {
        if self.service.task(life.slot()).state != State::Running {
            return;
        }
        if self
            .gunicorn
            .as_mut()
            .is_some_and(|workers| workers.boot(now, life))
        {
            self.meter.events += 1;
            self.accept(now, life.slot(), queue);
        }
    }

    /// A worker that drains for too long is killed with all it holds.
    pub(super) fn kill_draining(&mut self, now: Instant, life: Life, queue: &mut Queue) {
        let held = self
            .gunicorn
            .as_ref()
            .map_or_else(Vec::new, |workers| workers.still_draining(life));
        if held.is_empty() {
            return;
        }
        self.service.advance(now, life.slot());
        for key in held {
            let Some(generation) = self.generations.get(key) else {
                continue;
            };
            self.meter.events += 1;
            let task = self.service.task(life.slot());
            task.take(key, generation.demand_pico_vcpu);
            if !generation.cut {
                task.outstanding = task.outstanding.saturating_sub(1);
            }
            self.lose(now, key, LossCause::WorkerTimeout);
            self.leave_process(now, (life.slot(), Some(life.process())), key, queue);
        }
        self.schedule_progress(now, life.slot(), queue);
        self.stop_if_drained(now, life.slot());
        self.note_idle(life.slot());
    }
}
