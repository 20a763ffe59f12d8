//! One response: what is remembered of it, and its JSON at an instant.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::{Value, json};

use crate::openai::random::mix;
use crate::openai::text::Plan;
use crate::openai::wire::{ErrorOfResponse, IncompleteDetails, Message, ResponseBody, Usage};

/// OpenAI's rule of thumb for English: a token is about four characters.
const CHARS_PER_TOKEN: u64 = 4;

/// The tokens of a text of so many characters.
pub(super) fn tokens_of(chars: usize) -> u64 {
    u64::try_from(chars)
        .unwrap_or(u64::MAX)
        .div_ceil(CHARS_PER_TOKEN)
}

/// How a response ends, or will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Completed,
    /// The reason.
    Incomplete(Box<str>),
    /// The error's code.
    Failed(Box<str>),
    Cancelled,
}

/// What a response repeats from its request.
#[derive(Clone, Debug)]
pub(super) struct Echo {
    pub(super) model: Arc<str>,
    pub(super) instructions: Option<Arc<str>>,
    /// In the order of their keys; a slice, because a map's node has room for eleven pairs.
    pub(super) metadata: Box<[(Box<str>, Box<str>)]>,
    pub(super) background: bool,
    pub(super) store: bool,
    pub(super) max_output_tokens: Option<u64>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) text: Option<Arc<Value>>,
    /// Bytes on the heap that no other response shares, about.
    pub(super) size_bytes: usize,
}

/// A response.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// The number in its id.
    pub(super) key: u64,
    pub(super) created_at: Duration,
    /// When it goes from `queued` to `in_progress`.
    pub(super) starts_at: Duration,
    /// When it will end by itself, if ever.
    pub(super) ends_at: Option<Duration>,
    /// When it ended; set once.
    pub(super) ended_at: Option<Duration>,
    pub(super) ending: Ending,
    /// Whether a client was told the end.
    pub(super) told: bool,
    pub(super) plan: Plan,
    pub(super) text_seed: u64,
    /// Only the beginning of the text was written.
    pub(super) text_chars_max: Option<usize>,
    pub(super) input_tokens: u64,
    /// Output tokens written by the end.
    pub(super) output_tokens: u64,
    pub(super) echo: Echo,
}

/// The id of a key. It has the length of real ones; the second part only repeats the first, so that
/// an id made up by a client is told from one that was given out.
pub(super) fn id_of(key: u64) -> String {
    format!("resp_{key:016x}{:016x}{:016x}", mix(key), mix(mix(key)))
}

/// The key of an id, when it is one.
pub(super) fn key_of(id: &str) -> Option<u64> {
    let key = u64::from_str_radix(id.strip_prefix("resp_")?.get(..16)?, 16).ok()?;
    (id_of(key) == id).then_some(key)
}

impl Record {
    /// Ends as planned.
    pub(super) fn end(&mut self, at: Duration) {
        if self.ended_at.is_none() {
            self.ended_at = Some(at);
            if matches!(self.ending, Ending::Incomplete(_)) && self.text_chars_max.is_none() {
                self.halve();
            }
        }
    }

    /// Ends now and otherwise than planned.
    pub(super) fn cut_short(&mut self, at: Duration, ending: Ending) {
        if self.ended_at.is_some() {
            return;
        }
        if matches!(ending, Ending::Cancelled) {
            let done = at.saturating_sub(self.created_at).as_nanos();
            let whole = self.ends_at.map_or(u128::MAX, |ends_at| {
                ends_at.saturating_sub(self.created_at).as_nanos()
            });
            let part = u128::from(self.output_tokens).saturating_mul(done) / whole.max(1);
            self.output_tokens = u64::try_from(part)
                .unwrap_or(u64::MAX)
                .min(self.output_tokens);
        }
        self.ending = ending;
        self.end(at);
    }

