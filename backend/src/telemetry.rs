//! Logs: JSON lines on stdout, each error with its whole chain of causes.

use std::error::Error;
use std::fmt;

use tracing_subscriber::EnvFilter;

/// Formats an error with all its sources, which tracing's JSON format would drop.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl fmt::Display + use<'a> {
    struct Chain<'a>(&'a (dyn Error + 'static));
    impl fmt::Display for Chain<'_> {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            let mut written = self.0.to_string();
            formatter.write_str(&written)?;
            let mut next = self.0.source();
            while let Some(cause) = next {
                let text = cause.to_string();
                // Some libraries repeat their source in their own text.
                if !written.contains(&text) {
                    write!(formatter, ": {text}")?;
                    written = text;
                }
                next = cause.source();
            }
            Ok(())
        }
    }
    Chain(error)
}

/// Starts logging as `LOG_FORMAT` (`json`, the default, or `text`) and `RUST_LOG` (default `info`) say.
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false);
    if std::env::var("LOG_FORMAT").is_ok_and(|format| format == "text") {
        builder.init();
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .init();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("open the store")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_chain_names_every_cause_once() {
        let error = Outer(std::io::Error::other("disk full"));
        assert_eq!(chain(&error).to_string(), "open the store: disk full");
    }
}
