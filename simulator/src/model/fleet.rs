//! The fleet: moves generations between the components, and keeps the service as large as it is wanted.

mod endings;
mod health;
mod processes;
mod report;
mod sizing;

use std::collections::VecDeque;

use super::arrivals::ArrivalProcess;
use super::autoscaler::{Autoscaler, METRIC_PERIOD};
use super::credits::{Credits, is_burstable};
use super::generation::{Generation, GenerationKey, Generations, Lengths};
use super::gunicorn::{Life, Workers};
use super::load_balancer::LoadBalancer;
use super::meter::Meter;
use super::misfortune::Misfortune;
use super::place::Place;
use super::pools::Pools;
use super::rate_limit::RateLimits;
use super::service::Service;
use super::sessions::Sessions;
use super::task::{State, Task, Usage};
use super::upstream::Upstream;
use crate::engine::Model;
use crate::event_queue::EventQueue;
use crate::outcome::LossCause;
use crate::rng::Ahead;
use crate::scenario::{JobStore, Mode, Scenario};
use crate::time::{Duration, Instant, nanos_from_f64};
use crate::trace::{Happening, Sink};

/// 10^-12 of a vCPU: fine enough that a millisecond of CPU in 15 minutes is still a million units.
const PICO: f64 = 1e12;

#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Arrival,
    /// A task's next generation comes to its end.
    Progress {
        slot: Place,
        token: u32,
    },
    /// A launched task begins to serve.
    Started {
        slot: Place,
        token: u32,
    },
    /// A draining task's time is over.
    DrainOver {
        slot: Place,
        token: u32,
        cause: LossCause,
    },
    /// A worker that still runs this generation, for this time in its life, is torn from it.
    Interrupt {
        key: GenerationKey,
        run: u32,
        cause: LossCause,
    },
    Deploy,
    /// The older version of a blue/green deployment may stop.
    Baked {
        revision: u32,
    },
    /// A Spot task is told that its capacity is wanted back.
    SpotNotice {
        slot: Place,
        token: u32,
    },
    ZoneLost,
    ZoneBack,
    /// The next async worker of a task has answered its requests.
    Recycle {
        slot: Place,
        token: u32,
    },
    /// The successor of an async worker accepts.
    Booted {
        life: Life,
    },
    /// An async worker has drained for as long as it may.
    DrainTimeout {
        life: Life,
    },
    /// A task is asked whether it is well.
    HealthCheck {
        slot: Place,
        token: u32,
    },
    /// The oldest silent connection may have to be cut.
    IdleTimeout,
    MetricPoint,
    WarmupOver,
}

/// What a generation lives and dies with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    /// The database: it outlives its workers.
    Queue,
    /// Its open request, and the task that holds it.
    Request,
    /// The task that accepted it; nobody waits on a connection.
    Process,
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
    home: Home,
    upstream: Upstream,
    cpu_ns_per_generation: u128,
    demand_of_polls_pico_vcpu: u128,
    /// Generations that fit into one task's memory.
    memory_slots: usize,
    workers: usize,
    arrivals: Ahead<ArrivalProcess<'a>>,
    lengths: Ahead<Lengths<'a>>,
    generations: Generations,
    queue: VecDeque<GenerationKey>,
    service: Service,
    balancer: LoadBalancer,
    autoscaler: Autoscaler,
    misfortune: Misfortune,
    rate_limits: RateLimits,
    db_credits: Option<Credits>,
    /// What tasks connect to when they start.
    pools: Pools,
    /// What Redis holds, where it is looked at.
    sessions: Option<Sessions>,
    unhealthy_replaced: u64,
    /// The async workers of all tasks, where workers are async.
    gunicorn: Option<Workers>,
    usage_at_point: Usage,
    requests_at_point: u64,
    window: WindowStart,
    meter: Meter<'a>,
    /// Whether generations came back to the queue in the midst of an event, and free workers must look again.
    requeued: bool,
    /// Whether tasks may have to be started or stopped after the event.
    unsettled: bool,
}

type Queue = EventQueue<Event>;

