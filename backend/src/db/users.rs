//! Accounts.

use sqlx::PgExecutor;

use crate::db::DbError;
use crate::domain::account::Email;
use crate::domain::ids::UserId;

/// Adds a user; `false` when the address is taken.
///
/// # Errors
/// When the database does not do it.
pub async fn insert(
    db: impl PgExecutor<'_>,
    id: UserId,
    email: &Email,
    hash: &str,
) -> Result<bool, DbError> {
    let sql = "INSERT INTO users (id, email, password_hash) VALUES ($1, $2, $3) ON CONFLICT (email) DO NOTHING";
    let result = sqlx::query(sql)
        .bind(id)
        .bind(email)
        .bind(hash)
        .execute(db)
        .await?;
    Ok(result.rows_affected() == 1)
}

/// The id and password hash behind an address.
///
/// # Errors
/// When the database does not answer.
pub async fn find_by_email(
    db: impl PgExecutor<'_>,
    email: &Email,
) -> Result<Option<(UserId, String)>, DbError> {
    let sql = "SELECT id, password_hash FROM users WHERE email = $1";
    Ok(sqlx::query_as(sql).bind(email).fetch_optional(db).await?)
}

/// The address of a user.
///
/// # Errors
/// When the database does not answer.
pub async fn email_of(db: impl PgExecutor<'_>, id: UserId) -> Result<Option<Email>, DbError> {
    Ok(sqlx::query_scalar("SELECT email FROM users WHERE id = $1")
        .bind(id)
        .fetch_optional(db)
        .await?)
}
