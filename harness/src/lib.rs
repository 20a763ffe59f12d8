//! Starts Postgres, Redis, S3 and a scripted OpenAI for tests and for development.
//!
//! [`Stack`] is the entry: it starts the three services with one of two providers and hands out
//! [`Sandbox`]es. Whatever a run starts is registered in its run directory, and a small guardian
//! process removes all of it when the owner ends, however it ends.

mod background;
mod binaries;
mod cleanup;
mod container;
mod development;
mod doctor;
mod engine;
mod errand;
mod images;
mod memory;
pub mod openai;
mod places;
pub mod poll;
mod postgres;
mod process;
mod provider;
mod proxy;
mod python;
mod redis;
mod run_directory;
mod s3;
mod sandbox;
mod shared;
mod stack;
mod template;

pub use binaries::wheel::cache_folder;
pub use cleanup::{CleanupError, Removed, Swept, end_development, forget_state, sweep_all};
pub use container::{
    ContainerError, ContainerImage, ContainerProcess, ContainerSpec, ContainerStatus,
};
pub use development::{Ports, ServiceStatus};
pub use doctor::{Availability, Examination, Finding, Verdict, examine};
pub use images::build::{BuildError, ImageResult, build as build_images};
pub use images::python::PythonImage;
pub use places::LimitError;
pub use provider::{Provider, ProviderChoice, ProviderError};
pub use proxy::{FaultProxy, NAT_GATEWAY_IDLE_MS, NetworkFault, ProxyError};
pub use python::{PythonEnvironment, PythonError, PythonPins};
pub use run_directory::{DirectoryGuard, ProcessGuard};
pub use sandbox::{FaultySandbox, Sandbox, SandboxError};
pub use stack::{Stack, StackError};
pub use template::Template;
