//! The files that commands read and write, wherever they are run from.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anyhow::{Context, Result, bail};
use loadtests::calibrate::Calibration;
use loadtests::input_file;
use loadtests::result_file;
use simulator::scenario::Scenario;

/// The committed cost of one generation.
pub(crate) const CALIBRATION: &str = "loadtests/results/calibration.json";

/// Where the binary was built.
const BUILT_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The root of the checkout that the binary lies in, as `target/debug/sizing` does, for a `target` may have been copied
/// with it; of the one where it was built when it lies in none.
pub(crate) fn workspace() -> &'static Path {
    static WORKSPACE: LazyLock<PathBuf> = LazyLock::new(|| {
        let program = std::env::current_exe().unwrap_or_default();
        let is_checkout = |folder: &&Path| folder.join("loadtests/slo.toml").is_file();
        program
            .ancestors()
            .find(is_checkout)
            .map_or_else(|| PathBuf::from(BUILT_IN), Path::to_owned)
    });
    &WORKSPACE
}

/// A file as the user wrote it, or below the checkout when it is not below the current folder: the
/// defaults work from anywhere.
pub(crate) fn existing(path: &Path) -> PathBuf {
    let below_workspace = workspace().join(path);
    if !path.exists() && below_workspace.exists() {
        below_workspace
    } else {
        path.to_owned()
    }
}

pub(crate) fn read_calibration(path: &Path) -> Result<Calibration> {
    let path = existing(path);
    let what = "a calibration.json, as `cargo sizing measure` writes it";
    let text = read(&path, what)?;
    serde_json::from_str(&text)
        .with_context(|| format!("read {}, which must be {what}", path.display()))
}

/// A scenario with the text that it was read from.
pub(crate) fn read_scenario(path: &Path) -> Result<(String, Scenario)> {
    let path = existing(path);
    if path
        .extension()
        .is_some_and(|extension| extension == "tfvars")
    {
        bail!(
            "read {0} as a scenario: it is a sizing, which `cargo sizing gate --sizing {0}` judges",
            path.display()
        );
    }
    let text = read(
        &path,
        "a scenario, such as simulator/scenarios/proposal.toml",
    )?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let scenario = Scenario::from_toml_with(&text, &mut |file| {
        let profile = folder.join(file);
        input_file::read_text(&profile)
            .map_err(|error| format!("cannot read {}: {error}", profile.display()))
    })
    .with_context(|| {
        format!(
            "read {} as a scenario, such as simulator/scenarios/proposal.toml; simulator/README.md lists the keys",
            path.display()
        )
    })?;
    Ok((text, scenario))
}

pub(crate) fn out_dir(path: &Path) -> Result<PathBuf> {
    // The default belongs to the checkout, wherever the command is run from.
    let dir = if path == Path::new("target/sizing") {
        workspace().join(path)
    } else {
        path.to_owned()
    };
    std::fs::create_dir_all(&dir).with_context(|| {
        format!(
            "make the folder {} for the results; --out names another",
            dir.display()
        )
    })?;
    // Said now and not after the first minutes of a measurement.
    tempfile::tempfile_in(&dir).with_context(|| {
        format!(
            "write to the folder {} for the results; --out names another",
            dir.display()
        )
    })?;
    dir.canonicalize()
        .with_context(|| format!("find {}", dir.display()))
}

/// The text of a file that the user named; `what` it must be is said when it cannot be read.
pub(crate) fn read(path: &Path, what: &str) -> Result<String> {
    input_file::read_text(path)
        .with_context(|| format!("read {}, which must be {what}", path.display()))
}

pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    result_file::write(path, text).context("write a result")
}

pub(crate) fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).context("turn the result into JSON")
}
