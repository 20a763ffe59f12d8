//! The session as a cookie, for pages: scripts cannot read it, and other origins cannot use it.

use axum::http::header::{COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method, Uri};

use crate::config::SessionConfig;
use crate::error::ApiError;

/// The cookie's name over HTTPS. The prefix makes browsers hold it to this host, HTTPS and every
/// path (RFC 6265bis, 4.1.3.2), so no sibling domain can plant one.
pub(crate) const SECURE_NAME: &str = "__Host-session";
/// Its name without HTTPS, where browsers refuse the prefix.
const PLAIN_NAME: &str = "session";

fn name(config: &SessionConfig) -> &'static str {
    if config.cookie_secure {
        SECURE_NAME
    } else {
        PLAIN_NAME
    }
}

/// Sets the cookie. It has no age of its own: the session behind it ends after disuse, and the
/// browser drops it when it closes.
pub(super) fn set(config: &SessionConfig, token: &str) -> Result<HeaderValue, ApiError> {
    let secure = if config.cookie_secure { "; Secure" } else { "" };
    let name = name(config);
    // Lax, so that a link to a PDF works from an email.
    HeaderValue::from_str(&format!(
        "{name}={token}; Path=/; HttpOnly; SameSite=Lax{secure}"
    ))
    .map_err(|error| ApiError::Internal(Box::new(error)))
}

/// Takes the cookie back.
pub(super) fn clear(config: &SessionConfig) -> Result<HeaderValue, ApiError> {
    let expired = set(config, "")?;
    let text = expired.to_str().unwrap_or_default();
    HeaderValue::from_str(&format!("{text}; Max-Age=0"))
        .map_err(|error| ApiError::Internal(Box::new(error)))
}

/// The token in the request's cookies.
pub(super) fn token<'a>(config: &SessionConfig, headers: &'a HeaderMap) -> Option<&'a str> {
    let pairs = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'));
    pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, value)| *key == name(config) && !value.is_empty())
        .map(|(_, value)| value)
}

/// Browsers send a cookie along whoever's page asks, so a request that changes something must say
/// that it comes from this host or an allowed origin. All browsers name the origin of such requests.
///
/// # Errors
/// [`ApiError::CrossOrigin`].
pub(super) fn check_origin(
    config: &SessionConfig,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    if method.is_safe() {
        return Ok(());
    }
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let origin = text(ORIGIN)
        .ok_or(ApiError::CrossOrigin("the header Origin is missing"))?
        .to_ascii_lowercase();
    // HTTP/2 has the host in the URI. The scheme is the load balancer's business and not known here.
    let host = uri
        .authority()
        .map(|authority| authority.as_str())
        .or_else(|| text(HOST));
    let own = origin
        .split_once("://")
        .zip(host)
        .is_some_and(|((_, origin), host)| origin.eq_ignore_ascii_case(host));
    if own || config.allowed_origins.contains(&origin) {
        Ok(())
    } else {
        Err(ApiError::CrossOrigin("the header Origin names another one"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn config(cookie_secure: bool) -> SessionConfig {
        SessionConfig {
            redis_url: None,
            ttl: Duration::from_secs(1),
            cookie_secure,
            allowed_origins: vec!["https://app.example.com".to_owned()],
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = axum::http::HeaderName::from_static(name);
            (name, HeaderValue::from_str(value).expect("plain"))
        });
        pairs.collect()
    }

    #[test]
    fn the_cookie_is_out_of_reach_of_scripts_and_plain_http() {
        let secure = set(&config(true), "abc").expect("plain");
        assert_eq!(
            secure,
            "__Host-session=abc; Path=/; HttpOnly; SameSite=Lax; Secure"
        );
        let plain = set(&config(false), "abc").expect("plain");
        assert_eq!(plain, "session=abc; Path=/; HttpOnly; SameSite=Lax");
        let cleared = clear(&config(true)).expect("plain");
        assert!(cleared.to_str().expect("plain").ends_with("; Max-Age=0"));
    }

    #[test]
    fn the_token_is_found_among_other_cookies() {
        let found = headers(&[("cookie", "a=b; __Host-session=abc; c=d")]);
        assert_eq!(token(&config(true), &found), Some("abc"));
        assert_eq!(token(&config(false), &found), None);
        let empty = headers(&[("cookie", "__Host-session=")]);
        assert_eq!(token(&config(true), &empty), None);
    }

    #[test]
    fn only_this_host_and_allowed_origins_may_change_something() {
        let check = |method: Method, pairs: &[(&'static str, &str)]| {
            let uri = Uri::from_static("/api/v1/auth/logout");
            check_origin(&config(true), &method, &uri, &headers(pairs)).is_ok()
        };
        let host = ("host", "api.example.com");
        assert!(check(
            Method::GET,
            &[host, ("origin", "https://evil.example")]
        ));
        assert!(check(
            Method::POST,
            &[host, ("origin", "https://api.example.com")]
        ));
        assert!(check(
            Method::DELETE,
            &[host, ("origin", "https://APP.example.com")]
        ));
        for origin in [
            "https://evil.example",
            "https://api.example.com.evil.example",
            "https://api.example.com:444",
            "http://app.example.com",
            "null",
        ] {
            assert!(
                !check(Method::POST, &[host, ("origin", origin)]),
                "{origin}"
            );
        }
        assert!(!check(Method::POST, &[host]));
    }
}
