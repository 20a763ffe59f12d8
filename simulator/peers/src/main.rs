//! M/M/64 at 85 % load, about 3 million events, on one core: the same small model on this crate's engine, on nexosim
//! and on simcore, with the same random numbers, and this crate's whole fleet model beside them. `simpy_mm64.py` is the
//! same in SimPy.

mod fleet_model;
mod own_engine;
mod on_nexosim;
mod on_simcore;

use std::time::Instant;

use simulator::rng::Stream;

/// Servers.
const SERVERS: u32 = 64;
/// Mean service in seconds.
const SERVICE_S: f64 = 10.0;
/// Share of the servers that is busy.
const LOAD: f64 = 0.85;
/// Arrivals; each is an event, and its departure another.
const ARRIVALS: u64 = 1_500_000;
/// Each engine runs so often, in turn; the best counts.
const ROUNDS: usize = 5;

/// The gaps and the services, the same for every engine.
struct Draws {
    arrivals: Stream,
    services: Stream,
}

impl Draws {
    fn new() -> Draws {
        Draws {
            arrivals: Stream::named(42, "arrivals"),
            services: Stream::named(42, "generation lengths"),
        }
    }

    fn gap_s(&mut self) -> f64 {
        self.arrivals.exponential() * SERVICE_S / (LOAD * f64::from(SERVERS))
    }

    fn service_s(&mut self) -> f64 {
        self.services.exponential() * SERVICE_S
    }
}

/// What an engine found, to see that all did the same.
#[derive(Clone, Copy, Default)]
struct Found {
    events: u64,
    wait_mean_s: f64,
}

fn main() {
    let engines: [(&str, fn() -> Found); 4] = [
        ("this crate's engine", own_engine::run),
        ("this crate's fleet model", fleet_model::run),
        ("simcore 0.1", on_simcore::run),
        ("nexosim 1.0, one thread", on_nexosim::run),
    ];
    let mut best_s = [f64::INFINITY; 4];
    let mut found = [Found::default(); 4];
    for _ in 0..ROUNDS {
        for (index, (_, run)) in engines.iter().enumerate() {
            let start = Instant::now();
            found[index] = run();
            best_s[index] = best_s[index].min(start.elapsed().as_secs_f64());
        }
    }
    println!("| engine | events | mean wait, s | best of {ROUNDS}, s | million events/s |");
    println!("| --- | --- | --- | --- | --- |");
    for (index, (name, _)) in engines.iter().enumerate() {
        let Found {
            events,
            wait_mean_s,
        } = found[index];
        println!(
            "| {name} | {events} | {wait_mean_s:.4} | {:.3} | {:.1} |",
            best_s[index],
            events as f64 / best_s[index] / 1e6
        );
    }
}
