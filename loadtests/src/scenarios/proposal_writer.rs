//! The user of the service: uploads a PDF, asks for a proposal, polls until it is written, reads it.
//!
//! goose runs the users. What goose would get wrong for a 15-minute generation is dealt with here:
//!
//! - No request stays open for a generation: create answers 202 and the user polls, so goose's
//!   time-out (60 s, for one request) never meets a generation. What a user experienced is taken
//!   from the service's own instants, not from goose's request times.
//! - goose's loop is closed: a user asks again only when the last answer is there. Here that is
//!   wanted: a cell measures capacity, so there are always more users than workers. Its
//!   coordinated-omission backfill would invent requests that nobody sent, and stays off.
//! - goose notices the end of a test only between two transactions. The campaign's own stop signal
//!   ends the polling loop at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use goose::prelude::*;
use serde::Deserialize;
use tokio::sync::{OnceCell, watch};

/// Accounts that the users of one cell share. Hashing a password costs as much CPU as a whole
/// generation, and a user logs in once a day, not once a generation.
const ACCOUNTS: usize = 4;

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

/// What the users of one cell share: their documents, their accounts, and what they saw.
#[derive(Debug)]
pub struct Campaign {
    document: Vec<u8>,
    document_pages: usize,
    tokens: [OnceCell<String>; ACCOUNTS],
    records: Mutex<Vec<GenerationRecord>>,
    uploads: AtomicUsize,
    accepted: AtomicUsize,
    errors: Mutex<Vec<String>>,
    stop: watch::Sender<bool>,
}

impl Campaign {
    /// A campaign whose users all upload `document`, a PDF of `document_pages` pages.
    pub fn new(document: Vec<u8>, document_pages: usize) -> Arc<Self> {
        Arc::new(Self {
            document,
            document_pages,
            tokens: std::array::from_fn(|_| OnceCell::new()),
            records: Mutex::default(),
            uploads: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            errors: Mutex::default(),
            stop: watch::Sender::new(false),
        })
    }

    /// Ends every user's current wait; no generation is recorded afterwards.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// The generations that have ended so far, in the order in which their users noticed.
    pub fn records(&self) -> Vec<GenerationRecord> {
        lock(&self.records).clone()
    }

    /// How many generations have ended so far.
    pub fn records_count(&self) -> usize {
        lock(&self.records).len()
    }

    /// How many generations were accepted and have not ended, as far as their users know.
    pub fn in_flight(&self) -> usize {
        self.accepted
            .load(Ordering::Relaxed)
            .saturating_sub(self.records_count())
    }

    /// The first errors of requests that should have succeeded.
    pub fn errors(&self) -> Vec<String> {
        lock(&self.errors).clone()
    }

