//! The PDF that every simulated user uploads: several pages of real text, made in code.

use lopdf::content::{Content, Operation};
use lopdf::{Document, Object, Stream, dictionary};

/// Lines on one page, and pages in the document: about 5,000 words, as a tender is long.
const LINES_PER_PAGE: usize = 46;

/// A PDF of `pages` pages of text.
///
/// # Errors
/// When the PDF library cannot encode what it was given, which would be a defect of this function.
pub fn source_document(pages: usize) -> Result<Vec<u8>, lopdf::Error> {
    let mut document = Document::with_version("1.5");
    let pages_id = document.new_object_id();
    let font_id = document.add_object(dictionary! {
        "Type" => "Font",
        "Subtype" => "Type1",
        "BaseFont" => "Helvetica",
    });
    let resources_id = document.add_object(dictionary! {
        "Font" => dictionary! { "F1" => font_id },
    });
    let mut kids: Vec<Object> = Vec::with_capacity(pages);
    for page in 1..=pages {
        let content = Content {
            operations: page_operations(page),
        };
        let content_id = document.add_object(Stream::new(dictionary! {}, content.encode()?));
        let page_id = document.add_object(dictionary! {
            "Type" => "Page",
            "Parent" => pages_id,
            "Contents" => content_id,
        });
        kids.push(page_id.into());
    }
    let count = i64::try_from(pages).unwrap_or(i64::MAX);
    document.objects.insert(
        pages_id,
        Object::Dictionary(dictionary! {
            "Type" => "Pages",
            "Kids" => kids,
            "Count" => count,
            "Resources" => resources_id,
            // A4 in points.
            "MediaBox" => vec![0.into(), 0.into(), 595.into(), 842.into()],
        }),
    );
    let catalog_id = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => pages_id });
    document.trailer.set("Root", catalog_id);
    document.compress();
    let mut bytes = Vec::new();
    document.save_to(&mut bytes)?;
    Ok(bytes)
}

fn page_operations(page: usize) -> Vec<Operation> {
    let mut operations = vec![
        Operation::new("BT", vec![]),
        Operation::new("Tf", vec!["F1".into(), 10.into()]),
        Operation::new("TL", vec![16.into()]),
        Operation::new("Td", vec![56.into(), 786.into()]),
    ];
    for line in 1..=LINES_PER_PAGE {
        let flow = 40 + (page * 7 + line * 3) % 160;
        let text = format!(
            "{page}.{line} The plant treats {flow} m3 per day; effluent stays below {} mg/l at pH {}.{}.",
            10 + line % 40,
            6 + page % 3,
            line % 10
        );
        operations.push(Operation::new("Tj", vec![Object::string_literal(text)]));
        operations.push(Operation::new("T*", vec![]));
    }
    operations.push(Operation::new("ET", vec![]));
    operations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_has_the_pages_and_the_text_asked_for() {
        let bytes = source_document(3).expect("encodes");
        let document = Document::load_mem(&bytes).expect("parses");
        assert_eq!(document.get_pages().len(), 3);
        let text = document.extract_text(&[2]).expect("has text");
        assert!(text.contains("2.1 The plant treats"), "{text}");
    }
}
