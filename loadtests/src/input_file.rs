//! Files that a user names: read whole, but never without end.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// No sizing, plan or measurement comes near it; `/dev/zero` would fill the memory.
const SIZE_BYTES_MAX: u64 = 256 << 20;

/// How paths of what is open already begin: standard input, or what a shell makes of `<(command)`. Others may be pipes
/// that nobody writes to, whose opening would wait for ever.
const OPEN_ALREADY: [&str; 4] = [
    "/dev/stdin",
    "/dev/fd",
    "/proc/self/fd",
    "/proc/thread-self/fd",
];

/// The bytes of a file.
///
/// # Errors
/// When it cannot be read, is neither a regular file nor open already, or is larger than 256 MiB.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let kind = std::fs::metadata(path)?.file_type();
    let open_already = OPEN_ALREADY.iter().any(|folder| path.starts_with(folder));
    if kind.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() && !open_already {
        return Err(Error::other(
            "it is a pipe, a socket or a device; give a file, or `/dev/stdin` for what another command writes",
        ));
    }
    let mut bytes = Vec::new();
    let mut file = File::open(path)?.take(SIZE_BYTES_MAX + 1);
    file.read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SIZE_BYTES_MAX {
        let message = format!("it is larger than {} MiB", SIZE_BYTES_MAX >> 20);
        return Err(Error::new(ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// The text of a file.
///
/// # Errors
/// As [`read`], and when it is not UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?).map_err(|_| {
        Error::new(
            ErrorKind::InvalidData,
            "it is not UTF-8 text; save it as UTF-8",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_and_what_is_no_file_is_refused() {
        let refused = |path: &str| read(Path::new(path)).expect_err("no file").to_string();
        assert!(refused("/dev/zero").contains("give a file"));
        assert!(refused("/tmp").contains("directory"));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let large = folder.path().join("large");
        let file = File::create(&large).expect("writable");
        file.set_len(SIZE_BYTES_MAX + 1).expect("a sparse file");
        assert_eq!(
            read(&large).expect_err("too large").to_string(),
            "it is larger than 256 MiB"
        );
    }
}
