//! Rate limits: so many requests in a window, by the generic cell rate algorithm, in Redis for all
//! tasks together or in this process for a single one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::ConnectionManager;
use sha2::{Digest, Sha256};

use crate::config::LimitConfig;

/// The Lua function that decides; scripts put their own call behind it.
pub(crate) const TAKE_LUA: &str = include_str!("limits/take.lua");

/// So many requests in a window: all at once, and from then on one each time a share of the window has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests.
    pub requests: u32,
    /// The window.
    pub window: Duration,
}

impl Quota {
    fn interval(self) -> Duration {
        self.window / self.requests.max(1)
    }
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Requests of one session.
    Session,
    /// Logins from one address.
    LoginAddress,
    /// Logins to one account.
    LoginAccount,
    /// Registrations from one address.
    RegisterAddress,
    /// Registrations of one email address.
    RegisterAccount,
    /// Generations of one user.
    Generations,
}

impl Limit {
    /// Its name in headers, metrics and keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::LoginAddress => "login-address",
            Self::LoginAccount => "login-account",
            Self::RegisterAddress => "register-address",
            Self::RegisterAccount => "register-account",
            Self::Generations => "generations",
        }
    }
}

/// Where one limit stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The limit.
    pub limit: Limit,
    /// What it allows.
    pub quota: Quota,
    /// Requests left at once.
    pub remaining: u32,
    /// How long until one more is allowed; zero when this one was.
    pub wait: Duration,
    /// How long until the limit is whole again.
    pub whole_in: Duration,
}

impl Verdict {
    /// Reads what [`TAKE_LUA`] returns for one key.
    pub(crate) fn read(limit: Limit, quota: Quota, (left, wait, owed): (u32, u64, u64)) -> Self {
        Self {
            limit,
            quota,
            remaining: left,
            wait: Duration::from_micros(wait),
            whole_in: Duration::from_micros(owed),
        }
    }
}

/// Who a limit counts: a hash, so that Redis learns neither addresses nor sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subject([u8; 16]);

impl Subject {
    /// The subject that has this name.
    pub fn of(name: impl AsRef<[u8]>) -> Self {
        let mut subject = [0; 16];
        subject.copy_from_slice(&Sha256::digest(name)[..16]);
        Self(subject)
    }

    /// The key of the subject's limit in Redis.
    pub(crate) fn key(self, limit: Limit) -> String {
        format!("limit:{}:{}", limit.name(), hex::encode(self.0))
    }
}

/// The limits of the service.
pub struct Limits {
    config: LimitConfig,
    store: Store,
}

enum Store {
    Redis {
        connection: ConnectionManager,
        script: redis::Script,
    },
    Memory(Mutex<Cells>),
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Limits")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Limits {
    /// Limits in Redis, or in this process without one.
    pub fn new(config: LimitConfig, cache: Option<ConnectionManager>) -> Self {
        let store = match cache {
            None => Store::Memory(Mutex::default()),
            Some(connection) => Store::Redis {
                connection,
                script: redis::Script::new(&format!("{TAKE_LUA}\nreturn take(KEYS, ARGV)")),
            },
        };
        Self { config, store }
    }

    /// What a limit allows; `None` when it is off.
    pub fn quota(&self, limit: Limit) -> Option<Quota> {
        match limit {
            Limit::Session => self.config.session,
            Limit::LoginAddress => self.config.login_address,
            Limit::LoginAccount => self.config.login_account,
            Limit::RegisterAddress => self.config.register_address,
            Limit::RegisterAccount => self.config.register_account,
            Limit::Generations => self.config.generations,
        }
    }

