//! Runs one M/M/64 queue on this simulator, on nexosim, on simcore and, where a Python with SimPy is named, on SimPy, and
//! prints who handles how many events a second. `BENCHMARKS.md` has the figures.
//!
//! ```text
//! cargo run --release --manifest-path simulator/peers/Cargo.toml [PYTHON]
//! ```
//!
//! The peers get the leanest model that each allows: one component, which sends its events to itself, and five sums
//! instead of the histograms, the CPU, the memory and the bill that this simulator accounts for in the same run.
#![expect(
    clippy::disallowed_types,
    reason = "a benchmark needs a clock; the library has none"
)]

mod mm64;
mod on_nexosim;
mod on_simcore;
mod on_simpy;
mod on_this;

use std::time::Instant;

use mm64::Seen;

/// All of them take turns, so that a slow moment of the machine is nobody's.
const RUNS: usize = 5;

struct Contestant {
    name: &'static str,
    run: fn() -> Seen,
    seconds: Vec<f64>,
    seen: Option<Seen>,
}

impl Contestant {
    fn new(name: &'static str, run: fn() -> Seen) -> Contestant {
        Contestant {
            name,
            run,
            seconds: Vec::new(),
            seen: None,
        }
    }

    fn measure(&mut self) {
        let start = Instant::now();
        let seen = (self.run)();
        self.seconds.push(start.elapsed().as_secs_f64());
        self.seen = Some(seen);
    }
}

fn main() {
    let mut contestants = [
        Contestant::new("this simulator", on_this::run),
        Contestant::new("nexosim 1.0.0", on_nexosim::run),
        Contestant::new("simcore 0.1.0", on_simcore::run),
    ];
    for _ in 0..RUNS {
        for contestant in &mut contestants {
            contestant.measure();
        }
    }
    let mut rows: Vec<(String, Seen, f64)> = contestants
        .into_iter()
        .map(|contestant| {
            let best_s = contestant.seconds.into_iter().fold(f64::INFINITY, f64::min);
            let seen = contestant.seen.expect("it has run");
            (contestant.name.to_owned(), seen, best_s)
        })
        .collect();
    // They draw the same numbers, so that they see the same generations, but for the last bits of floating-point time.
    let this = rows[0].1;
    for (name, seen, _) in &rows {
        assert!(seen.agrees_with(&this), "{name} saw {seen:?}, not {this:?}");
    }
    if let Some(python) = std::env::args().nth(1) {
        rows.push(on_simpy::run(&python));
    }
    println!(
        "| simulator | events | mean wait, ms | best, s | events/s, million | this one is faster by |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let rate = |seen: &Seen, best_s: f64| seen.events() as f64 / best_s;
    let this_rate = rate(&this, rows[0].2);
    for (name, seen, best_s) in &rows {
        println!(
            "| {name} | {} | {:.2} | {best_s:.3} | {:.3} | {:.1} |",
            seen.events(),
            seen.wait_mean_s() * 1e3,
            rate(seen, *best_s) / 1e6,
            this_rate / rate(seen, *best_s),
        );
    }
}
