//! The runtime on which everything lives that outlasts a test.

use std::future::Future;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

/// Where the services' connections and servers live: they outlast the runtime of the test that
/// happens to come first.
pub(crate) fn background() -> &'static Runtime {
    static BACKGROUND: LazyLock<Runtime> = LazyLock::new(|| {
        Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("harness")
            .enable_all()
            .build()
            .expect("a process that can start servers can start two threads")
    });
    &BACKGROUND
}

/// Runs a future on the background runtime, whichever runtime waits for it.
pub(crate) async fn in_background<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> T {
    match background().spawn(future).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Runs what blocks on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match background().spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
