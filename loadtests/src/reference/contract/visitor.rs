//! Who asks a service for its contract: requests, and what answers must have in common.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::reference::user::UserError;

/// Patience with one request, and with a generation of a second or two.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const GENERATION_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(50);

pub(super) const PASSWORD: &str = "correct horse battery staple";

/// What a service answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
    pub(super) bytes: Vec<u8>,
}

/// Somebody with a number, and with a session once logged in.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    http: reqwest::Client,
    base_url: String,
    number: usize,
    token: Option<String>,
    pub(super) document: Arc<[u8]>,
}

impl Visitor {
    pub(super) fn new(base_url: &str, document: &[u8], number: usize) -> Result<Self, UserError> {
        let what = "make an HTTP client";
        let http = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_only([])
            .build()
            .map_err(|source| UserError::Transport { what, source })?;
        Ok(Self {
            http,
            base_url: base_url.to_owned(),
            number,
            token: None,
            document: document.into(),
        })
    }

    pub(super) fn email(&self) -> String {
        format!("visitor-{}@example.com", self.number)
    }

    pub(super) fn credentials(&self) -> Value {
        json!({"email": self.email(), "password": PASSWORD})
    }

    /// The same with another token, or none.
    pub(super) fn with_token(&self, token: Option<&str>) -> Self {
        Self {
            token: token.map(str::to_owned),
            ..self.clone()
        }
    }

    /// The same person after registration.
    pub(super) async fn registered(&self) -> Result<Self, String> {
        let answer = self
            .post("/api/v1/auth/register", &self.credentials())
            .await?;
        let session = answer.expect(201)?;
        let token = text(session, "token")?;
        Ok(self.with_token(Some(token)))
    }

    /// Somebody else, registered.
    pub(super) async fn stranger(&self) -> Result<Self, String> {
        let number = self.number + 1000;
        Self {
            number,
            ..self.clone()
        }
        .registered()
        .await
    }

    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}{path}", self.base_url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer, String> {
        sent(self.request(Method::GET, path)).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Answer, String> {
        sent(self.request(Method::POST, path).json(body)).await
    }

    /// Uploads a file whose form field has this name.
    pub(super) async fn upload_as(
        &self,
        field: &'static str,
        bytes: Vec<u8>,
    ) -> Result<Answer, String> {
        let form = Form::new().part(field, Part::bytes(bytes).file_name("tender.pdf"));
        sent(
            self.request(Method::POST, "/api/v1/documents")
                .multipart(form),
        )
        .await
    }

    /// Uploads the document and gives its id.
    pub(super) async fn uploaded(&self) -> Result<String, String> {
        let answer = self.upload_as("file", self.document.to_vec()).await?;
        Ok(text(answer.expect(201)?, "id")?.to_owned())
    }

    /// What orders a generation that reads these documents.
    pub(super) fn order(documents: &[&str]) -> Value {
        json!({"title": "Water treatment", "instructions": "Write a proposal.", "document_ids": documents})
    }

    /// Polls a generation until it has ended.
    pub(super) async fn ended(&self, id: &str) -> Result<Value, String> {
        let deadline = Instant::now() + GENERATION_TIMEOUT;
        loop {
            let answer = self.get(&format!("/api/v1/generations/{id}")).await?;
            let generation = answer.expect(200)?;
            match text(generation, "status")? {
                "queued" | "running" => {}
                _ => return Ok(generation.clone()),
            }
            if Instant::now() > deadline {
                return Err(format!(
                    "not ended after {} s",
                    GENERATION_TIMEOUT.as_secs()
                ));
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// Follows a presigned link, without any session.
    pub(super) async fn follow(&self, answer: &Answer) -> Result<Vec<u8>, String> {
        answer.expect(307)?;
        let answer = sent(self.http.get(answer.header("location")?)).await?;
        answer.expect(200)?;
        Ok(answer.bytes)
    }
}

pub(super) async fn sent(request: RequestBuilder) -> Result<Answer, String> {
    let told =
        |error: reqwest::Error| format!("no answer ({})", crate::backend_process::chain(&error));
    let response = request.send().await.map_err(told)?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await.map_err(told)?.to_vec();
    Ok(Answer {
        status,
        headers,
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        bytes,
    })
}

impl Answer {
    /// The body of an answer of that status.
    pub(super) fn expect(&self, status: u16) -> Result<&Value, String> {
        if self.status == status {
            Ok(&self.body)
        } else {
            Err(format!("{} instead of {status}", self.status))
        }
    }

    /// The body of a problem of that status, which has all that RFC 9457 and the contract ask for.
    pub(super) fn problem(&self, status: u16) -> Result<&Value, String> {
        let body = self.expect(status)?;
        let kind = self.header("content-type")?;
        if !kind.starts_with("application/problem+json") {
            return Err(format!("{status} as {kind}"));
        }
        for key in ["type", "title", "detail", "request_id"] {
            text(body, key)?;
        }
        if body["status"] != status {
            return Err(format!("its status says {}", body["status"]));
        }
        if self.header("x-request-id")? != body["request_id"] {
            return Err("request_id and x-request-id differ".to_owned());
        }
        Ok(body)
    }

    pub(super) fn header(&self, name: &str) -> Result<&str, String> {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.ok_or_else(|| format!("no header {name}"))
    }
}

/// A text in a body.
pub(super) fn text<'a>(body: &'a Value, key: &str) -> Result<&'a str, String> {
    body[key]
        .as_str()
        .ok_or_else(|| format!("no {key} in the body"))
}

/// Whether two things are the same, for rules.
pub(super) fn same<T: PartialEq + std::fmt::Debug>(
    found: &T,
    expected: &T,
    what: &str,
) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what} is {found:?} instead of {expected:?}"))
    }
}
