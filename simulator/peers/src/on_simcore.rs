//! On simcore: one component, which sends its events to itself.

use std::cell::RefCell;
use std::rc::Rc;

use serde::Serialize;
use simcore::{Event, EventHandler, Simulation, SimulationContext, cast};

use crate::mm64::{Draws, Generation, HORIZON_HOURS, SEED, Seen, Station};

#[derive(Clone, Serialize)]
struct Arrival {}

#[derive(Clone, Serialize)]
struct Completion {
    generation: Generation,
}

struct Queue {
    context: SimulationContext,
    draws: Draws,
    station: Station,
}

impl Queue {
    fn now_ns(&self) -> u64 {
        (self.context.time() * 1e9).round() as u64
    }

    fn emit_arrival(&mut self) {
        let gap_s = self.draws.gap_ns() as f64 / 1e9;
        self.context.emit_self(Arrival {}, gap_s);
    }

    fn emit_completion(&mut self, generation: Generation) {
        let length_s = generation.length_ns as f64 / 1e9;
        self.context.emit_self(Completion { generation }, length_s);
    }
}

impl EventHandler for Queue {
    fn on(&mut self, event: Event) {
        cast!(match event.data {
            Arrival {} => {
                let generation = Generation {
                    submitted_ns: self.now_ns(),
                    length_ns: self.draws.length_ns(),
                };
                if let Some(started) = self.station.arrive(generation) {
                    self.emit_completion(started);
                }
                self.emit_arrival();
            }
            Completion { generation } => {
                let now_ns = self.now_ns();
                if let Some(started) = self.station.complete(now_ns, generation) {
                    self.emit_completion(started);
                }
            }
        });
    }
}

pub fn run() -> Seen {
    let mut simulation = Simulation::new(SEED);
    let queue = Rc::new(RefCell::new(Queue {
        context: simulation.create_context("queue"),
        draws: Draws::new(),
        station: Station::default(),
    }));
    simulation.add_handler("queue", queue.clone());
    queue.borrow_mut().emit_arrival();
    simulation.step_until_time(3600.0 * HORIZON_HOURS as f64);
    queue.borrow().station.seen()
}
