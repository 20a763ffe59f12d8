//! What one test gets: a database, a Redis database and a bucket of its own.

use std::sync::Arc;

use redis::RedisError;

use crate::openai::{OpenAiError, Script, WiremockOpenAi};
use crate::places::{LimitError, Place, Places};
use crate::poll::PollError;
use crate::proxy::{FaultProxy, ProxyError};
use crate::s3::{BucketError, REGION};
use crate::template::{Template, TemplateError};

/// Why a sandbox could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The template.
    #[error("make the sandbox's database")]
    Database(#[from] TemplateError),
    /// Postgres refuses to record, copy or drop.
    #[error("keep the records of the sandboxes")]
    Records(#[source] sqlx::Error),
    /// The Redis database.
    #[error("make the sandbox's Redis database")]
    Redis(#[source] RedisError),
    /// All Redis databases are in use.
    #[error("find a free Redis database: all are in use; drop sandboxes")]
    NoRedisDatabase,
    /// The bucket.
    #[error("make the sandbox's bucket")]
    Bucket(#[from] BucketError),
    /// The number of sandboxes that the environment allows is no number.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// All sandboxes are in use, and none became free.
    #[error(
        "make one more than {limit} sandboxes at the same time: drop those that are done, run fewer tests at once, or set HARNESS_SANDBOXES_MAX"
    )]
    TooMany {
        /// How many there may be in all processes of the run.
        limit: i64,
        /// How long it was waited.
        #[source]
        source: PollError,
    },
}

/// An isolated place in the stack. Dropping it clears it away in the background.
#[derive(Debug)]
pub struct Sandbox {
    database_url: String,
    redis_url: String,
    place: Place,
}

impl Sandbox {
    pub(crate) async fn create(
        places: Arc<Places>,
        template: &Template,
    ) -> Result<Sandbox, SandboxError> {
        let place = places.claim(template).await?;
        Ok(Sandbox {
            database_url: places.postgres.address().url(&place.name),
            redis_url: places.redis.address().user_url(&place.name, place.number),
            place,
        })
    }

    /// `postgres://…`, of a database that only this sandbox uses.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// `redis://…`, with a logical database and a user that only this sandbox has. The user can
    /// select no other database, and publish and hear on channels named `{user}:…` only.
    #[must_use]
    pub fn redis_url(&self) -> &str {
        &self.redis_url
    }

    /// `http://127.0.0.1:…`; address buckets by path.
    #[must_use]
    pub fn s3_endpoint(&self) -> &str {
        &self.place.places.s3.access().endpoint
    }

    /// An existing, empty bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.place.bucket
    }

    /// Access key for S3.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.place.places.s3.access().access_key_id
    }

    /// Secret key for S3.
    #[must_use]
    pub fn secret_access_key(&self) -> &str {
        &self.place.places.s3.access().secret_access_key
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

    /// Puts a fault proxy in front of each service. The sandbox itself stays reachable directly.
    ///
    /// # Errors
    /// When no ports can be had.
    pub async fn behind_faults(&self) -> Result<FaultySandbox, ProxyError> {
        let (postgres, database_url) = FaultProxy::in_front_of(self.database_url()).await?;
        let (redis, redis_url) = FaultProxy::in_front_of(self.redis_url()).await?;
        let (s3, s3_endpoint) = FaultProxy::in_front_of(self.s3_endpoint()).await?;
        let mut environment = self.environment();
        for (name, value) in &mut environment {
            match name.as_str() {
                "DATABASE_URL" => value.clone_from(&database_url),
                "REDIS_URL" => value.clone_from(&redis_url),
                "AWS_ENDPOINT_URL" => value.clone_from(&s3_endpoint),
                _ => {}
            }
        }
        Ok(FaultySandbox {
            postgres,
            redis,
            s3,
            database_url,
            redis_url,
            s3_endpoint,
            environment,
        })
    }

    /// A scripted OpenAI for this test alone; it ends when dropped.
    ///
    /// # Errors
    /// When the script cannot be played or no port can be had.
    pub async fn openai(&self, script: Script) -> Result<WiremockOpenAi, OpenAiError> {
        WiremockOpenAi::start(script).await
    }
}

/// The services of a sandbox behind fault proxies, which end when this is dropped. For OpenAI take
/// [`FaultProxy::in_front_of`] its base URL.
#[derive(Debug)]
pub struct FaultySandbox {
    /// In front of Postgres.
    pub postgres: FaultProxy,
    /// In front of Redis.
    pub redis: FaultProxy,
    /// In front of S3.
    pub s3: FaultProxy,
    database_url: String,
    redis_url: String,
    s3_endpoint: String,
    environment: Vec<(String, String)>,
}

impl FaultySandbox {
    /// As [`Sandbox::database_url`], through the proxy.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// As [`Sandbox::redis_url`], through the proxy.
    #[must_use]
    pub fn redis_url(&self) -> &str {
        &self.redis_url
    }

    /// As [`Sandbox::s3_endpoint`], through the proxy. Presigned URLs name it too.
    #[must_use]
    pub fn s3_endpoint(&self) -> &str {
        &self.s3_endpoint
    }

    /// As [`Sandbox::environment`], through the proxies.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        self.environment.clone()
    }
}
