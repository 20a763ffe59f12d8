//! The Responses API in background mode: create, poll, cancel. No retries here; callers know their budget.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tracing::{Instrument, Span};
use url::Url;

use crate::config::OpenAiConfig;
use crate::domain::ids::GenerationId;
use crate::retry::retry_after;
use crate::telemetry::spans;

/// What a call can end with instead of an answer.
#[derive(Debug, thiserror::Error)]
pub enum OpenAiError {
    /// No usable HTTP answer.
    #[error("reach OpenAI")]
    Transport(#[source] reqwest::Error),
    /// 429, 408, 409 or 5xx: come again, perhaps at a given time.
    #[error("get an answer from OpenAI: status {status}, code {code:?}")]
    Busy {
        /// HTTP status.
        status: u16,
        /// `error.code` of the body.
        code: Option<String>,
        /// What the headers asked for.
        retry_after: Option<Duration>,
    },
    /// An answer that does not read as one.
    #[error("read OpenAI's answer")]
    Garbage(#[source] serde_json::Error),
    /// The response id is unknown or has expired.
    #[error("find the response at OpenAI")]
    Missing,
    /// An answer that a retry would get again.
    #[error("have OpenAI accept the call: status {status}, code {code:?}, {message}")]
    Rejected {
        /// HTTP status.
        status: u16,
        /// `error.code` of the body.
        code: Option<String>,
        /// `error.message` of the body; it may quote the request, so it goes to logs and not to users.
        message: String,
    },
}

impl OpenAiError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Transport(_) | Self::Busy { .. } | Self::Garbage(_)
        )
    }

    /// When the server asked to be called again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// A label for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Transport(error) if error.is_timeout() => "timeout",
            Self::Transport(_) => "transport",
            Self::Busy { status: 429, .. } => "rate_limited",
            Self::Busy { .. } => "busy",
            Self::Garbage(_) => "garbage",
            Self::Missing => "missing",
            Self::Rejected { .. } => "rejected",
        }
    }
}

/// What a response is asked for.
#[derive(Debug)]
pub struct Prompt {
    /// The system's part.
    pub instructions: String,
    /// The task with its material.
    pub input: String,
    /// How many titles the answer must list as `{"sections": [string, ...]}`; `None` for free text.
    pub section_list: Option<usize>,
}

/// A response as polled.
#[derive(Debug, PartialEq, Eq)]
pub enum Polled {
    /// Queued or in progress.
    Pending,
    /// `completed`.
    Completed {
        /// All text of the answer.
        text: String,
        /// What it cost.
        usage: Usage,
    },
    /// `failed`, `incomplete` or `cancelled`.
    Ended {
        /// A code such as `failed:server_error` or `incomplete:max_output_tokens`.
        reason: String,
        /// What it cost nevertheless.
        usage: Usage,
    },
}

/// Tokens of one response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Usage {
    /// Tokens read.
    #[serde(default)]
    pub input_tokens: i64,
    /// Tokens written.
    #[serde(default)]
    pub output_tokens: i64,
}

/// A client of one OpenAI project; clones share the connections.
#[derive(Debug, Clone)]
pub struct OpenAi {
    http: reqwest::Client,
    responses: Url,
    host: String,
    authorization: reqwest::header::HeaderValue,
    model: String,
}

#[derive(Serialize)]
struct Create<'a> {
    model: &'a str,
    instructions: &'a str,
    input: &'a str,
    background: bool,
    // Explicit, because projects with modified abuse monitoring forget background responses
    // after about ten minutes otherwise.
    store: bool,
    metadata: Metadata<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<serde_json::Value>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    generation_id: GenerationId,
    step: &'a str,
}

#[derive(Deserialize)]
struct Created {
    id: String,
}

