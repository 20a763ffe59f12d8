//! What a task has in flight, the one first that ends first.
//!
//! A heap with four children to a node whose bottom is filled up with what never ends. Every way down is then of the same
//! length, and where it goes is selected and not branched to, so that a processor guesses nothing wrong: in a heap that
//! ends where its values do, the end of the way is a guess, and so is whether a value belongs above it.

use std::hint::select_unpredictable;

use crate::model::generation::GenerationKey;

const CHILDREN: usize = 4;

/// When on the task's clock a generation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) finish_ns: u64,
    pub(super) generation: GenerationKey,
}

impl Ending {
    /// Fills a place, and is later than any.
    const NEVER: Ending = Ending {
        finish_ns: u64::MAX,
        generation: GenerationKey::NONE,
    };

    /// Those that end at the same time are told apart by their names.
    #[inline(always)]
    fn key(self) -> u128 {
        u128::from(self.finish_ns) << 64 | u128::from(self.generation.as_u64())
    }

    #[inline(always)]
    fn select(condition: bool, one: Ending, other: Ending) -> Ending {
        Ending {
            finish_ns: select_unpredictable(condition, one.finish_ns, other.finish_ns),
            generation: select_unpredictable(condition, one.generation, other.generation),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct InFlight {
    /// Whole levels of the heap.
    places: Vec<Ending>,
    /// Levels below the first.
    depth: u32,
    count: usize,
}

impl InFlight {
    pub(super) fn new() -> InFlight {
        InFlight {
            places: vec![Ending::NEVER],
            depth: 0,
            count: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[inline]
    pub(super) fn first(&self) -> Option<Ending> {
        (self.count > 0).then(|| self.places[0])
    }

    #[inline]
    pub(super) fn push(&mut self, ending: Ending) {
        if self.count == self.places.len() {
            self.add_level();
        }
        self.count += 1;
        self.move_up(self.count - 1, ending);
    }

    #[inline]
    fn move_up(&mut self, mut place: usize, ending: Ending) {
        while place > 0 {
            let parent = (place - 1) / CHILDREN;
            if self.places[parent].key() < ending.key() {
                break;
            }
            self.places[place] = self.places[parent];
            place = parent;
        }
        self.places[place] = ending;
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Ending> {
        let first = self.first()?;
        self.count -= 1;
        let last = std::mem::replace(&mut self.places[self.count], Ending::NEVER);
        // Of the very last one, nothing is left to be moved down.
        if self.count > 0 {
            self.move_down_from_first(last);
        }
        Some(first)
    }

    /// Puts a value into the first place, and lets the smaller one of it and the smallest child stay there, level by level.
    #[inline]
    fn move_down_from_first(&mut self, ending: Ending) {
        let places = self.places.as_mut_slice();
        let (mut place, mut moving) = (0, ending);
        for _ in 0..self.depth {
            let first = CHILDREN * place + 1;
            let Some(four) = places.get(first..).and_then(|from| from.first_chunk()) else {
                break;
            };
            let (child, smallest) = smallest_of(first, four);
            let stays = moving.key() < smallest.key();
            places[place] = Ending::select(stays, moving, smallest);
            moving = Ending::select(stays, smallest, moving);
            place = child;
        }
        places[place] = moving;
    }

    /// Takes this generation out. Looks at everything in flight.
    pub(super) fn take(&mut self, generation: GenerationKey) -> Option<Ending> {
        let is_meant = |ending: &Ending| ending.generation == generation;
        let place = self.places[..self.count].iter().position(is_meant)?;
        let taken = self.places[place];
        // As if it ended before all others.
        let before_all = Ending {
            finish_ns: 0,
            generation: GenerationKey::FIRST,
        };
        self.move_up(place, before_all);
        self.pop();
        Some(taken)
    }

    #[cold]
    fn add_level(&mut self) {
        self.depth += 1;
        let places = CHILDREN * self.places.len() + 1;
        self.places.resize(places, Ending::NEVER);
    }

    pub(super) fn clear(&mut self) {
        self.places.fill(Ending::NEVER);
        self.count = 0;
    }
}

#[inline(always)]
fn smallest_of(first: usize, four: &[Ending; CHILDREN]) -> (usize, Ending) {
    let smaller = |one: (usize, Ending), other: (usize, Ending)| {
        let is_other = other.1.key() < one.1.key();
        let place = select_unpredictable(is_other, other.0, one.0);
        (place, Ending::select(is_other, other.1, one.1))
    };
    let child = |index: usize| (first + index, four[index]);
    smaller(smaller(child(0), child(1)), smaller(child(2), child(3)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[derive(Clone, Debug)]
    enum Step {
        Push(u64),
        Pop,
        Take(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => (0_u64..50).prop_map(Step::Push),
            3 => Just(Step::Pop),
            1 => any::<usize>().prop_map(Step::Take),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_done_to_it_the_one_that_ends_first_comes_first(
            steps in prop::collection::vec(step(), 0..500)
        ) {
            let mut in_flight = InFlight::new();
            let mut expected = BTreeSet::new();
            let pair = |ending: Ending| (ending.finish_ns, ending.generation);
            for (slot, step) in (0_u32..).zip(steps) {
                match step {
                    Step::Push(finish_ns) => {
                        // As far as the clock goes, every now and then.
                        let finish_ns = if finish_ns == 1 { u64::MAX } else { finish_ns };
                        let generation = GenerationKey::of(slot);
                        in_flight.push(Ending { finish_ns, generation });
                        expected.insert((finish_ns, generation));
                    }
                    Step::Pop => prop_assert_eq!(in_flight.pop().map(pair), expected.pop_first()),
                    Step::Take(drawn) => {
                        let index = drawn % expected.len().max(1);
                        if let Some(wanted) = expected.iter().nth(index).copied() {
                            expected.remove(&wanted);
                            prop_assert_eq!(in_flight.take(wanted.1).map(pair), Some(wanted));
                            prop_assert_eq!(in_flight.take(wanted.1), None);
                        }
                    }
                }
                prop_assert_eq!(in_flight.first().map(pair), expected.first().copied());
                prop_assert_eq!(in_flight.len(), expected.len());
                prop_assert_eq!(in_flight.is_empty(), expected.is_empty());
            }
            let left: Vec<_> = std::iter::from_fn(|| in_flight.pop().map(pair)).collect();
            prop_assert_eq!(left, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
