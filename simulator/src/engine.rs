//! The loop that takes the next event and hands it to the model.

use crate::event_queue::EventQueue;
use crate::time::Instant;

/// A state machine that lives on events.
pub trait Model {
    /// What may happen to it.
    type Event: Copy;

    /// Takes one event at its time, and schedules those that follow from it.
    fn handle(&mut self, now: Instant, event: Self::Event, queue: &mut EventQueue<Self::Event>);
}

/// A model with its pending events.
#[derive(Debug)]
pub struct Engine<M: Model> {
    model: M,
    queue: EventQueue<M::Event>,
    now: Instant,
}

impl<M: Model> Engine<M> {
    /// A model at the start of its run, with the events that set it going.
    pub fn new(model: M, queue: EventQueue<M::Event>) -> Engine<M> {
        Engine {
            model,
            queue,
            now: Instant::START,
        }
    }

    /// The time of the last event taken.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The model as it stands.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// Takes one event; false when none is pending.
    pub fn step(&mut self) -> bool {
        self.step_if_due(Instant::NEVER)
    }

    fn step_if_due(&mut self, end: Instant) -> bool {
        let Some(time) = self.queue.next_time().filter(|time| *time <= end) else {
            return false;
        };
        let event = self.queue.take_next();
        self.now = time;
        self.model.handle(time, event, &mut self.queue);
        true
    }

    /// Takes every event up to and including this moment.
    pub fn step_until(&mut self, end: Instant) {
        while self.step_if_due(end) {}
        self.now = end;
    }

    /// Takes every event, if the model ever stops scheduling new ones, and gives the model back.
    pub fn run(mut self) -> M {
        while self.step() {}
        self.model
    }

    /// Gives the model back as it stands.
    pub fn into_model(self) -> M {
        self.model
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    /// Counts down, one event a second.
    struct Countdown {
        seen: Vec<(u64, u32)>,
    }

    impl Model for Countdown {
        type Event = u32;
        fn handle(&mut self, now: Instant, left: u32, queue: &mut EventQueue<u32>) {
            self.seen.push((now.as_nanos() / 1_000_000_000, left));
            if left > 0 {
                queue.push(now.after(Duration::from_secs(1)), left - 1);
            }
        }
    }

    fn countdown() -> Engine<Countdown> {
        let mut queue = EventQueue::new();
        queue.push(Instant::START, 3);
        Engine::new(Countdown { seen: Vec::new() }, queue)
    }

    #[test]
    fn stepping_until_a_moment_takes_the_events_of_that_moment() {
        let mut engine = countdown();
        engine.step_until(Instant::START.after(Duration::from_secs(2)));
        assert_eq!(engine.model().seen, [(0, 3), (1, 2), (2, 1)]);
        assert_eq!(engine.now(), Instant::START.after(Duration::from_secs(2)));
    }

    #[test]
    fn running_ends_when_nothing_is_pending() {
        assert_eq!(countdown().run().seen.last(), Some(&(3, 0)));
    }
}