// Only what is used; serde skips the rest of the body without building it.
#[derive(Deserialize)]
struct ResponseBody {
    status: String,
    #[serde(default)]
    output: Vec<OutputItem>,
    error: Option<ErrorDetail>,
    incomplete_details: Option<IncompleteDetails>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct OutputItem {
    #[serde(default)]
    content: Vec<ContentPart>,
}

#[derive(Deserialize)]
struct ContentPart {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct IncompleteDetails {
    reason: Option<String>,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Deserialize)]
struct ErrorDetail {
    code: Option<String>,
    #[serde(default)]
    message: String,
}

impl OpenAi {
    /// Builds the client; no connection is made yet.
    ///
    /// # Errors
    /// When the key cannot stand in a header or TLS cannot be set up.
    pub fn new(config: &OpenAiConfig) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let mut authorization =
            reqwest::header::HeaderValue::from_str(&format!("Bearer {}", config.api_key))?;
        authorization.set_sensitive(true);
        let mut builder = reqwest::Client::builder();
        if config.base_url.starts_with("http://") {
            // Nothing to verify: a minimal image without CA certificates must not fail for it.
            builder = builder.tls_certs_only([]);
        }
        let http = builder
            .timeout(config.request_timeout)
            .connect_timeout(config.request_timeout.min(Duration::from_secs(5)))
            // Below the 350 s after which a NAT gateway forgets an idle connection.
            .pool_idle_timeout(Duration::from_secs(60))
            .tcp_nodelay(true)
            .user_agent(concat!("allegiant-backend/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let responses = Url::parse(&format!("{}/responses", config.base_url))?;
        let host = responses.host_str().unwrap_or_default().to_owned();
        Ok(Self {
            http,
            host,
            responses,
            authorization,
            model: config.model.clone(),
        })
    }

    /// Creates a background response and returns its id.
    ///
    /// # Errors
    /// When OpenAI does not answer with one. After [`OpenAiError::Transport`] it may exist all the
    /// same: the API has no idempotency keys.
    pub async fn create(
        &self,
        prompt: &Prompt,
        generation: GenerationId,
        step: &str,
    ) -> Result<String, OpenAiError> {
        let body = Create {
            model: &self.model,
            instructions: &prompt.instructions,
            input: &prompt.input,
            background: true,
            store: true,
            metadata: Metadata {
                generation_id: generation,
                step,
            },
            text: prompt.section_list.map(section_list_format),
        };
        let request = self.http.post(self.responses.clone()).json(&body);
        let span = spans::openai_call(generation, "POST", "/responses", &self.host);
        let bytes = self.send(request, span).await?;
        let created: Created = serde_json::from_slice(&bytes).map_err(OpenAiError::Garbage)?;
        Ok(created.id)
    }

    /// Where a response is found: worked out once for all its polls, which there are scores of.
    pub fn location(&self, response_id: &str) -> Url {
        self.below(&[response_id])
    }

    fn below(&self, segments: &[&str]) -> Url {
        let mut url = self.responses.clone();
        // Only addresses without a host have no path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(segments);
        }
        url
    }

    /// Asks how the response at a [location](Self::location) stands.
    ///
    /// # Errors
    /// [`OpenAiError::Missing`] when it has expired; others when OpenAI does not answer.
    pub async fn poll(
        &self,
        location: &Url,
        generation: GenerationId,
    ) -> Result<Polled, OpenAiError> {
        let request = self.http.get(location.clone());
        let span = spans::openai_call(generation, "GET", "/responses/{id}", &self.host);
        let bytes = self.send(request, span).await?;
        let body: ResponseBody = serde_json::from_slice(&bytes).map_err(OpenAiError::Garbage)?;
        Ok(body.into_polled())
    }

