//! A bad network between a program and its services, switched on and off.
//!
//! `cargo run -p harness --example bad_network`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use harness::{NetworkFault, Stack, Template};
use sqlx::{Connection, PgConnection};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let stack = Stack::shared().await?;
    let sandbox = stack.sandbox(&Template::empty()).await?;
    // A program under test would get `faulty.environment()`.
    let faulty = sandbox.behind_faults().await?;

    let mut database = PgConnection::connect(faulty.database_url()).await?;
    database.ping().await?;
    println!("well: Postgres answers");

    faulty.postgres.set(NetworkFault::CutAfter { bytes: 0 });
    anyhow::ensure!(database.ping().await.is_err(), "the connection was not cut");
    println!("cut: the open connection is reset");

    faulty.postgres.set(NetworkFault::Refuse);
    let refused = PgConnection::connect(faulty.database_url()).await;
    anyhow::ensure!(refused.is_err(), "a connection was let in");
    println!("refused: no new connection");

    faulty.postgres.heal();
    PgConnection::connect(faulty.database_url())
        .await?
        .ping()
        .await?;
    println!("healed: Postgres answers again");
    Ok(())
}
