//! All SQL, one function per query. Every function takes any executor: a pool, a connection or a transaction.

pub mod documents;
pub mod events;
pub mod generations;
pub mod lane;
pub mod leases;
pub mod spending;
pub mod steps;
pub mod users;
pub mod webhooks;
pub mod workers;

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, PgExecutor};

use crate::config::DatabaseConfig;

/// The schema, embedded. Running it takes an advisory lock, so any number of tasks may try at once.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// What a query can end with instead of an answer.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// No connection, or it broke, or the server is starting, stopping or full: come again.
    #[error("reach the database")]
    Unavailable(#[source] sqlx::Error),
    /// A fault of ours.
    #[error("query the database")]
    Failed(#[source] sqlx::Error),
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        let transient = match &error {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
            sqlx::Error::Database(database) => database
                .code()
                .is_some_and(|code| is_transient_state(&code)),
            _ => false,
        };
        if transient {
            Self::Unavailable(error)
        } else {
            Self::Failed(error)
        }
    }
}

/// Whether a SQLSTATE passes by itself: class 08 (connection), 53 (resources), 57 (operator
/// intervention: shut-down, recovery), 40 (serialization, deadlock) and 25006 (a replica during
/// a fail-over). PostgreSQL documentation, appendix A.
fn is_transient_state(code: &str) -> bool {
    ["08", "40", "53", "57"]
        .iter()
        .any(|class| code.starts_with(class))
        || code == "25006"
}

/// A pool for transactions and the listener. It connects on first use, so a database that is away at
/// the start costs 503s, not the start.
pub fn pool(config: &DatabaseConfig) -> PgPool {
    PgPoolOptions::new()
        .max_connections(config.pool_max - lane_connections(config))
        .acquire_timeout(config.acquire_timeout)
        // sqlx tests a connection when it comes back; a second test per use would double that.
        .test_before_acquire(false)
        .connect_lazy_with(options(config))
}

/// The lane of all other statements; it and the pool share `DATABASE_POOL_MAX`.
pub fn lane(config: &DatabaseConfig) -> lane::Lane {
    lane::Lane::new(
        options(config),
        lane_connections(config),
        config.acquire_timeout,
    )
}

/// Two thirds of what the listener leaves; of the least that can be configured, three, one.
fn lane_connections(config: &DatabaseConfig) -> u32 {
    (config.pool_max - 1) * 2 / 3
}

fn options(config: &DatabaseConfig) -> PgConnectOptions {
    config
        .options
        .clone()
        .application_name("allegiant-backend")
        // A transaction that hangs must not hold row locks for ever.
        .options([
            ("idle_in_transaction_session_timeout", "10s"),
            ("statement_timeout", "30s"),
        ])
        .disable_statement_logging()
}

/// A duration as SQL takes it: times `interval '1 millisecond'`.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Brings the schema up to date.
///
/// # Errors
/// When the database does not answer or a migration fails.
pub async fn migrate(pool: &PgPool) -> Result<(), sqlx::migrate::MigrateError> {
    MIGRATOR.run(pool).await
}

/// Whether the database answers.
///
/// # Errors
/// When it does not.
pub async fn ping(db: impl PgExecutor<'_>) -> Result<(), DbError> {
    sqlx::query("SELECT 1").execute(db).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_that_pass_are_told_from_faults() {
        for code in ["08006", "57P01", "57P03", "53300", "40001", "25006"] {
            assert!(is_transient_state(code), "{code}");
        }
        for code in ["23505", "42P01", "22P02", "25001"] {
            assert!(!is_transient_state(code), "{code}");
        }
    }

    #[test]
    fn every_migration_can_be_taken_back() {
        let (up, down): (Vec<_>, Vec<_>) = MIGRATOR
            .iter()
            .partition(|migration| migration.migration_type.is_up_migration());
        assert!(!up.is_empty());
        let versions = |list: &[&sqlx::migrate::Migration]| {
            list.iter().map(|one| one.version).collect::<Vec<_>>()
        };
        assert_eq!(versions(&up), versions(&down));
    }
}
