//! Uploaded documents.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::db::DbError;
use crate::domain::ids::{DocumentId, GenerationId, UserId};
use crate::pdf::extract::ExtractedText;

/// One row.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DocumentRow {
    /// Its id.
    pub id: DocumentId,
    /// The name it came with, made safe.
    pub file_name: String,
    /// Size.
    pub size_bytes: i64,
    /// SHA-256 in hex.
    pub sha256: String,
    /// Key in S3.
    pub storage_key: String,
    /// Pages, once somebody counted.
    pub page_count: Option<i32>,
    /// When it came.
    pub created_at: DateTime<Utc>,
}

/// What a new document is made of.
#[derive(Debug)]
pub struct NewDocument<'a> {
    /// Its id.
    pub id: DocumentId,
    /// Whose it is.
    pub user: UserId,
    /// Safe name.
    pub file_name: &'a str,
    /// Size.
    pub size_bytes: i64,
    /// SHA-256 in hex.
    pub sha256: &'a str,
    /// Key in S3.
    pub storage_key: &'a str,
    /// What stands in it, if somebody could read it.
    pub read: Option<&'a ExtractedText>,
}

/// Where a document is to be read.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Stored {
    /// Its id.
    pub id: DocumentId,
    /// The name it came with, made safe.
    pub file_name: String,
    /// Key in S3.
    pub storage_key: String,
}

/// A document as a generation reads it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Source {
    /// Where it is.
    #[sqlx(flatten)]
    pub stored: Stored,
    /// Pages, once somebody has read it.
    pub page_count: Option<i32>,
    /// Its text, once somebody has read it.
    pub text: Option<String>,
}

/// Why a document was not deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone now.
    Deleted,
    /// There is none, or it is another user's.
    NotFound,
    /// A generation that has not ended still reads it.
    InUse,
}

/// Adds a document whose object is stored; `None` when the user has an equal one already.
///
/// # Errors
/// When the database does not do it.
pub async fn insert(
    db: impl PgExecutor<'_>,
    new: &NewDocument<'_>,
) -> Result<Option<DocumentRow>, DbError> {
    let sql = "INSERT INTO documents (id, user_id, file_name, size_bytes, sha256, storage_key, page_count, text)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
               ON CONFLICT (user_id, sha256) DO NOTHING
               RETURNING id, file_name, size_bytes, sha256, storage_key, page_count, created_at";
    let query = sqlx::query_as(sql)
        .bind(new.id)
        .bind(new.user)
        .bind(new.file_name)
        .bind(new.size_bytes)
        .bind(new.sha256)
        .bind(new.storage_key)
        .bind(new.read.map(|read| read.page_count))
        .bind(new.read.map(|read| &read.text));
    Ok(query.fetch_optional(db).await?)
}

/// A user's document with this content.
///
/// # Errors
/// When the database does not answer.
pub async fn find_by_hash(
    db: impl PgExecutor<'_>,
    user: UserId,
    sha256: &str,
) -> Result<Option<DocumentRow>, DbError> {
    let sql = "SELECT id, file_name, size_bytes, sha256, storage_key, page_count, created_at
               FROM documents WHERE user_id = $1 AND sha256 = $2";
    Ok(sqlx::query_as(sql)
        .bind(user)
        .bind(sha256)
        .fetch_optional(db)
        .await?)
}

/// A user's document.
///
/// # Errors
/// When the database does not answer.
pub async fn find(
    db: impl PgExecutor<'_>,
    id: DocumentId,
    user: UserId,
) -> Result<Option<DocumentRow>, DbError> {
    let sql = "SELECT id, file_name, size_bytes, sha256, storage_key, page_count, created_at
               FROM documents WHERE id = $1 AND user_id = $2";
    Ok(sqlx::query_as(sql)
        .bind(id)
        .bind(user)
        .fetch_optional(db)
        .await?)
}

/// A user's documents, newest first, older than `before`.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    db: impl PgExecutor<'_>,
    user: UserId,
    before: Option<DocumentId>,
    limit: i64,
) -> Result<Vec<DocumentRow>, DbError> {
    let sql = "SELECT id, file_name, size_bytes, sha256, storage_key, page_count, created_at
               FROM documents WHERE user_id = $1 AND ($2::uuid IS NULL OR id < $2)
               ORDER BY id DESC LIMIT $3";
    Ok(sqlx::query_as(sql)
        .bind(user)
        .bind(before)
        .bind(limit)
        .fetch_all(db)
        .await?)
}

/// Whether a user's document may be deleted, and deletes it when it may.
///
/// # Errors
/// When the database does not do it.
pub async fn delete(
    db: impl PgExecutor<'_>,
    id: DocumentId,
    user: UserId,
) -> Result<Deletion, DbError> {
    let sql = "WITH found AS (
                   SELECT id FROM documents WHERE id = $1 AND user_id = $2 FOR UPDATE
               ), used AS (
                   SELECT 1 FROM generation_documents gd
                   JOIN generations g ON g.id = gd.generation_id
                   WHERE gd.document_id = $1 AND g.status IN ('queued', 'running') LIMIT 1
               ), deleted AS (
                   DELETE FROM documents WHERE id = (SELECT id FROM found) AND NOT EXISTS (SELECT 1 FROM used)
                   RETURNING id
               )
               SELECT EXISTS (SELECT 1 FROM found), EXISTS (SELECT 1 FROM deleted)";
    let (found, deleted): (bool, bool) = sqlx::query_as(sql)
        .bind(id)
        .bind(user)
        .fetch_one(db)
        .await?;
    Ok(match (found, deleted) {
        (false, _) => Deletion::NotFound,
        (true, true) => Deletion::Deleted,
        (true, false) => Deletion::InUse,
    })
}

/// The documents a generation reads, in the order they were named.
///
/// # Errors
/// When the database does not answer.
pub async fn of_generation(
    db: impl PgExecutor<'_>,
    id: GenerationId,
) -> Result<Vec<Source>, DbError> {
    let sql = "SELECT d.id, d.file_name, d.storage_key, d.page_count, d.text
               FROM generation_documents gd JOIN documents d ON d.id = gd.document_id
               WHERE gd.generation_id = $1 ORDER BY gd.ordinal";
    Ok(sqlx::query_as(sql).bind(id).fetch_all(db).await?)
}

/// Remembers what stands in a document. It is the same whoever reads it, so no fence is needed.
///
/// # Errors
/// When the database does not do it.
pub async fn remember(
    db: impl PgExecutor<'_>,
    id: DocumentId,
    read: &ExtractedText,
) -> Result<(), DbError> {
    let sql = "UPDATE documents SET page_count = $2, text = $3 WHERE id = $1";
    let query = sqlx::query(sql)
        .bind(id)
        .bind(read.page_count)
        .bind(&read.text);
    query.execute(db).await?;
    Ok(())
}
