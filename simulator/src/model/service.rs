//! The ECS service: keeps as many tasks as are desired, and pays for each from its start to its stop.

use super::task::{State, Task, Usage};
use crate::rng::Stream;
use crate::scenario::{DeploymentStrategy, Deployments, Fleet};
use crate::time::Instant;

/// More than any task has workers.
const NOT_RUNNING: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Service {
    slots: Vec<Task>,
    /// The busy workers of each slot's task, [`NOT_RUNNING`] where it takes no work: side by side, for a task itself
    /// is too large to be looked at for each generation.
    loads: Vec<u32>,
    /// The task handed out last: its load may have changed since.
    touched: usize,
    /// No running task before this slot is idle.
    idle_from: usize,
    free_slots: Vec<usize>,
    stream: Stream,
    capacity_pico_vcpu: u128,
    /// Tasks wanted.
    pub(super) desired: u32,
    deployments: Option<Deployments>,
    /// Whether a task that has work is spared.
    protects: bool,
    /// The version wanted; goes up with every deployment.
    revision: u32,
    deployments_completed: u64,
    /// Blue/green: whether the newer version takes all requests.
    shifted: bool,
    /// Blue/green: whether the older version may stop.
    baked: bool,
    /// Tasks that start or run; draining ones no longer count as wanted.
    active: u32,
    /// Those of them that have the version wanted.
    current: u32,
    running: u32,
    running_max: u32,
    existing: u32,
    existing_ns: u128,
    existing_since: Instant,
    /// Time that serving tasks spent.
    pub(super) usage: Usage,
}

