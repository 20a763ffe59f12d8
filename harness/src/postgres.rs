//! One Postgres server: how it is reached, and the databases made in it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

use crate::template::{Template, TemplateError};

/// Settings of a server whose data nobody needs tomorrow: no fsync, no full pages, small buffers.
/// `max_connections` is [`crate::places::SANDBOXES_MAX`] sandboxes with fifteen each, and room for
/// the harness itself in many processes.
pub(crate) const SETTINGS: [&str; 9] = [
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "max_connections=450",
    "shared_buffers=64MB",
    "track_activities=on",
    "max_wal_size=1GB",
    "timezone=UTC",
    // Dropping a database asks for a checkpoint: there is nothing worth writing a line about.
    "log_checkpoints=off",
];

/// What makes a server count its statements (`pg_stat_statements`): for servers that have the library, since
/// others would not start.
pub(crate) const COUNT_STATEMENTS: &str = "shared_preload_libraries=pg_stat_statements";

/// Connections of the harness itself, in one process; they only create, claim and drop databases.
const ADMIN_CONNECTIONS_MAX: u32 = 6;

/// First half of the advisory lock under which a template is prepared; the second names it.
const TEMPLATE_LOCK: i32 = 0x4832;
/// First half of the advisory lock under which spare copies of a template are made.
const SPARES_LOCK: i32 = 0x4833;

/// Where a Postgres server listens and who its superuser is.
#[derive(Debug, Clone)]
pub(crate) struct PostgresAddress {
    pub(crate) port: u16,
}

pub(crate) const USER: &str = "postgres";

impl PostgresAddress {
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    pub(crate) fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username(USER)
            .database(database)
            .application_name("harness")
    }
}

/// A server that answers, with the templates known to be prepared in it.
#[derive(Debug)]
pub(crate) struct PostgresServer {
    address: PostgresAddress,
    admin: PgPool,
    version: String,
    version_number: i32,
    templates: Mutex<HashMap<String, Arc<OnceCell<()>>>>,
}

impl PostgresServer {
    pub(crate) async fn connect(address: PostgresAddress) -> Result<PostgresServer, sqlx::Error> {
        let admin = PgPoolOptions::new()
            .max_connections(ADMIN_CONNECTIONS_MAX)
            .acquire_timeout(Duration::from_secs(30))
            .connect_with(address.options("postgres"))
            .await?;
        let (version, version_number): (String, i32) = sqlx::query_as(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int",
        )
        .fetch_one(&admin)
        .await?;
        // Debian appends its package version in parentheses.
        let version = version.split(' ').next().unwrap_or_default().to_owned();
        Ok(PostgresServer {
            address,
            admin,
            version,
            version_number,
            templates: Mutex::default(),
        })
    }

    /// Ends the harness's own connections.
    pub(crate) async fn disconnect(&self) {
        self.admin.close().await;
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn address(&self) -> &PostgresAddress {
        &self.address
    }

    /// The harness's own connections, for its records in the database `postgres`.
    pub(crate) fn admin(&self) -> &PgPool {
        &self.admin
    }

    /// Sees to it that the template is prepared: once per stack, whichever process comes first.
    pub(crate) async fn prepare(&self, template: &Template) -> Result<(), TemplateError> {
        let database = template.database();
        let prepared = {
            let mut templates = self
                .templates
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            Arc::clone(templates.entry(database.clone()).or_default())
        };
        prepared
            .get_or_try_init(|| self.prepare_once(template, &database))
            .await
            .copied()
    }

    async fn prepare_once(&self, template: &Template, database: &str) -> Result<(), TemplateError> {
        // A connection of its own: when this process dies, the server gives the lock to the next.
        let mut turn = PgConnection::connect_with(&self.address.options("postgres")).await?;
        sqlx::query("SELECT pg_advisory_lock($1, $2)")
            .bind(TEMPLATE_LOCK)
            .bind(lock_number(database))
            .execute(&mut turn)
            .await?;
        let done: Option<bool> =
            sqlx::query_scalar("SELECT NOT datallowconn FROM pg_database WHERE datname = $1")
                .bind(database)
                .fetch_optional(&mut turn)
                .await?;
        if done != Some(true) {
            self.prepare_anew(template, database).await?;
        }
        turn.close().await?;
        Ok(())
    }

    /// Fails leave no half-made template behind: the next sandbox starts over.
    async fn prepare_anew(&self, template: &Template, database: &str) -> Result<(), TemplateError> {
        self.drop_database(database).await?;
        self.admin_query(format!(
            r#"CREATE DATABASE "{database}" TEMPLATE template0"#
        ))
        .await?;
        template.fill(&self.address, database).await?;
        // No session may be open on the source of a copy; nobody has business there from now on.
        self.admin_query(format!(
            r#"ALTER DATABASE "{database}" ALLOW_CONNECTIONS false"#
        ))
        .await?;
        Ok(())
    }

    /// Makes `database` a copy of a prepared template.
    pub(crate) async fn copy_template(
        &self,
        template: &str,
        database: &str,
    ) -> Result<(), sqlx::Error> {
        // Without fsync, copying files is quicker than logging every page; before 15 it was the
        // only way. Source: PostgreSQL 15, CREATE DATABASE, parameter STRATEGY.
        let strategy = if self.version_number >= 150_000 {
            " STRATEGY file_copy"
        } else {
            ""
        };
        self.admin_query(format!(
            r#"CREATE DATABASE "{database}" TEMPLATE "{template}"{strategy}"#
        ))
        .await
    }

    /// Runs `work` unless another process does the same for this template just now.
    pub(crate) async fn unless_others_do(
        &self,
        template: &str,
        work: impl Future<Output = ()>,
    ) -> Result<(), sqlx::Error> {
        let mut turn = self.admin.acquire().await?;
        let ours: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1, $2)")
            .bind(SPARES_LOCK)
            .bind(lock_number(template))
            .fetch_one(&mut *turn)
            .await?;
        if ours {
            work.await;
            sqlx::query("SELECT pg_advisory_unlock($1, $2)")
                .bind(SPARES_LOCK)
                .bind(lock_number(template))
                .execute(&mut *turn)
                .await?;
        }
        Ok(())
    }

    /// Creates an empty database unless it is there.
    pub(crate) async fn create_database(&self, database: &str) -> Result<(), sqlx::Error> {
        let there = sqlx::query("SELECT FROM pg_database WHERE datname = $1").bind(database);
        if there.fetch_optional(&self.admin).await?.is_some() {
            return Ok(());
        }
        self.admin_query(format!(r#"CREATE DATABASE "{database}""#))
            .await
    }

    pub(crate) async fn drop_database(&self, database: &str) -> Result<(), sqlx::Error> {
        self.admin_query(format!(
            r#"DROP DATABASE IF EXISTS "{database}" WITH (FORCE)"#
        ))
        .await
    }

    /// Database names are our own, made of letters, digits and underscores.
    async fn admin_query(&self, statement: String) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&self.admin)
            .await
            .map(drop)
    }
}

/// A number for a name, as advisory locks want one.
fn lock_number(name: &str) -> i32 {
    let digest = Sha256::digest(name);
    i32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// Connects once; used to find out whether a server has come up, and which one it is.
pub(crate) async fn data_directory(address: &PostgresAddress) -> Result<String, sqlx::Error> {
    let mut connection = PgConnection::connect_with(&address.options("postgres")).await?;
    let folder = sqlx::query_scalar("SHOW data_directory")
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    Ok(folder)
}
