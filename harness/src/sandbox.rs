//! What one test gets: a database, a Redis database and a bucket of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::redis::RedisNumberError;
use crate::s3::{BucketError, REGION};
use crate::stack::Services;
use crate::template::{Template, TemplateError};

/// Why a sandbox could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The database.
    #[error("make the sandbox's database")]
    Database(#[from] TemplateError),
    /// The Redis database.
    #[error("make the sandbox's Redis database")]
    Redis(#[from] RedisNumberError),
    /// The bucket.
    #[error("make the sandbox's bucket")]
    Bucket(#[from] BucketError),
}

/// An isolated place in the stack. Dropping it clears it away in the background.
#[derive(Debug)]
pub struct Sandbox {
    database_url: String,
    redis_url: String,
    place: Place,
}

/// What was taken from the services so far: given back even when a later part fails.
#[derive(Debug)]
struct Place {
    services: Arc<Services>,
    database: Option<String>,
    redis_number: Option<u16>,
    bucket: Option<String>,
}

impl Sandbox {
    pub(crate) async fn create(
        services: Arc<Services>,
        template: &Template,
    ) -> Result<Sandbox, SandboxError> {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let (database, bucket) = (
            format!("sandbox_{}", &name[..16]),
            format!("sandbox-{}", &name[..16]),
        );
        let mut place = Place {
            services,
            database: None,
            redis_number: None,
            bucket: None,
        };
        place.database = Some(database.clone());
        let services = Arc::clone(&place.services);
        let (cloned, number, made) = tokio::join!(
            services.postgres.clone_template(template, &database),
            services.redis.take(),
            services.s3.create_bucket(&bucket),
        );
        place.redis_number = number.as_ref().ok().copied();
        place.bucket = made.is_ok().then_some(bucket);
        cloned?;
        let number = number?;
        made?;
        Ok(Sandbox {
            database_url: services.postgres.url(&database),
            redis_url: services.redis.url(number),
            place,
        })
    }

    /// `postgres://…`, of a database that only this sandbox uses.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// `redis://…`, with the number of a logical database that only this sandbox uses.
    #[must_use]
    pub fn redis_url(&self) -> &str {
        &self.redis_url
    }

    /// `http://127.0.0.1:…`; address buckets by path.
    #[must_use]
    pub fn s3_endpoint(&self) -> &str {
        &self.place.services.s3.access().endpoint
    }

    /// An existing, empty bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        self.place
            .bucket
            .as_deref()
            .expect("a sandbox is only made with its bucket")
    }

    /// Access key for S3.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.place.services.s3.access().access_key_id
    }

    /// Secret key for S3.
    #[must_use]
    pub fn secret_access_key(&self) -> &str {
        &self.place.services.s3.access().secret_access_key
    }

    /// The region to sign for.
    #[must_use]
    pub fn region(&self) -> &str {
        REGION
    }

    /// The environment for a program under test, with the names the SDKs know where they exist.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("DATABASE_URL", self.database_url()),
            ("REDIS_URL", self.redis_url()),
            ("AWS_ENDPOINT_URL", self.s3_endpoint()),
            ("AWS_ACCESS_KEY_ID", self.access_key_id()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_access_key()),
            ("AWS_REGION", self.region()),
            ("S3_BUCKET", self.bucket()),
            ("S3_FORCE_PATH_STYLE", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.services.stopped.load(Ordering::Acquire) {
            return;
        }
        let services = Arc::clone(&self.services);
        let (database, number, bucket) = (
            self.database.take(),
            self.redis_number.take(),
            self.bucket.take(),
        );
        // The program under test may still be using them: that is why databases are dropped by
        // force, and why failing is only worth a line. The run's end removes what stays.
        crate::stack::background().spawn(async move {
            if let Some(database) = database
                && let Err(error) = services.postgres.drop_database(&database).await
            {
                tracing::debug!(database, %error, "a sandbox's database stays until the run ends");
            }
            if let Some(number) = number {
                services.redis.give_back(number).await;
            }
            if let Some(bucket) = bucket
                && let Err(error) = services.s3.delete_bucket(&bucket).await
            {
                tracing::debug!(bucket, %error, "a sandbox's bucket stays until the run ends");
            }
        });
    }
}