impl Service {
    pub(super) fn new(seed: u64, capacity_pico_vcpu: u128, fleet: &Fleet) -> Service {
        Service {
            slots: Vec::new(),
            loads: Vec::new(),
            touched: 0,
            idle_from: 0,
            free_slots: Vec::new(),
            stream: Stream::named(seed, "service"),
            capacity_pico_vcpu,
            desired: fleet.tasks.desired,
            deployments: fleet.deployments,
            protects: fleet.task_protection,
            revision: 0,
            deployments_completed: 0,
            shifted: false,
            baked: false,
            active: 0,
            current: 0,
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

    #[inline]
    pub(super) fn task(&mut self, slot: usize) -> &mut Task {
        self.task_and_usage(slot).0
    }

    /// A task, and the time that all of them spent, which its clock adds to.
    #[inline]
    pub(super) fn task_and_usage(&mut self, slot: usize) -> (&mut Task, &mut Usage) {
        if slot != self.touched {
            self.note_load(self.touched);
            self.touched = slot;
        }
        (&mut self.slots[slot], &mut self.usage)
    }

    fn note_load(&mut self, slot: usize) {
        let Some(task) = self.slots.get(slot) else {
            return;
        };
        let runs = task.state == State::Running;
        let busy = u32::try_from(task.busy()).unwrap_or(NOT_RUNNING);
        self.loads[slot] = if runs { busy } else { NOT_RUNNING };
        if self.loads[slot] == 0 {
            self.idle_from = self.idle_from.min(slot);
        }
    }

    /// The slot of the running task with a free worker that has the fewest busy ones, the first of several.
    pub(super) fn least_busy(&mut self, workers: usize) -> Option<usize> {
        self.note_load(self.touched);
        // Nobody is less busy than idle, and a fleet of thousands need not be looked through for each generation.
        while let Some(load) = self.loads.get(self.idle_from) {
            if *load == 0 {
                return (workers > 0).then_some(self.idle_from);
            }
            self.idle_from += 1;
        }
        let (slot, load) = self
            .loads
            .iter()
            .enumerate()
            .min_by_key(|(_, load)| **load)?;
        ((*load as usize) < workers).then_some(slot)
    }

    pub(super) fn running(&self) -> u32 {
        self.running
    }

    pub(super) fn running_max(&self) -> u32 {
        self.running_max
    }

    pub(super) fn deployments_completed(&self) -> u64 {
        self.deployments_completed
    }

    /// Whether tasks of an older version still start or run.
    fn is_rolling(&self) -> bool {
        self.current < self.active
    }

    /// Whether a deployment is not yet completed.
    pub(super) fn is_deploying(&self) -> bool {
        u64::from(self.revision) > self.deployments_completed
    }

    /// From now on every task there is has an older version than the one wanted.
    pub(super) fn begin_deployment(&mut self) {
        self.revision += 1;
        self.current = 0;
        (self.shifted, self.baked) = (false, false);
    }

    fn is_blue_green(&self) -> bool {
        self.deployments
            .is_some_and(|stated| stated.strategy == DeploymentStrategy::BlueGreen)
    }

    /// Moves all requests to the newer version once all of it runs; gives its revision when that has just happened.
    pub(super) fn shift(&mut self) -> Option<u32> {
        if !self.is_blue_green() || !self.is_rolling() || self.shifted {
            return None;
        }
        let serve = self
            .slots
            .iter()
            .filter(|task| task.state == State::Running && task.revision == self.revision);
        if serve.count() < usize::try_from(self.desired).unwrap_or(usize::MAX) {
            return None;
        }
        self.shifted = true;
        Some(self.revision)
    }

    /// The older version has had its time; false when a later deployment has begun meanwhile.
    pub(super) fn bake_over(&mut self, revision: u32) -> bool {
        let current = revision == self.revision && self.shifted;
        self.baked |= current;
        current
    }

    /// Whether the load balancer sends requests to this task.
    pub(super) fn takes_requests(&self, slot: usize) -> bool {
        let task = &self.slots[slot];
        task.state == State::Running && (!self.shifted || task.revision == self.revision)
    }

    /// Counts the deployment as completed once the tasks wanted run, all of the version wanted.
    pub(super) fn end_deployment(&mut self) {
        if self.is_deploying() && self.current == self.active && self.running >= self.desired {
            // One that overtakes another completes it as well.
            self.deployments_completed = u64::from(self.revision);
        }
    }

    /// Tasks to be started now: a deployment waits with those that would go beyond its maximum.
    pub(super) fn missing(&self) -> u32 {
        let wanted = self.desired.saturating_sub(self.current);
        match self.deployments {
            Some(deployments) if self.is_rolling() && !self.is_blue_green() => wanted.min(
                deployments
                    .tasks_max(self.desired)
                    .saturating_sub(self.active),
            ),
            _ => wanted,
        }
    }

    /// Starts one task in this zone and pays for it from now on; gives its slot and the token of its start.
    pub(super) fn launch(&mut self, now: Instant, zone: u32) -> (usize, u32) {
        self.count_existing(now);
        self.existing += 1;
        self.active += 1;
        self.current += 1;
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.slots.push(Task::free_slot(self.capacity_pico_vcpu));
            self.loads.push(NOT_RUNNING);
            self.slots.len() - 1
        });
        let task = &mut self.slots[slot];
        task.state = State::Starting;
        task.revision = self.revision;
        task.zone = zone;
        (slot, task.lifecycle_token)
    }

    /// A launched task begins to serve.
    pub(super) fn serve(&mut self, now: Instant, slot: usize) {
        self.task(slot).serve(now);
        self.running += 1;
        self.running_max = self.running_max.max(self.running);
    }

    /// The task to stop next: one too many, or one of an older version that the deployment may do without.
    pub(super) fn next_to_stop(&mut self) -> Option<usize> {
        if self.current > self.desired
            && let Some(slot) = self.pick(true)
        {
            return Some(slot);
        }
        let deployments = self.deployments.filter(|_| self.is_rolling())?;
        if self.is_blue_green() {
            return self.baked.then(|| self.pick(false)).flatten();
        }
        self.pick_outdated(deployments.tasks_min(self.desired))
    }

    /// One that has not started yet, else any running one. ECS balances zones and says nothing of what is in flight,
    /// so the choice is a fair draw.
    fn pick(&mut self, current: bool) -> Option<usize> {
        let (revision, protects) = (self.revision, self.protects);
        let is_in = |state: State, task: &Task| {
            task.state == state && (task.revision == revision) == current
        };
        let starting = self
            .slots
            .iter()
            .rposition(|task| is_in(State::Starting, task));
        if starting.is_some() {
            return starting;
        }
        let may_stop = |task: &Task| is_in(State::Running, task) && (!protects || task.is_idle());
        let count = self.slots.iter().filter(|task| may_stop(task)).count();
        let drawn = self.stream.below(count);
        let running = self.slots.iter().enumerate();
        running
            .filter(|(_, task)| may_stop(task))
            .nth(drawn)
            .map(|(slot, _)| slot)
    }

