//! Who runs the services: a Docker engine or this machine; and how that is decided.

pub(crate) mod docker;
pub(crate) mod native;

use std::env;
use std::error::Error;
use std::fmt;
use std::str::FromStr;

use crate::binaries::chain;
use crate::engine::{Engine, EngineError};
use crate::images::{ImageError, Pull};
use crate::postgres::PostgresAddress;
use crate::redis::RedisAddress;
use crate::s3::S3Access;
use docker::Images;
use serde::{Deserialize, Serialize};

/// `auto`, `docker` or `native`; `auto` when unset.
pub(crate) const PROVIDER_VARIABLE: &str = "HARNESS_PROVIDER";

/// What runs the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    #[error(
        "use {0:?} as provider: {PROVIDER_VARIABLE} and --provider take auto, docker or native"
    )]
    Unknown(String),
    /// Docker was asked for and no engine answers.
    #[error(
        "use Docker: {0}; start the engine, say where it is with DOCKER_HOST, or set {PROVIDER_VARIABLE}=native"
    )]
    Engine(String),
    /// Docker was asked for and an image is missing.
    #[error("use Docker")]
    Images(#[source] Box<dyn Error + Send + Sync>),
}

impl ProviderError {
    fn engine(error: &EngineError) -> ProviderError {
        ProviderError::Engine(chain(error))
    }

    fn images(error: ImageError) -> ProviderError {
        ProviderError::Images(Box::new(error))
    }
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
    pub(crate) means: Means,
    pub(crate) reason: String,
}

impl Decision {
    /// The engine that will run the containers, if any.
    pub(crate) fn engine(&self) -> Option<Engine> {
        match &self.means {
            Means::Docker { engine, .. } => Some(engine.clone()),
            Means::Native => None,
        }
    }
}

/// What the provider taken needs in order to start.
#[derive(Debug)]
pub(crate) enum Means {
    Docker { engine: Engine, images: Images },
    Native,
}

/// Takes a provider. With [`ProviderChoice::Auto`] a Docker engine that cannot serve is a reason
/// to be native, not an error.
pub(crate) async fn decide(choice: ProviderChoice) -> Result<Decision, ProviderError> {
    let native = |why: String| Decision {
        means: Means::Native,
        reason: format!("native: {why}"),
    };
    let pull = match choice {
        ProviderChoice::Native => return Ok(native("asked for".to_owned())),
        ProviderChoice::Docker => Pull::Allowed,
        ProviderChoice::Auto => pull_memory::allowed(),
    };
    let (engine, images) = match docker_means(pull).await {
        Ok(means) => means,
        Err(error) if choice == ProviderChoice::Auto => {
            let why = match &error {
                ProviderError::Engine(why) => why.clone(),
                other => chain(other.source().unwrap_or(other)),
            };
            tracing::info!("the native provider is taken: {why}");
            return Ok(native(format!("Docker cannot serve: {why}")));
        }
        Err(error) => return Err(error),
    };
    let why = if choice == ProviderChoice::Docker {
        "asked for"
    } else {
        "an engine answers and has the images"
    };
    Ok(Decision {
        means: Means::Docker { engine, images },
        reason: format!("docker: {why}"),
    })
}

async fn docker_means(pull: Pull) -> Result<(Engine, Images), ProviderError> {
    let engine = Engine::connect()
        .await
        .map_err(|error| ProviderError::engine(&error))?;
    match Images::choose(&engine, pull).await {
        Ok(images) => Ok((engine, images)),
        Err(error) => {
            pull_memory::failed();
            Err(ProviderError::images(error))
        }
    }
}

/// Remembers for a while that images cannot be pulled: each test program asks, and each would wait.
mod pull_memory {
    use std::fs::{self, File};
    use std::time::Duration;

    use crate::images::Pull;
    use crate::run_directory;

    const KEPT: Duration = Duration::from_secs(600);
    const NAME: &str = "pull-failed";

    pub(super) fn allowed() -> Pull {
        let failed_at = run_directory::root()
            .and_then(|root| fs::metadata(root.join(NAME)))
            .and_then(|mark| mark.modified());
        match failed_at.ok().and_then(|at| at.elapsed().ok()) {
            Some(age) if age < KEPT => Pull::FailedRecently,
            _ => Pull::Allowed,
        }
    }

    pub(super) fn failed() {
        // Nothing is lost without the mark but time.
        if let (Pull::Allowed, Ok(root)) = (allowed(), run_directory::root()) {
            File::create(root.join(NAME)).ok();
        }
    }
}

/// Running services, not yet connected to.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) postgres: PostgresAddress,
    pub(crate) redis: RedisAddress,
    /// `None` natively: each process serves its own.
    pub(crate) s3: Option<S3Access>,
    pub(crate) s3_name: String,
}
