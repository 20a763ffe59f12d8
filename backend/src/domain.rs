//! The service's nouns and the decisions about them: pure, without I/O.

pub mod account;
pub mod document;
pub mod generation;
pub mod ids;
pub mod money;
pub mod outline;
pub mod pace;