    fn pick_outdated(&mut self, running_min: u32) -> Option<usize> {
        let starts = self
            .slots
            .iter()
            .any(|task| task.state == State::Starting && task.revision != self.revision);
        (starts || self.running > running_min)
            .then(|| self.pick(false))
            .flatten()
    }

    /// A running task is deregistered and finishes what it has; gives the token of its deadline.
    pub(super) fn drain(&mut self, slot: usize) -> u32 {
        self.forget(slot);
        self.running -= 1;
        let task = &mut self.slots[slot];
        task.state = State::Draining;
        task.lifecycle_token = task.lifecycle_token.wrapping_add(1);
        let token = task.lifecycle_token;
        self.note_load(slot);
        token
    }

    /// A task is gone, and nobody pays for it any more. Its generations must have been taken out.
    pub(super) fn stop(&mut self, now: Instant, slot: usize) {
        self.count_existing(now);
        self.existing -= 1;
        match self.slots[slot].state {
            State::Free => unreachable!("only a task that exists is stopped"),
            State::Starting => self.forget(slot),
            State::Running => {
                self.forget(slot);
                self.running -= 1;
            }
            State::Draining => {}
        }
        self.slots[slot].stop();
        self.note_load(slot);
        self.free_slots.push(slot);
    }

    /// A task no longer counts as wanted.
    fn forget(&mut self, slot: usize) {
        self.active -= 1;
        self.current -= u32::from(self.slots[slot].revision == self.revision);
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

    /// The most that the generations of one task ever asked of its CPU, in 10^-12 of a vCPU.
    pub(super) fn demand_peak_pico_vcpu(&self) -> u128 {
        self.slots
            .iter()
            .map(|task| task.demand_peak_pico_vcpu)
            .max()
            .unwrap_or(0)
    }

    fn count_existing(&mut self, now: Instant) {
        let elapsed = u128::from(now.since(self.existing_since).as_nanos());
        self.existing_ns += u128::from(self.existing) * elapsed;
        self.existing_since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::generation::GenerationKey;
    use crate::scenario::Tasks;
    use crate::time::Duration;

    /// As [`Service::least_busy`], of every task.
    fn looked_through(service: &Service, workers: usize) -> Option<usize> {
        let free = |task: &Task| task.state == State::Running && task.busy() < workers;
        let slots = (0..service.slots.len()).filter(|slot| free(&service.slots[*slot]));
        slots.min_by_key(|slot| service.slots[*slot].busy())
    }

    #[test]
    fn the_least_busy_task_is_found_whatever_happened_before() {
        const WORKERS: usize = 2;
        let mut service = Service::new(7, 1, &Fleet::new(1.0, 2.0, 2, Tasks::fixed(8)));
        let mut stream = Stream::named(7, "test");
        let launch = |service: &mut Service| {
            let (slot, _) = service.launch(Instant::START, 0);
            service.serve(Instant::START, slot);
        };
        (0..8).for_each(|_| launch(&mut service));
        for step in 0..5_000 {
            let found = service.least_busy(WORKERS);
            assert_eq!(found, looked_through(&service, WORKERS), "step {step}");
            let slot = stream.below(service.slots.len());
            match stream.below(8) {
                0 if service.task(slot).state == State::Running => {
                    service.drain(slot);
                }
                1 if service.task(slot).state != State::Free => service.stop(Instant::START, slot),
                2 | 3 if service.running < 8 => launch(&mut service),
                4 | 5 => {
                    service.task(slot).pop_unfinished();
                }
                _ => {
                    if let Some(slot) = found {
                        let key = GenerationKey::of(step);
                        service.task(slot).start(key, Duration::from_secs(1), 0);
                    }
                }
            }
        }
    }
}
