//! What one user does: uploads a PDF, asks for a proposal, polls until it is written, reads it.
//!
//! No request stays open for a generation: create answers 202 and the user polls. What a user
//! experienced is taken from the service's own instants where they exist, not from request times.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use reqwest::{Method, RequestBuilder, Response};
use serde::Deserialize;
use tokio::sync::{OnceCell, watch};

use crate::observation::Track;
use crate::stats::count_as_f64;

/// Accounts that the users of one run share. Hashing a password costs as much CPU as a whole
/// generation, and a user logs in once a day, not once a generation.
pub const ACCOUNTS: usize = 4;

/// When a generation was submitted, and started if it has.
type Span = (DateTime<Utc>, Option<DateTime<Utc>>);

/// Why a step of a user failed, in one sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StepError(pub String);

impl StepError {
    /// From any error, with its causes.
    pub fn from_error(error: &dyn std::error::Error) -> Self {
        Self(crate::backend_process::chain(error))
    }
}

/// Whoever sends a user's requests.
pub trait Sender: Send {
    /// A request for a path of the service.
    ///
    /// # Errors
    /// When the address of the service and the path make no URL.
    fn request(&mut self, method: Method, path: &str) -> Result<RequestBuilder, StepError>;

    /// Sends a request called `name` and expects `status`.
    fn send(
        &mut self,
        builder: RequestBuilder,
        name: &'static str,
        status: u16,
    ) -> impl Future<Output = Result<Response, StepError>> + Send;
}

/// As whom the users come.
#[derive(Clone, Debug)]
pub enum Accounts {
    /// Accounts that are registered first.
    Own,
    /// An account that exists.
    Given {
        /// Its e-mail address.
        email: String,
        /// Its password.
        password: String,
    },
}

/// How a generation ended, as its user saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationRecord {
    /// When the service accepted it.
    pub created_at: DateTime<Utc>,
    /// When a worker took it up; `None` when none ever did.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// `None` when it succeeded and its PDF had the pages it was said to have.
    pub failure: Option<String>,
}

/// What the users of one run share: their document, their accounts, and what they saw.
#[derive(Debug)]
pub struct Campaign {
    document: Vec<u8>,
    document_pages: usize,
    accounts: Accounts,
    tokens: [OnceCell<String>; ACCOUNTS],
    records: Mutex<Vec<GenerationRecord>>,
    uploads: AtomicUsize,
    open: Mutex<HashMap<String, Span>>,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    errors: Mutex<Vec<String>>,
    stop: watch::Sender<bool>,
}

impl Campaign {
    /// A campaign whose users all upload `document`, a PDF of `document_pages` pages.
    pub fn new(document: Vec<u8>, document_pages: usize, accounts: Accounts) -> Arc<Self> {
        Arc::new(Self {
            document,
            document_pages,
            accounts,
            tokens: std::array::from_fn(|_| OnceCell::new()),
            records: Mutex::default(),
            uploads: AtomicUsize::new(0),
            open: Mutex::default(),
            bytes_sent: AtomicU64::new(0),
            bytes_received: AtomicU64::new(0),
            errors: Mutex::default(),
            stop: watch::Sender::new(false),
        })
    }

    /// Ends every user's current wait; no generation is recorded afterwards.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Whether the run is over.
    pub fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// The generations that have ended so far, in the order in which their users noticed.
    pub fn records(&self) -> Vec<GenerationRecord> {
        lock(&self.records).clone()
    }

    /// How many generations have ended so far.
    pub fn records_count(&self) -> usize {
        lock(&self.records).len()
    }

    /// Instants, in seconds since the Unix epoch, at which generations have ended so far, ascending.
    pub fn finishes(&self) -> Vec<f64> {
        let mut finished: Vec<f64> = lock(&self.records)
            .iter()
            .map(|record| instant_s(record.finished_at))
            .collect();
        finished.sort_by(f64::total_cmp);
        finished
    }

    /// How many generations were accepted and have not ended, as far as their users know.
    pub fn in_flight(&self) -> usize {
        lock(&self.open).len()
    }

    /// The life of every generation so far, ended or not, in seconds since the Unix epoch.
    pub fn tracks(&self) -> Vec<Track> {
        let ended = lock(&self.records)
            .iter()
            .map(|record| Track {
                created_s: instant_s(record.created_at),
                started_s: record.started_at.map(instant_s),
                finished_s: Some(instant_s(record.finished_at)),
            })
            .collect::<Vec<_>>();
        let open = lock(&self.open);
        let open = open.values().map(|(created_at, started_at)| Track {
            created_s: instant_s(*created_at),
            started_s: started_at.map(instant_s),
            finished_s: None,
        });
        ended.into_iter().chain(open).collect()
    }

    /// Bytes of the bodies that users have sent and received so far.
    pub fn bytes(&self) -> (f64, f64) {
        let load =
            |count: &AtomicU64| crate::stats::count_u64_as_f64(count.load(Ordering::Relaxed));
        (load(&self.bytes_sent), load(&self.bytes_received))
    }

    /// The first errors of requests that should have succeeded.
    pub fn errors(&self) -> Vec<String> {
        lock(&self.errors).clone()
    }

