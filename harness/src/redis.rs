//! One Redis server, cut into numbered logical databases that are handed out one per sandbox.

use std::sync::{Mutex, PoisonError};

use redis::{Client, RedisError};

/// Logical databases of a server; database 0 stays unused, so that a client which forgets its
/// number is noticed.
pub(crate) const DATABASES: u16 = 4096;

/// Nothing is kept on disk, and there are enough databases; the same for both providers.
pub(crate) const ARGUMENTS: [&str; 6] = ["--save", "", "--appendonly", "no", "--databases", "4096"];

/// A server that answers, with the numbers that are free.
#[derive(Debug)]
pub(crate) struct RedisServer {
    port: u16,
    version: String,
    free: Mutex<Vec<u16>>,
}

/// Why a sandbox got no Redis database.
#[derive(Debug, thiserror::Error)]
pub enum RedisNumberError {
    /// All numbers are in use.
    #[error("find a free Redis database: all {DATABASES} are in use; drop sandboxes")]
    Exhausted,
    /// Redis refused.
    #[error("flush the Redis database")]
    Redis(#[from] RedisError),
}

impl RedisServer {
    pub(crate) async fn connect(port: u16) -> Result<RedisServer, RedisError> {
        let version = info(port, "redis_version").await?;
        let free = Mutex::new((1..DATABASES).rev().collect());
        Ok(RedisServer {
            port,
            version,
            free,
        })
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn url(&self, number: u16) -> String {
        url(self.port, number)
    }

    /// Hands out an empty database.
    pub(crate) async fn take(&self) -> Result<u16, RedisNumberError> {
        let number = self
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let number = number.ok_or(RedisNumberError::Exhausted)?;
        if let Err(error) = self.flush(number).await {
            self.free
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(number);
            return Err(error.into());
        }
        Ok(number)
    }

    /// Takes a database back. It goes to the far end: a late writer of its last owner meets
    /// nobody for as long as possible, and it is flushed again before its next use.
    pub(crate) async fn give_back(&self, number: u16) {
        if let Err(error) = self.flush(number).await {
            tracing::debug!(number, %error, "a Redis database could not be flushed");
        }
        self.free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(0, number);
    }

    async fn flush(&self, number: u16) -> Result<(), RedisError> {
        let mut connection = Client::open(self.url(number))?
            .get_multiplexed_async_connection()
            .await?;
        redis::cmd("FLUSHDB").query_async(&mut connection).await
    }
}

fn url(port: u16, number: u16) -> String {
    format!("redis://127.0.0.1:{port}/{number}")
}

/// One field of `INFO server`.
pub(crate) async fn info(port: u16, field: &str) -> Result<String, RedisError> {
    let mut connection = Client::open(url(port, 0))?
        .get_multiplexed_async_connection()
        .await?;
    let text: String = redis::cmd("INFO")
        .arg("server")
        .query_async(&mut connection)
        .await?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(value.unwrap_or_default().trim().to_owned())
}
