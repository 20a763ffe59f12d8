//! Every route and the middleware around them, on one screen.

pub mod auth;
pub mod authenticated;
mod client_address;
pub(crate) mod cookie;
pub mod documents;
pub mod generations;
mod limited;
mod observe;
mod openapi;
pub mod operations;
pub mod paging;
mod reference;
pub mod webhooks;

use axum::extract::DefaultBodyLimit;
use axum::{Router, middleware};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::Role;
use crate::error::ApiError;
use crate::state::AppState;

/// Largest JSON body.
pub const JSON_BODY_MAX_BYTES: usize = 256 * 1024;

/// The service's router for a role. `shutdown` turns readiness off.
pub fn router(state: AppState, role: Role, shutdown: CancellationToken) -> Router {
    let (mut router, document) = documented(&state, role).split_for_parts();
    if role.answers() {
        router = router.merge(reference::router(&document));
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

/// The routes of a role together with their OpenAPI document.
fn documented(state: &AppState, role: Role) -> OpenApiRouter<AppState> {
    let mut router = OpenApiRouter::with_openapi(openapi::Frame::openapi())
        .routes(routes!(operations::health))
        .routes(routes!(operations::ready))
        .routes(routes!(operations::metrics));
    if role.answers() {
        router = router.nest("/api/v1", api(state));
    }
    openapi::complete(router.get_openapi_mut());
    router
}

fn api(state: &AppState) -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(auth::register))
        .routes(routes!(auth::login))
        .routes(routes!(auth::logout))
        .routes(routes!(auth::me))
        .routes(
            routes!(generations::create).layer(middleware::from_fn_with_state(
                state.clone(),
                limited::generations,
            )),
        )
        .routes(routes!(generations::list))
        .routes(routes!(generations::show))
        .routes(routes!(generations::events::events))
        .routes(routes!(generations::cancel))
        .routes(routes!(generations::pdf))
        .routes(routes!(webhooks::secret))
        .layer(DefaultBodyLimit::max(JSON_BODY_MAX_BYTES))
        // An upload is limited while it streams, by its own rule.
        .routes(routes!(documents::upload).layer(DefaultBodyLimit::disable()))
        .routes(routes!(documents::list))
        .routes(routes!(documents::show, documents::delete))
        .routes(routes!(documents::content))
}
