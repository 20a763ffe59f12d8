//! The fleet: moves generations between the components, and keeps the service as large as it is wanted.

use std::collections::VecDeque;

use super::arrivals::ArrivalProcess;
use super::autoscaler::{Autoscaler, Decision, METRIC_PERIOD, Readings};
use super::generation::{Generation, GenerationKey, Generations, Lengths};
use super::load_balancer::LoadBalancer;
use super::meter::Meter;
use super::service::Service;
use super::task::{State, Usage};
use crate::capacity;
use crate::cost;
use crate::engine::Model;
use crate::event_queue::EventQueue;
use crate::outcome::{LossCause, Outcome, SCHEMA_VERSION};
use crate::scenario::{InvalidScenario, Mode, Scenario, StopOrder};
use crate::time::{Duration, Instant, nanos_from_f64};

/// 10^-12 of a vCPU: fine enough that a millisecond of CPU in 15 minutes is still a million units.
const PICO: f64 = 1e12;

#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Arrival,
    /// A task's next generation comes to its end.
    Progress {
        slot: usize,
        token: u32,
    },
    /// A launched task begins to serve.
    Started {
        slot: usize,
        token: u32,
    },
    /// A draining task's time is over.
    DrainOver {
        slot: usize,
        token: u32,
    },
    /// The oldest silent connection may have to be cut.
    IdleTimeout,
    MetricPoint,
    WarmupOver,
}

/// What the measured window began with.
#[derive(Clone, Copy, Debug, Default)]
struct WindowStart {
    at: Instant,
    usage: Usage,
    existing_ns: u128,
    in_system_ns: u128,
}

#[derive(Debug)]
pub(super) struct Fleet<'a> {
    scenario: &'a Scenario,
    cpu_ns_per_generation: u128,
    demand_of_polls_pico_vcpu: u128,
    /// Generations that fit into one task's memory.
    memory_slots: usize,
    workers: usize,
    arrivals: ArrivalProcess<'a>,
    lengths: Lengths<'a>,
    generations: Generations,
    queue: VecDeque<GenerationKey>,
    service: Service,
    balancer: LoadBalancer,
    autoscaler: Autoscaler,
    usage_at_point: Usage,
    window: WindowStart,
    meter: Meter,
    /// Whether generations came back to the queue in the midst of an event, and free workers must look again.
    requeued: bool,
}

type Queue = EventQueue<Event>;

impl<'a> Fleet<'a> {
    /// The desired tasks already serve; nothing is in flight.
    pub(super) fn at_start(scenario: &'a Scenario) -> (Fleet<'a>, Queue) {
        let Scenario {
            seed,
            workload,
            profile,
            fleet,
            ..
        } = scenario;
        let capacity_pico_vcpu = u128::from(nanos_from_f64(fleet.vcpu * PICO));
        let polls_per_s = match fleet.mode {
            Mode::Queue => 1.0 / workload.poll_every.as_secs_f64(),
            Mode::Sync => 0.0,
        };
        let free_kib = (fleet.memory_gib * 1024.0 - profile.memory_base_mib) * 1024.0;
        let memory_slots = (free_kib / profile.memory_per_generation_kib).floor();
        let mut model = Fleet {
            scenario,
            cpu_ns_per_generation: u128::from(nanos_from_f64(profile.cpu_s_per_generation * 1e9)),
            demand_of_polls_pico_vcpu: u128::from(nanos_from_f64(
                profile.cpu_s_per_poll * polls_per_s * PICO,
            )),
            // Without memory per generation the quotient is infinite and the slots are without end.
            memory_slots: usize::try_from(nanos_from_f64(memory_slots)).unwrap_or(usize::MAX),
            workers: usize::try_from(fleet.workers).unwrap_or(usize::MAX),
            arrivals: ArrivalProcess::new(&workload.arrivals, *seed),
            lengths: Lengths::new(&workload.generation, *seed),
            generations: Generations::default(),
            queue: VecDeque::new(),
            service: Service::new(*seed, capacity_pico_vcpu, fleet.tasks.desired),
            balancer: LoadBalancer::new(fleet.load_balancing, fleet.alb_idle_timeout),
            autoscaler: Autoscaler::new(&fleet.autoscaling, fleet.tasks),
            usage_at_point: Usage::default(),
            window: WindowStart::default(),
            meter: Meter::new(scenario.warmup),
            requeued: false,
        };
        let mut queue = EventQueue::new();
        while model.service.missing() > 0 {
            let (slot, _) = model.service.launch(Instant::START);
            model.service.serve(Instant::START, slot);
        }
        queue.push(Instant::START.after(scenario.warmup), Event::WarmupOver);
        if !model.autoscaler.is_off() {
            queue.push(Instant::START.after(METRIC_PERIOD), Event::MetricPoint);
        }
        model.schedule_arrival(&mut queue);
        (model, queue)
    }

