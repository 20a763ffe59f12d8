//! The queue as a model of `simulator::engine`.

use std::collections::VecDeque;

use simulator::engine::{Engine, Model};
use simulator::event_queue::EventQueue;
use simulator::time::{Duration, Instant};

use crate::{ARRIVALS, Draws, Found, SERVERS};

#[derive(Clone, Copy)]
enum Event {
    Arrival,
    Departure,
}

struct Queue {
    draws: Draws,
    free: u32,
    waiting: VecDeque<Instant>,
    arrived: u64,
    events: u64,
    waited_ns: u128,
}

fn nanos(seconds: f64) -> Duration {
    Duration::from_nanos((seconds * 1e9) as u64)
}

impl Queue {
    fn serve(&mut self, now: Instant, queue: &mut EventQueue<Event>) {
        let service = nanos(self.draws.service_s());
        queue.push(now.after(service), Event::Departure);
    }
}

impl Model for Queue {
    type Event = Event;

    fn handle(&mut self, now: Instant, event: Event, queue: &mut EventQueue<Event>) {
        self.events += 1;
        match event {
            Event::Arrival => {
                self.arrived += 1;
                if self.arrived < ARRIVALS {
                    let gap = nanos(self.draws.gap_s());
                    queue.push(now.after(gap), Event::Arrival);
                }
                if self.free > 0 {
                    self.free -= 1;
                    self.serve(now, queue);
                } else {
                    self.waiting.push_back(now);
                }
            }
            Event::Departure => match self.waiting.pop_front() {
                Some(since) => {
                    self.waited_ns += u128::from(now.since(since).as_nanos());
                    self.serve(now, queue);
                }
                None => self.free += 1,
            },
        }
    }
}

pub fn run() -> Found {
    let mut draws = Draws::new();
    let mut queue = EventQueue::new();
    queue.push(Instant::START.after(nanos(draws.gap_s())), Event::Arrival);
    let model = Queue {
        draws,
        free: SERVERS,
        waiting: VecDeque::new(),
        arrived: 0,
        events: 0,
        waited_ns: 0,
    };
    let done = Engine::new(model, queue).run();
    Found {
        events: done.events,
        wait_mean_s: done.waited_ns as f64 / 1e9 / ARRIVALS as f64,
    }
}
