//! Documents: uploaded as a stream, told about, downloaded by link, deleted.

use std::io::{Seek, Write};

use axum::Json;
use axum::extract::State;
use axum::extract::multipart::{Field, Multipart, MultipartRejection};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::db;
use crate::db::documents::{Deletion, DocumentRow, NewDocument};
use crate::domain::document::{HEADER_WINDOW_BYTES, file_name, is_pdf, storage_key};
use crate::domain::ids::DocumentId;
use crate::error::{ApiError, PathId, QueryOf};
use crate::pdf::extract::{ExtractError, ExtractedText};
use crate::retry::jitter;
use crate::routes::authenticated::Authenticated;
use crate::routes::paging::{Page, PageQuery};
use crate::state::AppState;
use crate::telemetry::chain;

/// What multipart may add around the file.
const MULTIPART_OVERHEAD_BYTES: u64 = 64 * 1024;
/// Tries to store an upload while its client waits.
const STORE_TRIES: u32 = 3;
/// Chunks are gathered to this size before they go to the spool file.
const SPOOL_BUFFER_BYTES: usize = 256 * 1024;

/// A document as told to its user.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Document)]
pub struct DocumentBody {
    id: DocumentId,
    file_name: String,
    size_bytes: i64,
    sha256: String,
    /// Absent until somebody has counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    page_count: Option<i32>,
    created_at: DateTime<Utc>,
}

impl From<DocumentRow> for DocumentBody {
    fn from(row: DocumentRow) -> Self {
        Self {
            id: row.id,
            file_name: row.file_name,
            size_bytes: row.size_bytes,
            sha256: row.sha256,
            page_count: row.page_count,
            created_at: row.created_at,
        }
    }
}

/// The form that an upload comes in.
#[derive(ToSchema)]
#[schema(as = Upload)]
#[expect(
    dead_code,
    reason = "it describes the form; the handler reads it as a stream"
)]
struct UploadForm {
    /// The PDF.
    #[schema(value_type = String, format = Binary, content_media_type = "application/pdf")]
    file: Vec<u8>,
    /// What the file's SHA-256 must be, in hex; a file that arrives otherwise is refused.
    #[schema(pattern = "^[0-9a-fA-F]{64}$", nullable = false)]
    sha256: Option<String>,
}

/// An upload on this machine, in a file without a name: it is gone with the process, however that ends.
struct Spooled {
    file: std::fs::File,
    size_bytes: u64,
    sha256: [u8; 32],
}

/// `POST /documents`. The object is stored before the row: a crash in between leaves an object
/// that nothing names, never a document without content.
///
/// # Errors
/// 413 beyond the limit, 415 when it is no PDF, 422 without a field `file` and when it cannot be read.
#[utoipa::path(
    post, path = "/documents", tag = "documents", operation_id = "uploadDocument",
    summary = "Upload a PDF",
    description = "A PDF is known by its content, not by its name. It is stored once it can be read: an encrypted, \
                   damaged, empty, too long or exploding one is refused, each with a problem type of its own.",
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "The user has this file already; this is it, under its first name.",
         body = DocumentBody, headers(("Location" = String, description = "Where to ask for it."))),
        (status = 201, description = "It is stored.", body = DocumentBody,
         headers(("Location" = String, description = "Where to ask for it."))),
        (status = 422, description = "There is no file in the form, its checksum is another one, or it cannot be \
                                      read: `type` says why."),
    ),
)]
pub(super) async fn upload(
    State(state): State<AppState>,
    sender: Authenticated,
    headers: HeaderMap,
    multipart: Result<Multipart, MultipartRejection>,
) -> Result<Response, ApiError> {
    let limit_bytes = state.config.documents.size_max_bytes;
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    // Refused before the body only where the rest of it is too much to read and throw away.
    if announced.is_some_and(|bytes| bytes > 4 * limit_bytes + MULTIPART_OVERHEAD_BYTES) {
        return Err(ApiError::TooLarge { limit_bytes });
    }
    let unsupported = |_| ApiError::Unsupported("the body must be multipart/form-data".to_owned());
    let mut multipart = multipart.map_err(unsupported)?;
    let mut found = None;
    let mut announced_sha256 = None;
    while let Some(field) = multipart
        .next_field()
        .await
        .map_err(|error| malformed(&error))?
    {
        if field.name() == Some("file") && found.is_none() {
            let name = file_name(field.file_name());
            found = Some((name, spool(&state, field).await?));
        } else if field.name() == Some("sha256") {
            announced_sha256 = Some(checksum(field).await?);
        }
    }
    let (name, spooled) = found
        .ok_or_else(|| ApiError::Invalid("the form must have a field named file".to_owned()))?;

    let sha256 = hex::encode(spooled.sha256);
    if announced_sha256.is_some_and(|announced| announced != sha256) {
        return Err(ApiError::Invalid(format!(
            "the file arrived with the SHA-256 {sha256}, which is not the one of the field sha256"
        )));
    }
    if let Some(row) = db::documents::find_by_hash(&state.lane, sender.user, &sha256).await? {
        return Ok(answer(StatusCode::OK, row));
    }
    let read = read(&state, &spooled).await?;

    let id = DocumentId::new();
    let key = storage_key(sender.user, id);
    store(&state, &key, &spooled).await?;
    let new = NewDocument {
        id,
        user: sender.user,
        file_name: &name,
        size_bytes: i64::try_from(spooled.size_bytes).unwrap_or(i64::MAX),
        sha256: &sha256,
        storage_key: &key,
        read: read.as_ref(),
    };
    if let Some(row) = db::documents::insert(&state.lane, &new).await? {
        return Ok(answer(StatusCode::CREATED, row));
    }
    // The same file was uploaded twice at once, and the other one came first.
    remove(&state, &key).await;
    let row = db::documents::find_by_hash(&state.lane, sender.user, &sha256).await?;
    row.map(|row| answer(StatusCode::OK, row)).ok_or_else(|| {
        ApiError::Conflict("the same file was just deleted; upload it again".to_owned())
    })
}

