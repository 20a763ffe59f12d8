//! `Prefer: wait=N` (RFC 7240): a request that stays open until its generation has ended.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::db::DbError;
use crate::db::generations::GenerationRow;
use crate::domain::ids::UserId;
use crate::state::AppState;

const PREFER: HeaderName = HeaderName::from_static("prefer");
pub(super) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How long the client prefers to wait. The first instance counts; what cannot be read is no
/// preference (RFC 7240, section 2). Fractions of a second are read too, for runs in compressed time.
pub(super) fn preferred(headers: &HeaderMap) -> Option<Duration> {
    let values = headers
        .get_all(PREFER)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut preferences = values
        .flat_map(|value| value.split(','))
        .map(|one| one.split(';').next().unwrap_or_default());
    let value = preferences.find_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("wait")
            .then(|| value.trim().trim_matches('"').trim())
    })?;
    Duration::try_from_secs_f64(value.parse().ok()?).ok()
}

/// What is granted: with a tenth of the request's time to spare, so that the answer is always one.
pub(super) fn granted(preferred: Duration, request_timeout: Duration) -> Duration {
    preferred.min(request_timeout / 10 * 9)
}

/// `Preference-Applied` for a granted wait.
pub(super) fn applied(granted: Duration) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("wait={}", granted.as_secs_f64())).ok()
}

/// Waits until the generation has ended, the time is over or the process stops, and gives what is
/// known then. Woken by notifications; holds no connection while it waits.
pub(super) async fn until_ended(
    state: &AppState,
    stopping: &CancellationToken,
    user: UserId,
    mut row: GenerationRow,
    granted: Duration,
) -> Result<GenerationRow, DbError> {
    let mut watch = state.watchers.watch(row.id);
    let deadline = sleep(granted);
    tokio::pin!(deadline);
    loop {
        match state.lane.generation(row.id, user).await {
            Ok(Some(found)) => row = found,
            // It is accepted, whatever becomes of the database meanwhile.
            Ok(None) | Err(DbError::Unavailable(_)) => {}
            Err(error) => return Err(error),
        }
        if row.status.is_final() {
            return Ok(row);
        }
        tokio::select! {
            biased;
            () = stopping.cancelled() => return Ok(row),
            () = &mut deadline => return Ok(row),
            () = watch.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_str(value).expect("a header value");
            headers.append(PREFER, value);
        }
        headers
    }

    #[test]
    fn a_preference_is_read_as_rfc_7240_writes_it() {
        let cases: [(&[&str], Option<u64>); 12] = [
            (&["wait=10"], Some(10_000)),
            (&["respond-async, wait=100"], Some(100_000)),
            (&["Wait = 5; foo=bar"], Some(5_000)),
            (&["return=minimal", "wait=7"], Some(7_000)),
            (&["wait=1, wait=2"], Some(1_000)),
            (&["wait=\"3\""], Some(3_000)),
            (&["wait=0.25"], Some(250)),
            (&["wait"], None),
            (&["wait=soon"], None),
            (&["wait=-1"], None),
            (&["wait=NaN"], None),
            (&[], None),
        ];
        for (values, expected_ms) in cases {
            let expected = expected_ms.map(Duration::from_millis);
            assert_eq!(preferred(&headers(values)), expected, "{values:?}");
        }
    }

    #[test]
    fn what_is_granted_ends_before_the_request_does() {
        let timeout = Duration::from_secs(30);
        assert_eq!(
            granted(Duration::from_secs(5), timeout),
            Duration::from_secs(5)
        );
        assert_eq!(
            granted(Duration::from_secs(900), timeout),
            Duration::from_secs(27)
        );
        assert_eq!(
            applied(Duration::from_secs(27)).expect("visible ASCII"),
            "wait=27"
        );
        assert_eq!(
            applied(Duration::from_millis(270)).expect("visible ASCII"),
            "wait=0.27"
        );
    }
}
