//! One generation: how long it is, how far it has come, and where it is kept.

use super::place::Place;
use crate::rng::{BATCH, Draws, Stream};
use crate::scenario::{GenerationLength, lognormal_sigma};
use crate::time::{Duration, Instant, all_nanos_from_f64, nanos_from_f64};

/// The CPU model divides by the length, so none is shorter than this; drawn lengths of a real workload never are.
const SHORTEST_NS: u64 = 1_000;

/// Draws lengths. One per submission, so that the same generation has the same length whatever the fleet is.
#[derive(Debug)]
pub(super) struct Lengths<'a> {
    kind: &'a GenerationLength,
    /// Of the logarithm, where the length is lognormal.
    sigma: f64,
    stream: Stream,
    drawn: usize,
}

impl<'a> Lengths<'a> {
    pub(super) fn new(kind: &'a GenerationLength, seed: u64) -> Lengths<'a> {
        let sigma = match kind {
            GenerationLength::Lognormal { median, p95 } => lognormal_sigma(*median, *p95),
            _ => 0.0,
        };
        Lengths {
            kind,
            sigma,
            stream: Stream::named(seed, "generation lengths"),
            drawn: 0,
        }
    }
}

impl Draws for Lengths<'_> {
    type Drawn = Duration;

    /// Never none.
    fn draw(&mut self, into: &mut Vec<Duration>) {
        if let GenerationLength::Exponential { mean } = self.kind {
            let mean_ns = mean.as_nanos() as f64;
            let nanos = self.stream.exponentials().map(|drawn| mean_ns * drawn);
            into.extend(all_nanos_from_f64(&nanos).map(within_bounds));
        } else {
            into.extend((0..BATCH).map(|_| within_bounds(self.next_ns())));
        }
    }
}

fn within_bounds(nanos: u64) -> Duration {
    Duration::from_nanos(nanos.max(SHORTEST_NS)).min(Duration::LONGEST)
}

impl Lengths<'_> {
    fn next_ns(&mut self) -> u64 {
        match self.kind {
            GenerationLength::Deterministic { length } => length.as_nanos(),
            GenerationLength::Exponential { mean } => {
                nanos_from_f64(mean.as_nanos() as f64 * self.stream.exponential())
            }
            GenerationLength::Uniform { min, max } => {
                let span = max.saturating_sub(*min).as_nanos() as f64;
                min.as_nanos() + nanos_from_f64(span * self.stream.unit())
            }
            GenerationLength::Lognormal { median, .. } => {
                let factor = libm::exp(self.sigma * self.stream.normal());
                nanos_from_f64(median.as_nanos() as f64 * factor)
            }
            GenerationLength::Trace { lengths } => {
                let length = lengths[self.drawn % lengths.len()];
                self.drawn += 1;
                length.as_nanos()
            }
        }
    }
}

/// A generation in the system.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    /// Its place in the order of submission, from 0.
    pub(super) number: u64,
    pub(super) submitted: Instant,
    /// Length when nothing slows it down.
    pub(super) length: Duration,
    /// Demand while it runs, in billionths of a thousandth of a vCPU (10^-12).
    pub(super) demand_pico_vcpu: u128,
    /// Work done so far, of `length`.
    pub(super) done: Duration,
    /// When it lost its worker, while it has none again.
    pub(super) released: Option<Instant>,
    /// Workers it has lost to a crash.
    pub(super) crashes: u32,
    /// The task that holds it, unless it is durable.
    pub(super) task: Option<Place>,
    /// Workers that have taken it so far.
    pub(super) runs: u32,
    /// The task one of whose workers runs it now.
    pub(super) runs_on: Option<Place>,
    /// The async worker that holds it.
    pub(super) process: Option<Place>,
    /// Whether a worker ever took it.
    pub(super) started: bool,
    /// Calls of the AI provider that its async worker has still to wait for, the one under way among them.
    pub(super) calls_left: u32,
    /// Whether it occupies its worker's event loop, or waits for it.
    pub(super) on_loop: bool,
    /// Whether its client is gone and it runs on for nobody: lost already, but its worker does not know.
    pub(super) cut: bool,
}

impl Generation {
    /// Takes it up again at the start of the step it was in: nothing names what the provider did for it meanwhile.
    pub(super) fn begin_step_again(&mut self, steps: u32) {
        let step_ns = (self.length.as_nanos() / u64::from(steps)).max(1);
        let done_ns = self.done.as_nanos() / step_ns * step_ns;
        self.done = Duration::from_nanos(done_ns);
    }

    /// Takes it up again `gap` after its worker was lost: the step that had begun at the AI provider went on
    /// meanwhile, at most to its end.
    pub(super) fn resume(&mut self, gap: Duration, steps: u32) {
        let step_ns = (self.length.as_nanos() / u64::from(steps)).max(1);
        let step = self.done.as_nanos() / step_ns;
        let step_end = if step + 1 >= u64::from(steps) {
            self.length.as_nanos()
        } else {
            (step + 1) * step_ns
        };
        let reached = self
            .done
            .as_nanos()
            .saturating_add(gap.as_nanos())
            .min(step_end);
        self.done = Duration::from_nanos(reached.max(self.done.as_nanos()));
    }
}

/// Names a generation for as long as it is in the system; afterwards it names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GenerationKey {
    /// The slot in the upper half, and how often it had been used in the lower.
    slot_and_serial: u64,
}

