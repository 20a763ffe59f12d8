//! Starts Postgres, Redis, S3 and a scripted OpenAI for tests and for development.
//!
//! [`Stack`] is the entry: it starts the three services with one of two providers and hands out
//! [`Sandbox`]es. Whatever a run starts is registered in its run directory, and a small guardian
//! process removes all of it when the owner ends, however it ends.

mod binaries;
mod cleanup;
mod container;
mod doctor;
mod engine;
mod images;
pub mod openai;
pub mod poll;
mod postgres;
mod process;
mod provider;
mod redis;
mod run_directory;
mod s3;
mod sandbox;
mod stack;
mod template;

pub use binaries::wheel::cache_folder;
pub use cleanup::{CleanupError, Removed, Swept, sweep_all};
pub use container::{ContainerError, ContainerProcess, ContainerSpec, ContainerStatus};
pub use doctor::{Finding, examine};
pub use images::build::{BuildError, ImageResult, build as build_images};
pub use provider::{Provider, ProviderChoice, ProviderError};
pub use run_directory::{DirectoryGuard, ProcessGuard};
pub use sandbox::{Sandbox, SandboxError};
pub use stack::{Stack, StackError};
pub use template::Template;