    fn note_error(&self, error: String) {
        const ERRORS_MAX: usize = 20;
        let mut errors = lock(&self.errors);
        if errors.len() < ERRORS_MAX && !*self.stop.borrow() {
            errors.push(error);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no thread panics while it holds this lock")
}

/// The goose scenario of these users.
///
/// # Errors
/// None in practice: goose refuses only names without a letter.
pub fn scenario(campaign: &Arc<Campaign>) -> Scenario {
    let campaign = Arc::clone(campaign);
    let transaction = Transaction::new(Arc::new(move |user| {
        let campaign = Arc::clone(&campaign);
        Box::pin(async move {
            if *campaign.stop.borrow() {
                // goose has not noticed the end yet: do not spin until it does.
                tokio::time::sleep(Duration::from_millis(20)).await;
                return Ok(());
            }
            let result = write_proposal(user, &campaign).await;
            if let Err(error) = &result {
                campaign.note_error(error.to_string());
                // A service that refuses everything must not be hammered in a tight loop.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            result
        })
    }));
    Scenario::new("ProposalWriter").register_transaction(transaction.set_name("write proposal"))
}

#[derive(Deserialize)]
struct Session {
    token: String,
}

#[derive(Deserialize)]
struct Document {
    id: String,
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

async fn write_proposal(user: &mut GooseUser, campaign: &Campaign) -> TransactionResult {
    let account = user.weighted_users_index % ACCOUNTS;
    let token = campaign.tokens[account]
        .get_or_try_init(|| enter(user, account))
        .await?
        .clone();

    let document = upload(user, campaign, &token).await?;
    let (mut generation, mut wait) = create(user, &token, &document.id).await?;
    campaign.accepted.fetch_add(1, Ordering::Relaxed);
    let path = format!("/api/v1/generations/{}", generation.id);
    let mut stop = campaign.stop.subscribe();
    while !generation.is_terminal() {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stop.wait_for(|stopped| *stopped) => return Ok(()),
        }
        (generation, wait) = poll(user, &token, &path).await?;
    }

    let failure = match generation.status.as_str() {
        "succeeded" => check_pdf(user, &token, &generation).await?,
        status => Some(format!(
            "{status}: {}",
            generation.error.clone().unwrap_or_default()
        )),
    };
    if *campaign.stop.borrow() {
        return Ok(());
    }
    let finished_at = generation
        .finished_at
        .ok_or_else(|| custom(format!("{path} has ended but has no finished_at")))?;
    lock(&campaign.records).push(GenerationRecord {
        created_at: generation.created_at,
        started_at: generation.started_at,
        finished_at,
        failure,
    });
    Ok(())
}

/// Registers an account and logs in to it.
async fn enter(user: &mut GooseUser, account: usize) -> Result<String, Box<TransactionError>> {
    let credentials = serde_json::json!({
        "email": format!("writer-{account}@example.com"),
        "password": format!("correct horse battery staple {account}"),
    });
    let register = user
        .get_request_builder(&GooseMethod::Post, "/api/v1/auth/register")?
        .json(&credentials);
    send(user, register, "register", 201).await?;
    let login = user
        .get_request_builder(&GooseMethod::Post, "/api/v1/auth/login")?
        .json(&credentials);
    let session: Session = json(send(user, login, "log in", 200).await?).await?;
    Ok(session.token)
}

async fn upload(
    user: &mut GooseUser,
    campaign: &Campaign,
    token: &str,
) -> Result<Document, Box<TransactionError>> {
    // The service keeps equal files once; each generation here stands for another tender.
    let number = campaign.uploads.fetch_add(1, Ordering::Relaxed);
    let mut document = campaign.document.clone();
    document.extend(format!("% {number}\n").bytes());
    let part = reqwest::multipart::Part::bytes(document)
        .file_name("requirements.pdf")
        .mime_str("application/pdf")
        .map_err(TransactionError::Reqwest)?;
    let request = user
        .get_request_builder(&GooseMethod::Post, "/api/v1/documents")?
        .bearer_auth(token)
        .multipart(reqwest::multipart::Form::new().part("file", part));
    let document: Document = json(send(user, request, "upload document", 201).await?).await?;
    match document.page_count {
        Some(pages) if pages != campaign.document_pages => Err(custom(format!(
            "the uploaded PDF has {} pages, the service counted {pages}",
            campaign.document_pages
        ))),
        _ => Ok(document),
    }
}

async fn create(
    user: &mut GooseUser,
    token: &str,
    document_id: &str,
) -> Result<(Generation, Duration), Box<TransactionError>> {
    let request = user
        .get_request_builder(&GooseMethod::Post, "/api/v1/generations")?
        .bearer_auth(token)
        .json(&serde_json::json!({
            "title": "Water treatment for a food processing plant",
            "instructions": "Write a technical proposal that answers the attached requirements.",
            "document_ids": [document_id],
        }));
    let response = send(user, request, "create generation", 202).await?;
    let wait = retry_after(response.headers());
    Ok((json(response).await?, wait))
}

async fn poll(
    user: &mut GooseUser,
    token: &str,
    path: &str,
) -> Result<(Generation, Duration), Box<TransactionError>> {
    let request = user
        .get_request_builder(&GooseMethod::Get, path)?
        .bearer_auth(token);
    let response = send(user, request, "poll generation", 200).await?;
    let wait = retry_after(response.headers());
    Ok((json(response).await?, wait))
}

/// Downloads the PDF (goose's client follows the redirect to the presigned URL) and counts its
/// pages; `Some` says what is wrong with it.
async fn check_pdf(
    user: &mut GooseUser,
    token: &str,
    generation: &Generation,
) -> Result<Option<String>, Box<TransactionError>> {
    let path = format!("/api/v1/generations/{}/pdf", generation.id);
    let request = user
        .get_request_builder(&GooseMethod::Get, &path)?
        .bearer_auth(token);
    let response = send(user, request, "download proposal", 200).await?;
    let bytes = response.bytes().await.map_err(TransactionError::Reqwest)?;
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

async fn send(
    user: &mut GooseUser,
    builder: reqwest::RequestBuilder,
    name: &'static str,
    status: u16,
) -> Result<reqwest::Response, Box<TransactionError>> {
    let request = GooseRequest::builder()
        .set_request_builder(builder)
        .name(name)
        .expect_status_code(status)
        .build();
    let response = user
        .request(request)
        .await?
        .response
        .map_err(TransactionError::Reqwest)?;
    if response.status().as_u16() == status {
        return Ok(response);
    }
    let got = response.status();
    let body = response.text().await.unwrap_or_default();
    Err(custom(format!(
        "{name} answered {got} instead of {status}: {body}"
    )))
}

async fn json<T: serde::de::DeserializeOwned>(
    response: reqwest::Response,
) -> Result<T, Box<TransactionError>> {
    response
        .json()
        .await
        .map_err(|error| Box::new(TransactionError::Reqwest(error)))
}

fn custom(message: String) -> Box<TransactionError> {
    Box::new(TransactionError::Custom(message))
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
}
