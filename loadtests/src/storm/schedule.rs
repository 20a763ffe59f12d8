//! What goes wrong, and when: pure, and the same for the same seed on every machine.
//!
//! Every kind of trouble has a lane of its own, drawn from a stream of its own: in a lane one thing is
//! over before the next begins, and what two lanes do at the same time is a compound fault. A lane
//! has no end, so the schedule of a long storm begins with that of a short one.

use serde::Serialize;
use simulator::rng::Stream;

/// One of the two backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Seat {
    /// The one.
    First,
    /// The other.
    Second,
}

impl Seat {
    /// Both.
    pub const ALL: [Seat; 2] = [Seat::First, Seat::Second];

    /// Its place in a list of both.
    pub fn index(self) -> usize {
        match self {
            Seat::First => 0,
            Seat::Second => 1,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Seat::First => "first",
            Seat::Second => "second",
        }
    }
}

/// Whose path to a service is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// One backend's: a partition, for the other one goes on.
    One(Seat),
    /// Both backends': to them the service is gone.
    Both,
}

impl Reach {
    /// Whether a backend is struck.
    pub fn includes(self, seat: Seat) -> bool {
        self == Reach::Both || self == Reach::One(seat)
    }
}

/// What a backend depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Generations, steps, leases.
    Postgres,
    /// Sessions.
    Redis,
    /// Documents and proposals.
    S3,
    /// Who writes.
    OpenAi,
}

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Refuses connections and resets those that are open.
    Refuse,
    /// Resets a connection after so many bytes of answers, counted from its beginning.
    CutAfter {
        /// Bytes.
        bytes: u64,
    },
    /// Carries nothing.
    Stall,
    /// Carries every piece of an answer so much later.
    Delay {
        /// Milliseconds.
        delay_ms: u64,
    },
}

/// What `OpenAI` itself does, to many of the calls and not to all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// 429 with `Retry-After`.
    RateLimits,
    /// 500 and 503.
    ServerErrors,
    /// Answers that are half a JSON document, also to creates that were carried out.
    Garbage,
    /// Responses end `failed`.
    Failed,
    /// Responses end `incomplete`.
    Incomplete,
    /// Responses are paid and then not found.
    Lost,
}

/// One thing that goes wrong, for a bounded while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strike {
    /// `kill -9`; the backend is started again after the while.
    Kill(Seat),
    /// SIGTERM; the backend is started again once it has ended, and the while is over.
    Stop(Seat),
    /// SIGSTOP, and SIGCONT after the while.
    Freeze(Seat),
    /// A bad network.
    Network {
        /// In front of what.
        service: Service,
        /// Of whom.
        reach: Reach,
        /// What it does.
        fault: Fault,
    },
    /// An `OpenAI` that does not do as it is asked.
    OpenAi(Trouble),
}

/// When something goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Milliseconds after the beginning of the storm.
    pub at_ms: u64,
    /// For how long, in milliseconds.
    pub lasts_ms: u64,
    /// What.
    pub strike: Strike,
}

impl Event {
    /// When it is over, in milliseconds after the beginning of the storm.
    pub fn ends_ms(&self) -> u64 {
        self.at_ms + self.lasts_ms
    }
}

/// Shortest time between two events of a lane, in milliseconds: a restart, and a while of work.
const CALM_MS_MIN: u64 = 600;
/// Mean of what is drawn on top of it.
const CALM_MS_MEAN: f64 = 3_000.0;
/// Outages of a network last at most so long. A lease outlives them, so that with the next heartbeat
/// most work goes on where it was; freezes see to leases that are lost.
const OUTAGE_MS: (u64, u64) = (100, 2_500);
/// From the end of a backend to its next start.
const DOWN_MS: (u64, u64) = (50, 1_500);
/// A freeze that a lease survives, and one that it does not ([`super::settings::LEASE_MS`]).
const NAP_MS: (u64, u64) = (100, 1_500);
const FREEZE_MS: (u64, u64) = (4_500, 6_500);
/// Bytes after which a connection is cut: within the first answer, or within a later one.
const CUT_BYTES: (u64, u64) = (16, 40_000);
/// By how much every piece of an answer is late.
const DELAY_MS: (u64, u64) = (10, 300);

/// What a lane is about.
#[derive(Clone, Copy, Debug)]
enum About {
    Processes,
    Network(Service),
    OpenAi,
}

/// One kind of trouble, without end.
#[derive(Clone, Debug)]
pub struct Lane {
    about: About,
    stream: Stream,
    free_from_ms: u64,
}

/// The lanes of a seed.
pub fn lanes(seed: u64) -> Vec<Lane> {
    let lane = |name: &str, about| Lane {
        about,
        stream: Stream::named(seed, name),
        free_from_ms: 0,
    };
    vec![
        lane("storm processes", About::Processes),
        lane("storm Postgres", About::Network(Service::Postgres)),
        lane("storm Redis", About::Network(Service::Redis)),
        lane("storm S3", About::Network(Service::S3)),
        lane("storm way to OpenAI", About::Network(Service::OpenAi)),
        lane("storm OpenAI", About::OpenAi),
    ]
}

/// Everything that begins before `until_ms`, in order.
pub fn planned(seed: u64, until_ms: u64) -> Vec<Event> {
    let mut events: Vec<Event> = lanes(seed)
        .into_iter()
        .flat_map(|lane| lane.take_while(|event| event.at_ms < until_ms))
        .collect();
    // Stable: at the same instant the order is that of the lanes.
    events.sort_by_key(|event| event.at_ms);
    events
}

