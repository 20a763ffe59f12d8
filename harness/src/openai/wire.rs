//! The JSON of the Responses API: what clients send, what they get, how errors look.
//!
//! Field names and shapes follow the official client's types (`openai` for Python,
//! `types/responses/response.py` and its neighbours).

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

/// OpenAI's limits on `metadata`: 16 pairs, keys of 64 and values of 512 characters.
const METADATA_PAIRS_MAX: usize = 16;
const METADATA_KEY_CHARS_MAX: usize = 64;
const METADATA_VALUE_CHARS_MAX: usize = 512;

/// `POST /responses`; parameters that change nothing here are accepted and ignored.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct CreateRequest {
    pub(super) model: Option<String>,
    pub(super) input: Option<Value>,
    pub(super) instructions: Option<String>,
    pub(super) background: Option<bool>,
    pub(super) store: Option<bool>,
    pub(super) stream: Option<bool>,
    pub(super) metadata: Option<BTreeMap<String, String>>,
    pub(super) max_output_tokens: Option<u64>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) text: Option<Value>,
}

/// Reads a body, or says as the API does what is wrong with it.
pub(super) fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            let message = format!("Invalid type: {error}.");
            ApiError::invalid(message, None, Some("invalid_type"))
        } else {
            let message = "We could not parse the JSON body of your request.".to_owned();
            ApiError::invalid(message, None, None)
        }
    })
}

impl CreateRequest {
    /// Reads and checks a body as the API does.
    pub(super) fn read(body: &[u8]) -> Result<Self, ApiError> {
        let request: Self = read_json(body)?;
        for (name, missing) in [
            ("model", request.model.is_none()),
            ("input", request.input.is_none()),
        ] {
            if missing {
                return Err(ApiError::invalid(
                    format!("Missing required parameter: '{name}'."),
                    Some(name),
                    Some("missing_required_parameter"),
                ));
            }
        }
        let metadata = request.metadata.iter().flatten();
        let too_long = metadata.clone().any(|(key, value)| {
            key.chars().count() > METADATA_KEY_CHARS_MAX
                || value.chars().count() > METADATA_VALUE_CHARS_MAX
        });
        if too_long || metadata.count() > METADATA_PAIRS_MAX {
            return Err(ApiError::invalid(
                "Invalid 'metadata': at most 16 pairs, keys of 64 and values of 512 characters."
                    .to_owned(),
                Some("metadata"),
                Some("invalid_value"),
            ));
        }
        Ok(request)
    }

    pub(super) fn metadata_value(&self, key: &str) -> Option<&str> {
        self.metadata.as_ref()?.get(key).map(String::as_str)
    }

    /// Whether the answer is asked for as a JSON object.
    pub(super) fn has_schema(&self) -> bool {
        self.text
            .as_ref()
            .and_then(|text| text.pointer("/format/type"))
            .is_some_and(|kind| kind != "text")
    }

    /// The number of sections that a JSON schema asks for.
    pub(super) fn schema_items(&self) -> Option<u32> {
        let sections = self
            .text
            .as_ref()?
            .pointer("/format/schema/properties/sections")?;
        let count = sections
            .get("minItems")
            .or_else(|| sections.get("maxItems"))?
            .as_u64()?;
        u32::try_from(count).ok()
    }

    /// Calls `visit` with every text of `input`: the string itself, or the parts of its items.
    pub(super) fn for_each_input_text(&self, visit: &mut impl FnMut(&str)) {
        fn walk(value: &Value, visit: &mut impl FnMut(&str)) {
            match value {
                Value::String(text) => visit(text),
                Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
                Value::Object(item) => {
                    for key in ["content", "text"] {
                        if let Some(inner) = item.get(key) {
                            walk(inner, visit);
                        }
                    }
                }
                _ => {}
            }
        }
        if let Some(input) = &self.input {
            walk(input, visit);
        }
    }
}

/// A response as the API shows it; it borrows, so that a poll copies nothing but bytes of JSON.
#[derive(Serialize)]
pub(super) struct ResponseBody<'a> {
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    pub(super) created_at: u64,
    pub(super) status: &'static str,
    pub(super) background: bool,
    pub(super) completed_at: Option<u64>,
    pub(super) error: Option<ErrorOfResponse<'a>>,
    pub(super) incomplete_details: Option<IncompleteDetails<'a>>,
    pub(super) instructions: Option<&'a str>,
    pub(super) max_output_tokens: Option<u64>,
    pub(super) max_tool_calls: Option<u64>,
    #[serde(serialize_with = "as_map")]
    pub(super) metadata: &'a [(Box<str>, Box<str>)],
    pub(super) model: &'a str,
    pub(super) output: Vec<Message<'a>>,
    pub(super) parallel_tool_calls: bool,
    pub(super) previous_response_id: Option<&'a str>,
    pub(super) reasoning: Value,
    pub(super) service_tier: &'static str,
    pub(super) store: bool,
    pub(super) temperature: f64,
    pub(super) text: &'a Value,
    pub(super) tool_choice: &'static str,
    pub(super) tools: [&'a str; 0],
    pub(super) top_p: f64,
    pub(super) truncation: &'static str,
    pub(super) usage: Option<Usage>,
    pub(super) user: Option<&'a str>,
}

