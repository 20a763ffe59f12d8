//! The queue as a component of simcore.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use serde::Serialize;
use simcore::{Event, EventHandler, Simulation, SimulationContext, cast};

use crate::{ARRIVALS, Draws, Found, SERVERS};

#[derive(Clone, Serialize)]
struct Arrival {}

#[derive(Clone, Serialize)]
struct Departure {}

struct Queue {
    ctx: SimulationContext,
    draws: Draws,
    free: u32,
    waiting: VecDeque<f64>,
    arrived: u64,
    events: u64,
    waited_s: f64,
}

impl Queue {
    fn serve(&mut self) {
        let service_s = self.draws.service_s();
        self.ctx.emit_self(Departure {}, service_s);
    }
}

impl EventHandler for Queue {
    fn on(&mut self, event: Event) {
        self.events += 1;
        cast!(match event.data {
            Arrival {} => {
                self.arrived += 1;
                if self.arrived < ARRIVALS {
                    let gap_s = self.draws.gap_s();
                    self.ctx.emit_self(Arrival {}, gap_s);
                }
                if self.free > 0 {
                    self.free -= 1;
                    self.serve();
                } else {
                    self.waiting.push_back(event.time);
                }
            }
            Departure {} => {
                match self.waiting.pop_front() {
                    Some(since) => {
                        self.waited_s += event.time - since;
                        self.serve();
                    }
                    None => self.free += 1,
                }
            }
        })
    }
}

pub fn run() -> Found {
    let mut simulation = Simulation::new(42);
    let ctx = simulation.create_context("queue");
    let mut draws = Draws::new();
    ctx.emit_self(Arrival {}, draws.gap_s());
    let queue = Rc::new(RefCell::new(Queue {
        ctx,
        draws,
        free: SERVERS,
        waiting: VecDeque::new(),
        arrived: 0,
        events: 0,
        waited_s: 0.0,
    }));
    simulation.add_handler("queue", queue.clone());
    simulation.step_until_no_events();
    let done = queue.borrow();
    Found {
        events: done.events,
        wait_mean_s: done.waited_s / ARRIVALS as f64,
    }
}
