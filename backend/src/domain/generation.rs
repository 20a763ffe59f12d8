//! What a generation is asked for, the states it passes, and how far each step brings it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::ids::{DocumentId, GenerationId};

/// Documents one generation may read.
pub const DOCUMENTS_MAX: usize = 10;
/// Characters of a title.
pub const TITLE_CHARS_MAX: usize = 200;
/// Characters of the instructions.
pub const INSTRUCTIONS_CHARS_MAX: usize = 20_000;

/// Where a generation stands. `queued` and `running` may alternate; the other three are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Status {
    /// Waits for a worker.
    Queued,
    /// A worker holds its lease.
    Running,
    /// The PDF is stored.
    Succeeded,
    /// It ended with a reason.
    Failed,
    /// Its user ended it.
    Cancelled,
}

impl Status {
    /// Whether nothing changes any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// The steps, in order. `WriteSection` counts from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Text out of the uploaded PDFs.
    ExtractText,
    /// The list of sections, by OpenAI.
    WriteOutline,
    /// One section, by OpenAI.
    WriteSection(u16),
    /// Markdown to PDF; renders again when only the storing failed, for the bytes are kept nowhere else.
    RenderPdf,
    /// PDF to S3, and the end.
    StorePdf,
}

impl Step {
    /// The name in the database, in metrics and in the answer to a poll.
    pub fn name(self) -> String {
        match self {
            Self::ExtractText => "extract_text".to_owned(),
            Self::WriteOutline => "write_outline".to_owned(),
            Self::WriteSection(number) => format!("write_section_{number}"),
            Self::RenderPdf => "render_pdf".to_owned(),
            Self::StorePdf => "store_pdf".to_owned(),
        }
    }

    /// The name without a number, which bounds the cardinality of metric labels.
    pub fn kind(self) -> &'static str {
        match self {
            Self::ExtractText => "extract_text",
            Self::WriteOutline => "write_outline",
            Self::WriteSection(_) => "write_section",
            Self::RenderPdf => "render_pdf",
            Self::StorePdf => "store_pdf",
        }
    }

    /// The place in the chain, which is also the key of the step's row. The two last ones leave
    /// room for any number of sections.
    pub fn ordinal(self) -> i32 {
        match self {
            Self::ExtractText => 0,
            Self::WriteOutline => 1,
            Self::WriteSection(number) => 1 + i32::from(number),
            Self::RenderPdf => 100_000,
            Self::StorePdf => 100_001,
        }
    }

    /// Progress in percent while the step runs, of a proposal with so many sections. Nearly all
    /// time goes into the calls to OpenAI, so they share 5 to 95 evenly.
    pub fn progress(self, sections: u16) -> i16 {
        let calls = i32::from(sections.max(1)) + 1;
        let after = |done: i32| i16::try_from(5 + 90 * done.min(calls) / calls).unwrap_or(95);
        match self {
            Self::ExtractText => 0,
            Self::WriteOutline => after(0),
            Self::WriteSection(number) => after(i32::from(number)),
            Self::RenderPdf => 95,
            Self::StorePdf => 98,
        }
    }
}

/// The key of a generation's PDF in S3: fixed, so that a repeated store overwrites and there is
/// never a second PDF.
pub fn pdf_key(generation: GenerationId) -> String {
    format!("generations/{generation}/proposal.pdf")
}

/// What a client asks for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = GenerationRequest)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Title of the proposal; blanks around it do not count.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"[^\s\u0000]",
        example = "Water treatment plant"
    )]
    pub title: String,
    /// What it should say; blanks around it do not count.
    #[schema(
        min_length = 1,
        max_length = 20_000,
        pattern = r"[^\s\u0000]",
        example = "Offer a plant for 40 m³/h."
    )]
    pub instructions: String,
    /// The documents it builds on, each once.
    #[serde(default)]
    #[schema(max_items = 10)]
    pub document_ids: Vec<DocumentId>,
    /// Who is told of the end. Left out of the digest of a request that names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
}

/// A rule that a request breaks.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RequestError {
    /// Empty or too long.
    #[error("title must have 1 to {TITLE_CHARS_MAX} characters")]
    Title,
    /// Empty or too long.
    #[error("instructions must have 1 to {INSTRUCTIONS_CHARS_MAX} characters")]
    Instructions,
    /// Too many, or one twice.
    #[error("document_ids must name at most {DOCUMENTS_MAX} documents, each once")]
    Documents,
}

impl Request {
    /// Trims the texts and holds the request to its rules.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn validated(mut self) -> Result<Self, RequestError> {
        // Postgres text holds no NUL, and no reader of a proposal misses one.
        self.title = self.title.replace('\0', "").trim().to_owned();
        self.instructions = self.instructions.replace('\0', "").trim().to_owned();
        if !(1..=TITLE_CHARS_MAX).contains(&self.title.chars().count()) {
            return Err(RequestError::Title);
        }
        if !(1..=INSTRUCTIONS_CHARS_MAX).contains(&self.instructions.chars().count()) {
            return Err(RequestError::Instructions);
        }
        let distinct: std::collections::BTreeSet<_> = self.document_ids.iter().collect();
        if self.document_ids.len() > DOCUMENTS_MAX || distinct.len() < self.document_ids.len() {
            return Err(RequestError::Documents);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chain(sections: u16) -> Vec<Step> {
        let mut steps = vec![Step::ExtractText, Step::WriteOutline];
        steps.extend((1..=sections).map(Step::WriteSection));
        steps.extend([Step::RenderPdf, Step::StorePdf]);
        steps
    }

    #[test]
    fn exactly_three_states_are_final() {
        let all = [
            Status::Queued,
            Status::Running,
            Status::Succeeded,
            Status::Failed,
            Status::Cancelled,
        ];
        assert_eq!(all.iter().filter(|status| status.is_final()).count(), 3);
    }

    #[test]
    fn a_request_is_held_to_its_rules() {
        let request = |title: &str, instructions: &str, documents: Vec<DocumentId>| Request {
            title: title.to_owned(),
            instructions: instructions.to_owned(),
            document_ids: documents,
            webhook_url: None,
        };
        let one = DocumentId::new();
        let many = (0..=DOCUMENTS_MAX).map(|_| DocumentId::new()).collect();
        let long = "x".repeat(TITLE_CHARS_MAX + 1);
        let cases = [
            (request(" ", "i", vec![]), RequestError::Title),
            (request(&long, "i", vec![]), RequestError::Title),
            (request("t", "\0", vec![]), RequestError::Instructions),
            (request("t", "i", vec![one, one]), RequestError::Documents),
            (request("t", "i", many), RequestError::Documents),
        ];
        for (request, expected) in cases {
            assert_eq!(request.validated().expect_err("breaks a rule"), expected);
        }
        let valid = request(" t ", "i", vec![one])
            .validated()
            .expect("keeps all rules");
        assert_eq!(valid.title, "t");
    }

    proptest! {
        #[test]
        fn steps_advance_in_ordinal_and_never_fall_back_in_progress(sections in 1_u16..500) {
            let steps = chain(sections);
            for pair in steps.windows(2) {
                prop_assert!(pair[0].ordinal() < pair[1].ordinal());
                prop_assert!(pair[0].progress(sections) <= pair[1].progress(sections));
            }
            prop_assert!(steps.iter().all(|step| (0..100).contains(&step.progress(sections))));
        }

        #[test]
        fn a_section_beyond_the_outline_keeps_progress_in_bounds(number: u16, sections: u16) {
            prop_assert!((0..100).contains(&Step::WriteSection(number).progress(sections)));
        }
    }
}