    fn schedule_arrival(&mut self, queue: &mut Queue) {
        if let Some(at) = self.arrivals.next() {
            queue.push(at, Event::Arrival);
        }
    }

    fn submit(&mut self, now: Instant, queue: &mut Queue) {
        let length = self.lengths.next();
        let cpu = self.cpu_ns_per_generation * 1_000_000_000_000 / u128::from(length.as_nanos());
        let key = self.generations.insert(Generation {
            submitted: now,
            length,
            demand_pico_vcpu: cpu + self.demand_of_polls_pico_vcpu,
            done: Duration::ZERO,
            started: None,
            released: None,
            crashes: 0,
            task: None,
            running: false,
            cut: false,
        });
        self.meter.submit(now);
        match self.scenario.fleet.mode {
            Mode::Queue => {
                self.queue.push_back(key);
                self.fill(now, queue);
            }
            Mode::Sync => self.route(now, key, queue),
        }
    }

    /// Sync mode: the load balancer hands the request to a task, where it waits for a worker.
    fn route(&mut self, now: Instant, key: GenerationKey, queue: &mut Queue) {
        let Some(slot) = self.balancer.pick(&self.service) else {
            self.lose(now, key, LossCause::NoTarget);
            return;
        };
        if let Some(generation) = self.generations.get(key) {
            generation.task = Some(slot);
        }
        let task = self.service.task(slot);
        task.outstanding += 1;
        task.backlog.push_back(key);
        if let Some(deadline) = self.balancer.watch(now, key) {
            queue.push(deadline, Event::IdleTimeout);
        }
        self.pull(now, slot, queue);
    }

    /// Queue mode: free workers claim from the front of the queue, those of the least busy task first.
    fn fill(&mut self, now: Instant, queue: &mut Queue) {
        while let Some(key) = self.queue.front().copied() {
            let workers = self.workers;
            let slots = self.service.slots();
            let free = (0..slots.len())
                .filter(|slot| {
                    slots[*slot].state == State::Running && slots[*slot].busy() < workers
                })
                .min_by_key(|slot| slots[*slot].busy());
            let Some(slot) = free else { return };
            self.queue.pop_front();
            self.start(now, slot, key, queue);
        }
    }

    /// One task's free workers take the next work: its backlog in sync mode, the queue otherwise.
    fn pull(&mut self, now: Instant, slot: usize, queue: &mut Queue) {
        loop {
            let task = self.service.task(slot);
            if task.busy() >= self.workers {
                return;
            }
            let next = match (self.scenario.fleet.mode, task.state) {
                (Mode::Queue, State::Running) => self.queue.pop_front(),
                (Mode::Sync, State::Running | State::Draining) => task.backlog.pop_front(),
                _ => None,
            };
            let Some(key) = next else { return };
            // A request given up in the backlog is gone from the system already.
            if self.generations.get(key).is_some() {
                self.start(now, slot, key, queue);
            }
        }
    }

