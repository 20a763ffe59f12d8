//! What counts as a document, and under which name it is kept.

use crate::domain::ids::{DocumentId, UserId};

/// How far into a file the PDF header may begin (ISO 32000-1 annex H.3.4.1, note 13).
pub const HEADER_WINDOW_BYTES: usize = 1024;

/// Whether a file that begins like this is a PDF, whatever its name says.
pub fn is_pdf(beginning: &[u8]) -> bool {
    let window = &beginning[..beginning.len().min(HEADER_WINDOW_BYTES)];
    window.windows(5).any(|bytes| bytes == b"%PDF-")
}

/// The key of a document's object in S3.
pub fn storage_key(user: UserId, document: DocumentId) -> String {
    format!("documents/{user}/{document}.pdf")
}

/// A name that is safe to show and to send back in a header: the last path segment, without
/// control characters, quotes or backslashes, at most 200 characters.
pub fn file_name(sent: Option<&str>) -> String {
    let last = sent
        .unwrap_or_default()
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or_default();
    let unsafe_character = |character: &char| !character.is_control() && *character != '"';
    let name: String = last
        .trim()
        .chars()
        .filter(unsafe_character)
        .take(200)
        .collect();
    if name.is_empty() {
        "document.pdf".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pdf_is_known_by_its_content() {
        assert!(is_pdf(b"%PDF-1.7\n"));
        assert!(is_pdf(b"\xef\xbb\xbf junk %PDF-1.4"));
        assert!(!is_pdf(b""));
        assert!(!is_pdf(b"%PDF"));
        assert!(!is_pdf(b"PK\x03\x04 not a pdf"));
    }

    #[test]
    fn a_header_behind_the_window_does_not_count() {
        let mut bytes = vec![b' '; HEADER_WINDOW_BYTES];
        bytes.extend_from_slice(b"%PDF-1.7");
        assert!(!is_pdf(&bytes));
    }

    #[test]
    fn names_lose_their_folders() {
        assert_eq!(file_name(Some("C:\\Users\\ana\\bid.pdf")), "bid.pdf");
        assert_eq!(file_name(Some("../../etc/passwd")), "passwd");
        assert_eq!(file_name(Some("..//")), "document.pdf");
        assert_eq!(file_name(None), "document.pdf");
    }

    proptest! {
        #[test]
        fn any_name_becomes_a_safe_one(sent in ".*") {
            let name = file_name(Some(&sent));
            prop_assert!(!name.is_empty() && name.chars().count() <= 200);
            prop_assert!(!name.contains(['/', '\\', '"', '\n', '\r']));
        }
    }
}
