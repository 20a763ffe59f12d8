//! An image with a virtual environment of pinned wheels and the libraries that no wheel carries.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::build::{Assembly, BuildError, add_hook};
use crate::background::{blocking, in_background};
use crate::engine::Engine;

const HOOK: &str = include_str!("python-hook.sh");
/// What every such image has; its Python is Debian's.
const PACKAGES: &str = "python3,python3-venv,ca-certificates";

/// What an image is made of.
#[derive(Debug, Clone)]
pub struct PythonImage {
    /// The last part of its name.
    pub name: &'static str,
    /// A file of pins with hashes, as pip reads it.
    pub requirements: PathBuf,
    /// Packages of Debian 12 beside Python.
    pub packages: &'static [&'static str],
}

impl PythonImage {
    /// The interpreter, in the image.
    pub const PYTHON: &'static str = "/opt/environment/bin/python";

    /// The name of the image; built when the engine does not have it, which takes minutes.
    ///
    /// # Errors
    /// When the pins cannot be read, no engine answers, or the image cannot be built.
    pub async fn prepare(&self) -> Result<String, BuildError> {
        let pins = fs::read(&self.requirements)
            .map_err(|error| BuildError::Io("read the pins of the Python packages", error))?;
        let packages = [&[PACKAGES], self.packages].concat().join(",");
        let name = local_name(self.name, &pins, &packages);
        let requirements = self.requirements.clone();
        in_background(async move {
            let engine = Engine::connect().await?;
            if engine.has_image(&name).await? {
                return Ok(name);
            }
            let built = name.clone();
            blocking(move || build(&built, &packages, &requirements)).await?;
            Ok(name)
        })
        .await
    }
}

/// Other pins are another image.
fn local_name(name: &str, pins: &[u8], packages: &str) -> String {
    let mut digest = Sha256::new();
    for part in [pins, packages.as_bytes(), HOOK.as_bytes()] {
        digest.update(part);
    }
    let digest = hex::encode(digest.finalize());
    format!("h2o-allegiant/{name}:{}-bookworm", &digest[..16])
}

fn build(name: &str, packages: &str, requirements: &Path) -> Result<(), BuildError> {
    let assembly = Assembly {
        name,
        packages,
        changes: &["ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1"],
    };
    assembly.build(|command: &mut Command, scratch| {
        command.env("HARNESS_REQUIREMENTS", requirements);
        add_hook(command, scratch, HOOK)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_pins_or_packages_are_another_image() {
        let name = local_name("reference", b"a==1", "python3");
        assert!(name.starts_with("h2o-allegiant/reference:"), "{name}");
        assert_eq!(name, local_name("reference", b"a==1", "python3"));
        assert_ne!(name, local_name("reference", b"a==2", "python3"));
        assert_ne!(
            name,
            local_name("reference", b"a==1", "python3,libpango-1.0-0")
        );
    }
}