    fn start(&mut self, now: Instant, slot: usize, key: GenerationKey, queue: &mut Queue) {
        let Some(generation) = self.generations.get(key) else {
            return;
        };
        if generation.started.is_none() {
            generation.started = Some(now);
            self.meter.start(now, generation);
        }
        if let Some(released) = generation.released.take() {
            generation.resume(
                now.since(released),
                self.scenario.workload.steps_per_generation,
            );
        }
        generation.running = true;
        let left = generation.length.saturating_sub(generation.done);
        let demand = generation.demand_pico_vcpu;
        self.service.advance(now, slot);
        let task = self.service.task(slot);
        task.start(key, left, demand);
        if task.busy() > self.memory_slots {
            self.kill_out_of_memory(now, slot, queue);
        } else {
            self.schedule_progress(now, slot, queue);
        }
    }

    /// Schedules the task's next completion, unless it is scheduled for that very moment already.
    fn schedule_progress(&mut self, now: Instant, slot: usize, queue: &mut Queue) {
        let task = self.service.task(slot);
        let next = task.next_finish(now);
        if next == task.scheduled {
            return;
        }
        task.scheduled = next;
        task.progress_token = task.progress_token.wrapping_add(1);
        if next < Instant::NEVER {
            queue.push(
                next,
                Event::Progress {
                    slot,
                    token: task.progress_token,
                },
            );
        }
    }

    fn progress(&mut self, now: Instant, slot: usize, queue: &mut Queue) {
        self.service.advance(now, slot);
        self.service.task(slot).scheduled = Instant::NEVER;
        while let Some(key) = self.service.task(slot).pop_finished() {
            self.meter.events += 1;
            let Some(generation) = self.generations.remove(key) else {
                continue;
            };
            let task = self.service.task(slot);
            task.release(generation.demand_pico_vcpu);
            if !generation.cut {
                task.outstanding = task
                    .outstanding
                    .saturating_sub(u32::from(generation.task.is_some()));
                self.meter.complete(now, &generation);
            }
        }
        self.pull(now, slot, queue);
        self.schedule_progress(now, slot, queue);
        self.stop_if_drained(now, slot);
    }

    fn stop_if_drained(&mut self, now: Instant, slot: usize) {
        let task = self.service.task(slot);
        if task.state == State::Draining && task.outstanding == 0 {
            self.empty(now, slot, LossCause::DeregisteredInFlight);
        }
    }

    /// A generation leaves the system without a result.
    fn lose(&mut self, now: Instant, key: GenerationKey, cause: LossCause) {
        let Some(generation) = self.generations.remove(key) else {
            return;
        };
        // One whose connection was cut counts as lost since then.
        if !generation.cut {
            self.meter.lose(now, &generation, cause);
        }
    }

    /// Cuts connections silent for too long. A worker that runs such a request does not learn of it and runs on; one
    /// that waits in a backlog is gone.
    fn cut_silent(&mut self, now: Instant, queue: &mut Queue) {
        while let Some(key) = self.balancer.pop_due(now) {
            let Some(generation) = self.generations.get(key) else {
                continue;
            };
            self.meter.events += 1;
            let slot = generation.task;
            if generation.running {
                generation.cut = true;
                self.meter.lose(now, generation, LossCause::AlbIdleTimeout);
            } else {
                self.lose(now, key, LossCause::AlbIdleTimeout);
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
            }
        }
        if let Some(deadline) = self.balancer.next_deadline() {
            queue.push(deadline, Event::IdleTimeout);
        }
    }

    /// Stops a task now. In queue mode its generations go back to the front of the queue, in sync mode they are lost.
    fn empty(&mut self, now: Instant, slot: usize, cause: LossCause) {
        self.service.advance(now, slot);
        let mut released = Vec::new();
        while let Some((key, left)) = self.service.task(slot).pop_unfinished() {
            if let Some(generation) = self.generations.get(key) {
                generation.done = generation.length.saturating_sub(left);
                generation.released = Some(now);
                generation.running = false;
                released.push((generation.submitted, key));
            }
        }
        while let Some(key) = self.service.task(slot).backlog.pop_front() {
            if let Some(generation) = self.generations.get(key) {
                released.push((generation.submitted, key));
            }
        }
        self.service.stop(now, slot);
        released.sort_unstable();
        for (_, key) in released.into_iter().rev() {
            match self.scenario.fleet.mode {
                Mode::Sync => self.lose(now, key, cause),
                Mode::Queue => self.requeue(now, key, cause),
            }
        }
    }

