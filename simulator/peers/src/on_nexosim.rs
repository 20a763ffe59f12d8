//! The queue as a model of nexosim, on one thread.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use nexosim::model::{Context, Model, schedulable};
use nexosim::ports::EventSource;
use nexosim::simulation::{Mailbox, SimInit};
use nexosim::time::MonotonicTime;
use serde::{Deserialize, Serialize};

use crate::{ARRIVALS, Draws, Found, SERVERS};

/// What the model leaves behind: nobody outside can look into it.
static OUTSIDE: Mutex<Option<Found>> = Mutex::new(None);

#[derive(Serialize, Deserialize)]
struct Queue {
    #[serde(skip, default = "Draws::new")]
    draws: Draws,
    free: u32,
    waiting: VecDeque<MonotonicTime>,
    arrived: u64,
    events: u64,
    waited_s: f64,
}

#[Model]
impl Queue {
    fn serve(&mut self, cx: &Context<Self>) {
        let service = Duration::from_secs_f64(self.draws.service_s()).max(Duration::from_nanos(1));
        cx.schedule_event(service, schedulable!(Self::departure), ())
            .expect("it lies ahead");
    }

    /// The first arrival, from outside.
    pub async fn open(&mut self, _: (), cx: &Context<Self>) {
        let gap = Duration::from_secs_f64(self.draws.gap_s());
        cx.schedule_event(gap, schedulable!(Self::arrival), ())
            .expect("it lies ahead");
    }

    #[nexosim(schedulable)]
    async fn arrival(&mut self, _: (), cx: &Context<Self>) {
        self.events += 1;
        self.arrived += 1;
        if self.arrived < ARRIVALS {
            let gap = Duration::from_secs_f64(self.draws.gap_s()).max(Duration::from_nanos(1));
            cx.schedule_event(gap, schedulable!(Self::arrival), ())
                .expect("it lies ahead");
        }
        if self.free > 0 {
            self.free -= 1;
            self.serve(cx);
        } else {
            self.waiting.push_back(cx.time());
        }
    }

    #[nexosim(schedulable)]
    async fn departure(&mut self, _: (), cx: &Context<Self>) {
        self.events += 1;
        match self.waiting.pop_front() {
            Some(since) => {
                self.waited_s += cx.time().duration_since(since).as_secs_f64();
                self.serve(cx);
            }
            None => self.free += 1,
        }
        if self.events == 2 * ARRIVALS {
            let found = Found {
                events: self.events,
                wait_mean_s: self.waited_s / ARRIVALS as f64,
            };
            *OUTSIDE.lock().expect("nobody panics with it") = Some(found);
        }
    }
}

pub fn run() -> Found {
    let queue = Queue {
        draws: Draws::new(),
        free: SERVERS,
        waiting: VecDeque::new(),
        arrived: 0,
        events: 0,
        waited_s: 0.0,
    };
    let mailbox = Mailbox::new();
    let mut bench = SimInit::with_num_threads(1);
    let open = EventSource::new()
        .connect(Queue::open, &mailbox)
        .register(&mut bench);
    let mut simulation = bench
        .add_model(queue, mailbox, "queue")
        .init(MonotonicTime::EPOCH)
        .expect("the bench is sound");
    simulation
        .process_event(&open, ())
        .expect("the queue opens");
    while OUTSIDE.lock().expect("nobody panics with it").is_none() {
        simulation.step().expect("an event is ahead");
    }
    OUTSIDE
        .lock()
        .expect("nobody panics with it")
        .take()
        .expect("it was just seen")
}
