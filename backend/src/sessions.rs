//! Sessions: opaque tokens, kept only as hashes, in Redis or in this process.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngCore;
use redis::aio::ConnectionManager;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::config::SessionConfig;
use crate::domain::ids::UserId;
use crate::limits::{Limit, Limits, Subject, TAKE_LUA, Verdict, micros};

/// Finds a session, makes it last a whole time-to-live again, and counts the request against the
/// session's limit: in one round trip, for it is on the path of every request. Nothing is counted
/// for a token that opens no session, so made-up tokens leave no keys behind.
const FIND_LUA: &str = "
local user = redis.call('GETEX', KEYS[1], 'PX', ARGV[1])
if not user then return {} end
if #KEYS == 1 then return { user } end
local told = take({ KEYS[2] }, { ARGV[2], ARGV[3] })[1]
return { user, tostring(told[1]), tostring(told[2]), tostring(told[3]) }";

/// The session store does not answer. There is no other failure: an unknown token is `None`.
#[derive(Debug, thiserror::Error)]
#[error("reach the session store")]
pub struct SessionError(#[from] redis::RedisError);

/// What the client holds: 32 random bytes in base64url. It is shown once, and never logged.
pub struct Token(String);

impl Token {
    fn new() -> Self {
        let mut bytes = [0_u8; 32];
        rand::rng().fill_bytes(&mut bytes);
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The text for the client.
    pub fn reveal(self) -> String {
        self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token")
    }
}

/// What the store knows: the SHA-256 of a token, so a copy of the store opens no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionKey([u8; 32]);

impl SessionKey {
    /// The key of a token that a client sent.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Whom the limit of a session counts.
    fn subject(self) -> Subject {
        Subject::of(self.0)
    }

    fn in_redis(self) -> String {
        format!("session:{}", hex::encode(self.0))
    }
}

/// The session store.
#[derive(Clone)]
pub struct Sessions {
    ttl: Duration,
    store: Store,
}

#[derive(Clone)]
enum Store {
    Redis {
        connection: ConnectionManager,
        find: Arc<redis::Script>,
    },
    Memory(Arc<Mutex<MemoryStore>>),
}

impl fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = match self.store {
            Store::Redis { .. } => "redis",
            Store::Memory(_) => "memory",
        };
        formatter
            .debug_struct("Sessions")
            .field("ttl", &self.ttl)
            .field("store", &store)
            .finish()
    }
}

impl Sessions {
    /// Sessions in Redis, or in this process without one.
    pub fn new(config: &SessionConfig, cache: Option<ConnectionManager>) -> Self {
        let store = match cache {
            None => Store::Memory(Arc::default()),
            Some(connection) => Store::Redis {
                connection,
                find: Arc::new(redis::Script::new(&format!("{TAKE_LUA}{FIND_LUA}"))),
            },
        };
        Self {
            ttl: config.ttl,
            store,
        }
    }

    /// Opens a session.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn open(&self, user: UserId) -> Result<Token, SessionError> {
        let token = Token::new();
        let key = SessionKey::of(&token.0);
        match &self.store {
            Store::Redis { connection, .. } => {
                let mut command = redis::cmd("SET");
                command
                    .arg(key.in_redis())
                    .arg(user.to_string())
                    .arg("PX")
                    .arg(self.ttl_ms());
                command.query_async::<()>(&mut connection.clone()).await?;
            }
            Store::Memory(store) => lock(store).insert(key, user, Instant::now(), self.ttl),
        }
        Ok(token)
    }

    /// Whose session it is, and makes it last a whole time-to-live again; with where the session's
    /// limit stands, unless that is off.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn find(
        &self,
        key: SessionKey,
        limits: &Limits,
    ) -> Result<Option<(UserId, Option<Verdict>)>, SessionError> {
        let (connection, find) = match &self.store {
            Store::Redis { connection, find } => (connection, find),
            Store::Memory(store) => {
                let user = lock(store).find(key, Instant::now(), self.ttl);
                let Some(user) = user else { return Ok(None) };
                let verdicts = limits.take(&[(Limit::Session, key.subject())]).await?;
                return Ok(Some((user, verdicts.first().copied())));
            }
        };
        let mut call = find.key(key.in_redis());
        call.arg(self.ttl_ms());
        let quota = limits.quota(Limit::Session);
        if let Some(quota) = quota {
            call.key(key.subject().key(Limit::Session))
                .arg(quota.requests)
                .arg(micros(quota.window));
        }
        let told: Vec<String> = call.invoke_async(&mut connection.clone()).await?;
        let Some(user) = told.first().and_then(|text| Uuid::from_str(text).ok()) else {
            return Ok(None);
        };
        let number = |index: usize| told.get(index).and_then(|text| text.parse::<u64>().ok());
        let verdict = quota.and_then(|quota| {
            let left = u32::try_from(number(1)?).ok()?;
            Some(Verdict::read(
                Limit::Session,
                quota,
                (left, number(2)?, number(3)?),
            ))
        });
        Ok(Some((UserId(user), verdict)))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn close(&self, key: SessionKey) -> Result<(), SessionError> {
        match &self.store {
            Store::Redis { connection, .. } => {
                let mut command = redis::cmd("DEL");
                command
                    .arg(key.in_redis())
                    .query_async::<()>(&mut connection.clone())
                    .await?;
            }
            Store::Memory(store) => {
                lock(store).sessions.remove(&key);
            }
        }
        Ok(())
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), SessionError> {
        if let Store::Redis { connection, .. } = &self.store {
            redis::cmd("PING")
                .query_async::<()>(&mut connection.clone())
                .await?;
        }
        Ok(())
    }

    fn ttl_ms(&self) -> u64 {
        u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX)
    }
}