    fn requeue(&mut self, now: Instant, key: GenerationKey, cause: LossCause) {
        let Some(generation) = self.generations.get(key) else {
            return;
        };
        // A stop is announced and costs no attempt; a crash does.
        generation.crashes += u32::from(cause == LossCause::Oom);
        if generation.crashes >= self.scenario.workload.attempts_max {
            self.lose(now, key, cause);
        } else {
            self.queue.push_front(key);
            self.meter.requeued += 1;
            self.requeued = true;
        }
    }

    fn kill_out_of_memory(&mut self, now: Instant, slot: usize, queue: &mut Queue) {
        self.meter.events += 1;
        self.empty(now, slot, LossCause::Oom);
        self.launch_missing(now, queue);
    }

    fn launch_missing(&mut self, now: Instant, queue: &mut Queue) {
        while self.service.missing() > 0 {
            let (slot, token) = self.service.launch(now);
            queue.push(
                now.after(self.scenario.fleet.start_delay),
                Event::Started { slot, token },
            );
        }
    }

    fn give_up_surplus(&mut self, now: Instant, queue: &mut Queue) {
        let fleet = &self.scenario.fleet;
        while let Some(slot) = self.service.surplus() {
            let starting = self.service.task(slot).state == State::Starting;
            if starting || fleet.mode == Mode::Queue {
                // On SIGTERM a worker releases its leases at once and exits.
                self.empty(now, slot, LossCause::SigkillAfterStopTimeout);
                continue;
            }
            let token = self.service.drain(slot);
            queue.push(
                now.after(self.drain_limit().0),
                Event::DrainOver { slot, token },
            );
            self.stop_if_drained(now, slot);
        }
    }

    /// How long a deregistered task lives at most in sync mode, and what its open requests are lost to.
    fn drain_limit(&self) -> (Duration, LossCause) {
        let fleet = &self.scenario.fleet;
        let drained = (fleet.deregistration_delay, LossCause::DeregisteredInFlight);
        match fleet.stop_order {
            StopOrder::SigtermAtDeregistration
                if fleet.stop_timeout < fleet.deregistration_delay =>
            {
                (fleet.stop_timeout, LossCause::SigkillAfterStopTimeout)
            }
            StopOrder::SigtermAtDeregistration | StopOrder::DrainThenSigterm => drained,
        }
    }

    fn take_metric_point(&mut self, now: Instant, queue: &mut Queue) {
        self.service.advance_all(now);
        let usage = self.service.usage.since(self.usage_at_point);
        self.usage_at_point = self.service.usage;
        let seen = usage.serving_ns > 0;
        let readings = Readings {
            cpu: seen.then(|| self.cpu_share(usage)),
            memory: seen.then(|| self.memory_share(usage)),
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
                self.launch_missing(now, queue);
            }
            Decision::In(tasks) => {
                self.meter.scale_ins += 1;
                self.service.desired = tasks;
                self.give_up_surplus(now, queue);
            }
        }
        queue.push(now.after(METRIC_PERIOD), Event::MetricPoint);
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

    fn cpu_share(&self, usage: Usage) -> f64 {
        usage.cpu as f64 / (usage.serving_ns as f64 * self.scenario.fleet.vcpu * PICO)
    }

    fn memory_share(&self, usage: Usage) -> f64 {
        let profile = &self.scenario.profile;
        let busy_mean = usage.busy_ns as f64 / usage.serving_ns as f64;
        let used_kib =
            profile.memory_base_mib * 1024.0 + profile.memory_per_generation_kib * busy_mean;
        used_kib / (self.scenario.fleet.memory_gib * 1024.0 * 1024.0)
    }

    fn begin_window(&mut self, now: Instant) {
        self.service.advance_all(now);
        self.window = WindowStart {
            at: now,
            usage: self.service.usage,
            existing_ns: self.service.existing_ns(),
            in_system_ns: self.meter.in_system_ns(now),
        };
    }

