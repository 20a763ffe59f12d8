//! PDFs: text out of uploaded ones (in a child process), and proposals into new ones.

pub mod extract;
mod fonts;
pub mod layout;
pub mod markdown;
mod render;

pub use render::{Proposal, RenderError, RenderedPdf, Section, render};
