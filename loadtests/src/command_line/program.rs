//! A program that a person names.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The backend's binary by its whole path: a bare name would be looked for where programs lie, and a path that says
/// where it is from would be wrong in another folder.
pub(super) fn backend(text: &str) -> Result<PathBuf, String> {
    const REMEDY: &str = "without --backend cargo builds it";
    let found = std::fs::canonicalize(Path::new(text));
    let path = found.map_err(|_| format!("there is no such file; {REMEDY}"))?;
    let metadata = path
        .metadata()
        .map_err(|error| format!("it cannot be looked at: {error}; {REMEDY}"))?;
    if !metadata.is_file() {
        return Err(format!("it is no file; {REMEDY}"));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(format!("it is no program that may be run; {REMEDY}"));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_program_is_taken_and_by_its_whole_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("backend");
        let text = file.to_str().expect("UTF-8");
        let refused = |text: &str| backend(text).expect_err("refused");
        assert!(refused(text).contains("no such file"));
        std::fs::write(&file, "").expect("a writable folder");
        assert!(refused(text).contains("no program"));
        let parent = folder.path().to_str().expect("UTF-8");
        assert!(refused(parent).contains("no file"));
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&file, executable).expect("its owner may");
        let found = backend(&format!("{parent}/./backend"));
        assert_eq!(found, file.canonicalize().map_err(|_| String::new()));
    }
}
