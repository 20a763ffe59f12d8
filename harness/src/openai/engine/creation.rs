//! How a creation is answered, by the Responses API and by its older sibling.

use std::time::Duration;

use super::record::{self, Ending, Record};
use super::{OpenAiState, RESPONSES_MAX, Reply, rate_limited};
use crate::openai::random::{Purpose, stream_seed};
use crate::openai::script::{Action, FOREVER, Override, Tokens, Which};
use crate::openai::text::Plan;
use crate::openai::wire::{ApiError, CreateRequest};
use crate::openai::{chat, stream};

/// A response is `queued` for this part of its scripted duration, then `in_progress`. OpenAI
/// publishes no figure; a twentieth lets clients see both.
const QUEUED_PART: u32 = 20;

impl OpenAiState {
    pub(super) fn create(
        &mut self,
        body: &[u8],
        api_key: &str,
        fault: Option<&Action>,
    ) -> Result<Reply, ApiError> {
        let request = CreateRequest::read(body)?;
        let stream = request.stream == Some(true);
        let mut reply = self.respond(request, api_key, fault)?;
        if stream && reply.status == 200 {
            reply.stream(stream::events(&reply.body, None));
        }
        Ok(reply)
    }

    pub(super) fn chat(
        &mut self,
        body: &[u8],
        api_key: &str,
        fault: Option<&Action>,
    ) -> Result<Reply, ApiError> {
        let request = chat::read(body)?;
        let stream = request.stream == Some(true);
        let mut reply = self.respond(request, api_key, fault)?;
        if reply.status == 200 {
            match chat::completion(&reply.body, stream) {
                Ok(body) if stream => reply.stream(body),
                Ok(body) => reply.body = body,
                // It ended badly when its time had come, and is told then.
                Err(error) => {
                    reply.status = error.status;
                    reply.body = error.body();
                }
            }
        }
        Ok(reply)
    }

    /// Creates a response. One that blocks or streams is answered as it will be at its end.
    fn respond(
        &mut self,
        request: CreateRequest,
        api_key: &str,
        fault: Option<&Action>,
    ) -> Result<Reply, ApiError> {
        let text_seed = stream_seed(self.script.seed, Purpose::Text, self.next_ordinal);
        let exception = self.exception_for(&request).cloned();
        let prescribed = exception
            .as_ref()
            .and_then(|exception| exception.text.as_deref());
        let plan = self.plan(&request, prescribed);
        let text = plan.write(text_seed);
        let (input_tokens, output_tokens) = count_tokens(self.script.tokens, &request, &text);

        if let Some(limiter) = &mut self.limiter {
            let asked_for = request.max_output_tokens.unwrap_or(output_tokens);
            if let Err(refusal) = limiter.admit(self.now, input_tokens.saturating_add(asked_for)) {
                self.stats.rate_limited += 1;
                return Ok(rate_limited(&refusal, self.limiter.as_ref()));
            }
        }
        if !self.store.make_room() {
            let message = format!("{RESPONSES_MAX} responses are in progress, which is the limit.");
            return Err(ApiError::new(
                429,
                message,
                "requests",
                Some("rate_limit_exceeded"),
            ));
        }

        let latency = exception
            .as_ref()
            .and_then(|exception| exception.latency.as_ref());
        let latency = latency.unwrap_or(&self.script.latency);
        let latency = self
            .script
            .compressed(latency.draw_ms(self.script.seed, self.next_ordinal));
        let key = stream_seed(self.id_seed, Purpose::Id, self.next_ordinal);
        self.next_ordinal += 1;
        self.billing.responses_created += 1;

        let blocking = request.background != Some(true);
        let held_back = blocking || request.stream == Some(true);
        let ends_at = match fault {
            Some(Action::NeverEnds) => None,
            _ => Some(self.now.saturating_add(latency)),
        };
        let ending = match fault {
            Some(Action::Incomplete { reason }) => Ending::Incomplete(reason.as_str().into()),
            Some(Action::Failed { code }) => Ending::Failed(code.as_str().into()),
            _ => Ending::Completed,
        };
        let mut record = Record {
            key,
            created_at: self.now,
            starts_at: self.now.saturating_add(latency / QUEUED_PART),
            ends_at,
            ended_at: None,
            ending,
            told: false,
            plan,
            text_seed,
            text_chars_max: None,
            input_tokens,
            output_tokens,
            echo: self.store.echo(request, blocking),
        };
        record.apply_output_limit(&text);
        self.journal.created(&record, api_key, fault);

        let mut reply = if held_back {
            let delay = ends_at.map_or(FOREVER, |_| latency);
            let mut at_end = record.clone();
            at_end.end(self.now.saturating_add(delay));
            let mut reply = Reply::new(200, at_end.body(at_end.ended_at.unwrap_or(self.now)));
            reply.delay = delay;
            if !matches!(fault, Some(Action::Garbage)) && ends_at.is_some() {
                record.told = true;
                self.count_seen(&record, Duration::ZERO, latency);
            }
            reply
        } else {
            Reply::new(200, record.body(self.now))
        };
        reply.delay = reply.delay.saturating_add(self.stall(fault)).min(FOREVER);
        if let Some(limiter) = &self.limiter {
            reply.headers.extend(limiter.headers());
        }
        let forgotten = matches!(fault, Some(Action::Expired));
        self.store.insert(record, forgotten);
        Ok(reply)
    }

    fn exception_for(&self, request: &CreateRequest) -> Option<&Override> {
        let step = request.metadata_value("step");
        self.script
            .overrides
            .iter()
            .find(|exception| match &exception.which {
                Which::Nth(nth) => self.numbers[0] == *nth,
                Which::Step(name) => step == Some(name),
            })
    }

    fn plan(&mut self, request: &CreateRequest, prescribed: Option<&str>) -> Plan {
        let outputs = &self.script.outputs;
        let plan = Plan::of(request, outputs.sections, outputs.section_words);
        let of_kind = match plan {
            Plan::Outline { .. } => outputs.outline.as_deref(),
            _ => outputs.section.as_deref(),
        };
        match prescribed.or(of_kind) {
            Some(text) => Plan::Prescribed(self.store.shared(text).0),
            None => plan,
        }
    }
}

fn count_tokens(tokens: Tokens, request: &CreateRequest, text: &str) -> (u64, u64) {
    match tokens {
        Tokens::Fixed { input, output } => (input, output),
        Tokens::Counted => {
            let mut input_chars = request
                .instructions
                .as_deref()
                .map_or(0, |text| text.chars().count());
            request.for_each_input_text(&mut |text| input_chars += text.chars().count());
            (
                record::tokens_of(input_chars),
                record::tokens_of(text.chars().count()),
            )
        }
    }
}
