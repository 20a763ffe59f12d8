//! On nexosim: one model on one thread, which schedules its own inputs.

use std::time::Duration;

use nexosim::model::{BuildContext, Context, Model, ProtoModel, schedulable};
use nexosim::ports::{EventSinkReader, Output, SinkState, event_slot};
use nexosim::simulation::{Mailbox, SimInit};
use nexosim::time::MonotonicTime;
use serde::{Deserialize, Serialize};

use crate::mm64::{Draws, Generation, HORIZON_HOURS, Seen, Station};

const START: MonotonicTime = MonotonicTime::EPOCH;
const HORIZON: Duration = Duration::from_secs(3600 * HORIZON_HOURS);

#[derive(Default)]
struct ProtoQueue {
    seen: Output<Seen>,
}

impl ProtoModel for ProtoQueue {
    type Model = Queue;

    fn build(self, _: &mut BuildContext<Self>) -> (Queue, Draws) {
        let queue = Queue {
            station: Station::default(),
            seen: self.seen,
        };
        (queue, Draws::new())
    }
}

#[derive(Serialize, Deserialize)]
struct Queue {
    station: Station,
    seen: Output<Seen>,
}

#[Model(type Env = Draws)]
impl Queue {
    #[nexosim(init)]
    async fn init(&mut self, cx: &Context<Self>, draws: &mut Draws) {
        schedule_arrival(cx, draws);
        cx.schedule_event(HORIZON, schedulable!(Self::report), ())
            .expect("the horizon lies ahead");
    }

    #[nexosim(schedulable)]
    fn arrive(&mut self, _: (), cx: &Context<Self>, draws: &mut Draws) {
        let generation = Generation {
            submitted_ns: now_ns(cx),
            length_ns: draws.length_ns(),
        };
        if let Some(started) = self.station.arrive(generation) {
            schedule_completion(cx, started);
        }
        schedule_arrival(cx, draws);
    }

    #[nexosim(schedulable)]
    fn complete(&mut self, done: Generation, cx: &Context<Self>) {
        if let Some(started) = self.station.complete(now_ns(cx), done) {
            schedule_completion(cx, started);
        }
    }

    #[nexosim(schedulable)]
    async fn report(&mut self, _: ()) {
        self.seen.send(self.station.seen()).await;
    }
}

fn now_ns(cx: &Context<Queue>) -> u64 {
    let now = cx.time();
    now.as_secs().unsigned_abs() * 1_000_000_000 + u64::from(now.subsec_nanos())
}

fn schedule_arrival(cx: &Context<Queue>, draws: &mut Draws) {
    // It refuses events of this very moment.
    let gap = Duration::from_nanos(draws.gap_ns().max(1));
    cx.schedule_event(gap, schedulable!(Queue::arrive), ())
        .expect("a gap ends later");
}

fn schedule_completion(cx: &Context<Queue>, generation: Generation) {
    let length = Duration::from_nanos(generation.length_ns);
    cx.schedule_event(length, schedulable!(Queue::complete), generation)
        .expect("a generation ends later");
}

pub fn run() -> Seen {
    let mut queue = ProtoQueue::default();
    let (sink, mut seen) = event_slot(SinkState::Enabled);
    queue.seen.connect_sink(sink);
    let mut simulation = SimInit::with_num_threads(1)
        .add_model(queue, Mailbox::new(), "queue")
        .init(START)
        .expect("the bench is complete");
    simulation
        .step_until(HORIZON)
        .expect("nothing in it can fail");
    seen.try_read().expect("it reports at the horizon")
}