fn as_map<S: Serializer>(pairs: &[(Box<str>, Box<str>)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(key, value)| (key, value)))
}

#[derive(Serialize)]
pub(super) struct ErrorOfResponse<'a> {
    pub(super) code: &'a str,
    pub(super) message: &'a str,
}

#[derive(Serialize)]
pub(super) struct IncompleteDetails<'a> {
    pub(super) reason: &'a str,
}

/// The one output item that is written: an assistant's message.
#[derive(Serialize)]
pub(super) struct Message<'a> {
    id: String,
    r#type: &'static str,
    status: &'static str,
    role: &'static str,
    content: [OutputText<'a>; 1],
}

#[derive(Serialize)]
struct OutputText<'a> {
    r#type: &'static str,
    annotations: [&'a str; 0],
    logprobs: [&'a str; 0],
    text: &'a str,
}

impl<'a> Message<'a> {
    pub(super) fn new(response_id: &str, status: &'static str, text: &'a str) -> Self {
        let suffix = response_id.strip_prefix("resp_").unwrap_or(response_id);
        let content = [OutputText {
            r#type: "output_text",
            annotations: [],
            logprobs: [],
            text,
        }];
        Self {
            id: format!("msg_{suffix}"),
            r#type: "message",
            status,
            role: "assistant",
            content,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Usage {
    input_tokens: u64,
    input_tokens_details: InputDetails,
    output_tokens: u64,
    output_tokens_details: OutputDetails,
    total_tokens: u64,
}

#[derive(Serialize)]
struct InputDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Serialize)]
struct OutputDetails {
    reasoning_tokens: u64,
}

impl Usage {
    pub(super) fn new(input_tokens: u64, output_tokens: u64) -> Self {
        Self {
            input_tokens,
            input_tokens_details: InputDetails {
                cached_tokens: 0,
                cache_write_tokens: 0,
            },
            output_tokens,
            output_tokens_details: OutputDetails {
                reasoning_tokens: 0,
            },
            total_tokens: input_tokens.saturating_add(output_tokens),
        }
    }
}

/// `{"error": {"message", "type", "param", "code"}}` with its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: u16,
    message: String,
    kind: &'static str,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

impl ApiError {
    pub(super) fn new(
        status: u16,
        message: String,
        kind: &'static str,
        code: Option<&'static str>,
    ) -> Self {
        Self {
            status,
            message,
            kind,
            param: None,
            code,
        }
    }

    fn invalid(message: String, param: Option<&'static str>, code: Option<&'static str>) -> Self {
        Self {
            status: 400,
            message,
            kind: "invalid_request_error",
            param,
            code,
        }
    }

    /// The same error about a parameter that another API calls otherwise.
    pub(super) fn naming(mut self, ours: &str, theirs: &'static str) -> Self {
        if self.param == Some(ours) {
            self.message = self.message.replace(ours, theirs);
            self.param = Some(theirs);
        }
        self
    }

    pub(super) fn not_cancellable() -> Self {
        let message = "Only responses created with background=true can be cancelled.".to_owned();
        Self::invalid(message, None, None)
    }

    pub(super) fn unauthorized() -> Self {
        let message = "You didn't provide an API key. You need to provide your API key in an \
                       Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
            .to_owned();
        Self::new(401, message, "invalid_request_error", None)
    }

    pub(super) fn no_such_response(id: &str) -> Self {
        // The id is the client's own text, shown back in bounded length.
        let id: String = id.chars().take(80).collect();
        let message = format!("Response with id '{id}' not found.");
        Self::new(404, message, "invalid_request_error", None)
    }

    pub(super) fn no_such_url(method: &str, path: &str) -> Self {
        let path: String = path.chars().take(80).collect();
        let message = format!("Invalid URL ({method} {path})");
        Self::new(404, message, "invalid_request_error", None)
    }

    pub(super) fn body(&self) -> Vec<u8> {
        let Self {
            message,
            kind,
            param,
            code,
            ..
        } = self;
        json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
            .to_string()
            .into_bytes()
    }
}