    /// An incomplete response stops in the middle of its text.
    fn halve(&mut self) {
        let chars = self.plan.write(self.text_seed).chars().count();
        self.text_chars_max = Some(chars / 2);
        self.output_tokens /= 2;
    }

    /// A completed response longer than `max_output_tokens` becomes an incomplete one.
    pub(super) fn apply_output_limit(&mut self, text: &str) {
        if let Some(max) = self.echo.max_output_tokens
            && max < self.output_tokens
            && matches!(self.ending, Ending::Completed)
        {
            let chars = u128::try_from(text.chars().count()).unwrap_or(u128::MAX);
            let kept = chars.saturating_mul(u128::from(max)) / u128::from(self.output_tokens);
            self.ending = Ending::Incomplete("max_output_tokens".into());
            self.text_chars_max = Some(usize::try_from(kept).unwrap_or(usize::MAX));
            self.output_tokens = max;
        }
    }

    /// Bytes that it keeps on the heap, about.
    pub(super) fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.echo.size_bytes + self.plan.size_bytes()
    }

    fn status(&self, now: Duration) -> &'static str {
        match (&self.ending, self.ended_at) {
            (Ending::Completed, Some(_)) => "completed",
            (Ending::Incomplete(_), Some(_)) => "incomplete",
            (Ending::Failed(_), Some(_)) => "failed",
            (Ending::Cancelled, Some(_)) => "cancelled",
            (_, None) if now < self.starts_at || now == self.created_at => "queued",
            (_, None) => "in_progress",
        }
    }

    /// Its JSON at `now`.
    pub(super) fn body(&self, now: Duration) -> Vec<u8> {
        static PLAIN_TEXT: LazyLock<Value> = LazyLock::new(|| json!({"format": {"type": "text"}}));
        let id = id_of(self.key);
        let ended = self.ended_at.map(|_| &self.ending);
        let written = matches!(ended, Some(Ending::Completed | Ending::Incomplete(_)));
        let mut text;
        let mut output = Vec::new();
        if written {
            text = self.plan.write(self.text_seed);
            if let Some(max) = self.text_chars_max {
                let cut = text
                    .char_indices()
                    .nth(max)
                    .map_or(text.len(), |(at, _)| at);
                text.truncate(cut);
            }
            let complete = matches!(ended, Some(Ending::Completed));
            let status = if complete { "completed" } else { "incomplete" };
            output.push(Message::new(&id, status, &text));
        }
        let echo = &self.echo;
        let body = ResponseBody {
            id: &id,
            object: "response",
            created_at: self.created_at.as_secs(),
            status: self.status(now),
            background: echo.background,
            completed_at: match ended {
                Some(Ending::Completed) => self.ended_at.map(|at| at.as_secs()),
                _ => None,
            },
            error: match ended {
                Some(Ending::Failed(code)) => Some(ErrorOfResponse {
                    code,
                    message: "The model failed to generate a response.",
                }),
                _ => None,
            },
            incomplete_details: match ended {
                Some(Ending::Incomplete(reason)) => Some(IncompleteDetails { reason }),
                _ => None,
            },
            instructions: echo.instructions.as_deref(),
            max_output_tokens: echo.max_output_tokens,
            max_tool_calls: None,
            metadata: &echo.metadata,
            model: &echo.model,
            output,
            parallel_tool_calls: true,
            previous_response_id: None,
            reasoning: json!({"effort": null, "summary": null}),
            service_tier: "default",
            store: echo.store,
            temperature: echo.temperature.unwrap_or(1.0),
            text: echo.text.as_deref().unwrap_or(&PLAIN_TEXT),
            tool_choice: "auto",
            tools: [],
            top_p: echo.top_p.unwrap_or(1.0),
            truncation: "disabled",
            usage: written.then(|| Usage::new(self.input_tokens, self.output_tokens)),
            user: None,
        };
        // Strings, numbers and maps with string keys: nothing that JSON cannot express.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}