impl GenerationKey {
    /// Names nothing: there are never so many slots.
    pub(super) const NONE: GenerationKey = GenerationKey {
        slot_and_serial: u64::MAX,
    };
    /// The first in the order of the names.
    pub(super) const FIRST: GenerationKey = GenerationKey { slot_and_serial: 0 };

    fn new(slot: u32, serial: u32) -> GenerationKey {
        GenerationKey {
            slot_and_serial: u64::from(slot) << 32 | u64::from(serial),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "each half has 32 bits")]
    fn halves(self) -> (u32, u32) {
        (
            (self.slot_and_serial >> 32) as u32,
            self.slot_and_serial as u32,
        )
    }

    fn slot(self) -> u32 {
        self.halves().0
    }

    fn serial(self) -> u32 {
        self.halves().1
    }

    pub(super) fn as_u64(self) -> u64 {
        self.slot_and_serial
    }
}

#[cfg(test)]
impl GenerationKey {
    /// A name of nothing, for tests that move names about.
    pub(super) fn of(slot: u32) -> GenerationKey {
        GenerationKey::new(slot, 0)
    }
}

#[derive(Debug)]
struct Slot {
    serial: u32,
    generation: Option<Generation>,
}

/// The generations in the system. Slots are used again, so that memory grows with what is in flight only.
#[derive(Debug, Default)]
pub(super) struct Generations {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Generations {
    pub(super) fn insert(&mut self, generation: Generation) -> GenerationKey {
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.slots[slot as usize];
            entry.generation = Some(generation);
            return GenerationKey::new(slot, entry.serial);
        }
        let slot = u32::try_from(self.slots.len())
            .expect("checked scenarios submit less than 2^32 generations");
        self.slots.push(Slot {
            serial: 0,
            generation: Some(generation),
        });
        GenerationKey::new(slot, 0)
    }

    pub(super) fn get(&mut self, key: GenerationKey) -> Option<&mut Generation> {
        let slot = &mut self.slots[key.slot() as usize];
        if slot.serial == key.serial() {
            slot.generation.as_mut()
        } else {
            None
        }
    }

    pub(super) fn remove(&mut self, key: GenerationKey) -> Option<Generation> {
        let slot = &mut self.slots[key.slot() as usize];
        if slot.serial != key.serial() {
            return None;
        }
        let generation = slot.generation.take()?;
        self.free(key);
        Some(generation)
    }

    /// Forgets a generation that is in the system.
    pub(super) fn free(&mut self, key: GenerationKey) {
        let slot = &mut self.slots[key.slot() as usize];
        slot.generation = None;
        slot.serial = slot.serial.wrapping_add(1);
        self.free.push(key.slot());
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Generation> {
        self.slots
            .iter()
            .filter_map(|slot| slot.generation.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Ahead;

    fn generation(length: Duration, done: Duration) -> Generation {
        Generation {
            number: 0,
            submitted: Instant::START,
            length,
            demand_pico_vcpu: 0,
            done,
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
        }
    }

    #[test]
    fn the_current_step_goes_on_upstream_but_the_next_one_waits_for_a_worker() {
        let minutes = Duration::from_minutes;
        for (done, gap, reached) in [(3, 1, 4), (3, 10, 5), (11, 60, 15), (0, 0, 0), (14, 2, 15)] {
            // 15 minutes in 3 steps of 5.
            let mut resumed = generation(minutes(15), minutes(done));
            resumed.resume(minutes(gap), 3);
            assert_eq!(resumed.done, minutes(reached), "done {done}, gap {gap}");
        }
    }

    #[test]
    fn without_a_response_id_the_current_step_begins_again() {
        let minutes = Duration::from_minutes;
        for (done, reached) in [(3, 0), (5, 5), (11, 10), (15, 15)] {
            let mut resumed = generation(minutes(15), minutes(done));
            resumed.begin_step_again(3);
            assert_eq!(resumed.done, minutes(reached), "done {done}");
        }
    }

    #[test]
    fn a_key_names_nothing_once_its_generation_is_gone() {
        let mut generations = Generations::default();
        let first = generations.insert(generation(Duration::from_secs(1), Duration::ZERO));
        assert!(generations.remove(first).is_some());
        let second = generations.insert(generation(Duration::from_secs(2), Duration::ZERO));
        assert_ne!(first, second);
        assert!(generations.get(first).is_none() && generations.remove(first).is_none());
        assert_eq!(
            generations.get(second).map(|g| g.length),
            Some(Duration::from_secs(2))
        );
    }

    #[test]
    fn drawn_lengths_have_the_stated_mean() {
        let minutes = Duration::from_minutes;
        for kind in [
            GenerationLength::Exponential { mean: minutes(12) },
            GenerationLength::Uniform {
                min: minutes(10),
                max: minutes(15),
            },
            GenerationLength::Lognormal {
                median: minutes(11),
                p95: minutes(20),
            },
            GenerationLength::Trace {
                lengths: vec![minutes(1), minutes(2), minutes(6)],
            },
        ] {
            let mean = Ahead::of(Lengths::new(&kind, 3))
                .take(200_000)
                .map(Duration::as_secs_f64)
                .sum::<f64>()
                / 200_000.0;
            let stated = kind.mean().as_secs_f64();
            assert!(
                (mean / stated - 1.0).abs() < 0.01,
                "{kind:?}: {mean} for {stated}"
            );
        }
    }
}
