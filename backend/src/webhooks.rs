//! Webhooks as Standard Webhooks describes them: where they may go, how they are signed, one delivery.

pub mod addresses;
pub mod outbox;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, StatusCode, header};
use sha2::Sha256;
use tokio::sync::Notify;
use url::{Host, Url};

use crate::config::WebhookConfig;
use crate::db::webhooks::DeliveryRow;
use crate::retry::retry_after;
use crate::telemetry::chain;
use crate::webhooks::addresses::is_public;

/// Longest URL.
const URL_CHARS_MAX: usize = 2_000;
/// Bytes of a secret; Standard Webhooks asks for 24 to 64.
pub const SECRET_BYTES: usize = 32;

/// A URL that nothing is delivered to.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TargetError {
    /// Not a URL, not of the right scheme, too long, or with a password.
    #[error(
        "webhook_url must be an https URL of at most {URL_CHARS_MAX} characters without user or password"
    )]
    Url,
    /// It points into a private network.
    #[error("webhook_url must name a public host")]
    Private,
}

/// Reads a URL as the target of a webhook. A name is looked up only when something is delivered,
/// and its addresses are judged then, each time.
///
/// # Errors
/// Why nothing would be delivered to it.
pub fn target(url: &str, allow_private: bool) -> Result<Url, TargetError> {
    let url = Url::parse(url)
        .ok()
        .filter(|_| url.len() <= URL_CHARS_MAX)
        .ok_or(TargetError::Url)?;
    let scheme = url.scheme() == "https" || (allow_private && url.scheme() == "http");
    if !scheme || !url.username().is_empty() || url.password().is_some() {
        return Err(TargetError::Url);
    }
    let public = match url.host() {
        None => return Err(TargetError::Url),
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name.contains('.') && !name.ends_with(".localhost")
        }
    };
    if public || allow_private {
        Ok(url)
    } else {
        Err(TargetError::Private)
    }
}

/// A secret as users are told it: `whsec_` and base64.
pub fn secret_text(secret: &[u8]) -> String {
    format!("whsec_{}", STANDARD.encode(secret))
}

/// The value of `webhook-signature`: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.payload`.
pub fn signature(secret: &[u8], id: &str, timestamp_s: i64, payload: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(format!("{id}.{timestamp_s}.{payload}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// How an attempt ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Attempt {
    /// 2xx.
    Delivered,
    /// Anything else that may pass.
    Failed {
        /// A few words for whoever looks into the outbox.
        failure: String,
        /// What the receiver asked for.
        retry_after: Option<Duration>,
    },
    /// The receiver wants none any more (410), or the URL is refused.
    Unwanted {
        /// Why.
        failure: String,
    },
}

/// Delivers webhooks; the HTTP client is built with the first one.
#[derive(Debug)]
pub struct Webhooks {
    config: WebhookConfig,
    client: OnceLock<Option<Client>>,
    /// There may be something to deliver.
    wake: Notify,
}

impl Webhooks {
    /// Nothing is connected to yet.
    pub fn new(config: &WebhookConfig) -> Self {
        Self {
            config: config.clone(),
            client: OnceLock::new(),
            wake: Notify::new(),
        }
    }

    /// There may be something to deliver.
    pub(crate) fn look(&self) {
        self.wake.notify_one();
    }

    fn client(&self) -> Option<&Client> {
        let client = self.client.get_or_init(|| match build(&self.config) {
            Ok(client) => Some(client),
            Err(error) => {
                tracing::error!(error = %chain(&error), "webhooks cannot be delivered");
                None
            }
        });
        client.as_ref()
    }

    /// One attempt. Redirects count as failures: what they lead to was never judged.
    pub async fn deliver(&self, delivery: &DeliveryRow) -> Attempt {
        let url = match target(&delivery.url, self.config.allow_private) {
            Ok(url) => url,
            Err(error) => {
                return Attempt::Unwanted {
                    failure: error.to_string(),
                };
            }
        };
        let failed = |failure: &str| Attempt::Failed {
            failure: failure.to_owned(),
            retry_after: None,
        };
        let Some(client) = self.client() else {
            return failed("no HTTP client");
        };
        let id = format!("msg_{}", delivery.id.simple());
        let timestamp_s = Utc::now().timestamp();
        let signature = signature(&delivery.secret, &id, timestamp_s, &delivery.payload);
        let request = client
            .post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp_s)
            .header("webhook-signature", signature)
            .body(delivery.payload.clone());
        match request.send().await {
            // The body is not read: nothing in it is wanted, and it may be endless.
            Ok(response) => judged(&response),
            Err(error) => {
                tracing::debug!(webhook_id = %delivery.id, error = %chain(&error), "a webhook did not arrive");
                failed(failure_of(&error))
            }
        }
    }
}

fn build(config: &WebhookConfig) -> Result<Client, reqwest::Error> {
    let builder = || {
        Client::builder()
            .dns_resolver(Arc::new(PublicOnly {
                allow_private: config.allow_private,
            }))
            .redirect(reqwest::redirect::Policy::none())
            // A proxy would look names up by itself.
            .no_proxy()
            // Every delivery is judged by a lookup of its own.
            .pool_max_idle_per_host(0)
            .https_only(!config.allow_private)
            .timeout(config.timeout)
            .user_agent(concat!("allegiant-backend/", env!("CARGO_PKG_VERSION")))
    };
    match builder().build() {
        // A test's machine may have no certificates; plain http needs none.
        Err(_) if config.allow_private => builder().tls_certs_only([]).build(),
        built => built,
    }
}

fn judged(response: &reqwest::Response) -> Attempt {
    let status = response.status();
    let header = |name: &str| response.headers().get(name)?.to_str().ok();
    if status.is_success() {
        Attempt::Delivered
    } else if status == StatusCode::GONE {
        Attempt::Unwanted {
            failure: "status 410".to_owned(),
        }
    } else {
        Attempt::Failed {
            failure: format!("status {}", status.as_u16()),
            retry_after: retry_after(None, header("retry-after")),
        }
    }
}

fn failure_of(error: &reqwest::Error) -> &'static str {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(one) = cause {
        if one.is::<Refused>() {
            return "no public address";
        }
        cause = one.source();
    }
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "no connection"
    } else {
        "no answer"
    }
}

