//! Keeps the service as large as it is wanted, and at the version that is wanted.

use super::{Event, Fleet, Home, PICO, Queue};
use crate::model::autoscaler::{Decision, METRIC_PERIOD, Readings};
use crate::model::place::Place;
use crate::model::task::{State, Usage};
use crate::outcome::LossCause;
use crate::scenario::StopOrder;
use crate::time::{Duration, Instant};

impl Fleet<'_> {
    /// Starts and stops tasks until the service is what it should be, or until it has to wait for one.
    pub(super) fn settle(&mut self, now: Instant, queue: &mut Queue) {
        while self.service.missing() > 0 {
            let zone = self.misfortune.zone(self.service.slots());
            let (slot, token) = self.service.launch(now, zone);
            let slot = Place::of(slot);
            queue.push(
                now.after(self.scenario.fleet.start_delay),
                Event::Started { slot, token },
            );
        }
        if let (Some(revision), Some(stated)) =
            (self.service.shift(), self.scenario.fleet.deployments)
        {
            queue.push(now.after(stated.bake), Event::Baked { revision });
        }
        while let Some(slot) = self.service.next_to_stop() {
            self.give_up(now, slot, queue);
        }
        self.service.end_deployment();
    }

    /// Stops a task as ECS does: a durable worker releases its leases at once on SIGTERM and exits; open requests and
    /// jobs in process get the time that is left to them.
    fn give_up(&mut self, now: Instant, slot: usize, queue: &mut Queue) {
        let starting = self.service.task(slot).state == State::Starting;
        if starting || self.home == Home::Queue {
            self.empty(now, slot, LossCause::SigkillAfterStopTimeout);
            return;
        }
        let stop = self.drain_limit();
        self.drain(now, slot, stop, queue);
    }

    /// A task takes no more work and finishes what it has, within a limit at which the rest is lost to this cause.
    pub(super) fn drain(
        &mut self,
        now: Instant,
        slot: usize,
        (limit, cause): (Duration, LossCause),
        queue: &mut Queue,
    ) {
        let token = self.service.drain(slot);
        let over = Event::DrainOver {
            slot: Place::of(slot),
            token,
            cause,
        };
        queue.push(now.after(limit), over);
        self.stop_if_drained(now, slot);
    }

    /// How long a deregistered task lives at most, and what its open work is lost to.
    pub(super) fn drain_limit(&self) -> (Duration, LossCause) {
        let fleet = &self.scenario.fleet;
        let drained = (fleet.deregistration_delay, LossCause::DeregisteredInFlight);
        let killed = (fleet.stop_timeout, LossCause::SigkillAfterStopTimeout);
        match (self.home, fleet.stop_order) {
            // The load balancer has no open request to wait for, so SIGTERM comes at once.
            (Home::Process, _) => killed,
            (_, StopOrder::SigtermAtDeregistration)
                if fleet.stop_timeout < fleet.deregistration_delay =>
            {
                killed
            }
            (_, StopOrder::SigtermAtDeregistration | StopOrder::DrainThenSigterm) => drained,
        }
    }

    /// AWS wants the task's capacity back: SIGTERM now, SIGKILL after the stop time-out, which is shorter than the two
    /// minutes of notice. Its successor starts at once, on Spot again.
    pub(super) fn interrupt_task(&mut self, now: Instant, slot: usize, queue: &mut Queue) {
        self.meter.events += 1;
        self.unsettled = true;
        let cause = LossCause::SpotInterruption;
        if self.home == Home::Queue {
            self.empty(now, slot, cause);
            return;
        }
        let limit = self.scenario.fleet.stop_timeout;
        self.drain(now, slot, (limit, cause), queue);
    }

    /// Every task of the zone is gone at once, without notice.
    pub(super) fn lose_zone(&mut self, now: Instant, queue: &mut Queue) {
        let (slots, back) = self.misfortune.lose_zone(now, self.service.slots());
        queue.push(back, Event::ZoneBack);
        for slot in slots {
            self.meter.events += 1;
            self.empty(now, slot, LossCause::AzLoss);
        }
    }

    /// A new version replaces the tasks that there are.
    pub(super) fn deploy(&mut self, now: Instant, queue: &mut Queue) {
        self.service.begin_deployment();
        self.unsettled = true;
        if let Some(deployments) = self.scenario.fleet.deployments {
            queue.push(now.after(deployments.every), Event::Deploy);
        }
    }

    /// A protected task that has nothing left to do may have been waited for.
    pub(super) fn note_idle(&mut self, slot: usize) {
        if self.scenario.fleet.task_protection && self.service.task(slot).is_idle() {
            self.unsettled = true;
        }
    }

    pub(super) fn take_metric_point(&mut self, now: Instant, queue: &mut Queue) {
        self.service.advance_all(now);
        let usage = self.service.usage.since(self.usage_at_point);
        self.usage_at_point = self.service.usage;
        let seen = usage.serving_ns > 0;
        let readings = Readings {
            cpu: seen.then(|| self.cpu_share(usage)),
            memory: seen.then(|| self.memory_share(usage)),
            requests_per_task: (self.service.running() > 0)
                .then(|| self.requests_since_point(now) / f64::from(self.service.running())),
            queue_depth_per_task: (self.service.running() > 0)
                .then(|| self.queued() as f64 / f64::from(self.service.running())),
        };
        match self
            .autoscaler
            .take_point(now, readings, self.service.desired)
        {
            Decision::Keep => {}
            Decision::Out(tasks) => {
                self.meter.scale_outs += 1;
                self.service.desired = tasks;
                self.unsettled = true;
            }
            Decision::In(tasks) => {
                self.meter.scale_ins += 1;
                self.service.desired = tasks;
                self.unsettled = true;
            }
        }
        queue.push(now.after(METRIC_PERIOD), Event::MetricPoint);
    }

    /// Requests answered since the last metric point.
    fn requests_since_point(&mut self, now: Instant) -> f64 {
        let answered = match self.home {
            Home::Request => self.meter.completed,
            Home::Queue | Home::Process => {
                let polls = self.meter.in_system_ns(now)
                    / u128::from(self.scenario.workload.poll_every.as_nanos());
                self.meter
                    .submitted
                    .saturating_add(u64::try_from(polls).unwrap_or(u64::MAX))
            }
        };
        let since = answered - self.requests_at_point;
        self.requests_at_point = answered;
        since as f64
    }

    /// Generations that wait for a worker.
    fn queued(&self) -> usize {
        let backlogs: usize = self
            .service
            .slots()
            .iter()
            .map(|task| task.backlog.len())
            .sum();
        self.queue.len() + backlogs
    }

    pub(super) fn cpu_share(&self, usage: Usage) -> f64 {
        usage.cpu as f64 / (usage.serving_ns as f64 * self.scenario.fleet.vcpu * PICO)
    }

    pub(super) fn memory_share(&self, usage: Usage) -> f64 {
        let profile = &self.scenario.profile;
        let busy_mean = usage.busy_ns as f64 / usage.serving_ns as f64;
        let used_kib =
            profile.memory_base_mib * 1024.0 + profile.memory_per_generation_kib * busy_mean;
        used_kib / (self.scenario.fleet.memory_gib * 1024.0 * 1024.0)
    }
}
