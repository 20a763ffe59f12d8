//! Pending events in the order of their time; equal times come out first in, first out.

use std::collections::VecDeque;

use crate::heap::{Heap, Keyed};
use crate::time::Instant;

#[derive(Clone, Copy, Debug)]
struct Entry<E> {
    time: Instant,
    sequence: u64,
    event: E,
}

impl<E: Copy> Keyed for Entry<E> {
    /// Time and sequence as one number: a single comparison.
    fn key(&self) -> u128 {
        u128::from(self.time.as_nanos()) << 64 | u128::from(self.sequence)
    }
}

/// A heap on (time, sequence), and beside it what needs none: a row of events that came in the order of their time, and
/// an event of a kind of which only one is pending. There is no cancelling: a model marks its events and ignores the
/// outdated ones.
#[derive(Clone, Debug)]
pub struct EventQueue<E> {
    heap: Heap<Entry<E>>,
    /// Whether the first of the heap has been taken already. Most events schedule another, which takes its place: the
    /// heap is put in order once and not twice.
    first_is_taken: bool,
    row: VecDeque<Entry<E>>,
    single: Option<Entry<E>>,
    next: Place,
    sequence: u64,
}

/// Where the event stands that was found to be the next one.
#[derive(Clone, Copy, Debug)]
enum Place {
    Heap,
    Row,
    Single,
}

impl<E: Copy> EventQueue<E> {
    /// An empty queue.
    pub fn new() -> EventQueue<E> {
        EventQueue {
            heap: Heap::new(),
            first_is_taken: false,
            row: VecDeque::new(),
            single: None,
            next: Place::Heap,
            sequence: 0,
        }
    }

    /// Adds an event behind those that have the same time.
    // Inlined, the event goes from where it is made to its place; called, it takes a way through memory.
    #[inline(always)]
    pub fn push(&mut self, time: Instant, event: E) {
        let entry = self.entry(time, event);
        self.sort_in(entry);
    }

    /// As [`EventQueue::push`], for events most of which are later than all those that were added this way before, as
    /// the ends of equally long time-outs are: such a one costs no search for its place.
    pub fn push_in_order(&mut self, time: Instant, event: E) {
        let entry = self.entry(time, event);
        if self.row.back().is_some_and(|last| last.time > time) {
            self.sort_in(entry);
        } else {
            self.row.push_back(entry);
        }
    }

    /// As [`EventQueue::push`], for events each of which is added when the one before has been taken, as each arrival
    /// schedules the next: such a one needs no place among the others.
    #[inline]
    pub fn push_single(&mut self, time: Instant, event: E) {
        let entry = self.entry(time, event);
        if self.single.is_some() {
            self.sort_in(entry);
        } else {
            self.single = Some(entry);
        }
    }

    #[inline(always)]
    fn entry(&mut self, time: Instant, event: E) -> Entry<E> {
        let sequence = self.sequence;
        self.sequence += 1;
        Entry {
            time,
            sequence,
            event,
        }
    }

    #[inline(always)]
    fn sort_in(&mut self, entry: Entry<E>) {
        if std::mem::take(&mut self.first_is_taken) {
            self.heap.replace_first(entry);
        } else {
            self.heap.push(entry);
        }
    }

    /// When the next event is due; none when none is pending.
    #[inline]
    pub fn next_time(&mut self) -> Option<Instant> {
        if std::mem::take(&mut self.first_is_taken) {
            self.heap.pop();
        }
        let mut next = self.heap.first();
        self.next = Place::Heap;
        for (other, place) in [
            (self.row.front(), Place::Row),
            (self.single.as_ref(), Place::Single),
        ] {
            if other.is_some_and(|other| next.is_none_or(|next| other.key() < next.key())) {
                next = other;
                self.next = place;
            }
        }
        next.map(|entry| entry.time)
    }

    /// Takes the event that [`EventQueue::next_time`] has just found. It is handed over apart from its time, and not as an
    /// option: it is copied as it is stored, where an option would be taken to pieces.
    ///
    /// # Panics
    /// When none was found.
    #[inline]
    pub fn take_next(&mut self) -> E {
        const FOUND: &str = "next_time() has found one";
        match self.next {
            Place::Heap => {
                self.first_is_taken = true;
                self.heap.first().expect(FOUND).event
            }
            Place::Row => self.row.pop_front().expect(FOUND).event,
            Place::Single => self.single.take().expect(FOUND).event,
        }
    }
}

impl<E: Copy> Default for EventQueue<E> {
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
            times in prop::collection::vec((0_u64..20, 0..3), 0..200)
        ) {
            let mut queue = EventQueue::new();
            for (index, (time, way)) in times.iter().enumerate() {
                let time = Instant::from_nanos(*time);
                match way {
                    0 => queue.push(time, index),
                    1 => queue.push_in_order(time, index),
                    _ => queue.push_single(time, index),
                }
            }
            let mut drawn = Vec::new();
            for end in [5, 5, u64::MAX] {
                while let Some(time) = queue.next_time().filter(|time| time.as_nanos() <= end) {
                    drawn.push((time.as_nanos(), queue.take_next()));
                }
            }
            let mut expected: Vec<(u64, usize)> =
                times.iter().enumerate().map(|(index, (time, _))| (*time, index)).collect();
            expected.sort_unstable();
            prop_assert_eq!(drawn, expected);
        }
    }
}
