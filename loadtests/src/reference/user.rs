//! A user who keeps several generations in the air, for comparisons of a fixed amount of work.
//!
//! The goose scenario measures capacity and always has a next generation to ask for; here every
//! generation is counted, also those whose service was killed under them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

/// Patience with one request; a service that hangs longer is down.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Patience with one poll: longer than the renderings of a batch, one after the other in one event
/// loop, and far shorter than the wait for a worker that never answers.
const POLL_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a user could not go on.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// No answer.
    #[error("{what}")]
    Transport {
        /// What was asked.
        what: &'static str,
        /// Why there was none.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that the contract does not have.
    #[error("{what}: answered {status}: {body}")]
    Answer {
        /// What was asked.
        what: &'static str,
        /// The status.
        status: StatusCode,
        /// The body.
        body: String,
    },
}

/// How a generation stands.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Generation {
    /// Its id.
    pub id: String,
    /// `queued`, `running`, `succeeded`, `failed` or `cancelled`.
    pub status: String,
    /// Pages of its PDF, once there is one.
    pub page_count: Option<usize>,
    /// When it was accepted, by the service's clock.
    pub created_at: DateTime<Utc>,
    /// When it ended, once it has.
    pub finished_at: Option<DateTime<Utc>>,
    /// Why it failed, where it did.
    pub error: Option<Failure>,
}

/// Why a generation failed, as its user is told.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Failure {
    /// The kind.
    pub code: String,
    /// One sentence.
    pub detail: String,
}

impl Generation {
    /// Whether its PDF can be downloaded.
    pub fn succeeded(&self) -> bool {
        self.status == "succeeded"
    }

    /// Seconds from accepted to ended, by the service's clock; `None` before its end.
    pub fn sojourn_s(&self) -> Option<f64> {
        let took = (self.finished_at? - self.created_at).to_std().ok()?;
        Some(took.as_secs_f64())
    }

    fn has_ended(&self) -> bool {
        matches!(self.status.as_str(), "succeeded" | "failed" | "cancelled")
    }
}

#[derive(Deserialize)]
struct Session {
    token: String,
}

#[derive(Deserialize)]
struct Document {
    id: String,
}

/// A user who is logged in.
#[derive(Clone, Debug)]
pub struct User {
    http: reqwest::Client,
    base_url: String,
    token: String,
    document: Arc<[u8]>,
    /// Uploads of this user and all its clones.
    uploads: Arc<AtomicU64>,
    /// Their polls that were answered.
    polls: Arc<AtomicU64>,
    /// How often they poll; as often as the service asks for where nothing is said.
    every: Option<Duration>,
}

impl User {
    /// Registers and logs in; every generation will read `document`, a PDF.
    ///
    /// # Errors
    /// When the service does not answer as the contract says.
    pub async fn enter(base_url: &str, document: Vec<u8>) -> Result<Self, UserError> {
        let http = client(REQUEST_TIMEOUT)?;
        let credentials =
            json!({"email": "ana@example.com", "password": "correct horse battery staple"});
        let post = |path| http.post(format!("{base_url}{path}")).json(&credentials);
        ask("register", post("/api/v1/auth/register"), 201).await?;
        let session: Session = body(
            "log in",
            ask("log in", post("/api/v1/auth/login"), 200).await?,
        )
        .await?;
        Ok(Self {
            http,
            base_url: base_url.to_owned(),
            token: session.token,
            document: document.into(),
            uploads: Arc::default(),
            polls: Arc::default(),
            every: None,
        })
    }

    /// The same user at a service that has been started again elsewhere.
    ///
    /// # Errors
    /// Never in practice: the client's TLS cannot be set up.
    pub fn at(&self, base_url: &str) -> Result<Self, UserError> {
        Ok(Self {
            http: client(REQUEST_TIMEOUT)?,
            base_url: base_url.to_owned(),
            ..self.clone()
        })
    }

    /// The same user with a connection of its own, as if another: a worker process keeps those that it has accepted, and
    /// would get all generations of one.
    ///
    /// # Errors
    /// Never in practice: the client's TLS cannot be set up.
    pub fn apart(&self) -> Result<Self, UserError> {
        self.at(&self.base_url)
    }

    /// The same user, who polls every so often, whatever the service asks for.
    #[must_use]
    pub fn polling_every(&self, every: Duration) -> Self {
        Self {
            every: Some(every),
            ..self.clone()
        }
    }

    /// Uploads the document; its id.
    ///
    /// # Errors
    /// When the service does not answer as the contract says.
    pub async fn upload(&self) -> Result<String, UserError> {
        // Every upload differs by a comment behind the PDF's end: the backend keeps equal files once.
        let number = self.uploads.fetch_add(1, Ordering::Relaxed);
        let bytes = [&self.document[..], format!("\n%{number}\n").as_bytes()].concat();
        let part = reqwest::multipart::Part::bytes(bytes).file_name("requirements.pdf");
        let form = reqwest::multipart::Form::new().part("file", part);
        let what = "upload a document";
        let upload = self
            .request(reqwest::Method::POST, "/api/v1/documents")
            .multipart(form);
        let document: Document = body(what, ask(what, upload, 201).await?).await?;
        Ok(document.id)
    }