fn answer(status: StatusCode, row: DocumentRow) -> Response {
    let location = format!("/api/v1/documents/{}", row.id);
    let body = Json(DocumentBody::from(row));
    (status, [(header::LOCATION, location)], body).into_response()
}

/// A checksum in hex, in lower case. It is read up to one byte beyond what it may have.
async fn checksum(mut field: Field<'_>) -> Result<String, ApiError> {
    let mut text = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| malformed(&error))? {
        let room = 65_usize.saturating_sub(text.len());
        text.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    let text = String::from_utf8_lossy(&text).trim().to_ascii_lowercase();
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text)
    } else {
        Err(ApiError::Invalid(
            "the field sha256 must have 64 hexadecimal digits".to_owned(),
        ))
    }
}

/// What stands in an upload, which is refused when it cannot be read. When the reader itself does not
/// run, nobody reads it now: the worker that needs it for a generation does.
async fn read(state: &AppState, spooled: &Spooled) -> Result<Option<ExtractedText>, ApiError> {
    let file = from_beginning(spooled)?;
    match state.extractor.extract_file(file).await {
        Ok(read) => Ok(Some(read)),
        Err(ExtractError::Unreadable(reason)) => Err(ApiError::Unreadable {
            name: reason.name(),
            detail: reason.to_string(),
        }),
        Err(ExtractError::Exhausted(how)) => {
            tracing::warn!(how, "an upload exhausted its reader");
            Err(ApiError::Unreadable {
                name: "document-too-complex",
                detail: "it takes too much time or memory to read".to_owned(),
            })
        }
        Err(error @ ExtractError::Broken(_)) => {
            tracing::warn!(error = %chain(&error), "an upload is stored unread");
            Ok(None)
        }
    }
}

/// The file once more; clones share its position.
fn from_beginning(spooled: &Spooled) -> Result<std::fs::File, ApiError> {
    let file = spooled.file.try_clone().and_then(|mut file| {
        file.rewind()?;
        Ok(file)
    });
    file.map_err(|error| ApiError::Internal(Box::new(error)))
}

async fn remove(state: &AppState, key: &str) {
    if let Err(error) = state.storage.delete(key).await {
        tracing::warn!(key, error = %chain(&error), "an object without document stays behind");
    }
}

fn malformed(error: &axum::extract::multipart::MultipartError) -> ApiError {
    ApiError::Malformed(error.body_text())
}

/// Streams a field to a spool file. What is beyond the limit is read and dropped, because a client
/// that is still sending would see a broken connection instead of the answer.
async fn spool(state: &AppState, mut field: Field<'_>) -> Result<Spooled, ApiError> {
    let documents = &state.config.documents;
    let limit_bytes = documents.size_max_bytes;
    let broken = |error: std::io::Error| ApiError::Internal(Box::new(error));
    let mut file = tempfile::tempfile_in(&documents.spool_dir).map_err(broken)?;
    let mut digest = Sha256::new();
    let mut buffer = Vec::with_capacity(
        SPOOL_BUFFER_BYTES.min(usize::try_from(limit_bytes).unwrap_or(usize::MAX)),
    );
    let mut size_bytes = 0_u64;
    let mut checked = false;
    while let Some(chunk) = field.chunk().await.map_err(|error| malformed(&error))? {
        size_bytes += chunk.len() as u64;
        if size_bytes > limit_bytes {
            continue;
        }
        digest.update(&chunk);
        buffer.extend_from_slice(&chunk);
        if buffer.len() >= SPOOL_BUFFER_BYTES {
            checked = checked || beginning_checked(&buffer)?;
            (file, buffer) = write_out(file, buffer).await.map_err(broken)?;
        }
    }
    if size_bytes > limit_bytes {
        return Err(ApiError::TooLarge { limit_bytes });
    }
    if !checked {
        beginning_checked(&buffer)?;
    }
    let (mut file, _) = write_out(file, buffer).await.map_err(broken)?;
    file.rewind().map_err(broken)?;
    Ok(Spooled {
        file,
        size_bytes,
        sha256: digest.finalize().into(),
    })
}

