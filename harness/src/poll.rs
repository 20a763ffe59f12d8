//! The only waiting primitive: ask again until the answer is ready, final, or late.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

/// First pause between two questions; each further pause is half as long again.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// Longest pause between two questions.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// What one question found.
#[derive(Debug)]
pub enum Progress<T> {
    /// Not yet, with the status that a time-out will report.
    NotYet(String),
    /// It happened.
    Ready(T),
    /// It will never happen, with the reason: asking again is pointless.
    Failed(String),
}

/// Why waiting ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// A question answered [`Progress::Failed`].
    #[error("wait for {what}: {reason}")]
    Failed {
        /// What was awaited.
        what: String,
        /// Why it will never come.
        reason: String,
    },
    /// The time ran out.
    #[error("wait for {what}: not within {} ms; last status: {status}", timeout.as_millis())]
    TimedOut {
        /// What was awaited.
        what: String,
        /// How long it was awaited.
        timeout: Duration,
        /// The last status a question answered.
        status: String,
    },
}

/// Asks `question` until it is ready or failed, at most for `timeout`.
///
/// A question that hangs is cut off at the same deadline.
///
/// # Errors
/// [`PollError::Failed`] as soon as a question says so, [`PollError::TimedOut`] with the last
/// status otherwise.
pub async fn until<T, Q, F>(what: &str, timeout: Duration, mut question: Q) -> Result<T, PollError>
where
    Q: FnMut() -> F,
    F: Future<Output = Progress<T>>,
{
    let deadline = Instant::now() + timeout;
    let mut pause = PAUSE_MIN;
    let mut status = "never answered".to_owned();
    loop {
        match tokio::time::timeout_at(deadline, question()).await {
            Ok(Progress::Ready(value)) => return Ok(value),
            Ok(Progress::Failed(reason)) => {
                return Err(PollError::Failed {
                    what: what.to_owned(),
                    reason,
                });
            }
            Ok(Progress::NotYet(now)) => status = now,
            Err(_) => {}
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(PollError::TimedOut {
                what: what.to_owned(),
                timeout,
                status,
            });
        }
        // However long the pauses have become, the last question is asked at the deadline.
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 3 / 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn time_out_reports_the_last_status() {
        let mut asked = 0;
        let result: Result<(), _> = until("dawn", Duration::from_millis(40), || {
            asked += 1;
            let status = format!("asked {asked} times");
            async move { Progress::NotYet(status) }
        })
        .await;
        let message = result.expect_err("nothing is ever ready").to_string();
        assert!(
            message.starts_with("wait for dawn: not within 40 ms"),
            "{message}"
        );
        assert!(
            message.ends_with(&format!("asked {asked} times")),
            "{message}"
        );
    }

    #[tokio::test]
    async fn what_is_ready_shortly_before_the_deadline_is_noticed() {
        let timeout = Duration::from_millis(300);
        let ready_at = Instant::now() + Duration::from_millis(290);
        let result = until("dawn", timeout, || {
            std::future::ready(if Instant::now() >= ready_at {
                Progress::Ready(())
            } else {
                Progress::NotYet("dark".to_owned())
            })
        })
        .await;
        assert!(result.is_ok(), "{result:?}");
    }

    #[tokio::test]
    async fn a_failure_ends_the_wait_at_once() {
        let started = Instant::now();
        let result: Result<(), _> = until("dawn", Duration::from_secs(60), || async {
            Progress::Failed("the sun is gone".to_owned())
        })
        .await;
        assert!(matches!(result, Err(PollError::Failed { .. })));
        assert!(started.elapsed() < Duration::from_secs(60));
    }

    #[tokio::test]
    async fn a_hanging_question_is_cut_off() {
        let result: Result<(), _> =
            until("dawn", Duration::from_millis(20), std::future::pending).await;
        assert!(matches!(result, Err(PollError::TimedOut { .. })));
    }
}
