//! Reads single variables: unset, text, number, duration, yes or no, URL.

use std::str::FromStr;
use std::time::Duration;

use url::Url;

/// A variable that is missing or cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("read {variable} ({meaning}): {problem}; for example {variable}={example}")]
pub struct ConfigError {
    variable: &'static str,
    meaning: &'static str,
    problem: String,
    example: &'static str,
}

impl ConfigError {
    pub(super) fn new(
        variable: &'static str,
        meaning: &'static str,
        problem: String,
        example: &'static str,
    ) -> Self {
        Self {
            variable,
            meaning,
            problem,
            example,
        }
    }
}

/// A source of variables.
pub(super) struct Variables<'a> {
    pub(super) lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl Variables<'_> {
    /// An empty variable counts as unset: that is what compose files and task definitions produce.
    pub(super) fn text(&self, variable: &str) -> Option<String> {
        (self.lookup)(variable)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    pub(super) fn required(
        &self,
        variable: &'static str,
        meaning: &'static str,
        example: &'static str,
    ) -> Result<String, ConfigError> {
        self.text(variable)
            .ok_or_else(|| ConfigError::new(variable, meaning, "it is not set".to_owned(), example))
    }

    pub(super) fn number<T: FromStr>(
        &self,
        variable: &'static str,
        meaning: &'static str,
        default: T,
    ) -> Result<T, ConfigError> {
        let Some(value) = self.text(variable) else {
            return Ok(default);
        };
        value.parse().map_err(|_| {
            ConfigError::new(
                variable,
                meaning,
                format!("{value:?} is not a positive whole number"),
                "6",
            )
        })
    }

    /// All durations are whole milliseconds above zero, so a compressed run only divides them.
    pub(super) fn duration(
        &self,
        variable: &'static str,
        meaning: &'static str,
        default_ms: u64,
    ) -> Result<Duration, ConfigError> {
        match self.number(variable, meaning, default_ms) {
            Ok(milliseconds) if milliseconds > 0 => Ok(Duration::from_millis(milliseconds)),
            _ => {
                let value = self.text(variable).unwrap_or_default();
                let problem = format!("{value:?} is not a whole number of milliseconds above zero");
                Err(ConfigError::new(variable, meaning, problem, "5000"))
            }
        }
    }

    pub(super) fn boolean(
        &self,
        variable: &'static str,
        meaning: &'static str,
        default: bool,
    ) -> Result<bool, ConfigError> {
        match self.text(variable).as_deref() {
            None => Ok(default),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(value) => Err(ConfigError::new(
                variable,
                meaning,
                format!("{value:?} is neither true nor false"),
                "true",
            )),
        }
    }

    pub(super) fn url(
        &self,
        variable: &'static str,
        meaning: &'static str,
        example: &'static str,
    ) -> Result<Option<String>, ConfigError> {
        let Some(value) = self.text(variable) else {
            return Ok(None);
        };
        let valid = Url::parse(&value)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if valid {
            Ok(Some(value.trim_end_matches('/').to_owned()))
        } else {
            Err(ConfigError::new(
                variable,
                meaning,
                format!("{value:?} is not an http URL"),
                example,
            ))
        }
    }
}
