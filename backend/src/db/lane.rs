//! Connections for statements that are a transaction of their own, which nearly all of this service's are.
//!
//! sqlx's pool sends a test query each time a connection comes back, which doubles the round trips
//! of a one-row statement. The lane trusts a connection until it fails; transactions, whose end may
//! have to be flushed, stay with the pool.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sqlx::postgres::{
    PgConnectOptions, PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo, Postgres,
};
use sqlx::{ConnectOptions, Describe, Either, Error, Execute, Executor, SqlStr};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::db::DbError;
use crate::db::generations::{self, GenerationRow};
use crate::domain::ids::{GenerationId, UserId};

/// The connections. `&Lane` executes statements as `&PgPool` does; their answers are read whole.
#[derive(Debug)]
pub struct Lane {
    options: PgConnectOptions,
    idle: Mutex<Vec<PgConnection>>,
    permits: Semaphore,
    acquire_timeout: Duration,
}

/// A connection on loan. It goes back only after a whole answer: dropped before, because its
/// request was, it is closed with what it still had to say, so no answer is read by the next one.
struct Loan<'a> {
    lane: &'a Lane,
    connection: PgConnection,
    _permit: SemaphorePermit<'a>,
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

    /// As [`generations::find`], on a fresh connection when an idle one turns out to have died: a
    /// client's poll survives the restart of a database between two of its polls.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn generation(
        &self,
        id: GenerationId,
        user: UserId,
    ) -> Result<Option<GenerationRow>, DbError> {
        let was_idle = !self.idle().is_empty();
        match generations::find(self, id, user).await {
            Err(DbError::Unavailable(_)) if was_idle => generations::find(self, id, user).await,
            found => found,
        }
    }

    /// An idle connection, or a new one.
    async fn borrow(&self) -> Result<Loan<'_>, Error> {
        let waited = timeout(self.acquire_timeout, self.permits.acquire()).await;
        let permit = waited
            .map_err(|_| Error::PoolTimedOut)?
            .map_err(|_| Error::PoolClosed)?;
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => timeout(self.acquire_timeout, self.options.connect())
                .await
                .map_err(|_| Error::PoolTimedOut)??,
        };
        Ok(Loan {
            lane: self,
            connection,
            _permit: permit,
        })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loan<'_> {
    /// Ends the loan by how its statement ended.
    fn end<T>(self, answer: Result<T, Error>) -> Result<T, Error> {
        match &answer {
            Ok(_) => self.give_back(),
            // The server said no, and is as well as its connection: nothing but that statement failed.
            Err(Error::Database(error)) if !closes_connection(error.code().as_deref()) => {
                self.give_back();
            }
            // What ended this connection has most likely ended those that were idle.
            Err(_) => self.lane.idle().clear(),
        }
        answer
    }

    fn give_back(self) {
        self.lane.idle().push(self.connection);
    }
}

/// Whether an error's SQLSTATE says that its connection is going too: classes 08 (connection) and 57
/// (operator intervention, though a cancelled statement, 57014, leaves it open).
fn closes_connection(code: Option<&str>) -> bool {
    code.is_none_or(|code| code != "57014" && (code.starts_with("08") || code.starts_with("57")))
}

impl<'c> Executor<'c> for &'c Lane {
    type Database = Postgres;

    fn execute<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<PgQueryResult, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            let mut loan = self.borrow().await?;
            let answer = loan.connection.execute(query).await;
            loan.end(answer)
        })
    }

    fn fetch_all<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Vec<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            let mut loan = self.borrow().await?;
            let answer = loan.connection.fetch_all(query).await;
            loan.end(answer)
        })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            let mut loan = self.borrow().await?;
            let answer = loan.connection.fetch_optional(query).await;
            loan.end(answer)
        })
    }

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let answer = async move {
            let mut loan = self.borrow().await?;
            let answer: Result<Vec<_>, Error> =
                loan.connection.fetch_many(query).try_collect().await;
            let answer = loan.end(answer)?;
            Ok::<_, Error>(stream::iter(answer.into_iter().map(Ok)))
        };
        stream::once(answer).try_flatten().boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            let mut loan = self.borrow().await?;
            let answer = loan.connection.prepare_with(sql, parameters).await;
            loan.end(answer)
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            let mut loan = self.borrow().await?;
            let answer = loan.connection.describe(sql).await;
            loan.end(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_kept_after_an_error_that_leaves_it_open() {
        for code in ["23505", "57014", "40001"] {
            assert!(!closes_connection(Some(code)), "{code}");
        }
        for code in ["57P01", "57P03", "08006"] {
            assert!(closes_connection(Some(code)), "{code}");
        }
        assert!(closes_connection(None));
    }
}
