//! One report, written once as a [`Document`] and rendered for the terminal, as Markdown and as HTML.

pub mod document;
pub mod html;
pub mod markdown;
pub mod plots;
pub mod sections;
pub mod terminal;
mod wording;

pub use document::Document;
