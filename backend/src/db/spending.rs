//! What users spend in a day (UTC), and whether there is room for one more generation.

use sqlx::PgConnection;

use crate::db::DbError;
use crate::domain::ids::UserId;

/// A cap on what one user may spend in a day.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// The cap.
    pub per_day_usd_micros: i64,
    /// What a generation that has not ended counts as, when it has not cost more already.
    pub estimate_usd_micros: i64,
}

/// A user's day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Day {
    /// Spent, plus what the generations that have not ended are expected to add.
    pub committed_usd_micros: i64,
    /// Until the next day.
    pub ends_in_s: i64,
}

/// How much of a user's day is spoken for. Orders of the same user are put in order by their row,
/// so that two at once cannot both take the last of a budget.
///
/// # Errors
/// When the database does not answer.
pub async fn day(tx: &mut PgConnection, user: UserId, budget: Budget) -> Result<Day, DbError> {
    sqlx::query("SELECT 1 FROM users WHERE id = $1 FOR NO KEY UPDATE")
        .bind(user)
        .execute(&mut *tx)
        .await?;
    let sql = "SELECT (coalesce((SELECT cost_usd_micros FROM user_spending
                                 WHERE user_id = $1 AND day = (now() AT TIME ZONE 'utc')::date), 0)
                       + coalesce((SELECT sum(greatest($2 - cost_usd_micros, 0)) FROM generations
                                   WHERE user_id = $1 AND status IN ('queued', 'running')), 0)
                      )::int8 AS committed_usd_micros,
                      ceil(extract(epoch FROM date_trunc('day', now() AT TIME ZONE 'utc') + interval '1 day'
                                              - now() AT TIME ZONE 'utc'))::int8 AS ends_in_s";
    Ok(sqlx::query_as(sql)
        .bind(user)
        .bind(budget.estimate_usd_micros)
        .fetch_one(tx)
        .await?)
}
