//! When generations are submitted.

use crate::rng::{BATCH, Draws, Stream};
use crate::scenario::Arrivals;
use crate::time::{Duration, Instant, all_nanos_from_f64, nanos_from_f64};

const NANOS_PER_HOUR: f64 = 3.6e12;

/// The arrivals as they are drawn, with all that can be worked out once.
#[derive(Debug)]
enum Law<'a> {
    Poisson {
        gap_ns: f64,
    },
    Deterministic {
        gap_ns: f64,
    },
    /// Candidates at the peak rate, of which those of an hour are kept with its share of the peak.
    Thinned {
        gap_ns: f64,
        hourly: &'a [f64],
        peak: f64,
    },
    Trace {
        at: &'a [Duration],
    },
}

impl<'a> Law<'a> {
    fn of(arrivals: &'a Arrivals) -> Law<'a> {
        match arrivals {
            Arrivals::Poisson { per_hour } => Law::Poisson {
                gap_ns: NANOS_PER_HOUR / per_hour,
            },
            Arrivals::Deterministic { per_hour } => Law::Deterministic {
                gap_ns: NANOS_PER_HOUR / per_hour,
            },
            Arrivals::Daily { per_hour, hourly } => Law::thinned(*per_hour, hourly),
            Arrivals::Users {
                users,
                generations_per_user_day,
                hourly,
            } => {
                let per_day = users.mid * generations_per_user_day.mid;
                Law::thinned(per_day / hourly.mid.iter().sum::<f64>(), &hourly.mid)
            }
            Arrivals::Trace { at } => Law::Trace { at },
        }
    }

    fn thinned(per_hour: f64, hourly: &'a [f64]) -> Law<'a> {
        let peak = hourly.iter().copied().fold(0.0, f64::max);
        Law::Thinned {
            gap_ns: NANOS_PER_HOUR / (per_hour * peak),
            hourly,
            peak,
        }
    }
}

/// Draws one submission after the other.
#[derive(Debug)]
pub(super) struct ArrivalProcess<'a> {
    law: Law<'a>,
    stream: Stream,
    drawn: u64,
    last: Instant,
}

impl<'a> ArrivalProcess<'a> {
    pub(super) fn new(arrivals: &'a Arrivals, seed: u64) -> ArrivalProcess<'a> {
        ArrivalProcess {
            law: Law::of(arrivals),
            stream: Stream::named(seed, "arrivals"),
            drawn: 0,
            last: Instant::START,
        }
    }
}

impl Draws for ArrivalProcess<'_> {
    type Drawn = Instant;

    /// The next submissions, or none when the trace is over.
    fn draw(&mut self, into: &mut Vec<Instant>) {
        if let Law::Poisson { gap_ns } = self.law {
            let gaps = self.stream.exponentials().map(|drawn| drawn * gap_ns);
            into.extend(all_nanos_from_f64(&gaps).map(|gap| {
                self.last = self.last.after(Duration::from_nanos(gap));
                self.last
            }));
            return;
        }
        for _ in 0..BATCH {
            let Some(next) = self.next() else { return };
            self.last = next;
            into.push(next);
        }
    }
}

impl ArrivalProcess<'_> {
    fn next(&mut self) -> Option<Instant> {
        self.drawn += 1;
        Some(match self.law {
            Law::Poisson { gap_ns } => self.last.after(exponential_gap(&mut self.stream, gap_ns)),
            // From the start each time, so that rounding never adds up.
            Law::Deterministic { gap_ns } => {
                Instant::from_nanos(nanos_from_f64(self.drawn as f64 * gap_ns))
            }
            Law::Thinned {
                gap_ns,
                hourly,
                peak,
            } => thinned(&mut self.stream, self.last, gap_ns, hourly, peak),
            Law::Trace { at } => {
                let index = usize::try_from(self.drawn - 1).unwrap_or(usize::MAX);
                Instant::START.after(*at.get(index)?)
            }
        })
    }
}

fn exponential_gap(stream: &mut Stream, mean_ns: f64) -> Duration {
    Duration::from_nanos(nanos_from_f64(stream.exponential() * mean_ns))
}

/// Thinning by Lewis and Shedler (1979). Ends, because a checked profile has an hour above zero.
fn thinned(stream: &mut Stream, last: Instant, gap_ns: f64, hourly: &[f64], peak: f64) -> Instant {
    let mut candidate = last;
    loop {
        candidate = candidate.after(exponential_gap(stream, gap_ns));
        if candidate == Instant::NEVER {
            return candidate;
        }
        let hour_of_day = candidate.as_nanos() / 3_600_000_000_000 % 24;
        let multiplier = usize::try_from(hour_of_day)
            .ok()
            .and_then(|hour| hourly.get(hour));
        if stream.unit() * peak < multiplier.copied().unwrap_or(0.0) {
            return candidate;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Ahead;

    fn until(arrivals: &Arrivals, end: Duration) -> Vec<Instant> {
        Ahead::of(ArrivalProcess::new(arrivals, 7))
            .take_while(|at| *at <= Instant::START.after(end))
            .collect()
    }

    #[test]
    fn equal_gaps_do_not_drift() {
        let at = until(
            &Arrivals::Deterministic { per_hour: 7.0 },
            Duration::from_hours(1000),
        );
        assert_eq!(at.len(), 7000);
        assert_eq!(
            at.last(),
            Some(&Instant::START.after(Duration::from_hours(1000)))
        );
    }

    #[test]
    fn poisson_arrivals_have_their_rate() {
        let at = until(
            &Arrivals::Poisson { per_hour: 100.0 },
            Duration::from_hours(1000),
        );
        // Three standard deviations of a count of 100,000.
        assert!((at.len() as f64 - 100_000.0).abs() < 949.0, "{}", at.len());
    }

    #[test]
    fn a_daily_profile_is_empty_at_night_and_twice_as_busy_in_its_peak() {
        let mut hourly = vec![1.0; 24];
        hourly[..8].fill(0.0);
        hourly[12] = 2.0;
        let at = until(
            &Arrivals::Daily {
                per_hour: 50.0,
                hourly,
            },
            Duration::from_hours(24 * 200),
        );
        let mut by_hour = [0_u32; 24];
        for moment in at {
            let hour = moment.as_nanos() / 3_600_000_000_000 % 24;
            by_hour[usize::try_from(hour).expect("an hour is below 24")] += 1;
        }
        assert_eq!(by_hour[..8].iter().sum::<u32>(), 0);
        // 200 days: 10,000 and 20,000, four standard deviations each.
        assert!(by_hour[13].abs_diff(10_000) < 400, "{by_hour:?}");
        assert!(by_hour[12].abs_diff(20_000) < 566, "{by_hour:?}");
    }

    #[test]
    fn a_trace_ends() {
        let at = vec![
            Duration::from_secs(1),
            Duration::from_secs(1),
            Duration::from_secs(5),
        ];
        let arrivals = Arrivals::Trace { at };
        let drawn: Vec<Instant> = Ahead::of(ArrivalProcess::new(&arrivals, 1)).collect();
        assert_eq!(drawn.len(), 3);
        assert_eq!(
            drawn.last(),
            Some(&Instant::START.after(Duration::from_secs(5)))
        );
    }
}
