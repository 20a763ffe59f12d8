//! The isolated places of a stack: made in advance, claimed by sandboxes of any process, cleared
//! away in the background.
//!
//! A place is a database, a Redis database with its user, and (where S3 is shared) a bucket, all
//! of one name: `sandbox_<template>_<nonce>_<number>`. The records are Postgres's own: a place
//! exists when its database does, which is made last and dropped last; it is taken when the table
//! `claims` names it. So a process may die at any point, and another one finishes what it began.

use std::collections::HashSet;
use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::background::background;
use crate::poll::{self, Progress};
use crate::postgres::PostgresServer;
use crate::redis::{DATABASES, RedisServer};
use crate::run_directory;
use crate::s3::S3Server;
use crate::sandbox::SandboxError;
use crate::template::Template;

/// Sandboxes that exist at the same time, in all processes of a run: a further one waits. Each may
/// open fifteen connections to Postgres.
pub(crate) const SANDBOXES_MAX: i64 = 24;
/// Another number of sandboxes.
pub(crate) const SANDBOXES_VARIABLE: &str = "HARNESS_SANDBOXES_MAX";
/// Whoever waits longer for a sandbox to become free waits for one that never will.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(120);
/// Copies of each template that wait to be claimed.
const SPARES: i64 = 8;
/// Places that one process clears away at the same time.
const CLEARED_AT_ONCE: usize = 2;

/// Creates what the records need, in a server without them.
const RECORDS: &str = "
    CREATE TABLE IF NOT EXISTS claims (name text PRIMARY KEY, owner text NOT NULL);
    CREATE SEQUENCE IF NOT EXISTS place_numbers;";

/// Claims any spare copy, unless too many places are claimed. No row: there is none, or another
/// process was quicker.
const CLAIM: &str = "
    INSERT INTO claims (name, owner)
    SELECT datname, $1 FROM pg_database
    WHERE starts_with(datname, $2) AND NOT EXISTS (SELECT FROM claims WHERE name = datname)
        AND (SELECT count(*) FROM claims) < $3
    ORDER BY random() LIMIT 1
    ON CONFLICT DO NOTHING
    RETURNING name";

/// Claims a name that has no database yet.
const CLAIM_NEW: &str = "
    INSERT INTO claims (name, owner)
    SELECT $2, $1 WHERE (SELECT count(*) FROM claims) < $3
    RETURNING name";

const COUNT_SPARES: &str = "
    SELECT count(*) FROM pg_database
    WHERE starts_with(datname, $1) AND NOT EXISTS (SELECT FROM claims WHERE name = datname)";

/// The next number of a Redis database that no place has.
const NEXT_NUMBER: &str = "SELECT (nextval('place_numbers') % $1)::int + 1";
const NUMBER_IN_USE: &str = "
    SELECT EXISTS (SELECT FROM pg_database WHERE datname LIKE 'sandbox\\_%\\_' || $1)
        OR EXISTS (SELECT FROM claims WHERE name LIKE 'sandbox\\_%\\_' || $1)";

/// Why the number of sandboxes is not one.
#[derive(Debug, thiserror::Error)]
#[error("use {0:?} as {SANDBOXES_VARIABLE}: it must be a whole number from 1 on")]
pub struct LimitError(String);

/// How many sandboxes there may be at the same time.
fn sandboxes_max() -> Result<i64, LimitError> {
    match env::var_os(SANDBOXES_VARIABLE) {
        Some(text) if !text.is_empty() => limit_of(&text.to_string_lossy()),
        _ => Ok(SANDBOXES_MAX),
    }
}

fn limit_of(text: &str) -> Result<i64, LimitError> {
    match text.parse() {
        Ok(limit @ 1..) => Ok(limit),
        _ => Err(LimitError(text.to_owned())),
    }
}

/// The places of one stack, as one process sees them.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) postgres: PostgresServer,
    pub(crate) redis: RedisServer,
    pub(crate) s3: S3Server,
    /// The run of this process: whoever finds its lock free may clear away what it claimed.
    owner: String,
    clearing: Arc<Semaphore>,
    /// Templates of which this process is making spare copies.
    refilling: Mutex<HashSet<String>>,
    /// Set when the stack stops: from then on there is nothing to clear away.
    pub(crate) stopped: AtomicBool,
}

/// A claimed place. Dropping it clears it away in the background.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) number: u16,
    /// An existing, empty bucket.
    pub(crate) bucket: String,
    pub(crate) places: Arc<Places>,
}