    /// Takes one request from each limit, or from none when one of them refuses. Limits that are
    /// off have no verdict.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn take(
        &self,
        asked: &[(Limit, Subject)],
    ) -> Result<Vec<Verdict>, redis::RedisError> {
        let asked: Vec<(Limit, Quota, Subject)> = asked
            .iter()
            .filter_map(|(limit, subject)| Some((*limit, self.quota(*limit)?, *subject)))
            .collect();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        match &self.store {
            Store::Memory(cells) => Ok(cells
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(&asked, Instant::now())),
            Store::Redis { connection, script } => {
                let mut call = script.prepare_invoke();
                for (limit, quota, subject) in &asked {
                    call.key(subject.key(*limit))
                        .arg(quota.requests)
                        .arg(micros(quota.window));
                }
                let told: Vec<(u32, u64, u64)> = call.invoke_async(&mut connection.clone()).await?;
                let verdicts = asked.iter().zip(told);
                Ok(verdicts
                    .map(|((limit, quota, _), told)| Verdict::read(*limit, *quota, told))
                    .collect())
            }
        }
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The twin of the Lua function for a single task. Time is passed in.
#[derive(Debug, Default)]
struct Cells {
    whole_at: HashMap<(Limit, Subject), Instant>,
    sweep_at: usize,
}

impl Cells {
    fn take(&mut self, asked: &[(Limit, Quota, Subject)], now: Instant) -> Vec<Verdict> {
        // A sweep whenever the map has doubled since the last one bounds it to twice what is used.
        if self.whole_at.len() >= self.sweep_at.max(64) {
            self.whole_at.retain(|_, whole_at| *whole_at > now);
            self.sweep_at = 2 * self.whole_at.len();
        }
        let mut verdicts: Vec<Verdict> = asked
            .iter()
            .map(|(limit, quota, subject)| {
                let whole_at = self.whole_at.get(&(*limit, *subject));
                let owed = whole_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
                Verdict {
                    limit: *limit,
                    quota: *quota,
                    remaining: 0,
                    wait: (owed + quota.interval()).saturating_sub(quota.window),
                    whole_in: owed,
                }
            })
            .collect();
        let allowed = verdicts.iter().all(|verdict| verdict.wait.is_zero());
        for (verdict, (limit, quota, subject)) in verdicts.iter_mut().zip(asked) {
            if allowed {
                verdict.whole_in += quota.interval();
                self.whole_at
                    .insert((*limit, *subject), now + verdict.whole_in);
            }
            let free = quota.window.saturating_sub(verdict.whole_in).as_nanos();
            // The interval is cut to whole nanoseconds, so the quotient may exceed the quota by a hair.
            let left = free / quota.interval().as_nanos().max(1);
            verdict.remaining = u32::try_from(left).unwrap_or(u32::MAX).min(quota.requests);
        }
        verdicts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quota(requests: u32, window_ms: u64) -> Quota {
        Quota {
            requests,
            window: Duration::from_millis(window_ms),
        }
    }

    #[test]
    fn a_burst_is_allowed_and_then_one_request_per_share_of_the_window() {
        let mut cells = Cells::default();
        let asked = [(Limit::Session, quota(4, 1000), Subject::of("a"))];
        let start = Instant::now();
        let remaining: Vec<u32> = (0..4)
            .map(|_| cells.take(&asked, start)[0].remaining)
            .collect();
        assert_eq!(remaining, [3, 2, 1, 0]);
        let refused = cells.take(&asked, start + Duration::from_millis(50))[0];
        assert_eq!(refused.wait, Duration::from_millis(200));
        assert_eq!(refused.whole_in, Duration::from_millis(950));
        assert!(
            cells.take(&asked, start + Duration::from_millis(250))[0]
                .wait
                .is_zero()
        );
        assert!(
            !cells.take(&asked, start + Duration::from_millis(250))[0]
                .wait
                .is_zero()
        );
    }

    #[test]
    fn a_refusal_by_one_limit_takes_nothing_from_the_other() {
        let mut cells = Cells::default();
        let (address, account) = (Subject::of("address"), Subject::of("account"));
        let wide = (Limit::LoginAddress, quota(3, 1000), address);
        let narrow = (Limit::LoginAccount, quota(1, 1000), account);
        let now = Instant::now();
        for _ in 0..5 {
            cells.take(&[wide, narrow], now);
        }
        assert_eq!(cells.take(&[wide], now)[0].remaining, 1);
    }

    #[test]
    fn subjects_do_not_share_and_forgotten_ones_do_not_accumulate() {
        let mut cells = Cells::default();
        let start = Instant::now();
        for number in 0..10_000_u32 {
            let asked = [(
                Limit::Session,
                quota(1, 1000),
                Subject::of(number.to_string()),
            )];
            let now = start + Duration::from_secs(2) * number;
            assert!(cells.take(&asked, now)[0].wait.is_zero());
        }
        assert!(cells.whole_at.len() <= 65, "{}", cells.whole_at.len());
    }

    proptest! {
        #[test]
        fn no_window_sees_more_than_twice_the_quota(
            requests in 1_u32..20, gaps_ms in prop::collection::vec(0_u64..300, 1..200)
        ) {
            let (mut cells, mut now) = (Cells::default(), Instant::now());
            let asked = [(Limit::Session, quota(requests, 1000), Subject::of("a"))];
            let mut allowed = Vec::new();
            for gap in gaps_ms {
                now += Duration::from_millis(gap);
                let verdict = cells.take(&asked, now)[0];
                prop_assert!(verdict.remaining < requests);
                prop_assert!(verdict.whole_in <= asked[0].1.window);
                if verdict.wait.is_zero() {
                    allowed.push(now);
                }
            }
            for start in &allowed {
                let window = *start..*start + asked[0].1.window;
                let seen = allowed.iter().filter(|at| window.contains(*at)).count();
                prop_assert!(seen <= 2 * requests as usize);
            }
        }
    }
}
