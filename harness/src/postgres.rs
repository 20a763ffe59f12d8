//! One Postgres server: how it is reached, and the databases made in it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

use crate::template::{Template, TemplateError};

/// Settings of a server whose data nobody needs tomorrow: no fsync, no full pages, small buffers.
/// `max_connections` is room for many sandboxes at once.
pub(crate) const SETTINGS: [&str; 8] = [
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "max_connections=300",
    "shared_buffers=64MB",
    "track_activities=on",
    "max_wal_size=1GB",
    "timezone=UTC",
];

/// Connections of the harness itself; it only creates and drops databases.
const ADMIN_CONNECTIONS_MAX: u32 = 4;

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

/// A server that answers, with the templates made in it so far.
#[derive(Debug)]
pub(crate) struct PostgresServer {
    address: PostgresAddress,
    admin: PgPool,
    version: String,
    templates: Mutex<HashMap<String, Arc<OnceCell<()>>>>,
}

impl PostgresServer {
    pub(crate) async fn connect(address: PostgresAddress) -> Result<PostgresServer, sqlx::Error> {
        let admin = PgPoolOptions::new()
            .max_connections(ADMIN_CONNECTIONS_MAX)
            .acquire_timeout(Duration::from_secs(30))
            .connect_with(address.options("postgres"))
            .await?;
        let version: String = sqlx::query_scalar("SHOW server_version")
            .fetch_one(&admin)
            .await?;
        // Debian appends its package version in parentheses.
        let version = version.split(' ').next().unwrap_or_default().to_owned();
        Ok(PostgresServer {
            address,
            admin,
            version,
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

    pub(crate) fn url(&self, database: &str) -> String {
        self.address.url(database)
    }

    /// Makes `database` a copy of the template, which is prepared at its first use.
    pub(crate) async fn clone_template(
        &self,
        template: &Template,
        database: &str,
    ) -> Result<(), TemplateError> {
        let source = template.database();
        let prepared = {
            let mut templates = self
                .templates
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            Arc::clone(templates.entry(source.clone()).or_default())
        };
        prepared
            .get_or_try_init(|| self.prepare(template, &source))
            .await?;
        self.admin_query(format!(
            r#"CREATE DATABASE "{database}" TEMPLATE "{source}""#
        ))
        .await?;
        Ok(())
    }

    /// Fails leave no half-made template behind: the next sandbox starts over.
    async fn prepare(&self, template: &Template, database: &str) -> Result<(), TemplateError> {
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

/// Connects once; used to find out whether a server has come up, and which one it is.
pub(crate) async fn data_directory(address: &PostgresAddress) -> Result<String, sqlx::Error> {
    let mut connection = PgConnection::connect_with(&address.options("postgres")).await?;
    let folder = sqlx::query_scalar("SHOW data_directory")
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    Ok(folder)
}