impl Places {
    pub(crate) fn new(
        postgres: PostgresServer,
        redis: RedisServer,
        s3: S3Server,
        owner: String,
    ) -> Places {
        Places {
            postgres,
            redis,
            s3,
            owner,
            clearing: Arc::new(Semaphore::new(CLEARED_AT_ONCE)),
            refilling: Mutex::default(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Creates the records in a new server.
    pub(crate) async fn create_records(&self) -> Result<(), sqlx::Error> {
        let created = sqlx::raw_sql(RECORDS).execute(self.postgres.admin());
        created.await.map(drop)
    }

    /// Claims a copy of the template: a spare one, or else one that is made on the spot.
    pub(crate) async fn claim(
        self: &Arc<Self>,
        template: &Template,
    ) -> Result<Place, SandboxError> {
        let limit = sandboxes_max()?;
        self.postgres.prepare(template).await?;
        let template = template.database();
        let claimed = poll::until("a sandbox to become free", CLAIM_TIMEOUT, || {
            let template = template.clone();
            async move {
                match self.try_claim(&template, limit).await {
                    Ok(Some(place)) => Progress::Ready(Ok(place)),
                    Ok(None) => {
                        self.clear_after_the_dead().await;
                        Progress::NotYet(format!("{limit} of {limit} are in use"))
                    }
                    Err(error) => Progress::Ready(Err(error)),
                }
            }
        });
        let place = claimed
            .await
            .map_err(|source| SandboxError::TooMany { limit, source })??;
        self.refill(template);
        Ok(place)
    }

    /// `None` when too many places are claimed.
    async fn try_claim(
        self: &Arc<Self>,
        template: &str,
        limit: i64,
    ) -> Result<Option<Place>, SandboxError> {
        let spare: Option<String> = sqlx::query_scalar(CLAIM)
            .bind(&self.owner)
            .bind(prefix(template))
            .bind(limit)
            .fetch_optional(self.postgres.admin())
            .await
            .map_err(SandboxError::Records)?;
        if let Some(name) = spare {
            return self.place(name).await.map(Some);
        }
        let name = self.new_name(template).await?;
        let claimed: Option<String> = sqlx::query_scalar(CLAIM_NEW)
            .bind(&self.owner)
            .bind(&name)
            .bind(limit)
            .fetch_optional(self.postgres.admin())
            .await
            .map_err(SandboxError::Records)?;
        let Some(name) = claimed else {
            return Ok(None);
        };
        // From here on the place clears itself away, also when it cannot be completed.
        let made = self.make(template, &name).await;
        let place = self.place(name).await?;
        made.map(|()| Some(place))
    }

    /// The place of a claimed name.
    async fn place(self: &Arc<Self>, name: String) -> Result<Place, SandboxError> {
        let bucket = bucket_name(&name);
        let place = Place {
            number: number_of(&name),
            bucket,
            name,
            places: Arc::clone(self),
        };
        if !self.s3.is_shared() {
            self.s3.create_bucket(&place.bucket).await?;
        }
        Ok(place)
    }

    /// Makes everything of a place; its database comes last.
    async fn make(&self, template: &str, name: &str) -> Result<(), SandboxError> {
        let bucket = bucket_name(name);
        let bucket = async {
            if self.s3.is_shared() {
                self.s3.create_bucket(&bucket).await?;
            }
            Ok::<(), SandboxError>(())
        };
        let granted = async {
            let granted = self.redis.grant(name, number_of(name)).await;
            granted.map_err(SandboxError::Redis)
        };
        tokio::try_join!(bucket, granted)?;
        let copied = self.postgres.copy_template(template, name).await;
        copied.map_err(SandboxError::Records)
    }

    async fn new_name(&self, template: &str) -> Result<String, SandboxError> {
        for _ in 0..DATABASES {
            let number: i32 = sqlx::query_scalar(NEXT_NUMBER)
                .bind(i32::from(DATABASES) - 1)
                .fetch_one(self.postgres.admin())
                .await
                .map_err(SandboxError::Records)?;
            let in_use: bool = sqlx::query_scalar(NUMBER_IN_USE)
                .bind(number.to_string())
                .fetch_one(self.postgres.admin())
                .await
                .map_err(SandboxError::Records)?;
            if !in_use {
                let nonce = uuid::Uuid::new_v4().simple().to_string();
                return Ok(format!("{}{}_{number}", prefix(template), &nonce[..8]));
            }
        }
        Err(SandboxError::NoRedisDatabase)
    }

    /// Makes spare copies in the background until there are enough.
    fn refill(self: &Arc<Self>, template: String) {
        let new = {
            let mut refilling = self
                .refilling
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            refilling.insert(template.clone())
        };
        if !new {
            return;
        }
        let places = Arc::clone(self);
        background().spawn(async move {
            let work = places.make_spares(&template);
            if let Err(error) = places.postgres.unless_others_do(&template, work).await {
                tracing::debug!(%error, "no spare sandboxes are made");
            }
            let mut refilling = places
                .refilling
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            refilling.remove(&template);
        });
    }

    async fn make_spares(&self, template: &str) {
        while !self.stopped.load(Ordering::Acquire) {
            let spares = sqlx::query_scalar(COUNT_SPARES)
                .bind(prefix(template))
                .fetch_one(self.postgres.admin());
            if !matches!(spares.await, Ok(0..SPARES)) {
                return;
            }
            let made = match self.new_name(template).await {
                Ok(name) => self.make(template, &name).await,
                Err(error) => Err(error),
            };
            if let Err(error) = made {
                let error = crate::binaries::chain(&error);
                tracing::debug!(error, "a spare sandbox could not be made");
                return;
            }
        }
    }

    /// Clears away what processes that have died since had claimed.
    pub(crate) async fn clear_after_the_dead(self: &Arc<Self>) {
        match self.adopt_from_the_dead().await {
            Ok(places) => drop(places),
            Err(error) => tracing::debug!(%error, "the claims of dead processes stay"),
        }
    }

    async fn adopt_from_the_dead(self: &Arc<Self>) -> Result<Vec<Place>, sqlx::Error> {
        let owners: Vec<String> = sqlx::query_scalar("SELECT DISTINCT owner FROM claims")
            .fetch_all(self.postgres.admin())
            .await?;
        let mut places = Vec::new();
        for owner in owners {
            if owner == self.owner || run_directory::is_alive(&owner) {
                continue;
            }
            let names: Vec<String> =
                sqlx::query_scalar("UPDATE claims SET owner = $1 WHERE owner = $2 RETURNING name")
                    .bind(&self.owner)
                    .bind(&owner)
                    .fetch_all(self.postgres.admin())
                    .await?;
            places.extend(names.into_iter().map(|name| Place {
                number: number_of(&name),
                bucket: bucket_name(&name),
                name,
                places: Arc::clone(self),
            }));
        }
        Ok(places)
    }

    /// Clears a place away: first what a late user could still write to.
    async fn clear(&self, name: &str, number: u16, bucket: &str) -> Result<(), SandboxError> {
        let revoked = self.redis.revoke(name, number).await;
        revoked.map_err(SandboxError::Redis)?;
        let emptied = self.s3.delete_bucket(bucket).await;
        let dropped = self.postgres.drop_database(name).await;
        dropped.map_err(SandboxError::Records)?;
        let forgotten = sqlx::query("DELETE FROM claims WHERE name = $1").bind(name);
        let forgotten = forgotten.execute(self.postgres.admin()).await;
        forgotten.map_err(SandboxError::Records)?;
        // A bucket that could not be emptied is in nobody's way: no place has its name again.
        Ok(emptied?)
    }

    async fn turn_to_clear(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.clearing).acquire_owned().await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.places.stopped.load(Ordering::Acquire) {
            return;
        }
        let places = Arc::clone(&self.places);
        let (name, bucket) = (
            std::mem::take(&mut self.name),
            std::mem::take(&mut self.bucket),
        );
        let number = self.number;
        // The program under test may still be using it: that is why databases are dropped by
        // force, and why failing is only worth a line. The run's end removes what stays.
        background().spawn(async move {
            let _turn = places.turn_to_clear().await;
            if let Err(error) = places.clear(&name, number, &bucket).await {
                let error = crate::binaries::chain(&error);
                tracing::debug!(name, error, "a sandbox's place stays until the run ends");
            }
        });
    }
}

/// What the names of all places of a template begin with.
fn prefix(template: &str) -> String {
    let digest = template.strip_prefix("template_").unwrap_or(template);
    format!("sandbox_{digest}_")
}

/// The number of the Redis database, which ends the name.
fn number_of(name: &str) -> u16 {
    let number = name
        .rsplit('_')
        .next()
        .and_then(|number| number.parse().ok());
    number.unwrap_or_default()
}

/// Buckets may not have underscores.
fn bucket_name(name: &str) -> String {
    name.replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_from_one_on() {
        assert_eq!(limit_of("7").expect("a number"), 7);
        for text in ["0", "-1", "many", "1.5"] {
            let refused = limit_of(text).expect_err("no limit").to_string();
            assert!(refused.contains(text) && refused.contains("HARNESS_SANDBOXES_MAX"));
        }
    }

    #[test]
    fn a_name_holds_its_template_and_its_number() {
        let name = format!("{}0a1b2c3d_4095", prefix("template_0123456789ab"));
        assert_eq!(name, "sandbox_0123456789ab_0a1b2c3d_4095");
        assert_eq!(number_of(&name), 4095);
        assert!(bucket_name(&name).len() <= 63, "S3's limit");
    }
}
