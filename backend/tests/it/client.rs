//! A user of the service, as far as tests need one.

use anyhow::Context;
use harness::poll::{self, Progress};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::app::PATIENCE;

/// Sends requests, perhaps with a session.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base_url: String,
    token: Option<String>,
}

impl Client {
    pub(crate) fn new(base_url: &str) -> Self {
        let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let http = builder
            .build()
            .expect("a client without special settings builds");
        Self {
            http,
            base_url: base_url.to_owned(),
            token: None,
        }
    }

    /// The same user at another process.
    pub(crate) fn at(&self, base_url: &str) -> Self {
        Self {
            base_url: base_url.to_owned(),
            ..self.clone()
        }
    }

    /// The same user with another token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}{path}", self.base_url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Response> {
        Ok(self.request(Method::GET, path).send().await?)
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> anyhow::Result<Response> {
        Ok(self.request(Method::POST, path).json(&body).send().await?)
    }

    /// Registers a new user; the returned client has their session.
    pub(crate) async fn registered(&self) -> anyhow::Result<Self> {
        let email = format!("{}@example.com", uuid::Uuid::new_v4().simple());
        let body = json!({"email": email, "password": "correct horse battery"});
        let answer = expect(
            self.post("/api/v1/auth/register", body).await?,
            StatusCode::CREATED,
        )
        .await?;
        Ok(self.with_token(answer["token"].as_str().context("a token")?))
    }

    pub(crate) async fn upload_bytes(
        &self,
        name: &str,
        bytes: Vec<u8>,
    ) -> anyhow::Result<Response> {
        let part = Part::bytes(bytes)
            .file_name(name.to_owned())
            .mime_str("application/pdf")?;
        let request = self.request(Method::POST, "/api/v1/documents");
        Ok(request
            .multipart(Form::new().part("file", part))
            .send()
            .await?)
    }

    /// Uploads a PDF of so many pages, unlike any other, and returns its id.
    pub(crate) async fn upload(&self, pages: usize) -> anyhow::Result<String> {
        let mut bytes = pdf(pages);
        bytes.extend(format!("% {}\n", uuid::Uuid::new_v4()).bytes());
        let response = self.upload_bytes("tender.pdf", bytes).await?;
        let answer = expect(response, StatusCode::CREATED).await?;
        Ok(answer["id"].as_str().context("an id")?.to_owned())
    }

    /// Asks for a generation over one fresh document and returns its id.
    pub(crate) async fn generate(&self) -> anyhow::Result<String> {
        let document = self.upload(3).await?;
        let response = self
            .post("/api/v1/generations", order(&[&document]))
            .await?;
        let answer = expect(response, StatusCode::ACCEPTED).await?;
        Ok(answer["id"].as_str().context("an id")?.to_owned())
    }

    pub(crate) async fn generation(&self, id: &str) -> anyhow::Result<Value> {
        expect(
            self.get(&format!("/api/v1/generations/{id}")).await?,
            StatusCode::OK,
        )
        .await
    }

    /// Polls until the generation is in a state, and returns it.
    pub(crate) async fn wait_for(&self, id: &str, status: &str) -> anyhow::Result<Value> {
        let what = format!("generation {id} to be {status}");
        let found = poll::until(&what, PATIENCE, || async {
            match self.generation(id).await {
                Ok(row) if row["status"] == status => Progress::Ready(row),
                Ok(row)
                    if ["succeeded", "failed", "cancelled"]
                        .iter()
                        .any(|end| row["status"] == *end) =>
                {
                    Progress::Failed(row.to_string())
                }
                Ok(row) => Progress::NotYet(row.to_string()),
                Err(error) => Progress::NotYet(format!("{error:#}")),
            }
        });
        Ok(found.await?)
    }
}

/// What a client sends to ask for a generation.
pub(crate) fn order(documents: &[&str]) -> Value {
    json!({
        "title": "Water treatment plant",
        "instructions": "Offer a plant for 40 cubic metres per hour.",
        "document_ids": documents,
    })
}

/// The JSON of a response that must have a status.
pub(crate) async fn expect(response: Response, status: StatusCode) -> anyhow::Result<Value> {
    let found = response.status();
    let text = response.text().await?;
    anyhow::ensure!(found == status, "{found} instead of {status}: {text}");
    if text.is_empty() {
        Ok(Value::Null)
    } else {
        serde_json::from_str(&text).context(text)
    }
}

/// The problem of a response that must have a status.
pub(crate) async fn problem(response: Response, status: StatusCode) -> anyhow::Result<Value> {
    let kind = response.headers().get("content-type").cloned();
    let body = expect(response, status).await?;
    anyhow::ensure!(
        kind.is_some_and(|kind| kind == "application/problem+json"),
        "no problem: {body}"
    );
    anyhow::ensure!(
        body["status"] == status.as_u16(),
        "the body says otherwise: {body}"
    );
    anyhow::ensure!(
        body["request_id"].as_str().is_some_and(|id| !id.is_empty()),
        "no request id: {body}"
    );
    Ok(body)
}

/// A PDF that any reader takes, with a line of text on each page.
pub(crate) fn pdf(pages: usize) -> Vec<u8> {
    use lopdf::content::{Content, Operation};
    use lopdf::{Document, Object, Stream, dictionary};
    let mut document = Document::with_version("1.5");
    let tree = document.new_object_id();
    let font = document.add_object(
        dictionary! { "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica" },
    );
    let resources = document.add_object(dictionary! { "Font" => dictionary! { "F1" => font } });
    let kids: Vec<Object> = (1..=pages)
        .map(|number| {
            let text = format!("Requirement {number}: forty cubic metres per hour.");
            let operations = vec![
                Operation::new("BT", vec![]),
                Operation::new("Tf", vec!["F1".into(), 12.into()]),
                Operation::new("Td", vec![72.into(), 720.into()]),
                Operation::new("Tj", vec![Object::string_literal(text)]),
                Operation::new("ET", vec![]),
            ];
            let content = Content { operations }
                .encode()
                .expect("plain operations encode");
            let content = document.add_object(Stream::new(dictionary! {}, content));
            let page = dictionary! { "Type" => "Page", "Parent" => tree, "Contents" => content };
            document.add_object(page).into()
        })
        .collect();
    let count = i64::try_from(pages).expect("a test's PDF is small");
    let pages = dictionary! {
        "Type" => "Pages", "Kids" => kids, "Count" => count, "Resources" => resources,
        "MediaBox" => vec![0.into(), 0.into(), 595.into(), 842.into()],
    };
    document.objects.insert(tree, Object::Dictionary(pages));
    let catalog = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => tree });
    document.trailer.set("Root", catalog);
    let mut bytes = Vec::new();
    document
        .save_to(&mut bytes)
        .expect("writing to memory cannot fail");
    bytes
}
