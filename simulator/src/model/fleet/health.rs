//! Asks each task whether it is well, and replaces the one that does not answer.

use super::{Event, Fleet, Home, Queue};
use crate::model::place::Place;
use crate::outcome::LossCause;
use crate::scenario::HealthCheck;
use crate::time::Instant;

impl Fleet<'_> {
    /// A task that serves from now on is asked for the first time when its grace is over.
    pub(super) fn schedule_first_check(&mut self, now: Instant, slot: usize, queue: &mut Queue) {
        if let Some(check) = self.scenario.fleet.health_check {
            let token = self.service.task(slot).lifecycle_token;
            let at = now.after(check.grace).after(check.interval);
            let slot = Place::of(slot);
            queue.push(at, Event::HealthCheck { slot, token });
        }
    }

    pub(super) fn check_health(
        &mut self,
        now: Instant,
        slot: usize,
        token: u32,
        queue: &mut Queue,
    ) {
        let Some(check) = self.scenario.fleet.health_check else {
            return;
        };
        if self.service.task(slot).lifecycle_token != token {
            return;
        }
        let answers = self.answers_in_time(now, slot, check);
        let task = self.service.task(slot);
        task.checks_failed = if answers { 0 } else { task.checks_failed + 1 };
        if task.checks_failed >= check.unhealthy_count {
            self.replace_unhealthy(now, slot, queue);
        } else {
            let slot = Place::of(slot);
            queue.push(
                now.after(check.interval),
                Event::HealthCheck { slot, token },
            );
        }
    }

    /// Whether a task that is asked now answers within the time-out: it needs somebody who takes the request, and CPU.
    ///
    /// Durable workers leave the requests to others. A sync worker that holds a generation takes none, and those that
    /// wait came first. Async workers take none while all of them drain, nor while all render a PDF.
    fn answers_in_time(&mut self, now: Instant, slot: usize, check: HealthCheck) -> bool {
        let deadline = now.after(check.timeout);
        let workers = self.workers;
        let task = self.service.task(slot);
        if task.slowdown() * check.cpu_s > check.timeout.as_secs_f64() {
            return false;
        }
        let is_free_in_time = task.scheduled <= deadline;
        match (&self.gunicorn, self.home) {
            (Some(crews), _) => {
                crews.accepts(slot) && (crews.answers_at_once(slot) || is_free_in_time)
            }
            (None, Home::Queue) => true,
            (None, Home::Request | Home::Process) => {
                task.busy() < workers || (task.backlog.is_empty() && is_free_in_time)
            }
        }
    }

    /// ECS stops the task as it stops any other, and starts its successor at once.
    fn replace_unhealthy(&mut self, now: Instant, slot: usize, queue: &mut Queue) {
        self.meter.events += 1;
        self.unhealthy_replaced += 1;
        self.unsettled = true;
        let cause = LossCause::HealthCheck;
        if self.home == Home::Queue {
            self.empty(now, slot, cause);
        } else {
            let (limit, _) = self.drain_limit();
            self.drain(now, slot, (limit, cause), queue);
        }
    }
}
