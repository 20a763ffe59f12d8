//! Every route and the middleware around them, on one screen.

pub mod auth;
pub mod authenticated;
pub mod documents;
pub mod generations;
mod observe;
pub mod operations;
pub mod paging;
pub mod webhooks;

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Router, middleware};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::Role;
use crate::error::ApiError;
use crate::state::AppState;

/// Largest JSON body.
pub const JSON_BODY_MAX_BYTES: usize = 256 * 1024;

/// The service's router for a role. `shutdown` turns readiness off.
pub fn router(state: AppState, role: Role, shutdown: CancellationToken) -> Router {
    let mut router = Router::new()
        .route("/health", get(operations::health))
        .route("/ready", get(operations::ready))
        .route("/metrics", get(operations::metrics));
    if role.answers() {
        router = router.nest("/api/v1", api());
    }
    router
        .fallback(async || ApiError::NotFound("route"))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(middleware::from_fn_with_state(
            state.clone(),
            observe::observe,
        ))
        .layer(axum::Extension(operations::Stopping(shutdown)))
        .with_state(state)
}

fn api() -> Router<AppState> {
    Router::new()
        .route("/auth/register", post(auth::register))
        .route("/auth/login", post(auth::login))
        .route("/auth/logout", post(auth::logout))
        .route("/auth/me", get(auth::me))
        .route(
            "/generations",
            post(generations::create).get(generations::list),
        )
        .route("/generations/{id}", get(generations::show))
        .route("/generations/{id}/events", get(generations::events))
        .route("/generations/{id}/cancel", post(generations::cancel))
        .route("/generations/{id}/pdf", get(generations::pdf))
        .route("/webhooks/secret", get(webhooks::secret))
        .layer(DefaultBodyLimit::max(JSON_BODY_MAX_BYTES))
        // An upload is limited while it streams, by its own rule.
        .route(
            "/documents",
            post(documents::upload)
                .layer(DefaultBodyLimit::disable())
                .get(documents::list),
        )
        .route(
            "/documents/{id}",
            get(documents::show).delete(documents::delete),
        )
        .route("/documents/{id}/content", get(documents::content))
}
