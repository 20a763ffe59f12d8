//! `/openapi.json` and `/docs`. The page is drawn here, from the document: the usual viewers load
//! themselves from somebody else's servers, or bring all their scripts into the binary.

mod page;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use utoipa::openapi::OpenApi;

use crate::state::AppState;

const STYLE: &str = include_str!("reference/style.css");

/// Both are the same for everybody and change with the program only.
const CACHE: &str = "public, max-age=300";

/// Serves the document and the page about it.
pub(super) fn router(document: &OpenApi) -> Router<AppState> {
    let document = serde_json::to_value(document).expect("maps with text keys always serialize");
    let html = Bytes::from(page::draw(&document, STYLE));
    let json = Bytes::from(document.to_string());
    // Nothing may run or load on the page: it is text and one style, known by its hash.
    let style = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let answer_json = async move || {
        let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, CACHE)];
        (headers, json)
    };
    let answer_html = async move || {
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
            (CACHE_CONTROL, CACHE.to_owned()),
            (CONTENT_SECURITY_POLICY, policy),
        ];
        (headers, html)
    };
    Router::new()
        .route("/openapi.json", get(answer_json))
        .route("/docs", get(answer_html))
}
