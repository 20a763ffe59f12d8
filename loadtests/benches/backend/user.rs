//! A user: registers, uploads, asks for generations, polls as told.

use std::time::{Duration, Instant};

use anyhow::Context;
use reqwest::Response;
use serde_json::{Value, json};

/// One account with its session.
#[derive(Debug, Clone)]
pub(crate) struct User {
    http: reqwest::Client,
    base_url: String,
    pub(crate) token: String,
}

/// What a poll brought.
pub(crate) struct Polled {
    pub(crate) status: String,
    pub(crate) took: Duration,
    pub(crate) come_back_after: Duration,
}

impl User {
    pub(crate) async fn register(http: &reqwest::Client, base_url: &str) -> anyhow::Result<Self> {
        let email = format!("user{}@example.com", unique());
        let body = json!({"email": email, "password": "correct horse battery"});
        let url = format!("{base_url}/api/v1/auth/register");
        let answer = read(http.post(url).json(&body).send().await?).await?;
        Ok(Self {
            http: http.clone(),
            base_url: base_url.to_owned(),
            token: text(&answer, "token")?,
        })
    }

    /// Uploads a PDF and returns its id.
    pub(crate) async fn upload(&self, pdf: Vec<u8>) -> anyhow::Result<String> {
        let part = reqwest::multipart::Part::bytes(pdf)
            .file_name("tender.pdf")
            .mime_str("application/pdf")?;
        let form = reqwest::multipart::Form::new().part("file", part);
        let request = self
            .http
            .post(format!("{}/api/v1/documents", self.base_url));
        let sent = request.bearer_auth(&self.token).multipart(form).send();
        text(&read(sent.await?).await?, "id")
    }

    /// Asks for a generation and returns its id.
    pub(crate) async fn generate(&self, document: &str) -> anyhow::Result<String> {
        let body = json!({
            "title": "Water treatment plant",
            "instructions": "Offer a plant for 40 cubic metres per hour.",
            "document_ids": [document],
        });
        let request = self
            .http
            .post(format!("{}/api/v1/generations", self.base_url));
        let sent = request.bearer_auth(&self.token).json(&body).send();
        text(&read(sent.await?).await?, "id")
    }

    pub(crate) async fn poll(&self, generation: &str) -> anyhow::Result<Polled> {
        let url = format!("{}/api/v1/generations/{generation}", self.base_url);
        let asked = Instant::now();
        let response = self.http.get(url).bearer_auth(&self.token).send().await?;
        let told = response.headers().get("retry-after-ms");
        let told = told.and_then(|value| value.to_str().ok()?.parse().ok());
        let answer = read(response).await?;
        Ok(Polled {
            status: text(&answer, "status")?,
            took: asked.elapsed(),
            come_back_after: Duration::from_millis(told.unwrap_or(5_000)),
        })
    }
}

/// Different in each call, which is all that is asked of it.
fn unique() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

async fn read(response: Response) -> anyhow::Result<Value> {
    let status = response.status();
    let body = response.text().await?;
    anyhow::ensure!(status.is_success(), "{status}: {body}");
    Ok(serde_json::from_str(&body)?)
}

fn text(answer: &Value, field: &str) -> anyhow::Result<String> {
    let value = answer[field].as_str();
    Ok(value
        .with_context(|| format!("read {field} in {answer}"))?
        .to_owned())
}
