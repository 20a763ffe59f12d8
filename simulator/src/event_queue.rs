//! Pending events in the order of their time; equal times come out first in, first out.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::time::Instant;

#[derive(Clone, Debug)]
struct Entry<E> {
    time: Instant,
    sequence: u64,
    event: E,
}

impl<E> Entry<E> {
    /// Time and sequence as one number: a single comparison.
    fn key(&self) -> u128 {
        u128::from(self.time.as_nanos()) << 64 | u128::from(self.sequence)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Entry<E>) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Entry<E>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    /// Reversed, because the standard heap gives the largest first.
    fn cmp(&self, other: &Entry<E>) -> Ordering {
        other.key().cmp(&self.key())
    }
}

/// A heap on (time, sequence). There is no cancelling: a model marks its events and ignores the outdated ones.
#[derive(Clone, Debug)]
pub struct EventQueue<E> {
    heap: BinaryHeap<Entry<E>>,
    sequence: u64,
}

impl<E> EventQueue<E> {
    /// An empty queue.
    pub fn new() -> EventQueue<E> {
        EventQueue {
            heap: BinaryHeap::new(),
            sequence: 0,
        }
    }

    /// Adds an event behind those that have the same time.
    pub fn push(&mut self, time: Instant, event: E) {
        self.heap.push(Entry {
            time,
            sequence: self.sequence,
            event,
        });
        self.sequence += 1;
    }

    /// When the next event is due.
    pub fn next_time(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.time)
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<(Instant, E)> {
        self.heap.pop().map(|entry| (entry.time, entry.event))
    }
}

impl<E> Default for EventQueue<E> {
    fn default() -> EventQueue<E> {
        EventQueue::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn events_come_in_time_order_and_equal_times_first_in_first_out(
            times in prop::collection::vec(0_u64..20, 0..200)
        ) {
            let mut queue = EventQueue::new();
            for (index, time) in times.iter().enumerate() {
                queue.push(Instant::from_nanos(*time), index);
            }
            let mut drawn = Vec::new();
            while let Some((time, index)) = queue.pop() {
                drawn.push((time.as_nanos(), index));
            }
            let mut expected: Vec<(u64, usize)> =
                times.iter().enumerate().map(|(index, time)| (*time, index)).collect();
            expected.sort_unstable();
            prop_assert_eq!(drawn, expected);
        }
    }
}
