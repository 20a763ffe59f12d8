//! Decides when a poller should come back: pure, in proportion to what is configured and measured,
//! so that a run in compressed time needs nothing of its own.

use std::time::Duration;

use crate::domain::generation::Status;

/// A poller waits for this part of what is expected to remain: it learns of a change late by a
/// tenth of its time at most.
const SHARE: u32 = 10;
/// The longest delay, in shortest ones.
pub const LONGEST: u32 = 12;

/// How fast the service works through its queue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Generations that wait.
    pub queued: u32,
    /// Age of the oldest of them.
    pub oldest_queued: Duration,
    /// Generations that run.
    pub running: u32,
    /// Generations that all live workers together can run.
    pub slots: u32,
    /// Mean time from the first claim to the end, of the latest that succeeded; `None` without any.
    pub run: Option<Duration>,
}

/// Where the generation that is asked for stands.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Its status.
    pub status: Status,
    /// 0 to 100.
    pub progress: i16,
    /// Since it was accepted.
    pub age: Duration,
}

/// When to ask again: between `shortest` and [`LONGEST`] times that.
pub fn come_back_after(shortest: Duration, standing: Standing, pace: Option<Pace>) -> Duration {
    let remaining = pace.and_then(|pace| remaining(standing, pace));
    remaining.map_or(shortest, |remaining| {
        (remaining / SHARE).clamp(shortest, shortest * LONGEST)
    })
}

/// Time until the next thing worth knowing: the start of what waits, the end of what runs.
fn remaining(standing: Standing, pace: Pace) -> Option<Duration> {
    let run = pace.run?;
    match standing.status {
        Status::Queued => {
            // Arrivals are taken as even, so the age tells the place in the queue.
            let younger = if pace.oldest_queued.is_zero() {
                1.0
            } else {
                (standing.age.as_secs_f64() / pace.oldest_queued.as_secs_f64()).min(1.0)
            };
            let ahead = f64::from(pace.queued.saturating_sub(1)) * (1.0 - younger);
            let free = f64::from(pace.slots.saturating_sub(pace.running));
            let must_end = (ahead + 1.0 - free).max(0.0);
            // So many ends are due per run time.
            let share = must_end / f64::from(pace.slots.max(1));
            Duration::try_from_secs_f64(run.as_secs_f64() * share).ok()
        }
        Status::Running => {
            let left = f64::from(100 - standing.progress.clamp(0, 100)) / 100.0;
            Some(run.mul_f64(left))
        }
        Status::Succeeded | Status::Failed | Status::Cancelled => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHORTEST: Duration = Duration::from_secs(5);

    fn pace(queued: u32, running: u32, run_s: u64) -> Pace {
        Pace {
            queued,
            oldest_queued: Duration::from_secs(600),
            running,
            slots: 12,
            run: Some(Duration::from_secs(run_s)),
        }
    }

    fn running(progress: i16) -> Standing {
        Standing {
            status: Status::Running,
            progress,
            age: Duration::from_secs(60),
        }
    }

    fn queued(age_s: u64) -> Standing {
        Standing {
            status: Status::Queued,
            progress: 0,
            age: Duration::from_secs(age_s),
        }
    }

    #[test]
    fn pollers_come_closer_as_the_end_does() {
        let after = |progress| come_back_after(SHORTEST, running(progress), Some(pace(0, 1, 200)));
        assert_eq!(after(0), Duration::from_secs(20));
        assert_eq!(after(50), Duration::from_secs(10));
        assert_eq!(after(98), SHORTEST);
    }

    #[test]
    fn the_back_of_a_long_queue_waits_longest() {
        let after = |standing| come_back_after(SHORTEST, standing, Some(pace(60, 12, 600)));
        assert_eq!(after(queued(0)), SHORTEST * LONGEST);
        assert_eq!(after(queued(600)), SHORTEST);
        // A free slot starts it at once.
        let free = come_back_after(SHORTEST, queued(600), Some(pace(1, 0, 600)));
        assert_eq!(free, SHORTEST);
    }

    #[test]
    fn without_experience_the_shortest_delay_is_told() {
        assert_eq!(come_back_after(SHORTEST, running(0), None), SHORTEST);
        let new = Pace {
            run: None,
            ..pace(9, 9, 1)
        };
        assert_eq!(come_back_after(SHORTEST, queued(0), Some(new)), SHORTEST);
    }

    proptest! {
        #[test]
        fn delays_keep_their_bounds_and_shrink_with_time_itself(
            waiting in 0_u32..10_000, busy in 0_u32..50, run_ms in 100_000_u64..2_000_000,
            age_ms in 0_u64..2_000_000, progress in 0_i16..=100, runs: bool,
        ) {
            let status = if runs { Status::Running } else { Status::Queued };
            let standing = |divisor: u64| Standing {
                status, progress, age: Duration::from_millis(age_ms) / u32::try_from(divisor).expect("small"),
            };
            let pace = |divisor: u32| Pace {
                oldest_queued: Duration::from_secs(1_000) / divisor,
                run: Some(Duration::from_millis(run_ms) / divisor),
                ..pace(waiting, busy, 1)
            };
            let real = come_back_after(SHORTEST, standing(1), Some(pace(1)));
            prop_assert!((SHORTEST..=SHORTEST * LONGEST).contains(&real));
            let compressed = come_back_after(SHORTEST / 100, standing(100), Some(pace(100)));
            let difference = (real.as_secs_f64() / 100.0 - compressed.as_secs_f64()).abs();
            prop_assert!(difference < 1e-5, "{real:?} {compressed:?}");
        }
    }
}