fn lock(store: &Mutex<MemoryStore>) -> std::sync::MutexGuard<'_, MemoryStore> {
    // Every operation leaves the map whole, so a panic elsewhere spoils nothing.
    store
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The twin of Redis for a single task. Time is passed in.
#[derive(Debug, Default)]
struct MemoryStore {
    sessions: HashMap<SessionKey, (UserId, Instant)>,
    sweep_at: usize,
}

impl MemoryStore {
    fn insert(&mut self, key: SessionKey, user: UserId, now: Instant, ttl: Duration) {
        // A sweep whenever the map has doubled since the last one bounds it to twice what is alive.
        if self.sessions.len() >= self.sweep_at.max(64) {
            self.sessions.retain(|_, (_, expires)| *expires > now);
            self.sweep_at = 2 * self.sessions.len();
        }
        self.sessions.insert(key, (user, now + ttl));
    }

    fn find(&mut self, key: SessionKey, now: Instant, ttl: Duration) -> Option<UserId> {
        let (user, expires) = self.sessions.get_mut(&key)?;
        if *expires <= now {
            self.sessions.remove(&key);
            return None;
        }
        *expires = now + ttl;
        Some(*user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LimitConfig;

    const TTL: Duration = Duration::from_secs(60);

    #[test]
    fn use_prolongs_a_session_and_disuse_ends_it() {
        let mut store = MemoryStore::default();
        let (key, user, start) = (SessionKey::of("token"), UserId::new(), Instant::now());
        store.insert(key, user, start, TTL);
        assert_eq!(store.find(key, start + TTL / 2, TTL), Some(user));
        assert_eq!(store.find(key, start + TTL, TTL), Some(user));
        assert_eq!(store.find(key, start + 3 * TTL, TTL), None);
    }

    #[test]
    fn expired_sessions_do_not_accumulate() {
        let mut store = MemoryStore::default();
        let start = Instant::now();
        for number in 0..10_000_u32 {
            let key = SessionKey::of(&number.to_string());
            store.insert(key, UserId::new(), start + TTL * number, TTL);
        }
        assert!(store.sessions.len() <= 65, "{}", store.sessions.len());
    }

    #[tokio::test]
    async fn tokens_are_unique_and_a_closed_session_is_gone() {
        let config = SessionConfig {
            redis_url: None,
            ttl: TTL,
            cookie_secure: true,
            allowed_origins: Vec::new(),
        };
        let sessions = Sessions::new(&config, None);
        let limits = Limits::new(LimitConfig::off(), None);
        let user = UserId::new();
        let first = sessions.open(user).await.expect("in memory").reveal();
        let second = sessions.open(user).await.expect("in memory").reveal();
        assert_ne!(first, second);
        let closed = sessions.close(SessionKey::of(&first));
        closed.await.expect("in memory");
        for (token, expected) in [(first, None), (second, Some((user, None)))] {
            let found = sessions.find(SessionKey::of(&token), &limits).await;
            assert_eq!(found.expect("in memory"), expected);
        }
    }
}
