//! Whether the committed cost of one generation is still that of the backend as it stands.

use std::path::Path;
use std::process::Command;

use serde::Serialize;

/// What a change of which may change the cost of a generation.
const CODE: [&str; 3] = ["backend/src", "backend/migrations", "backend/Cargo.toml"];

/// Whether a calibration still tells of the backend's code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Age {
    /// The code is the one that was measured.
    Current,
    /// The code has changed since.
    Stale {
        /// Files of the backend that differ from the measured commit's.
        changed: Vec<String>,
    },
    /// It cannot be told, and why.
    Unknown {
        /// Such as a commit that this repository does not have.
        reason: String,
    },
}

/// Compares the backend of the checkout at `workspace` with the one at `commit`, as a calibration names it:
/// with `-dirty` behind it where files were changed.
pub fn age(workspace: &Path, commit: &str) -> Age {
    let Some(commit) = commit.split('-').next().filter(|commit| is_commit(commit)) else {
        return Age::Unknown {
            reason: format!("the calibration names no commit, but \"{commit}\""),
        };
    };
    let output = Command::new("git")
        .arg("-C")
        .arg(workspace)
        .args(["diff", "--name-only", commit, "--"])
        .args(CODE)
        .output();
    match output {
        Err(error) => Age::Unknown {
            reason: format!("git cannot be run: {error}"),
        },
        Ok(output) if !output.status.success() => Age::Unknown {
            reason: format!("this checkout does not know commit {commit}"),
        },
        Ok(output) => {
            let changed: Vec<String> = String::from_utf8_lossy(&output.stdout)
                .lines()
                .map(str::to_owned)
                .collect();
            if changed.is_empty() {
                Age::Current
            } else {
                Age::Stale { changed }
            }
        }
    }
}

/// An abbreviated or whole commit; anything else must not reach git's command line.
fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.chars().all(|digit| digit.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(folder: &Path, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .arg("-C")
            .arg(folder)
            .args(["-c", "user.name=test", "-c", "user.email=test@example.com"])
            .args(arguments)
            .output()
            .expect("git is there: this is a checkout");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    #[test]
    fn a_change_of_the_backend_makes_it_stale_and_another_change_does_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = folder.path();
        let source = folder.join("backend/src/worker.rs");
        std::fs::create_dir_all(source.parent().expect("it has one")).expect("writable");
        std::fs::write(&source, "fn one() {}").expect("writable");
        git(folder, &["init", "--quiet"]);
        git(folder, &["add", "--all"]);
        git(folder, &["commit", "--quiet", "--message", "one"]);
        let commit = git(folder, &["rev-parse", "--short=12", "HEAD"]);
        assert_eq!(age(folder, &commit), Age::Current);

        std::fs::write(folder.join("README.md"), "text").expect("writable");
        git(folder, &["add", "--all"]);
        git(folder, &["commit", "--quiet", "--message", "two"]);
        assert_eq!(age(folder, &format!("{commit}-dirty")), Age::Current);

        std::fs::write(&source, "fn two() {}").expect("writable");
        let stale = Age::Stale {
            changed: vec!["backend/src/worker.rs".to_owned()],
        };
        assert_eq!(age(folder, &commit), stale);
    }

    #[test]
    fn what_cannot_be_compared_is_unknown() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for commit in ["unknown", "--output=/tmp/x", "0123456789ab"] {
            assert!(matches!(age(folder.path(), commit), Age::Unknown { .. }));
        }
    }
}
