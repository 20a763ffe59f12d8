//! One Redis server, cut into numbered logical databases, each with a user who can enter no other.

use redis::aio::MultiplexedConnection;
use redis::{Client, RedisError};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

/// Logical databases of a server; database 0 stays unused, so that a client which forgets its
/// number is noticed.
pub(crate) const DATABASES: u16 = 4096;

/// Nothing is kept on disk, and there are enough databases; the same for both providers.
pub(crate) const ARGUMENTS: [&str; 6] = ["--save", "", "--appendonly", "no", "--databases", "4096"];

/// Where a Redis server listens, and the password of its administrator.
#[derive(Debug, Clone)]
pub(crate) struct RedisAddress {
    pub(crate) port: u16,
    pub(crate) secret: String,
}

/// A server that answers.
#[derive(Debug)]
pub(crate) struct RedisServer {
    address: RedisAddress,
    version: String,
    admin: OnceCell<MultiplexedConnection>,
}

impl RedisServer {
    pub(crate) async fn connect(address: RedisAddress) -> Result<RedisServer, RedisError> {
        let version = info(&address, "redis_version").await?;
        Ok(RedisServer {
            address,
            version,
            admin: OnceCell::new(),
        })
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn address(&self) -> &RedisAddress {
        &self.address
    }

    /// Makes a database ready for one sandbox: empty, with a user who can select no other, cannot
    /// administer the server and hears only channels of their own name. Their password follows
    /// from the server's, so that every process of a run knows it.
    pub(crate) async fn grant(&self, user: &str, number: u16) -> Result<(), RedisError> {
        self.flush(number).await?;
        let mut rules = redis::cmd("ACL");
        rules.arg("SETUSER").arg(user);
        rules.arg(["reset", "resetchannels", "on"].as_slice());
        rules.arg(format!(">{}", self.address.password(user)));
        // Commands that reach into other databases are taken away, whatever their category.
        rules.arg(
            [
                "~*",
                "+@all",
                "-@admin",
                "-flushall",
                "-swapdb",
                "-move",
                "-select",
            ]
            .as_slice(),
        );
        rules
            .arg(format!("+select|{number}"))
            .arg(format!("&{user}:*"));
        rules.query_async(&mut self.admin().await?).await
    }

    /// Takes a database back: its user's connections end, so that no late writer is left.
    pub(crate) async fn revoke(&self, user: &str, number: u16) -> Result<(), RedisError> {
        let mut delete = redis::cmd("ACL");
        delete.arg("DELUSER").arg(user);
        let _: i64 = delete.query_async(&mut self.admin().await?).await?;
        self.flush(number).await
    }

    async fn flush(&self, number: u16) -> Result<(), RedisError> {
        let mut connection = Client::open(self.address.url(number))?
            .get_multiplexed_async_connection()
            .await?;
        redis::cmd("FLUSHDB").query_async(&mut connection).await
    }

    /// A connection to database 0. It is not made again: a Redis that closes it has ended.
    async fn admin(&self) -> Result<MultiplexedConnection, RedisError> {
        let connection = self.admin.get_or_try_init(|| async {
            Client::open(self.address.url(0))?
                .get_multiplexed_async_connection()
                .await
        });
        connection.await.cloned()
    }
}

impl RedisAddress {
    /// As the administrator, who can do everything.
    pub(crate) fn url(&self, number: u16) -> String {
        let RedisAddress { port, secret } = self;
        format!("redis://:{secret}@127.0.0.1:{port}/{number}")
    }

    /// As the user of one sandbox.
    pub(crate) fn user_url(&self, user: &str, number: u16) -> String {
        let password = self.password(user);
        format!("redis://{user}:{password}@127.0.0.1:{}/{number}", self.port)
    }

    fn password(&self, user: &str) -> String {
        let mut password = hex::encode(Sha256::digest(format!("{}/{user}", self.secret)));
        password.truncate(32);
        password
    }
}

/// One field of `INFO server`.
pub(crate) async fn info(address: &RedisAddress, field: &str) -> Result<String, RedisError> {
    let mut connection = Client::open(address.url(0))?
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
