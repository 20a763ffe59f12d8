//! Sessions: opaque tokens, kept only as hashes, in Redis or in this process.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngCore;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::config::SessionConfig;
use crate::domain::ids::UserId;

/// One Redis command may take this long; a session check is on the path of every request.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);

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
    Redis(ConnectionManager),
    Memory(Arc<Mutex<MemoryStore>>),
}

impl fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = match self.store {
            Store::Redis(_) => "redis",
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
    /// A store as configured. Redis is connected to on first use, so a Redis that is away
    /// at the start costs 503s, not the start.
    ///
    /// # Errors
    /// When the URL is refused.
    pub fn new(config: &SessionConfig) -> Result<Self, SessionError> {
        let store = match &config.redis_url {
            None => Store::Memory(Arc::default()),
            Some(url) => {
                let manager = ConnectionManagerConfig::new()
                    .set_connection_timeout(Some(COMMAND_TIMEOUT))
                    .set_response_timeout(Some(COMMAND_TIMEOUT))
                    .set_number_of_retries(0);
                let client = redis::Client::open(url.as_str())?;
                Store::Redis(ConnectionManager::new_lazy_with_config(client, manager)?)
            }
        };
        Ok(Self {
            ttl: config.ttl,
            store,
        })
    }

    /// Opens a session.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn open(&self, user: UserId) -> Result<Token, SessionError> {
        let token = Token::new();
        let key = SessionKey::of(&token.0);
        match &self.store {
            Store::Redis(connection) => {
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

    /// Whose session it is, and makes it last a whole time-to-live again: one command (GETEX).
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn find(&self, key: SessionKey) -> Result<Option<UserId>, SessionError> {
        match &self.store {
            Store::Redis(connection) => {
                let mut command = redis::cmd("GETEX");
                command.arg(key.in_redis()).arg("PX").arg(self.ttl_ms());
                let user: Option<String> = command.query_async(&mut connection.clone()).await?;
                Ok(user.and_then(|text| Uuid::from_str(&text).ok()).map(UserId))
            }
            Store::Memory(store) => Ok(lock(store).find(key, Instant::now(), self.ttl)),
        }
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn close(&self, key: SessionKey) -> Result<(), SessionError> {
        match &self.store {
            Store::Redis(connection) => {
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
        if let Store::Redis(connection) = &self.store {
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
        };
        let sessions = Sessions::new(&config).expect("nothing to connect to");
        let user = UserId::new();
        let first = sessions.open(user).await.expect("in memory").reveal();
        let second = sessions.open(user).await.expect("in memory").reveal();
        assert_ne!(first, second);
        sessions
            .close(SessionKey::of(&first))
            .await
            .expect("in memory");
        assert_eq!(
            sessions
                .find(SessionKey::of(&first))
                .await
                .expect("in memory"),
            None
        );
        assert_eq!(
            sessions
                .find(SessionKey::of(&second))
                .await
                .expect("in memory"),
            Some(user)
        );
    }
}
