//! Chat completions, told as what they are here: responses that block and are not stored.
//!
//! Shapes follow the official client's types (`openai` for Python, `types/chat/`).

use serde::Deserialize;
use serde_json::{Value, json};

use super::stream::pieces;
use super::wire::{ApiError, CreateRequest};

/// `POST /chat/completions`; parameters that change nothing here are accepted and ignored.
#[derive(Debug, Deserialize)]
struct ChatRequest {
    model: Option<String>,
    messages: Option<Value>,
    stream: Option<bool>,
    metadata: Option<Value>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    response_format: Option<Value>,
}

/// Reads and checks a body, and gives the response that answers it.
pub(super) fn read(body: &[u8]) -> Result<CreateRequest, ApiError> {
    let request: ChatRequest = super::wire::read_json(body)?;
    let format = request.response_format.map(|format| {
        // The Responses API has the schema one level higher.
        let schema = format.pointer("/json_schema/schema").cloned();
        json!({"format": {"type": format["type"], "schema": schema}})
    });
    let request = json!({
        "model": request.model,
        "input": request.messages,
        "stream": request.stream,
        "metadata": request.metadata,
        "max_output_tokens": request.max_completion_tokens.or(request.max_tokens),
        "temperature": request.temperature,
        "top_p": request.top_p,
        "text": format,
        "store": false,
    });
    CreateRequest::read(request.to_string().as_bytes())
        .map_err(|error| error.naming("input", "messages"))
}

/// What a completion says: its text, why it ended, and its frame.
struct Said<'a> {
    id: String,
    response: &'a Value,
    text: &'a str,
    finish_reason: &'static str,
}

/// The completion for an ended response's JSON, or the error it ended with.
pub(super) fn completion(response: &[u8], stream: bool) -> Result<Vec<u8>, ApiError> {
    let response: Value = serde_json::from_slice(response).unwrap_or_default();
    if response["status"] == "failed" {
        let message = "The server had an error while processing your request. Sorry about that!";
        return Err(ApiError::new(500, message.to_owned(), "server_error", None));
    }
    let reason = response.pointer("/incomplete_details/reason");
    let id = response["id"].as_str().unwrap_or_default();
    let said = Said {
        id: format!("chatcmpl-{}", id.strip_prefix("resp_").unwrap_or(id)),
        text: response
            .pointer("/output/0/content/0/text")
            .and_then(Value::as_str)
            .unwrap_or_default(),
        finish_reason: match reason.and_then(Value::as_str) {
            Some("content_filter") => "content_filter",
            Some(_) => "length",
            None => "stop",
        },
        response: &response,
    };
    Ok(if stream { said.chunks() } else { said.whole() })
}

impl Said<'_> {
    fn whole(&self) -> Vec<u8> {
        let message = json!({"role": "assistant", "content": self.text, "refusal": null,
            "annotations": []});
        let choice = json!({"index": 0, "message": message, "logprobs": null,
            "finish_reason": self.finish_reason});
        let mut body = self.frame("chat.completion", &choice);
        body["usage"] = self.usage();
        body.to_string().into_bytes()
    }

    fn chunks(&self) -> Vec<u8> {
        let mut deltas = vec![(json!({"role": "assistant", "content": ""}), Value::Null)];
        let texts = pieces(self.text).into_iter();
        deltas.extend(texts.map(|text| (json!({"content": text}), Value::Null)));
        deltas.push((json!({}), json!(self.finish_reason)));
        let mut stream = String::new();
        for (delta, finish_reason) in deltas {
            let choice = json!({"index": 0, "delta": delta, "logprobs": null,
                "finish_reason": finish_reason});
            let chunk = self.frame("chat.completion.chunk", &choice);
            stream.push_str(&format!("data: {chunk}\n\n"));
        }
        stream.push_str("data: [DONE]\n\n");
        stream.into_bytes()
    }

    fn frame(&self, object: &str, choice: &Value) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": self.response["created_at"],
            "model": self.response["model"],
            "service_tier": "default",
            "system_fingerprint": null,
            "choices": [choice],
        })
    }

    fn usage(&self) -> Value {
        let usage = &self.response["usage"];
        json!({
            "prompt_tokens": usage["input_tokens"],
            "completion_tokens": usage["output_tokens"],
            "total_tokens": usage["total_tokens"],
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        })
    }
}
