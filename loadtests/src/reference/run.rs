//! Starts what a comparison needs and ends it again: the only I/O that is not the services' own.

use std::path::Path;

use harness::{Provider, Stack};

use crate::backend_process;
use crate::hardware::Hardware;
use crate::pipeline::PipelineError;
use crate::progress::Progress;
use crate::reference::comparison::{Asked, Comparison, Services, compare};
use crate::reference::environment::{Environment, NotMeasured};
use crate::reference::service::{Conditions, Kind, ServiceError};
use crate::source_document::source_document;

/// Pages of the PDF that each generation reads.
const DOCUMENT_PAGES: usize = 12;

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The stack or the backend's binary could not be had.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The Rust service could not be measured.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The document to upload could not be made.
    #[error("make the document to upload")]
    Document(#[from] lopdf::Error),
}

/// Measures what is asked, one service after the other, on a stack of its own.
///
/// # Errors
/// When the stack, the backend's build or the Rust service fails; never for the reference, whose
/// reasons are part of the result.
pub async fn run(
    workspace: &Path,
    conditions: Conditions,
    asked: Asked<'_>,
    binary: Option<&Path>,
    progress: &Progress,
) -> Result<Comparison, CompareError> {
    let document = source_document(DOCUMENT_PAGES)?;
    let binary = match binary {
        Some(binary) => binary.to_owned(),
        None if !asked.kinds.contains(&Kind::Rust) => std::path::PathBuf::new(),
        None => {
            progress.say(&format!(
                "building the backend ({})",
                backend_process::build_command()
            ));
            backend_process::build(workspace)
                .await
                .map_err(PipelineError::Backend)?
        }
    };
    let environment = if asked.kinds.iter().any(|kind| *kind != Kind::Rust) {
        progress.say("preparing the reference's Python environment (minutes, the first time)");
        prepare(workspace).await
    } else {
        Err(NotMeasured::NotAsked)
    };
    progress.say("starting Postgres, Redis and S3");
    let stack = Stack::start().await.map_err(PipelineError::Stack)?;
    progress.say(stack.provider_reason());
    let environment = match environment {
        Ok(environment) if stack.provider() == Provider::Docker => {
            progress.say("preparing the reference's container image (minutes, the first time)");
            environment.in_container().await
        }
        environment => environment,
    };
    let hardware = Hardware::of_stack(&stack, workspace).await;
    let services = Services {
        stack: &stack,
        binary: &binary,
        environment: &environment,
    };
    let say = |what: &str| progress.say(what);
    let comparison = compare(&services, hardware, conditions, asked, &document, say).await?;
    stack.stop().await.map_err(PipelineError::Stack)?;
    Ok(comparison)
}

async fn prepare(workspace: &Path) -> Result<Environment, NotMeasured> {
    // Without the dots of a path that is relative to a crate: it ends up in the service's arguments.
    let source = workspace.join("loadtests/reference");
    let source = source.canonicalize().unwrap_or(source);
    let made = tokio::task::spawn_blocking(move || {
        Environment::prepare(&source, &harness::cache_folder())
    });
    made.await
        .unwrap_or_else(|error| Err(NotMeasured::Install(error.to_string())))
}
