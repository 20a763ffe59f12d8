//! How large a storm is, and how its backends are configured.

use std::time::Duration;

use harness::openai::{Action, Call, Latency, Script, When};
use serde::Serialize;

use super::schedule::{Seat, Trouble};

/// Length of a generation in real time, in seconds: the proposal's time-out.
const GENERATION_S: f64 = 900.0;
/// `OpenAI` calls of one generation: the outline and four sections.
pub const CALLS_PER_GENERATION: u32 = 5;
/// Polls of one response: fewer than the real 36, for a storm is about what is written and not about load.
const POLLS_PER_CALL: f64 = 5.0;
/// Words of a section: a storm is about what is stored and not about how long it is.
const SECTION_WORDS: u32 = 60;
/// Life of a lease, in milliseconds: longer than any pause of a busy machine, for a lease that is lost without a
/// fault would be one too many, and shorter than a long freeze.
pub const LEASE_MS: u64 = 4_000;
/// Time of one call to `OpenAI`, in milliseconds: longer than any outage, and the calm that follows.
const OPENAI_TIMEOUT_MS: u64 = 4_000;

/// How large a storm is.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Size {
    /// Generations to order.
    pub generations: u32,
    /// Of these at most so many that are not over yet.
    pub in_flight: u32,
    /// Factor by which the 15 minutes of a generation are divided.
    pub speedup: f64,
    /// Of the schedule, and of the scripted `OpenAI`.
    pub seed: u64,
    /// No order is made, and nothing goes wrong, after so many seconds.
    pub timeout_s: u64,
}

impl Size {
    /// One generation without any fault.
    pub fn generation(&self) -> Duration {
        Duration::from_secs_f64(GENERATION_S / self.speedup)
    }

    /// Patience with what has not ended when all is well again: leases that have to expire, a whole
    /// generation from its beginning with its backoffs, and twice that on a busy machine.
    pub fn patience(&self) -> Duration {
        self.generation() * 6 + Duration::from_millis(LEASE_MS) * 4 + Duration::from_secs(30)
    }

    /// The `OpenAI` after the `number`-th trouble of a storm: even then a few calls in a hundred go wrong.
    pub fn fair_weather(&self, number: u64) -> Script {
        let mut script = self.script(number * 2);
        for (on, share) in [(Call::Create, 0.02), (Call::Poll, 0.004)] {
            for trouble in [
                Trouble::RateLimits,
                Trouble::ServerErrors,
                Trouble::Garbage,
                Trouble::Failed,
                Trouble::Incomplete,
                Trouble::Lost,
            ] {
                script = with(script, on, share / 6.0, trouble);
            }
        }
        script
    }

    /// The `OpenAI` of the `number`-th trouble of a storm.
    pub fn foul_weather(&self, number: u64, trouble: Trouble) -> Script {
        let share = match trouble {
            Trouble::RateLimits | Trouble::ServerErrors => 0.8,
            Trouble::Garbage | Trouble::Failed | Trouble::Incomplete | Trouble::Lost => 0.3,
        };
        let script = with(self.script(number * 2 + 1), Call::Create, share, trouble);
        // A response is polled many times, and may be spoiled each time.
        let polls = match trouble {
            Trouble::RateLimits | Trouble::ServerErrors => share,
            _ => share / POLLS_PER_CALL,
        };
        with(script, Call::Poll, polls, trouble)
    }

    fn script(&self, number: u64) -> Script {
        let call_ms = GENERATION_S * 1000.0 / f64::from(CALLS_PER_GENERATION);
        Script::default()
            .latency(Latency::Uniform {
                min_ms: call_ms * 0.5,
                max_ms: call_ms * 1.5,
            })
            .section_words(SECTION_WORDS)
            .speedup(self.speedup)
            // Rules count calls from the script's beginning: no two scripts strike the same ones.
            .seed(self.seed.wrapping_mul(1_000_003).wrapping_add(number))
    }