    /// Uploads the document and asks for a proposal.
    ///
    /// # Errors
    /// When the service does not answer as the contract says.
    pub async fn begin(&self) -> Result<Generation, UserError> {
        let user = self.apart()?;
        let document = user.upload().await?;
        let what = "create a generation";
        body(what, ask(what, user.order(&document), 202).await?).await
    }

    /// Asks for a proposal and waits for the answer to the same request, the generation once it has ended. `key` is the
    /// order's own, however often it is sent.
    ///
    /// # Errors
    /// When the request is cut, or its answer tells of no end.
    pub async fn hold(&self, document: &str, key: &str) -> Result<Generation, UserError> {
        let request = self
            .order(document)
            .header("prefer", format!("wait={}", REQUEST_TIMEOUT.as_secs()))
            .header("idempotency-key", key);
        let what = "hold a request";
        body(what, ask(what, request, 200).await?).await
    }

    fn order(&self, document: &str) -> RequestBuilder {
        let wanted = json!({
            "title": "Water treatment for a food processing plant",
            "instructions": "Write a technical proposal that answers the attached requirements.",
            "document_ids": [document],
        });
        self.request(reqwest::Method::POST, "/api/v1/generations")
            .json(&wanted)
    }

    /// Asks once how a generation stands.
    ///
    /// # Errors
    /// When the service does not answer as the contract says.
    pub async fn look(&self, id: &str) -> Result<(Generation, Duration), UserError> {
        let what = "poll a generation";
        let poll = self.request(reqwest::Method::GET, &format!("/api/v1/generations/{id}"));
        let response = ask(what, poll.timeout(POLL_TIMEOUT), 200).await?;
        let header = |name| {
            response
                .headers()
                .get(name)?
                .to_str()
                .ok()?
                .parse::<u64>()
                .ok()
        };
        let wait_ms = header("retry-after-ms").unwrap_or(1000);
        self.polls.fetch_add(1, Ordering::Relaxed);
        Ok((body(what, response).await?, Duration::from_millis(wait_ms)))
    }

    /// Polls that were answered so far, of this user and all its clones.
    pub fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    /// Polls, as often as the service asks for where the user has no cadence of its own, through outages, until the generation has ended or
    /// `deadline` has come. `None`: not ended by then.
    pub async fn follow(&self, id: &str, deadline: Instant) -> Option<Generation> {
        let polls = async {
            loop {
                let wait = match self.look(id).await {
                    Ok((generation, _)) if generation.has_ended() => return generation,
                    Ok((_, asked)) => self.every.unwrap_or(asked),
                    Err(_) => Duration::from_millis(250),
                };
                tokio::time::sleep(wait).await;
            }
        };
        tokio::time::timeout_at(deadline, polls).await.ok()
    }

    /// Downloads a proposal; its size in bytes.
    ///
    /// # Errors
    /// When there is none or the link does not work.
    pub async fn download(&self, id: &str) -> Result<Vec<u8>, UserError> {
        let what = "download a proposal";
        let get = self.request(
            reqwest::Method::GET,
            &format!("/api/v1/generations/{id}/pdf"),
        );
        let response = ask(what, get, 200).await?;
        let bytes = response.bytes().await;
        Ok(bytes
            .map_err(|source| UserError::Transport { what, source })?
            .to_vec())
    }

    /// A request for `path` that may be sent any number of times.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(reqwest::Method::GET, path)
    }

    fn request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.base_url))
            .bearer_auth(&self.token)
    }
}

/// An HTTP client for the loopback interface.
///
/// # Errors
/// When TLS cannot be set up.
pub fn client(timeout: Duration) -> Result<reqwest::Client, UserError> {
    let what = "make an HTTP client";
    let built = reqwest::Client::builder()
        .timeout(timeout)
        .tls_certs_only([])
        .build();
    built.map_err(|source| UserError::Transport { what, source })
}

/// Sends a request, and expects a status.
///
/// # Errors
/// When there is no answer, or another one.
pub(crate) async fn ask(
    what: &'static str,
    request: RequestBuilder,
    expected: u16,
) -> Result<reqwest::Response, UserError> {
    let response = request
        .send()
        .await
        .map_err(|source| UserError::Transport { what, source })?;
    let status = response.status();
    if status.as_u16() == expected {
        return Ok(response);
    }
    let body = response.text().await.unwrap_or_default();
    Err(UserError::Answer { what, status, body })
}

async fn body<T: serde::de::DeserializeOwned>(
    what: &'static str,
    response: reqwest::Response,
) -> Result<T, UserError> {
    let read = response.json().await;
    read.map_err(|source| UserError::Transport { what, source })
}
