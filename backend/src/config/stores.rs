//! Where state is kept: Postgres, Redis and S3.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

use crate::config::variables::{ConfigError, Variables};

/// Postgres.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// `DATABASE_URL`.
    pub options: PgConnectOptions,
    /// `DATABASE_POOL_MAX`: connections of this process.
    pub pool_max: u32,
    /// `DATABASE_ACQUIRE_TIMEOUT_MS`: how long a request waits for a connection before it answers 503.
    pub acquire_timeout: Duration,
}

/// Where sessions live and for how long.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// `REDIS_URL`, for rate limits too; without it both live in this process, which allows only a single task.
    pub redis_url: Option<String>,
    /// `SESSION_TTL_MS`: a session ends this long after its last use.
    pub ttl: Duration,
    /// `SESSION_COOKIE_SECURE`: whether browsers send the cookie over HTTPS only; off for development.
    pub cookie_secure: bool,
    /// `ALLOWED_ORIGINS`: origins besides its own whose pages may use the cookie, as `https://name`.
    pub allowed_origins: Vec<String>,
}

/// S3.
#[derive(Debug, Clone)]
pub struct StorageConfig {
    /// `S3_BUCKET`.
    pub bucket: String,
    /// `AWS_ENDPOINT_URL`; unset means AWS itself.
    pub endpoint_url: Option<String>,
    /// `AWS_REGION`; unset leaves it to the SDK.
    pub region: Option<String>,
    /// `AWS_ACCESS_KEY_ID` and company; unset leaves them to the SDK, which finds a task role by itself.
    pub credentials: Option<StaticCredentials>,
    /// `S3_FORCE_PATH_STYLE`.
    pub force_path_style: bool,
    /// `PRESIGN_TTL_MS`: how long a download link works.
    pub presign_ttl: Duration,
}

/// Credentials given in the environment.
#[derive(Clone)]
pub struct StaticCredentials {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: Option<String>,
}

// By hand, because a derived one would write the secret into any log of the configuration.
impl std::fmt::Debug for StaticCredentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("StaticCredentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

impl DatabaseConfig {
    /// Reads only what reaches Postgres, which is all that `migrate` needs.
    ///
    /// # Errors
    /// The first variable that is missing or cannot be read.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(&Variables {
            lookup: &|name| std::env::var(name).ok(),
        })
    }

    pub(super) fn read(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        let (variable, meaning) = ("DATABASE_URL", "the Postgres database");
        let example = "postgres://user:password@127.0.0.1:5432/allegiant";
        let url = variables.required(variable, meaning, example)?;
        // The URL holds a password, so the problem says what is wrong without repeating it.
        let options = PgConnectOptions::from_str(&url)
            .ok()
            .filter(|_| url.starts_with("postgres://") || url.starts_with("postgresql://"))
            .ok_or_else(|| {
                ConfigError::new(
                    variable,
                    meaning,
                    "it is not a postgres:// URL".to_owned(),
                    example,
                )
            })?;
        let pool_max = variables.number("DATABASE_POOL_MAX", "connections to Postgres", 10)?;
        // One for notifications, one for polls, one for everything else.
        if pool_max < 3 {
            let problem = format!("{pool_max} connections are fewer than the 3 that are needed");
            return Err(ConfigError::new(
                "DATABASE_POOL_MAX",
                "connections to Postgres",
                problem,
                "10",
            ));
        }
        Ok(Self {
            options,
            pool_max,
            acquire_timeout: variables.duration(
                "DATABASE_ACQUIRE_TIMEOUT_MS",
                "wait for a connection",
                3_000,
            )?,
        })
    }
}

impl SessionConfig {
    pub(super) fn read(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        let redis_url = variables.text("REDIS_URL");
        if let Some(url) = &redis_url
            && redis::parse_redis_url(url).is_none()
        {
            let problem = "it is not a redis:// or rediss:// URL".to_owned();
            return Err(ConfigError::new(
                "REDIS_URL",
                "where sessions live",
                problem,
                "redis://127.0.0.1:6379/0",
            ));
        }
        let (variable, meaning) = ("ALLOWED_ORIGINS", "origins whose pages may use the cookie");
        let allowed_origins: Vec<String> = variables
            .text(variable)
            .iter()
            .flat_map(|list| list.split(','))
            .map(|origin| origin.trim().to_ascii_lowercase())
            .filter(|origin| !origin.is_empty())
            .collect();
        for origin in &allowed_origins {
            let parsed = url::Url::parse(origin).ok();
            if parsed.is_none_or(|url| url.origin().ascii_serialization() != *origin) {
                let problem = format!("{origin:?} is not an origin");
                let example = "https://app.example.com,https://example.com:8443";
                return Err(ConfigError::new(variable, meaning, problem, example));
            }
        }
        Ok(Self {
            redis_url,
            ttl: variables.duration("SESSION_TTL_MS", "life of an unused session", 86_400_000)?,
            cookie_secure: variables.boolean(
                "SESSION_COOKIE_SECURE",
                "cookie over HTTPS only",
                true,
            )?,
            allowed_origins,
        })
    }
}

impl StorageConfig {
    pub(super) fn read(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        let credentials = match (
            variables.text("AWS_ACCESS_KEY_ID"),
            variables.text("AWS_SECRET_ACCESS_KEY"),
        ) {
            (Some(access_key_id), Some(secret_access_key)) => Some(StaticCredentials {
                access_key_id,
                secret_access_key,
                session_token: variables.text("AWS_SESSION_TOKEN"),
            }),
            _ => None,
        };
        Ok(Self {
            bucket: variables.required(
                "S3_BUCKET",
                "the bucket of documents and proposals",
                "allegiant-documents",
            )?,
            endpoint_url: variables.url(
                "AWS_ENDPOINT_URL",
                "where S3 answers",
                "http://127.0.0.1:4566",
            )?,
            region: variables.text("AWS_REGION"),
            credentials,
            force_path_style: variables.boolean(
                "S3_FORCE_PATH_STYLE",
                "bucket in the path",
                false,
            )?,
            presign_ttl: variables.duration(
                "PRESIGN_TTL_MS",
                "life of a download link",
                300_000,
            )?,
        })
    }
}