    /// What the run showed, when it ends now.
    pub(super) fn outcome(mut self, end: Instant) -> Result<Outcome, InvalidScenario> {
        self.service.advance_all(end);
        let in_system_ns = self.meter.in_system_ns(end);
        let mut still_in_system_ns = 0_u128;
        for generation in self.generations.iter().filter(|generation| !generation.cut) {
            still_in_system_ns += u128::from(end.since(generation.submitted).as_nanos());
            self.meter.censor(end, generation);
        }
        debug_assert_eq!(
            in_system_ns,
            self.meter.left_after_ns + still_in_system_ns,
            "Little's law"
        );

        let usage = self.service.usage.since(self.window.usage);
        let window = end.since(self.window.at);
        let window_ns = window.as_nanos() as f64;
        let existing_ns = self.service.existing_ns() - self.window.existing_ns;
        let tasks_mean = existing_ns as f64 / window_ns;
        let seen = usage.serving_ns > 0;
        let share = |value: f64| if seen { value } else { 0.0 };
        let capacity_per_hour = capacity::capacity_per_hour(self.scenario, tasks_mean);
        let waits = self.meter.waits.count();
        Ok(Outcome {
            schema_version: SCHEMA_VERSION,
            seed: self.scenario.seed,
            horizon: self.scenario.horizon,
            warmup: self.scenario.warmup,
            mode: self.scenario.fleet.mode,
            throughput_per_hour: self.meter.completed_in_window as f64 / window.as_hours_f64(),
            wait_s: self.meter.waits.distribution(),
            sojourn_s: self.meter.sojourns.distribution(),
            probability_of_wait: if waits == 0 {
                0.0
            } else {
                self.meter.waited as f64 / waits as f64
            },
            submitted: self.meter.submitted,
            completed: self.meter.completed,
            in_flight_at_end: self.meter.in_system,
            censored_waits: self.meter.censored,
            requeued: self.meter.requeued,
            worker_utilization: share(
                usage.busy_ns as f64 / (usage.serving_ns as f64 * self.workers as f64),
            ),
            cpu_utilization: share(self.cpu_share(usage)),
            memory_utilization: share(self.memory_share(usage)),
            in_system_mean: (in_system_ns - self.window.in_system_ns) as f64 / window_ns,
            tasks_mean,
            tasks_max: self.service.running_max(),
            tasks_at_end: self.service.running(),
            scale_out_count: self.meter.scale_outs,
            scale_in_count: self.meter.scale_ins,
            bottleneck: capacity::bottleneck(&capacity_per_hour),
            capacity_per_hour,
            cost_usd_month: cost::metered(&self.scenario.fleet, existing_ns, window.as_nanos())?,
            events: self.meter.events,
            events_per_second: None,
            lost: self.meter.lost,
        })
    }
}

impl Model for Fleet<'_> {
    type Event = Event;

    fn handle(&mut self, now: Instant, event: Event, queue: &mut Queue) {
        match event {
            Event::Arrival => {
                self.meter.events += 1;
                self.submit(now, queue);
                self.schedule_arrival(queue);
            }
            Event::Progress { slot, token } => {
                if self.service.task(slot).progress_token == token {
                    self.progress(now, slot, queue);
                }
            }
            Event::Started { slot, token } => {
                if self.service.task(slot).lifecycle_token == token {
                    self.meter.events += 1;
                    self.service.serve(now, slot);
                    self.fill(now, queue);
                }
            }
            Event::DrainOver { slot, token } => {
                if self.service.task(slot).lifecycle_token == token {
                    self.meter.events += 1;
                    self.empty(now, slot, self.drain_limit().1);
                }
            }
            Event::IdleTimeout => self.cut_silent(now, queue),
            Event::MetricPoint => {
                self.meter.events += 1;
                self.take_metric_point(now, queue);
            }
            Event::WarmupOver => self.begin_window(now),
        }
        // Ends, because only a task's death sends generations back, and its replacement does not serve yet.
        while std::mem::take(&mut self.requeued) {
            self.fill(now, queue);
        }
    }
}
