//! Who is told that generations have ended: a receiver of webhooks that often refuses, or takes one and
//! does not say so, and keeps every call.
//!
//! It follows Standard Webhooks and not the backend's code: <https://www.standardwebhooks.com>.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2_of_hmac::Sha256;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::audit::Delivery;

/// What a call is answered with; the calls take turns, and a seed says where they begin.
const TURNS: [Answer; 10] = [
    Answer::Taken,
    Answer::Taken,
    Answer::Refused(StatusCode::SERVICE_UNAVAILABLE),
    Answer::Taken,
    Answer::TakenInSilence,
    Answer::Taken,
    Answer::Refused(StatusCode::TOO_MANY_REQUESTS),
    Answer::Taken,
    Answer::Taken,
    Answer::Silence,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// 204.
    Taken,
    /// It is kept, and the sender never hears of it.
    TakenInSilence,
    /// This status, and it is not kept.
    Refused(StatusCode),
    /// Nothing is kept and nothing is said.
    Silence,
}

/// A call as it came.
#[derive(Clone, Debug)]
struct Call {
    account: usize,
    headers: HeaderMap,
    body: String,
    taken: bool,
}

/// A listening receiver; it ends when it is dropped.
#[derive(Debug)]
pub struct Receiver {
    base_url: String,
    calls: Arc<Mutex<Vec<Call>>>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// Listens on a port of its own.
    ///
    /// # Errors
    /// When there is no port to be had.
    pub async fn start(seed: u64) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let base_url = format!("http://{}", listener.local_addr()?);
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let kept = Arc::clone(&calls);
        let hook = move |Path(account): Path<usize>, headers: HeaderMap, body: Bytes| async move {
            let answer = {
                let mut calls = lock(&kept);
                let answer = answer(seed, calls.len());
                calls.push(Call {
                    account,
                    headers,
                    body: String::from_utf8_lossy(&body).into_owned(),
                    taken: matches!(answer, Answer::Taken | Answer::TakenInSilence),
                });
                answer
            };
            respond(answer).await
        };
        let app = Router::new().route("/{account}", post(hook));
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::warn!(%error, "the receiver of webhooks has ended");
            }
        });
        Ok(Self {
            base_url,
            calls,
            serving,
        })
    }

    /// Where the webhooks of an account go.
    pub fn url(&self, account: usize) -> String {
        format!("{}/{account}", self.base_url)
    }

    /// Everything that came; a signature is judged by the secret of the account that it came to.
    pub fn deliveries(&self, secrets: &[Vec<u8>]) -> Vec<Delivery> {
        let calls = lock(&self.calls);
        let read = calls.iter().map(|call| delivery(call, secrets));
        read.collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Reads a secret as users are told it: `whsec_` and base64.
pub fn secret(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.strip_prefix("whsec_")?).ok()
}

fn answer(seed: u64, call: usize) -> Answer {
    let turns = TURNS.len();
    let first = usize::try_from(seed % 10).unwrap_or_default();
    TURNS[(first + call) % turns]
}

async fn respond(answer: Answer) -> Response {
    match answer {
        Answer::Taken => StatusCode::NO_CONTENT.into_response(),
        Answer::Refused(status @ StatusCode::TOO_MANY_REQUESTS) => {
            (status, [(header::RETRY_AFTER, "1")]).into_response()
        }
        Answer::Refused(status) => status.into_response(),
        Answer::TakenInSilence | Answer::Silence => std::future::pending().await,
    }
}

fn delivery(call: &Call, secrets: &[Vec<u8>]) -> Delivery {
    let payload: Value = serde_json::from_str(&call.body).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Delivery {
        webhook: header_of(call, "webhook-id").to_owned(),
        generation: text(&payload["data"]["id"]),
        status: text(&payload["data"]["status"]),
        body: call.body.clone(),
        is_signed: secrets
            .get(call.account)
            .is_some_and(|secret| is_signed(call, secret)),
        is_taken: call.taken,
    }
}

fn header_of<'a>(call: &'a Call, name: &str) -> &'a str {
    let value = call.headers.get(name);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// `webhook-signature` lists one or more `v1,<base64>`: HMAC-SHA256 of `id.timestamp.body`.
fn is_signed(call: &Call, secret: &[u8]) -> bool {
    let (id, time) = (
        header_of(call, "webhook-id"),
        header_of(call, "webhook-timestamp"),
    );
    let signed = format!("{id}.{time}.{}", call.body);
    let listed = header_of(call, "webhook-signature").split(' ');
    let mut signatures = listed.filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
    signatures.any(|signature| {
        let mac = Hmac::<Sha256>::new_from_slice(secret);
        mac.is_ok_and(|mac| {
            mac.chain_update(signed.as_bytes())
                .verify_slice(&signature)
                .is_ok()
        })
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no thread panics while it holds this lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    fn example() -> (Call, Vec<u8>) {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            (
                "webhook-signature",
                "v1,bm9uc2Vuc2U= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
        ] {
            headers.insert(name, value.parse().expect("a header"));
        }
        let call = Call {
            account: 1,
            headers,
            body: r#"{"test": 2432232314}"#.to_owned(),
            taken: true,
        };
        let secret = secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        (call, secret)
    }

    #[test]
    fn a_signature_is_that_of_the_specification() {
        let (call, secret) = example();
        assert!(is_signed(&call, &secret), "one of two is enough");
        assert!(!is_signed(&call, b"another secret"));
        let changed = Call {
            body: call.body.replace('4', "5"),
            ..call
        };
        assert!(!is_signed(&changed, &secret));
    }

    #[test]
    fn a_delivery_is_judged_by_the_secret_of_the_account_it_came_to() {
        let (mut call, secret) = example();
        let secrets = [vec![], secret];
        assert!(delivery(&call, &secrets).is_signed);
        call.account = 0;
        assert!(!delivery(&call, &secrets).is_signed);
        call.account = 2;
        assert!(!delivery(&call, &secrets).is_signed);
    }

    #[test]
    fn every_seed_meets_every_answer() {
        for seed in [0, 7, u64::MAX] {
            let met: Vec<_> = (0..TURNS.len()).map(|call| answer(seed, call)).collect();
            assert!(TURNS.iter().all(|turn| met.contains(turn)), "{met:?}");
        }
        assert_ne!(answer(0, 1), answer(1, 1));
    }
}
