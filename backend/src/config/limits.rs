//! How often things may be done, and by which address clients are told apart.

use std::time::Duration;

use super::variables::Variables;
use super::{ConfigError, LimitConfig};
use crate::limits::Quota;

const EXAMPLE: &str = "600/60000";

impl LimitConfig {
    pub(super) fn read(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        let quota = |variable, meaning, default| {
            let text = variables.text(variable);
            parse(text.as_deref().unwrap_or(default)).ok_or_else(|| {
                let problem = format!(
                    "{:?} is neither REQUESTS/MILLISECONDS nor off",
                    text.unwrap_or_default()
                );
                ConfigError::new(variable, meaning, problem, EXAMPLE)
            })
        };
        Ok(Self {
            session: quota(
                "RATE_LIMIT_SESSION",
                "requests of one session",
                "1200/60000",
            )?,
            login_address: quota(
                "RATE_LIMIT_LOGIN_ADDRESS",
                "logins from one address",
                "30/60000",
            )?,
            login_account: quota(
                "RATE_LIMIT_LOGIN_ACCOUNT",
                "logins to one account",
                "10/60000",
            )?,
            register_address: quota(
                "RATE_LIMIT_REGISTER_ADDRESS",
                "registrations from one address",
                "30/3600000",
            )?,
            register_account: quota(
                "RATE_LIMIT_REGISTER_ACCOUNT",
                "registrations of one email address",
                "5/3600000",
            )?,
            generations: quota(
                "RATE_LIMIT_GENERATIONS",
                "generations of one user",
                "60/3600000",
            )?,
        })
    }

    /// No limits at all.
    pub fn off() -> Self {
        Self {
            session: None,
            login_address: None,
            login_account: None,
            register_address: None,
            register_account: None,
            generations: None,
        }
    }
}

/// `600/60000` is 600 requests in 60 s, `off` is no limit.
fn parse(text: &str) -> Option<Option<Quota>> {
    if text == "off" {
        return Some(None);
    }
    let (requests, window_ms) = text.split_once('/')?;
    let requests: u32 = requests.parse().ok()?;
    let window = Duration::from_millis(window_ms.parse().ok()?);
    // A day bounds what is kept of every address; a request a microsecond is what keys can tell apart.
    let sensible = requests > 0
        && window <= Duration::from_secs(86_400)
        && window.as_micros() >= u128::from(requests);
    sensible.then_some(Some(Quota { requests, window }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_requests_and_milliseconds_or_off() {
        let minute = Duration::from_secs(60);
        assert_eq!(parse("off"), Some(None));
        assert_eq!(
            parse("600/60000"),
            Some(Some(Quota {
                requests: 600,
                window: minute
            }))
        );
        for bad in [
            "",
            "600",
            "0/1000",
            "-1/1000",
            "5/0",
            "5/x",
            "2000/1",
            "1/86400001",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