/// A name has no address that may be delivered to.
#[derive(Debug, thiserror::Error)]
#[error("find a public address of {0}")]
struct Refused(String);

/// Looks names up and keeps the public addresses. The connection goes to exactly what was judged,
/// so a name that answers otherwise a moment later gains nothing.
struct PublicOnly {
    allow_private: bool,
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found: io::Result<Vec<SocketAddr>> = tokio::net::lookup_host((name.as_str(), 0))
                .await
                .map(Iterator::collect);
            let allowed = |address: &SocketAddr| allow_private || is_public(ip(address));
            let addresses: Vec<SocketAddr> = found?.into_iter().filter(allowed).collect();
            if addresses.is_empty() {
                return Err(Refused(name.as_str().to_owned()).into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn ip(address: &SocketAddr) -> IpAddr {
    address.ip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_specification() {
        // Standard Webhooks, specification, section "Signature scheme": its example key and message.
        let secret = STANDARD
            .decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
            .expect("base64");
        let signed = signature(
            &secret,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(
            secret_text(&secret),
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        );
    }

    #[test]
    fn only_public_https_urls_are_targets() {
        for good in [
            "https://example.com/hook",
            "https://hooks.example.com:8443/a?b=c",
            "https://8.8.8.8/",
            "https://[2606:4700::1111]/",
        ] {
            assert!(target(good, false).is_ok(), "{good}");
        }
        for bad in [
            "",
            "example.com",
            "ftp://example.com/",
            "http://example.com/",
            "https://u:p@example.com/",
            "https://u@example.com/",
            "file:///etc/passwd",
        ] {
            assert_eq!(target(bad, false), Err(TargetError::Url), "{bad}");
        }
        for bad in [
            "https://127.0.0.1/",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://[::1]/",
            "https://[::ffff:169.254.169.254]/latest/meta-data",
            "https://169.254.169.254/",
            "https://localhost/",
            "https://localhost./",
            "https://a.localhost/",
            "https://intranet/",
            "https://10.1.2.3:8443/",
        ] {
            assert_eq!(target(bad, false), Err(TargetError::Private), "{bad}");
            assert!(target(bad, true).is_ok(), "{bad}");
        }
        let long = format!("https://example.com/{}", "x".repeat(URL_CHARS_MAX));
        assert_eq!(target(&long, false), Err(TargetError::Url));
    }

    #[tokio::test]
    async fn a_name_of_a_private_address_is_refused_when_it_is_looked_up() {
        let look_up = |allow_private| {
            PublicOnly { allow_private }.resolve("localhost".parse().expect("a name"))
        };
        let refused = look_up(false).await.err().expect("localhost is private");
        assert!(refused.is::<Refused>(), "{refused}");
        assert!(look_up(true).await.is_ok());
    }

    #[tokio::test]
    async fn a_delivery_ends_at_the_refusal() {
        let config = WebhookConfig {
            allow_private: false,
            timeout: Duration::from_secs(5),
            attempts_max: std::num::NonZeroU32::MIN,
            backoff: crate::retry::Backoff {
                base: Duration::from_secs(1),
                max: Duration::from_secs(1),
            },
        };
        // With a port nobody listens on, a connection would fail otherwise.
        let client = build(&config);
        let Ok(client) = client else {
            // No certificates on this machine: nothing can be delivered at all.
            return;
        };
        let error = client.post("https://localhost:9/").send().await;
        let error = error.expect_err("it must not be delivered");
        assert_eq!(failure_of(&error), "no public address");
    }
}
