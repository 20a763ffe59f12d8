//! How an empty database becomes a migrated one: done once per run and digest, then copied.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use sha2::{Digest, Sha256};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgPoolOptions;

use crate::postgres::PostgresAddress;

/// What every database of a sandbox starts from.
#[derive(Debug, Clone)]
pub struct Template {
    digest: String,
    filling: Filling,
}

#[derive(Debug, Clone)]
enum Filling {
    Nothing,
    Migrator(&'static Migrator),
    Command {
        program: PathBuf,
        arguments: Vec<String>,
    },
}

/// Why a database could not be prepared or copied.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// Postgres refused.
    #[error("create the database")]
    Database(#[from] sqlx::Error),
    /// A migration failed.
    #[error("run the migrations")]
    Migration(#[from] MigrateError),
    /// The migration program does not start.
    #[error("start {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What happened.
        #[source]
        source: std::io::Error,
    },
    /// The migration program failed.
    #[error("migrate with {}: {status}: {output}", program.display())]
    Command {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it printed.
        output: String,
    },
}

impl Template {
    /// A database with nothing in it.
    #[must_use]
    pub fn empty() -> Template {
        Template {
            digest: "empty".to_owned(),
            filling: Filling::Nothing,
        }
    }

    /// A database to which all migrations were applied. Its digest is that of their checksums.
    #[must_use]
    pub fn from_migrator(migrator: &'static Migrator) -> Template {
        let mut hash = Sha256::new();
        for migration in migrator.iter() {
            hash.update(migration.version.to_be_bytes());
            hash.update(&migration.checksum);
        }
        Template {
            digest: hex::encode(hash.finalize()),
            filling: Filling::Migrator(migrator),
        }
    }

    /// A database prepared by a program, which finds it in `DATABASE_URL`.
    ///
    /// `digest` stands for what the program does: equal digests share one prepared database.
    #[must_use]
    pub fn from_command(digest: &str, program: &Path, arguments: &[&str]) -> Template {
        Template {
            digest: digest.to_owned(),
            filling: Filling::Command {
                program: program.to_owned(),
                arguments: arguments
                    .iter()
                    .map(|&argument| argument.to_owned())
                    .collect(),
            },
        }
    }

    /// The name of the prepared database.
    pub(crate) fn database(&self) -> String {
        let digest = hex::encode(Sha256::digest(&self.digest));
        format!("template_{}", &digest[..12])
    }

    pub(crate) async fn fill(
        &self,
        address: &PostgresAddress,
        database: &str,
    ) -> Result<(), TemplateError> {
        match &self.filling {
            Filling::Nothing => Ok(()),
            Filling::Migrator(migrator) => {
                let pool = PgPoolOptions::new()
                    .max_connections(1)
                    .connect_with(address.options(database))
                    .await?;
                let migrated = migrator.run(&pool).await;
                pool.close().await;
                Ok(migrated?)
            }
            Filling::Command { program, arguments } => {
                let output = tokio::process::Command::new(program)
                    .args(arguments)
                    .env("DATABASE_URL", address.url(database))
                    .stdin(Stdio::null())
                    .kill_on_drop(true)
                    .output()
                    .await
                    .map_err(|source| TemplateError::Start {
                        program: program.clone(),
                        source,
                    })?;
                if output.status.success() {
                    return Ok(());
                }
                let text = [output.stdout, output.stderr].concat();
                Err(TemplateError::Command {
                    program: program.clone(),
                    status: output.status,
                    output: String::from_utf8_lossy(&text).trim().to_owned(),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_digests_share_a_database() {
        let one = Template::from_command("a", Path::new("x"), &[]);
        let same = Template::from_command("a", Path::new("y"), &["z"]);
        let other = Template::from_command("b", Path::new("x"), &[]);
        assert_eq!(one.database(), same.database());
        assert_ne!(one.database(), other.database());
        assert_eq!(one.database().len(), "template_".len() + 12);
    }
}