    /// Notes that a user's step failed; what the end of the run cuts off is no failure.
    pub fn note_error(&self, error: String) {
        const ERRORS_MAX: usize = 20;
        let mut errors = lock(&self.errors);
        if errors.len() < ERRORS_MAX && !self.is_stopped() {
            errors.push(error);
        }
    }

    fn count(&self, sent: usize, received: usize) {
        let add = |count: &AtomicU64, bytes: usize| {
            count.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        };
        add(&self.bytes_sent, sent);
        add(&self.bytes_received, received);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no thread panics while it holds this lock")
}

/// Seconds since the Unix epoch.
fn instant_s(at: DateTime<Utc>) -> f64 {
    crate::sampler::unix_s(at.into())
}

#[derive(Deserialize)]
struct Session {
    token: String,
}

/// A document that the service has taken.
#[derive(Deserialize)]
pub(super) struct Document {
    pub(super) id: String,
    page_count: Option<usize>,
}

#[derive(Deserialize)]
struct Generation {
    id: String,
    status: String,
    error: Option<serde_json::Value>,
    page_count: Option<usize>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl Generation {
    fn is_terminal(&self) -> bool {
        matches!(self.status.as_str(), "succeeded" | "failed" | "cancelled")
    }
}

/// One user's whole visit. `Some` is the instant at which the user knew that the generation had
/// ended; `None` when the run was over before.
///
/// # Errors
/// When a request failed or was answered otherwise than it should be.
pub async fn write_proposal(
    sender: &mut impl Sender,
    campaign: &Campaign,
    account: usize,
) -> Result<Option<Instant>, StepError> {
    let token = enter(sender, campaign, account).await?;
    let document = upload(sender, campaign, &token).await?;
    let (mut generation, mut wait) = create(sender, campaign, &token, &document.id).await?;
    let path = format!("/api/v1/generations/{}", generation.id);
    let mut stop = campaign.stop.subscribe();
    while !generation.is_terminal() {
        lock(&campaign.open).insert(
            generation.id.clone(),
            (generation.created_at, generation.started_at),
        );
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stop.wait_for(|stopped| *stopped) => return Ok(None),
        }
        (generation, wait) = poll(sender, campaign, &token, &path).await?;
    }
    let known_at = Instant::now();
    let failure = match generation.status.as_str() {
        "succeeded" => check_pdf(sender, campaign, &token, &generation).await?,
        status => Some(format!(
            "{status}: {}",
            generation.error.clone().unwrap_or_default()
        )),
    };
    if campaign.is_stopped() {
        return Ok(None);
    }
    let finished_at = generation
        .finished_at
        .ok_or_else(|| StepError(format!("{path} has ended but has no finished_at")))?;
    lock(&campaign.open).remove(&generation.id);
    lock(&campaign.records).push(GenerationRecord {
        created_at: generation.created_at,
        started_at: generation.started_at,
        finished_at,
        failure,
    });
    Ok(Some(known_at))
}

/// The token of an account: logs in to it once, after registering it when it is one of our own.
///
/// # Errors
/// When the service cannot be reached or refuses the account.
pub async fn enter(
    sender: &mut impl Sender,
    campaign: &Campaign,
    account: usize,
) -> Result<String, StepError> {
    let account = account % ACCOUNTS;
    let token = campaign.tokens[account].get_or_try_init(|| async {
        let (email, password) = match &campaign.accounts {
            Accounts::Own => (
                format!("writer-{account}@example.com"),
                format!("correct horse battery staple {account}"),
            ),
            Accounts::Given { email, password } => (email.clone(), password.clone()),
        };
        let credentials = serde_json::json!({ "email": email, "password": password });
        if matches!(campaign.accounts, Accounts::Own) {
            let register = sender
                .request(Method::POST, "/api/v1/auth/register")?
                .json(&credentials);
            sender.send(register, "register", 201).await?;
        }
        let login = sender
            .request(Method::POST, "/api/v1/auth/login")?
            .json(&credentials);
        let response = sender.send(login, "log in", 200).await?;
        let session: Session = json(campaign, response).await?;
        Ok(session.token)
    });
    token.await.cloned()
}

/// Uploads a document that no other user has.
pub(super) async fn upload(
    sender: &mut impl Sender,
    campaign: &Campaign,
    token: &str,
) -> Result<Document, StepError> {
    // The service keeps equal files once; each generation here stands for another tender.
    let number = campaign.uploads.fetch_add(1, Ordering::Relaxed);
    let mut document = campaign.document.clone();
    document.extend(format!("% {number}\n").bytes());
    let part = reqwest::multipart::Part::bytes(document)
        .file_name("requirements.pdf")
        .mime_str("application/pdf")
        .map_err(|error| StepError::from_error(&error))?;
    let request = sender
        .request(Method::POST, "/api/v1/documents")?
        .bearer_auth(token)
        .multipart(reqwest::multipart::Form::new().part("file", part));
    campaign.count(campaign.document.len(), 0);
    let response = sender.send(request, "upload document", 201).await?;
    let document: Document = json(campaign, response).await?;
    match document.page_count {
        Some(pages) if pages != campaign.document_pages => Err(StepError(format!(
            "the uploaded PDF has {} pages, the service counted {pages}",
            campaign.document_pages
        ))),
        _ => Ok(document),
    }
}

/// What a user asks for.
pub(super) fn proposal(document_id: &str) -> serde_json::Value {
    serde_json::json!({
        "title": "Water treatment for a food processing plant",
        "instructions": "Write a technical proposal that answers the attached requirements.",
        "document_ids": [document_id],
    })
}

async fn create(
    sender: &mut impl Sender,
    campaign: &Campaign,
    token: &str,
    document_id: &str,
) -> Result<(Generation, Duration), StepError> {
    let body = proposal(document_id);
    campaign.count(body.to_string().len(), 0);
    let request = sender
        .request(Method::POST, "/api/v1/generations")?
        .bearer_auth(token)
        .json(&body);
    let response = sender.send(request, "create generation", 202).await?;
    let wait = retry_after(response.headers());
    Ok((json(campaign, response).await?, wait))
}

async fn poll(
    sender: &mut impl Sender,
    campaign: &Campaign,
    token: &str,
    path: &str,
) -> Result<(Generation, Duration), StepError> {
    let request = sender.request(Method::GET, path)?.bearer_auth(token);
    let response = sender.send(request, "poll generation", 200).await?;
    let wait = retry_after(response.headers());
    Ok((json(campaign, response).await?, wait))
}

/// Downloads the PDF (the client follows the redirect to the presigned URL) and counts its pages;
/// `Some` says what is wrong with it.
async fn check_pdf(
    sender: &mut impl Sender,
    campaign: &Campaign,
    token: &str,
    generation: &Generation,
) -> Result<Option<String>, StepError> {
    let path = format!("/api/v1/generations/{}/pdf", generation.id);
    let request = sender.request(Method::GET, &path)?.bearer_auth(token);
    let response = sender.send(request, "download proposal", 200).await?;
    let bytes = response
        .bytes()
        .await
        .map_err(|error| StepError::from_error(&error))?;
    campaign.count(0, bytes.len());
    Ok(match lopdf::Document::load_mem(&bytes) {
        Err(error) => Some(format!("the download is no PDF: {error}")),
        Ok(pdf) => {
            let pages = pdf.get_pages().len();
            (Some(pages) != generation.page_count).then(|| {
                format!(
                    "the PDF has {pages} pages, the service said {:?}",
                    generation.page_count
                )
            })
        }
    })
}

/// How long the service asks its pollers to wait: `retry-after-ms` when it is there (a compressed
/// run waits for milliseconds), else the standard `Retry-After` in seconds, else a second.
fn retry_after(headers: &reqwest::header::HeaderMap) -> Duration {
    let number = |name| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    number("retry-after-ms")
        .map(Duration::from_millis)
        .or_else(|| number("retry-after").map(Duration::from_secs))
        .unwrap_or(Duration::from_secs(1))
}

async fn json<T: serde::de::DeserializeOwned>(
    campaign: &Campaign,
    response: Response,
) -> Result<T, StepError> {
    let bytes = response
        .bytes()
        .await
        .map_err(|error| StepError::from_error(&error))?;
    campaign.count(0, bytes.len());
    serde_json::from_slice(&bytes).map_err(|error| StepError::from_error(&error))
}

/// The answer, when its status is the expected one.
///
/// # Errors
/// With the name of the request, the status and the body of any other answer.
pub async fn expect(
    response: Response,
    name: &'static str,
    status: u16,
) -> Result<Response, StepError> {
    if response.status().as_u16() == status {
        return Ok(response);
    }
    let got = response.status();
    let body = response.text().await.unwrap_or_default();
    Err(StepError(format!(
        "{name} answered {got} instead of {status}: {body}"
    )))
}

/// How much of its generation, at most all, each unended track has behind it at `at_s`, summed up.
pub fn part_done(tracks: &[Track], at_s: f64, generation_s: f64) -> f64 {
    tracks
        .iter()
        .filter(|track| track.finished_s.is_none())
        .filter_map(|track| Some(((at_s - track.started_s?) / generation_s).clamp(0.0, 1.0)))
        .fold(count_as_f64(0), |sum, part| sum + part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderMap, HeaderValue};

    #[test]
    fn milliseconds_win_over_seconds() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), Duration::from_secs(1));
        headers.insert("retry-after", HeaderValue::from_static("3"));
        assert_eq!(retry_after(&headers), Duration::from_secs(3));
        headers.insert("retry-after-ms", HeaderValue::from_static("27"));
        assert_eq!(retry_after(&headers), Duration::from_millis(27));
    }

    #[test]
    fn what_runs_counts_by_the_part_that_is_done() {
        let track = |started_s, finished_s| Track {
            created_s: 0.0,
            started_s,
            finished_s,
        };
        let tracks = [
            track(Some(1.0), Some(5.0)),
            track(Some(4.0), None),
            track(None, None),
        ];
        assert!((part_done(&tracks, 6.0, 4.0) - 0.5).abs() < 1e-12);
    }
}