impl Iterator for Lane {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let calm_ms = CALM_MS_MIN + whole(self.stream.exponential() * CALM_MS_MEAN);
        let at_ms = self.free_from_ms + calm_ms;
        let (strike, lasts_ms) = match self.about {
            About::Processes => self.process(),
            About::Network(service) => self.network(service),
            About::OpenAi => self.openai(),
        };
        self.free_from_ms = at_ms + lasts_ms;
        Some(Event {
            at_ms,
            lasts_ms,
            strike,
        })
    }
}

impl Lane {
    fn process(&mut self) -> (Strike, u64) {
        let seat = self.seat();
        match self.stream.below(8) {
            0..=2 => (Strike::Kill(seat), self.between(DOWN_MS)),
            3..=5 => (Strike::Stop(seat), self.between(DOWN_MS)),
            6 => (Strike::Freeze(seat), self.between(NAP_MS)),
            _ => (Strike::Freeze(seat), self.between(FREEZE_MS)),
        }
    }

    fn network(&mut self, service: Service) -> (Strike, u64) {
        let seat = self.seat();
        let reach = match self.stream.below(3) {
            0 => Reach::Both,
            _ => Reach::One(seat),
        };
        let fault = match self.stream.below(4) {
            0 => Fault::Refuse,
            1 => Fault::Stall,
            2 => Fault::CutAfter {
                bytes: self.between_orders(CUT_BYTES),
            },
            _ => Fault::Delay {
                delay_ms: self.between_orders(DELAY_MS),
            },
        };
        let strike = Strike::Network {
            service,
            reach,
            fault,
        };
        (strike, self.between_orders(OUTAGE_MS))
    }

    fn openai(&mut self) -> (Strike, u64) {
        let trouble = match self.stream.below(6) {
            0 => Trouble::RateLimits,
            1 => Trouble::ServerErrors,
            2 => Trouble::Garbage,
            3 => Trouble::Failed,
            4 => Trouble::Incomplete,
            _ => Trouble::Lost,
        };
        (Strike::OpenAi(trouble), self.between(OUTAGE_MS))
    }

    fn seat(&mut self) -> Seat {
        Seat::ALL[self.stream.below(Seat::ALL.len())]
    }

    /// Uniform between two bounds, both included.
    fn between(&mut self, (min, max): (u64, u64)) -> u64 {
        let span = usize::try_from(max.saturating_sub(min)).unwrap_or(usize::MAX - 1);
        min + u64::try_from(self.stream.below(span + 1)).unwrap_or(0)
    }

    /// Between two bounds, every doubling equally likely: in whole numbers, so that no machine's
    /// logarithm has a say.
    fn between_orders(&mut self, (min, max): (u64, u64)) -> u64 {
        let doublings = usize::try_from((max / min).ilog2()).unwrap_or(0);
        let low = min << self.stream.below(doublings + 1);
        self.between((low, (low * 2).min(max)))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and nothing here is negative"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(event: &Event) -> String {
        let Event {
            at_ms,
            lasts_ms,
            strike,
        } = event;
        format!("{at_ms} ms, for {lasts_ms} ms: {strike:?}")
    }

    #[test]
    fn the_schedule_of_a_seed_is_this_one_on_every_machine() {
        let events: Vec<_> = planned(7, 9_000).iter().map(words).collect();
        insta::assert_debug_snapshot!(events);
    }

    #[test]
    fn every_kind_of_trouble_comes_to_both_within_minutes() {
        let events = planned(1, 600_000);
        let says = |text: &str| {
            let found = events.iter().filter(|event| words(event).contains(text));
            assert!(found.count() > 2, "{text}");
        };
        let faults = ["Refuse", "Stall", "CutAfter", "Delay"];
        for service in ["Postgres", "Redis", "S3", "OpenAi"] {
            for fault in faults {
                let here = events.iter().map(words).filter(|text| {
                    text.contains(&format!("service: {service}")) && text.contains(fault)
                });
                assert!(here.count() > 2, "{fault} of {service}");
            }
        }
        for seat in ["First", "Second"] {
            for process in ["Kill", "Stop", "Freeze"] {
                says(&format!("{process}({seat})"));
            }
            says(&format!("One({seat})"));
        }
        for trouble in [
            "RateLimits",
            "ServerErrors",
            "Garbage",
            "Failed",
            "Incomplete",
            "Lost",
        ] {
            says(&format!("OpenAi({trouble})"));
        }
        says("reach: Both");
    }

    proptest! {
        #[test]
        fn lanes_do_one_thing_at_a_time_for_a_bounded_while(seed: u64) {
            for lane in lanes(seed) {
                let events: Vec<_> = lane.take(40).collect();
                for pair in events.windows(2) {
                    prop_assert!(pair[0].ends_ms() + CALM_MS_MIN <= pair[1].at_ms);
                }
                for event in events {
                    let longest = match event.strike {
                        Strike::Freeze(_) => FREEZE_MS.1,
                        _ => OUTAGE_MS.1,
                    };
                    prop_assert!((50..=longest).contains(&event.lasts_ms), "{event:?}");
                    if let Strike::Network { fault: Fault::CutAfter { bytes }, .. } = event.strike {
                        prop_assert!((CUT_BYTES.0..=CUT_BYTES.1).contains(&bytes));
                    }
                }
            }
        }

        #[test]
        fn a_short_storm_begins_like_a_long_one(seed: u64, until_ms in 0_u64..60_000) {
            let short = planned(seed, until_ms);
            let long = planned(seed, 60_000);
            prop_assert_eq!(&short[..], &long[..short.len()]);
            prop_assert!(long[short.len()..].iter().all(|event| event.at_ms >= until_ms));
        }
    }
}
