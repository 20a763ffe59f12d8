//! What one test gets: a migrated database, a Redis database and a bucket that nobody else sees.
//!
//! `cargo run -p harness --example isolated_test`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use harness::{Stack, Template};
use sqlx::{Connection, PgConnection};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // The two lines of every test. With migrations: `Template::from_migrator(&MIGRATOR)`.
    let stack = Stack::shared().await?;
    let sandbox = stack.sandbox(&Template::empty()).await?;

    let mut database = PgConnection::connect(sandbox.database_url()).await?;
    sqlx::query("CREATE TABLE notes (body text NOT NULL)")
        .execute(&mut database)
        .await?;
    sqlx::query("INSERT INTO notes VALUES ('only in this sandbox')")
        .execute(&mut database)
        .await?;

    // The same template again: as if the first sandbox did not exist.
    let other = stack.sandbox(&Template::empty()).await?;
    let mut elsewhere = PgConnection::connect(other.database_url()).await?;
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE tablename = 'notes'")
            .fetch_one(&mut elsewhere)
            .await?;
    anyhow::ensure!(tables == 0, "the sandboxes share a database");

    println!("{}", stack.provider_reason());
    for (name, value) in sandbox.environment() {
        println!("{name}={value}");
    }
    Ok(())
}
