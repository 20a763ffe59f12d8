//! A heap of small plain values, the one with the smallest key first.
//!
//! The standard heap writes what it sorts to memory and reads it back at once, in pieces of another size, for which a
//! processor has to wait; here the value on its way stays in registers. A node has four children and not two: half as
//! many levels, and the four lie side by side.

use std::hint::select_unpredictable;

const CHILDREN: usize = 4;

/// What is sorted, by a key that differs from those of all others.
pub(crate) trait Keyed: Copy {
    fn key(&self) -> u128;
}

#[derive(Clone, Debug)]
pub(crate) struct Heap<T> {
    items: Vec<T>,
}

impl<T: Keyed> Heap<T> {
    pub(crate) fn new() -> Heap<T> {
        Heap { items: Vec::new() }
    }

    pub(crate) fn first(&self) -> Option<&T> {
        self.items.first()
    }

    #[inline]
    pub(crate) fn push(&mut self, item: T) {
        self.items.push(item);
        self.sift_up(self.items.len() - 1, item);
    }

    #[inline]
    fn sift_up(&mut self, mut hole: usize, item: T) {
        while hole > 0 {
            let parent = (hole - 1) / CHILDREN;
            if self.items[parent].key() < item.key() {
                break;
            }
            self.items[hole] = self.items[parent];
            hole = parent;
        }
        self.items[hole] = item;
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let first = *self.items.first()?;
        let last = self.items.pop()?;
        if !self.items.is_empty() {
            // The last one belongs near the bottom again: a search from there looks at less than one from the top.
            let hole = self.sift_down(0);
            self.sift_up(hole, last);
        }
        Some(first)
    }

    /// Puts a value in the place of the first, of which there must be one.
    // Called, and not inlined, it would be given the value in memory.
    #[inline(always)]
    pub(crate) fn replace_first(&mut self, item: T) {
        let mut hole = 0;
        while let Some(child) = self.smallest_child(hole)
            && self.items[child].key() < item.key()
        {
            self.items[hole] = self.items[child];
            hole = child;
        }
        self.items[hole] = item;
    }

    /// Moves the smallest ones up, from a hole down to the bottom; gives the hole that is left there.
    #[inline(always)]
    fn sift_down(&mut self, mut hole: usize) -> usize {
        while let Some(child) = self.smallest_child(hole) {
            self.items[hole] = self.items[child];
            hole = child;
        }
        hole
    }

    #[inline(always)]
    fn smallest_child(&self, parent: usize) -> Option<usize> {
        let first = CHILDREN * parent + 1;
        let children = self.items.get(first..)?;
        // Selected, and not branched to: a branch would be guessed, and half of the guesses would be wrong.
        let smaller = |one: (usize, u128), other: (usize, u128)| {
            select_unpredictable(other.1 < one.1, other, one)
        };
        let child = |index: usize| (first + index, children[index].key());
        if children.len() >= CHILDREN {
            return Some(smaller(smaller(child(0), child(1)), smaller(child(2), child(3))).0);
        }
        (0..children.len())
            .map(child)
            .reduce(smaller)
            .map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Keyed for u64 {
        fn key(&self) -> u128 {
            u128::from(*self)
        }
    }

    fn sorted(mut heap: Heap<u64>) -> Vec<u64> {
        std::iter::from_fn(|| heap.pop()).collect()
    }

    proptest! {
        #[test]
        fn whatever_is_done_to_it_the_smallest_comes_first(
            values in prop::collection::btree_set(any::<u64>(), 0..100), more in any::<u64>()
        ) {
            let mut heap = Heap::new();
            let shuffled = values.iter().map(|value| value.rotate_left(32));
            shuffled.clone().for_each(|value| heap.push(value));
            let mut expected: Vec<u64> = shuffled.collect();
            expected.sort_unstable();
            prop_assert_eq!(&sorted(heap.clone()), &expected);

            if let Some(first) = expected.first_mut() {
                heap.replace_first(more);
                *first = more;
                expected.sort_unstable();
                prop_assert_eq!(sorted(heap), expected);
            }
        }
    }
}