/// The first buffer holds more than the window a PDF header may stand in, or the whole file.
fn beginning_checked(buffer: &[u8]) -> Result<bool, ApiError> {
    const { assert!(SPOOL_BUFFER_BYTES > HEADER_WINDOW_BYTES) };
    if is_pdf(buffer) {
        Ok(true)
    } else {
        Err(ApiError::Unsupported("the file is not a PDF".to_owned()))
    }
}

async fn write_out(
    mut file: std::fs::File,
    mut buffer: Vec<u8>,
) -> std::io::Result<(std::fs::File, Vec<u8>)> {
    let written = tokio::task::spawn_blocking(move || {
        file.write_all(&buffer)?;
        buffer.clear();
        Ok((file, buffer))
    });
    written.await.map_err(std::io::Error::other)?
}

async fn store(state: &AppState, key: &str, spooled: &Spooled) -> Result<(), ApiError> {
    let mut failures = 0;
    loop {
        let file = from_beginning(spooled)?;
        match state
            .storage
            .put_file(key, file, spooled.size_bytes, &spooled.sha256)
            .await
        {
            Ok(()) => return Ok(()),
            Err(error) if error.is_transient() && failures + 1 < STORE_TRIES => {
                failures += 1;
                state.metrics.upstream_error("storage");
                tokio::time::sleep(state.config.backoff.delay(failures, jitter())).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// `GET /documents`.
///
/// # Errors
/// 401 without a session.
#[utoipa::path(
    get, path = "/documents", tag = "documents", operation_id = "listDocuments",
    summary = "List documents, newest first", description = "",
    params(PageQuery<DocumentId>),
    responses((status = 200, description = "A page of them.", body = Page<DocumentBody, DocumentId>)),
)]
pub(super) async fn list(
    State(state): State<AppState>,
    sender: Authenticated,
    QueryOf(query): QueryOf<PageQuery<DocumentId>>,
) -> Result<Json<Page<DocumentBody, DocumentId>>, ApiError> {
    let rows = db::documents::list(&state.lane, sender.user, query.before, query.limit()).await?;
    let items = rows.into_iter().map(DocumentBody::from).collect();
    Ok(Json(Page::new(
        items,
        query.limit(),
        |item: &DocumentBody| item.id,
    )))
}

/// `GET /documents/{id}`.
///
/// # Errors
/// 404 when it is not the user's.
#[utoipa::path(
    get, path = "/documents/{id}", tag = "documents", operation_id = "showDocument",
    summary = "Show a document", description = "",
    params(("id" = DocumentId, Path, description = "The document.")),
    responses((status = 200, description = "The document.", body = DocumentBody)),
)]
pub(super) async fn show(
    State(state): State<AppState>,
    sender: Authenticated,
    PathId(id): PathId<DocumentId>,
) -> Result<Json<DocumentBody>, ApiError> {
    let row = db::documents::find(&state.lane, id, sender.user).await?;
    row.map(|row| Json(row.into()))
        .ok_or(ApiError::NotFound("document"))
}

/// `GET /documents/{id}/content`: 307 to a link that works for a while.
///
/// # Errors
/// 404 when it is not the user's.
#[utoipa::path(
    get, path = "/documents/{id}/content", tag = "documents", operation_id = "downloadDocument",
    summary = "Download a document", description = "",
    params(("id" = DocumentId, Path, description = "The document.")),
    responses(
        (status = 307, description = "To a link that works for a while.",
         headers(("Location" = String, description = "The link."))),
    ),
)]
pub(super) async fn content(
    State(state): State<AppState>,
    sender: Authenticated,
    PathId(id): PathId<DocumentId>,
) -> Result<Redirect, ApiError> {
    let row = db::documents::find(&state.lane, id, sender.user)
        .await?
        .ok_or(ApiError::NotFound("document"))?;
    let url = state
        .storage
        .presigned_url(&row.storage_key, &row.file_name)
        .await?;
    Ok(Redirect::temporary(&url))
}

/// `DELETE /documents/{id}`. The row goes first: a crash in between leaves an object that nothing names.
///
/// # Errors
/// 404 when it is not the user's, 409 while a generation still reads it.
#[utoipa::path(
    delete, path = "/documents/{id}", tag = "documents", operation_id = "deleteDocument",
    summary = "Delete a document", description = "",
    params(("id" = DocumentId, Path, description = "The document.")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 409, description = "A generation that has not ended still reads it."),
    ),
)]
pub(super) async fn delete(
    State(state): State<AppState>,
    sender: Authenticated,
    PathId(id): PathId<DocumentId>,
) -> Result<StatusCode, ApiError> {
    match db::documents::delete(&state.lane, id, sender.user).await? {
        Deletion::NotFound => return Err(ApiError::NotFound("document")),
        Deletion::InUse => {
            return Err(ApiError::Conflict(
                "a generation still reads the document".to_owned(),
            ));
        }
        Deletion::Deleted => {}
    }
    remove(&state, &storage_key(sender.user, id)).await;
    Ok(StatusCode::NO_CONTENT)
}