    /// Cancels a response; one that has ended or expired counts as cancelled.
    ///
    /// # Errors
    /// When OpenAI does not answer.
    pub async fn cancel(
        &self,
        response_id: &str,
        generation: GenerationId,
    ) -> Result<(), OpenAiError> {
        let request = self.http.post(self.below(&[response_id, "cancel"]));
        let template = "/responses/{id}/cancel";
        let span = spans::openai_call(generation, "POST", template, &self.host);
        match self.send(request, span).await {
            Ok(_) | Err(OpenAiError::Missing | OpenAiError::Rejected { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends a request and reads the whole body of a good answer, within `span`.
    async fn send(&self, request: RequestBuilder, span: Span) -> Result<Bytes, OpenAiError> {
        let request = request.header(reqwest::header::AUTHORIZATION, self.authorization.clone());
        let call = async {
            let response = request.send().await.map_err(OpenAiError::Transport)?;
            spans::answered_by(&span, response.status().as_u16());
            if response.status().is_success() {
                response.bytes().await.map_err(OpenAiError::Transport)
            } else {
                Err(refusal(response).await)
            }
        };
        let result = call.instrument(span.clone()).await;
        if let Err(error) = &result {
            spans::failed(&span, error.kind());
        }
        result
    }
}

async fn refusal(response: Response) -> OpenAiError {
    let status = response.status();
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let asked = retry_after(
        header("retry-after-ms").as_deref(),
        header("retry-after").as_deref(),
    );
    // x-should-retry is how the API overrules what a status usually means.
    let should_retry = header("x-should-retry");
    let detail = match response.bytes().await {
        Ok(bytes) => serde_json::from_slice::<ErrorBody>(&bytes)
            .ok()
            .map(|body| body.error),
        Err(_) => None,
    };
    let (code, message) = detail.map_or((None, String::new()), |detail| {
        (detail.code, detail.message)
    });
    // Waiting does not fill an empty account.
    let exhausted = code.as_deref() == Some("insufficient_quota");
    let usually = matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS
    ) || status.is_server_error();
    let transient = match should_retry.as_deref() {
        Some("true") => true,
        Some("false") => false,
        _ => usually && !exhausted,
    };
    if status == StatusCode::NOT_FOUND {
        OpenAiError::Missing
    } else if transient {
        OpenAiError::Busy {
            status: status.as_u16(),
            code,
            retry_after: asked,
        }
    } else {
        OpenAiError::Rejected {
            status: status.as_u16(),
            code,
            message,
        }
    }
}

fn section_list_format(count: usize) -> serde_json::Value {
    serde_json::json!({
        "format": {
            "type": "json_schema",
            "name": "outline",
            "strict": true,
            "schema": {
                "type": "object",
                "properties": {
                    "sections": {
                        "type": "array", "items": { "type": "string" }, "minItems": count, "maxItems": count
                    }
                },
                "required": ["sections"],
                "additionalProperties": false
            }
        }
    })
}

impl ResponseBody {
    fn into_polled(self) -> Polled {
        let usage = self.usage.unwrap_or_default();
        match self.status.as_str() {
            "queued" | "in_progress" => Polled::Pending,
            "completed" => {
                let parts = self.output.into_iter().flat_map(|item| item.content);
                let text = parts
                    .filter(|part| part.kind == "output_text")
                    .map(|part| part.text)
                    .collect();
                Polled::Completed { text, usage }
            }
            "failed" => {
                let code = self.error.and_then(|error| error.code);
                Polled::Ended {
                    reason: format!("failed:{}", code.as_deref().unwrap_or("unknown")),
                    usage,
                }
            }
            "incomplete" => {
                let reason = self.incomplete_details.and_then(|details| details.reason);
                Polled::Ended {
                    reason: format!("incomplete:{}", reason.as_deref().unwrap_or("unknown")),
                    usage,
                }
            }
            other => Polled::Ended {
                reason: other.to_owned(),
                usage,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polled(json: &str) -> Polled {
        serde_json::from_str::<ResponseBody>(json)
            .expect("a response")
            .into_polled()
    }

    #[test]
    fn statuses_are_read_as_the_api_means_them() {
        assert_eq!(
            polled(r#"{"id":"resp_1","status":"queued","output":[],"error":null}"#),
            Polled::Pending
        );
        assert_eq!(
            polled(r#"{"status":"in_progress","usage":null}"#),
            Polled::Pending
        );
        let reason = |json| match polled(json) {
            Polled::Ended { reason, .. } => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(r#"{"status":"cancelled"}"#), "cancelled");
        assert_eq!(
            reason(r#"{"status":"failed","error":{"code":"server_error","message":"m"}}"#),
            "failed:server_error"
        );
        assert_eq!(
            reason(
                r#"{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}"#
            ),
            "incomplete:max_output_tokens"
        );
    }

    #[test]
    fn all_text_of_a_completed_response_is_joined_and_reasoning_left_out() {
        let body = r#"{"status":"completed","output":[
            {"type":"reasoning","summary":[]},
            {"type":"message","content":[{"type":"output_text","text":"a","annotations":[]},{"type":"refusal","refusal":"x"}]},
            {"type":"message","content":[{"type":"output_text","text":"b"}]}],
            "usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}"#;
        let usage = Usage {
            input_tokens: 3,
            output_tokens: 4,
        };
        assert_eq!(
            polled(body),
            Polled::Completed {
                text: "ab".to_owned(),
                usage
            }
        );
    }
}