impl<'a> Fleet<'a> {
    /// The desired tasks already serve; nothing is in flight.
    pub(super) fn at_start(scenario: &'a Scenario, sink: Sink<'a>) -> (Fleet<'a>, Queue) {
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
            home: match (fleet.mode, fleet.job_store) {
                (Mode::Sync, _) => Home::Request,
                (Mode::Queue, JobStore::InProcess) => Home::Process,
                (Mode::Queue, JobStore::Durable) => Home::Queue,
            },
            upstream: Upstream::new(fleet, workload.steps_per_generation),
            // An async worker does its work between the calls, not while it waits for them.
            cpu_ns_per_generation: match fleet.async_workers() {
                None => u128::from(nanos_from_f64(profile.cpu_s_per_generation * 1e9)),
                Some(_) => 0,
            },
            demand_of_polls_pico_vcpu: u128::from(nanos_from_f64(
                profile.cpu_s_per_poll * polls_per_s * PICO,
            )),
            // Without memory per generation the quotient is infinite and the slots are without end.
            memory_slots: usize::try_from(nanos_from_f64(memory_slots)).unwrap_or(usize::MAX),
            workers: usize::try_from(fleet.workers).unwrap_or(usize::MAX),
            arrivals: Ahead::of(ArrivalProcess::new(&workload.arrivals, *seed)),
            lengths: Ahead::of(Lengths::new(&workload.generation, *seed)),
            generations: Generations::default(),
            queue: VecDeque::new(),
            service: Service::new(*seed, capacity_pico_vcpu, fleet),
            balancer: LoadBalancer::new(fleet, workload.client_gives_up_after),
            autoscaler: Autoscaler::new(&fleet.autoscaling, fleet.tasks),
            misfortune: Misfortune::new(scenario),
            rate_limits: RateLimits::new(scenario),
            db_credits: workload
                .db_cpu_s_per_generation
                .filter(|_| is_burstable(&fleet.db_instance_class))
                .map(Credits::new),
            pools: Pools::new(fleet),
            sessions: fleet.redis.map(Sessions::new),
            unhealthy_replaced: 0,
            gunicorn: fleet
                .async_workers()
                .map(|settings| Workers::new(scenario, settings)),
            usage_at_point: Usage::default(),
            requests_at_point: 0,
            window: WindowStart::default(),
            meter: Meter::new(scenario.warmup, sink),
            requeued: false,
            unsettled: false,
        };
        let mut queue = EventQueue::new();
        while model.service.missing() > 0 {
            let zone = model.misfortune.zone(model.service.slots());
            let (slot, token) = model.service.launch(Instant::START, zone);
            if model.pools.open() {
                model.serve(Instant::START, slot, &mut queue);
            } else {
                let (at, slot) = (Instant::START.after(fleet.start_delay), Place::of(slot));
                queue.push(at, Event::Started { slot, token });
            }
        }
        queue.push(Instant::START.after(scenario.warmup), Event::WarmupOver);
        if !model.autoscaler.is_off() {
            queue.push(Instant::START.after(METRIC_PERIOD), Event::MetricPoint);
        }
        if let Some(deployments) = fleet.deployments {
            queue.push(Instant::START.after(deployments.every), Event::Deploy);
        }
        if let Some(loss) = fleet.az_loss {
            queue.push(Instant::START.after(loss.at), Event::ZoneLost);
        }
        model.schedule_arrival(&mut queue);
        (model, queue)
    }

    fn serve(&mut self, now: Instant, slot: usize, queue: &mut Queue) {
        self.service.serve(now, slot);
        self.meter
            .sink
            .record(now, Happening::TaskServes { task: slot });
        if let Some(at) = self.misfortune.interruption(now) {
            let token = self.service.task(slot).lifecycle_token;
            let slot = Place::of(slot);
            queue.push(at, Event::SpotNotice { slot, token });
        }
        self.schedule_first_check(now, slot, queue);
        if let Some(workers) = &mut self.gunicorn {
            workers.serve(now, slot);
            self.accept(now, slot, queue);
        }
    }

    fn schedule_arrival(&mut self, queue: &mut Queue) {
        if let Some(at) = self.arrivals.next() {
            queue.push_single(at, Event::Arrival);
        }
    }

    /// What a generation of this length asks for while it runs.
    fn demand(&self, length: Duration) -> u128 {
        if self.cpu_ns_per_generation == 0 {
            // A division of 128 bits saved.
            return self.demand_of_polls_pico_vcpu;
        }
        self.cpu_ns_per_generation * 1_000_000_000_000 / u128::from(length.as_nanos())
            + self.demand_of_polls_pico_vcpu
    }

    fn submit(&mut self, now: Instant, queue: &mut Queue) {
        let length = self.lengths.next().expect("lengths never end");
        let key = self.generations.insert(Generation {
            number: self.meter.submitted,
            submitted: now,
            length,
            demand_pico_vcpu: self.demand(length),
            done: Duration::ZERO,
            released: None,
            crashes: 0,
            task: None,
            runs: 0,
            runs_on: None,
            process: None,
            started: false,
            calls_left: 0,
            on_loop: false,
            cut: false,
        });
        self.meter.submit(now);
        if let Some(sessions) = &mut self.sessions
            && !sessions.let_in(now)
        {
            self.lose(now, key, LossCause::SessionStore);
            return;
        }
        match self.home {
            Home::Queue => {
                // Most find a free worker and need not queue.
                if self.queue.is_empty()
                    && let Some(slot) = self.service.least_busy(self.workers)
                {
                    self.start(now, slot, key, queue);
                } else {
                    self.queue.push_back(key);
                }
                self.fill(now, queue);
            }
            Home::Request | Home::Process => self.route(now, key, queue),
        }
    }

    /// The load balancer hands the request to a task, where it, or the job it leaves, waits for a worker.
    fn route(&mut self, now: Instant, key: GenerationKey, queue: &mut Queue) {
        let Some(slot) = self.balancer.pick(&self.service) else {
            self.lose(now, key, LossCause::NoTarget);
            return;
        };
        if let Some(generation) = self.generations.get(key) {
            generation.task = Some(Place::of(slot));
        }
        let task = self.service.task(slot);
        task.outstanding += 1;
        task.backlog.push_back(key);
        if self.home == Home::Request
            && let Some(deadline) = self.balancer.watch(now, key)
        {
            queue.push(deadline, Event::IdleTimeout);
        }
        self.pull(now, slot, queue);
    }

    /// Queue mode: free workers claim from the front of the queue, those of the least busy task first.
    fn fill(&mut self, now: Instant, queue: &mut Queue) {
        while let Some(key) = self.queue.front().copied() {
            let Some(slot) = self.service.least_busy(self.workers) else {
                return;
            };
            self.queue.pop_front();
            self.start(now, slot, key, queue);
        }
    }

    /// Whether there may be work for a task's free workers.
    #[inline]
    fn has_work(&self) -> bool {
        self.home != Home::Queue || !self.queue.is_empty()
    }

    /// One task's free workers take the next work: its backlog in sync mode, the queue otherwise.
    fn pull(&mut self, now: Instant, slot: usize, queue: &mut Queue) {
        if self.gunicorn.is_some() {
            self.accept(now, slot, queue);
            return;
        }
        loop {
            let task = self.service.task(slot);
            if task.busy() >= self.workers {
                return;
            }
            let next = match (self.home, task.state) {
                (Home::Queue, State::Running) => self.queue.pop_front(),
                (Home::Request | Home::Process, State::Running | State::Draining) => {
                    task.backlog.pop_front()
                }
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
        if !generation.started {
            generation.started = true;
            self.meter.start(now, generation);
        }
        if let Some(released) = generation.released.take() {
            self.upstream.resume(generation, now.since(released));
        }
        generation.runs += 1;
        generation.runs_on = Some(Place::of(slot));
        let number = generation.number;
        let submitted_demand = generation.demand_pico_vcpu;
        let (run, length, done) = (generation.runs, generation.length, generation.done);
        let Some(stall) = self.stall(now, key) else {
            self.refuse(now, slot, key, queue);
            return;
        };
        // Stands already when this is its first worker and nothing stretches it: a division of 128 bits saved.
        let stands = run == 1 && stall.is_zero();
        let demand = if stands {
            submitted_demand
        } else {
            self.demand(length.plus(stall))
        };
        if !stands && let Some(generation) = self.generations.get(key) {
            generation.demand_pico_vcpu = demand;
        }
        self.meter.sink.record(
            now,
            Happening::Started {
                generation: number,
                task: slot,
            },
        );
        let left = match (&self.gunicorn, self.generations.get(key)) {
            (Some(workers), Some(generation)) => {
                generation.calls_left = workers.calls();
                workers.call(generation)
            }
            _ => length.saturating_sub(done),
        };
        let (task, usage) = self.service.task_and_usage(slot);
        task.advance(now, usage);
        task.start(key, left.plus(stall), demand);
        let held = match &self.gunicorn {
            Some(workers) => workers.held(slot),
            None => task.busy(),
        };
        if held > self.memory_slots {
            self.kill_out_of_memory(now, slot);
            return;
        }
        schedule_progress(now, slot, task, queue);
        if let Some((after, cause)) = self.interruption(length) {
            // What takes just as long as it may is still done.
            let begins = if cause == LossCause::NatIdleReset {
                now.after(stall)
            } else {
                now
            };
            let at = begins.after(after).after(Duration::from_nanos(1));
            // Most are outdated by then, and would only lengthen the search for the place of the others.
            queue.push_in_order(at, Event::Interrupt { key, run, cause });
        }
    }

    /// Schedules the task's next completion, unless it is scheduled for that very moment already.
    fn schedule_progress(&mut self, now: Instant, slot: usize, queue: &mut Queue) {
        schedule_progress(now, slot, self.service.task(slot), queue);
    }

    /// A task's next generations have come to their end; its free workers take the next work.
    fn progress(&mut self, now: Instant, slot: usize, queue: &mut Queue) {
        let (task, usage) = self.service.task_and_usage(slot);
        task.advance(now, usage);
        task.scheduled = Instant::NEVER;
        while let Some(key) = self.service.task(slot).pop_finished() {
            self.meter.events += 1;
            if self.gunicorn.is_some() && self.go_on(slot, key) {
                continue;
            }
            self.end(now, slot, key, queue);
        }
        if self.has_work() {
            self.pull(now, slot, queue);
        }
        let task = self.service.task(slot);
        schedule_progress(now, slot, task, queue);
        if task.state == State::Draining {
            self.stop_if_drained(now, slot);
        }
        self.note_idle(slot);
    }

    /// A generation has come to its end, and its worker is free.
    #[inline(always)]
    fn end(&mut self, now: Instant, slot: usize, key: GenerationKey, queue: &mut Queue) {
        // Looked at where it is stored: it is too large to be taken out first.
        let Some(generation) = self.generations.get(key) else {
            return;
        };
        let task = self.service.task(slot);
        task.release(generation.demand_pico_vcpu);
        if !generation.cut {
            task.outstanding = task
                .outstanding
                .saturating_sub(u32::from(generation.task.is_some()));
            self.meter.complete(now, generation);
        }
        if let Some(credits) = &mut self.db_credits {
            credits.spend(now);
        }
        let process = generation.process.map(Place::index);
        self.generations.free(key);
        if process.is_some() {
            self.leave_process(now, (slot, process), key, queue);
        }
    }
}

// Inlined, the event goes from where it is made to its place in the queue.
#[inline(always)]
fn schedule_progress(now: Instant, slot: usize, task: &mut Task, queue: &mut Queue) {
    if let Some((at, token)) = task.next_progress(now) {
        let slot = Place::of(slot);
        queue.push(at, Event::Progress { slot, token });
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
                let slot = slot.index();
                if self.service.task(slot).progress_token == token {
                    self.progress(now, slot, queue);
                }
            }
            Event::Started { slot, token } => {
                let slot = slot.index();
                if self.service.task(slot).lifecycle_token == token {
                    self.meter.events += 1;
                    if self.pools.open() {
                        self.serve(now, slot, queue);
                        self.unsettled |= self.service.is_deploying();
                        self.fill(now, queue);
                    } else {
                        self.empty(now, slot, LossCause::DbConnections);
                    }
                }
            }
            Event::DrainOver { slot, token, cause } => {
                let slot = slot.index();
                if self.service.task(slot).lifecycle_token == token {
                    self.meter.events += 1;
                    self.empty(now, slot, cause);
                }
            }
            Event::Interrupt { key, run, cause } => self.interrupt(now, (key, run), cause, queue),
            Event::SpotNotice { slot, token } => {
                let slot = slot.index();
                if self.service.task(slot).lifecycle_token == token {
                    self.interrupt_task(now, slot, queue);
                }
            }
            Event::ZoneLost => self.lose_zone(now, queue),
            Event::ZoneBack => self.misfortune.zone_is_back(),
            Event::Recycle { slot, token } => self.recycle(now, slot.index(), token, queue),
            Event::Booted { life } => self.booted(now, life, queue),
            Event::DrainTimeout { life } => self.kill_draining(now, life, queue),
            Event::Deploy => {
                self.meter.events += 1;
                self.deploy(now, queue);
            }
            Event::Baked { revision } => {
                if self.service.bake_over(revision) {
                    self.meter.events += 1;
                    self.unsettled = true;
                }
            }
            Event::HealthCheck { slot, token } => {
                self.check_health(now, slot.index(), token, queue);
            }
            Event::IdleTimeout => self.cut_silent(now, queue),
            Event::MetricPoint => {
                self.meter.events += 1;
                self.take_metric_point(now, queue);
            }
            Event::WarmupOver => self.begin_window(now),
        }
        // Ends, because only a task's death sends generations back, and its replacement does not serve yet.
        while self.unsettled || self.requeued {
            if std::mem::take(&mut self.unsettled) {
                self.settle(now, queue);
            }
            if std::mem::take(&mut self.requeued) {
                self.fill(now, queue);
            }
        }
    }
}
