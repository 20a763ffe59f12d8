//! A few connections kept for the query that every poll of a client makes.
//!
//! sqlx's pool sends a test query each time a connection comes back, which doubles the round trips
//! of a one-row lookup. The lane trusts a connection until it fails, and then asks a fresh one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::db::DbError;
use crate::db::generations::{self, GenerationRow};
use crate::domain::ids::{GenerationId, UserId};

/// The connections.
#[derive(Debug)]
pub struct Lane {
    options: PgConnectOptions,
    idle: Mutex<Vec<PgConnection>>,
    permits: Semaphore,
    acquire_timeout: Duration,
}

impl Lane {
    /// A lane of at most so many connections, none of which is open yet.
    pub(super) fn new(
        options: PgConnectOptions,
        connections: u32,
        acquire_timeout: Duration,
    ) -> Self {
        let permits = usize::try_from(connections).unwrap_or(1).max(1);
        Self {
            options,
            idle: Mutex::default(),
            permits: Semaphore::new(permits),
            acquire_timeout,
        }
    }

    /// As [`generations::find`].
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn generation(
        &self,
        id: GenerationId,
        user: UserId,
    ) -> Result<Option<GenerationRow>, DbError> {
        let waited = timeout(self.acquire_timeout, self.permits.acquire()).await;
        let _permit = waited
            .map_err(|_| DbError::Unavailable(sqlx::Error::PoolTimedOut))?
            .map_err(|_| DbError::Unavailable(sqlx::Error::PoolClosed))?;
        // A connection goes back only after a whole answer. One whose request was dropped in
        // between is closed with it, so no answer is ever read by the next request.
        while let Some(mut connection) = self.take() {
            match generations::find(&mut connection, id, user).await {
                Ok(row) => {
                    self.put(connection);
                    return Ok(row);
                }
                // It was idle and may have died long ago: the next one, or a fresh one, decides.
                Err(DbError::Unavailable(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let connecting = timeout(self.acquire_timeout, self.options.connect()).await;
        let mut connection =
            connecting.map_err(|_| DbError::Unavailable(sqlx::Error::PoolTimedOut))??;
        let row = generations::find(&mut connection, id, user).await?;
        self.put(connection);
        Ok(row)
    }

    fn take(&self) -> Option<PgConnection> {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
    }

    fn put(&self, connection: PgConnection) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
    }
}
