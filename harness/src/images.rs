//! The pinned images, in this file only, and which of them a run takes.

pub(crate) mod build;
pub(crate) mod python;

use std::env;

use crate::engine::{Engine, EngineError};

/// An image that the harness starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Image {
    /// What it is for.
    pub(crate) service: &'static str,
    /// Names another image.
    pub(crate) variable: &'static str,
    /// The pin on the public registry.
    pub(crate) official: &'static str,
    /// What `harness images` builds from the distribution's packages.
    pub(crate) local: &'static str,
}

/// The release the proposal's RDS is nearest to.
pub(crate) const POSTGRES: Image = Image {
    service: "postgres",
    variable: "HARNESS_POSTGRES_IMAGE",
    official: "postgres:14.19-bookworm",
    local: "h2o-allegiant/postgres:15-bookworm",
};
/// Redis 6.2 is what the proposal deploys; Debian 12 packages 7.0.
pub(crate) const REDIS: Image = Image {
    service: "redis",
    variable: "HARNESS_REDIS_IMAGE",
    official: "redis:6.2.19-bookworm",
    local: "h2o-allegiant/redis:7.0-bookworm",
};
/// The last release whose dependencies run on Debian 12's Python 3.11; later ones want a token.
pub(crate) const LOCALSTACK: Image = Image {
    service: "localstack",
    variable: "HARNESS_LOCALSTACK_IMAGE",
    official: "localstack/localstack:4.9.2",
    local: "h2o-allegiant/localstack:4.9.2-bookworm",
};
/// What programs under test run in.
pub(crate) const BASE: Image = Image {
    service: "base",
    variable: "HARNESS_BASE_IMAGE",
    official: "debian:bookworm-slim",
    local: "debian:bookworm-slim",
};
/// All of them.
pub(crate) const ALL: [Image; 4] = [BASE, POSTGRES, REDIS, LOCALSTACK];

/// May an image be downloaded?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pull {
    /// Yes, within the bounds of [`Engine::pull`].
    Allowed,
    /// No: it failed a few minutes ago, and the wait would be repeated by every test program.
    FailedRecently,
}

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    #[error(
        "use {variable}={name}: the engine neither has it nor can pull it; name an image that `docker images` lists, or unset {variable}"
    )]
    Named {
        variable: &'static str,
        name: String,
        #[source]
        source: EngineError,
    },
    #[error("find the image {} (or {}): run `cargo run -p harness -- images`", image.official, image.local)]
    Missing {
        image: Image,
        #[source]
        source: EngineError,
    },
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Image {
    /// The name to start: what the variable says, else the official one when it is there, else
    /// the local one when it is there, else the official one after pulling it.
    pub(crate) async fn choose(&self, engine: &Engine, pull: Pull) -> Result<String, ImageError> {
        if let Some(name) = self.named() {
            if !engine.has_image(&name).await? {
                let pulled = engine.pull_if(&name, pull).await;
                pulled.map_err(|source| ImageError::Named {
                    variable: self.variable,
                    name: name.clone(),
                    source,
                })?;
            }
            return Ok(name);
        }
        if let Some(name) = self.present(engine).await? {
            return Ok(name.to_owned());
        }
        let pulled = engine.pull_if(self.official, pull).await;
        pulled.map_err(|source| ImageError::Missing {
            image: *self,
            source,
        })?;
        Ok(self.official.to_owned())
    }

    /// What its variable says, if it is set.
    pub(crate) fn named(&self) -> Option<String> {
        env::var(self.variable).ok().filter(|name| !name.is_empty())
    }

    /// Whether `name` is one of the two that this repository pins.
    pub(crate) fn is_pinned(&self, name: &str) -> bool {
        [self.official, self.local].contains(&name)
    }

    /// The pinned image that the engine has, if any.
    pub(crate) async fn present(
        &self,
        engine: &Engine,
    ) -> Result<Option<&'static str>, EngineError> {
        for name in [self.official, self.local] {
            if engine.has_image(name).await? {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }
}

/// Name and tag of an image, as the engine's API wants them apart.
pub(crate) fn name_and_tag(image: &str) -> (&str, &str) {
    match image.rsplit_once(':') {
        // A colon before the last slash belongs to a registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn compose_starts_the_same_images() {
        let compose = include_str!("../../compose.yaml");
        for image in [POSTGRES, REDIS, LOCALSTACK] {
            let pin = format!("image: ${{{}:-{}}}", image.variable, image.official);
            assert!(compose.contains(&pin), "{pin}");
            let local = format!("{}={}", image.variable, image.local);
            assert!(compose.contains(&local), "{local}");
        }
    }

    #[test]
    fn compose_builds_from_a_file_that_is_there() {
        let compose = include_str!("../../compose.yaml");
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let files = compose
            .lines()
            .filter_map(|line| line.trim().strip_prefix("dockerfile: "));
        let files: Vec<_> = files.collect();
        assert!(!files.is_empty(), "the service is built");
        for file in files {
            assert!(workspace.join(file).is_file(), "{file}");
        }
    }

    #[test]
    fn a_port_is_not_a_tag() {
        assert_eq!(name_and_tag("postgres:14"), ("postgres", "14"));
        assert_eq!(name_and_tag("postgres"), ("postgres", "latest"));
        assert_eq!(
            name_and_tag("host:5000/postgres"),
            ("host:5000/postgres", "latest")
        );
        assert_eq!(
            name_and_tag("host:5000/postgres:14"),
            ("host:5000/postgres", "14")
        );
    }
}