    /// What every backend is told besides its services.
    pub fn environment(&self, seat: Seat) -> Vec<(String, String)> {
        let call_ms = GENERATION_S * 1000.0 / f64::from(CALLS_PER_GENERATION) / self.speedup;
        let poll_ms = format!("{:.0}", (call_ms / POLLS_PER_CALL).max(10.0));
        let in_flight = self.in_flight.to_string();
        [
            ("LISTEN_ADDR", "127.0.0.1:0"),
            ("LOG_FORMAT", "json"),
            ("RUST_LOG", "info"),
            // By this `OpenAI` knows the two apart.
            ("OPENAI_API_KEY", api_key(seat)),
            ("OPENAI_POLL_INTERVAL_MS", &poll_ms),
            ("OPENAI_REQUEST_TIMEOUT_MS", &OPENAI_TIMEOUT_MS.to_string()),
            // No response is given up for being late: how late it is depends on the storm.
            ("OPENAI_STEP_TIMEOUT_MS", "600000"),
            (
                "GENERATION_SECTIONS",
                &(CALLS_PER_GENERATION - 1).to_string(),
            ),
            // Either one can carry all of it alone.
            ("GENERATION_WORKERS", &in_flight),
            ("GENERATION_RUNNING_MAX_PER_USER", &in_flight),
            // A storm strikes one generation more often than any day would.
            ("GENERATION_ATTEMPTS_MAX", "1000"),
            ("LEASE_MS", &LEASE_MS.to_string()),
            ("HEARTBEAT_MS", "800"),
            ("CLAIM_INTERVAL_MS", "250"),
            ("POLL_RETRY_AFTER_MS", "200"),
            ("RETRY_BASE_MS", "40"),
            ("RETRY_MAX_MS", "640"),
            ("DATABASE_ACQUIRE_TIMEOUT_MS", "1500"),
            // Its receiver listens on this machine, and refuses more often than any other.
            ("WEBHOOK_ALLOW_PRIVATE", "true"),
            ("WEBHOOK_TIMEOUT_MS", "1000"),
            ("WEBHOOK_ATTEMPTS_MAX", "1000"),
            ("WEBHOOK_RETRY_BASE_MS", "40"),
            ("WEBHOOK_RETRY_MAX_MS", "640"),
            ("SHUTDOWN_DRAIN_MS", "100"),
            ("SHUTDOWN_TIMEOUT_MS", "3000"),
            ("ARGON2_MEMORY_KIB", "64"),
            ("ARGON2_ITERATIONS", "1"),
            ("RATE_LIMIT_SESSION", "off"),
            ("RATE_LIMIT_GENERATIONS", "off"),
            ("RATE_LIMIT_LOGIN_ADDRESS", "off"),
            ("RATE_LIMIT_LOGIN_ACCOUNT", "off"),
            ("RATE_LIMIT_REGISTER_ADDRESS", "off"),
            ("RATE_LIMIT_REGISTER_ACCOUNT", "off"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }
}

/// The key that a backend shows to `OpenAI`.
fn api_key(seat: Seat) -> &'static str {
    match seat {
        Seat::First => "storm-first",
        Seat::Second => "storm-second",
    }
}

/// Whose key this is.
pub fn seat_of(key: &str) -> Option<Seat> {
    Seat::ALL.into_iter().find(|seat| api_key(*seat) == key)
}

/// Adds rules by which one call in so many meets a trouble.
fn with(script: Script, on: Call, share: f64, trouble: Trouble) -> Script {
    let half = When::Probability(share / 2.0);
    let when = When::Probability(share);
    match trouble {
        Trouble::RateLimits => script.fault(
            on,
            when,
            Action::RateLimited {
                retry_after_ms: 30_000.0,
            },
        ),
        Trouble::ServerErrors => script
            .fault(on, half, Action::ServerError { status: 500 })
            .fault(on, half, Action::ServerError { status: 503 }),
        Trouble::Garbage => script.fault(on, when, Action::Garbage),
        Trouble::Failed => script.fault(
            on,
            when,
            Action::Failed {
                code: "server_error".to_owned(),
            },
        ),
        Trouble::Incomplete => script.fault(
            on,
            when,
            Action::Incomplete {
                reason: "max_output_tokens".to_owned(),
            },
        ),
        Trouble::Lost => script.fault(on, when, Action::Expired),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        generations: 1,
        in_flight: 1,
        speedup: 300.0,
        seed: u64::MAX,
        timeout_s: 1,
    };

    #[test]
    fn every_weather_can_be_played_and_no_two_are_drawn_alike() {
        let scripts = [
            SIZE.fair_weather(0),
            SIZE.foul_weather(1, Trouble::Lost),
            SIZE.fair_weather(1),
            SIZE.foul_weather(2, Trouble::RateLimits),
        ];
        for (index, script) in scripts.iter().enumerate() {
            assert_eq!(script.validate(), Ok(()));
            assert!(
                scripts[..index]
                    .iter()
                    .all(|other| other.seed != script.seed)
            );
        }
    }

    #[test]
    fn backends_are_known_by_their_keys() {
        for seat in Seat::ALL {
            assert_eq!(seat_of(api_key(seat)), Some(seat));
        }
        assert_eq!(seat_of("scripted"), None);
    }
}
