//! What the state machine answers, case by case.

mod faults;
mod properties;
mod streams;

use serde_json::{Value, json};

use super::*;
use crate::openai::rate_limit::RateLimits;
use crate::openai::script::{Fault, Latency, Override, Tokens, When, Which};

const START: Duration = Duration::from_secs(1_700_000_000);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A state machine whose responses take a second, with a clock that the test turns.
struct Client {
    state: OpenAiState,
    now: Duration,
}

struct Answer {
    status: u16,
    json: Value,
    reply: Reply,
}

impl Answer {
    fn id(&self) -> String {
        self.json["id"].as_str().unwrap_or_default().to_owned()
    }

    fn status_text(&self) -> &str {
        self.json["status"].as_str().unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.reply
            .headers
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.as_str())
    }
}

fn second() -> Script {
    Script::default()
        .latency(Latency::Fixed { ms: 1000.0 })
        .section_words(60)
}

impl Client {
    fn new(script: Script) -> Self {
        Self {
            state: OpenAiState::new(script).expect("a script that can be played"),
            now: START,
        }
    }

    fn wait(&mut self, duration: Duration) -> &mut Self {
        self.now += duration;
        self
    }

    fn call(&mut self, method: &str, path: &str, body: &[u8]) -> Answer {
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let request = Request {
            method,
            path,
            query,
            authorization: Some("Bearer key"),
            body,
        };
        let reply = self.state.handle(self.now, &request);
        let json = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        Answer {
            status: reply.status,
            json,
            reply,
        }
    }

    fn post(&mut self, body: &Value) -> Answer {
        self.call("POST", "/v1/responses", body.to_string().as_bytes())
    }

    fn create(&mut self) -> Answer {
        self.post(&json!({"model": "gpt-5", "input": "Write a section.", "background": true, "store": true}))
    }

    fn poll(&mut self, id: &str) -> Answer {
        self.call("GET", &format!("/v1/responses/{id}"), b"")
    }

    fn cancel(&mut self, id: &str) -> Answer {
        self.call("POST", &format!("/v1/responses/{id}/cancel"), b"")
    }

    fn billing(&mut self) -> Billing {
        self.state.billing(self.now)
    }
}

#[test]
fn a_background_response_is_queued_then_in_progress_then_completed() {
    let mut client = Client::new(second());
    let created = client.create();
    assert_eq!((created.status, created.status_text()), (200, "queued"));
    assert_eq!(created.reply.delay, Duration::ZERO);
    let id = created.id();
    assert_eq!(id.len(), "resp_".len() + 48);
    for (at_ms, status) in [
        (49, "queued"),
        (50, "in_progress"),
        (999, "in_progress"),
        (1000, "completed"),
    ] {
        client.now = START + ms(at_ms);
        assert_eq!(client.poll(&id).status_text(), status, "{at_ms} ms");
    }
    let answer = client.poll(&id);
    let text = answer.json["output"][0]["content"][0]["text"]
        .as_str()
        .unwrap_or_default();
    assert!(text.starts_with("## "), "{text}");
    let usage = &answer.json["usage"];
    assert_eq!(usage["input_tokens"], 4, "16 characters");
    assert_eq!(usage["output_tokens"], text.chars().count().div_ceil(4));
    assert_eq!(answer.json["completed_at"], START.as_secs() + 1);
}

#[test]
fn a_response_has_the_fields_of_the_official_client() {
    let mut client = Client::new(second().section("Done."));
    let id = client
        .post(
            &json!({"model": "gpt-5", "input": "x", "instructions": "Be brief.", "background": true,
            "store": true, "metadata": {"generation_id": "g", "step": "write_section_1"}}),
        )
        .id();
    let suffix = id.trim_start_matches("resp_");
    assert_eq!(
        client.wait(ms(1000)).poll(&id).json,
        json!({
            "id": id, "object": "response", "created_at": 1_700_000_000, "status": "completed",
            "background": true, "completed_at": 1_700_000_001, "error": null,
            "incomplete_details": null, "instructions": "Be brief.", "max_output_tokens": null,
            "max_tool_calls": null, "metadata": {"generation_id": "g", "step": "write_section_1"},
            "model": "gpt-5",
            "output": [{"id": format!("msg_{suffix}"), "type": "message", "status": "completed",
                "role": "assistant", "content": [{"type": "output_text", "annotations": [],
                "logprobs": [], "text": "Done."}]}],
            "parallel_tool_calls": true, "previous_response_id": null,
            "reasoning": {"effort": null, "summary": null}, "service_tier": "default",
            "store": true, "temperature": 1.0, "text": {"format": {"type": "text"}},
            "tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled",
            "usage": {"input_tokens": 3, "input_tokens_details": {"cached_tokens": 0,
                "cache_write_tokens": 0}, "output_tokens": 2,
                "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 5},
            "user": null
        })
    );
}

#[test]
fn a_speedup_divides_every_duration() {
    let script =
        second()
            .speedup(100.0)
            .fault(Call::Poll, When::Nth(1), Action::Stall { ms: 500.0 });
    let mut client = Client::new(script.fault(
        Call::Create,
        When::Nth(2),
        Action::RateLimited {
            retry_after_ms: 30_000.0,
        },
    ));
    let id = client.create().id();
    assert_eq!(client.wait(ms(9)).poll(&id).reply.delay, ms(5));
    assert_eq!(client.poll(&id).status_text(), "in_progress");
    assert_eq!(client.wait(ms(1)).poll(&id).status_text(), "completed");
    let limited = client.create();
    assert_eq!(
        (limited.status, limited.header("retry-after-ms")),
        (429, Some("300"))
    );
    assert_eq!(
        limited.header("retry-after"),
        Some("1"),
        "whole seconds, rounded up"
    );
}

#[test]
fn a_blocking_create_is_held_back_until_its_response_is_complete() {
    let mut client = Client::new(second());
    let answer = client.post(&json!({"model": "gpt-5", "input": "Write."}));
    assert_eq!(
        (answer.reply.delay, answer.status_text()),
        (ms(1000), "completed")
    );
    assert_eq!(answer.json["background"], false);
    let id = answer.id();
    assert_eq!(
        client.cancel(&id).status,
        400,
        "only background responses can be cancelled"
    );
    assert_eq!(client.wait(ms(1000)).poll(&id).json, answer.json);
    assert_eq!(client.billing().responses_completed, 1);
    let stats = client.state.stats();
    assert_eq!(stats.completions_seen, 1);
    assert!(stats.completion_lag_ms_total.abs() < 1e-9);
}

#[test]
fn what_was_not_stored_cannot_be_retrieved() {
    let mut client = Client::new(second());
    let id = client
        .post(&json!({"model": "gpt-5", "input": "Write.", "store": false}))
        .id();
    assert_eq!(client.poll(&id).status, 404);
    assert_eq!(client.wait(ms(1000)).billing().responses_completed, 1);
    assert_eq!(client.state.remembered(), 0);
}

#[test]
fn cancelling_ends_a_response_for_good() {
    let mut client = Client::new(second().tokens(Tokens::Fixed {
        input: 100,
        output: 1000,
    }));
    let id = client.create().id();
    let cancelled = client.wait(ms(250)).cancel(&id);
    assert_eq!(
        (cancelled.status, cancelled.status_text()),
        (200, "cancelled")
    );
    assert_eq!(client.wait(ms(5000)).poll(&id).json, cancelled.json);
    assert_eq!(
        client.cancel(&id).json,
        cancelled.json,
        "twice is the same as once"
    );
    let billing = client.billing();
    assert_eq!(
        (billing.responses_cancelled, billing.responses_completed),
        (1, 0)
    );
    assert_eq!((billing.input_tokens, billing.output_tokens), (100, 250));
    assert_eq!(client.state.stats().completions_seen, 0);
}

#[test]
fn cancelling_too_late_shows_the_completed_response() {
    let mut client = Client::new(second());
    let id = client.create().id();
    assert_eq!(client.wait(ms(1000)).cancel(&id).status_text(), "completed");
    assert_eq!(client.billing().responses_cancelled, 0);
}

#[test]
fn requests_that_mean_nothing_get_official_errors() {
    let mut client = Client::new(second());
    for (method, path, body, status, code) in [
        ("GET", "/v1/responses/resp_unknown", "", 404, Value::Null),
        (
            "POST",
            "/v1/responses/resp_unknown/cancel",
            "",
            404,
            Value::Null,
        ),
        ("GET", "/v1/responses", "", 404, Value::Null),
        ("GET", "/v1/responses/", "", 404, Value::Null),
        ("GET", "/v1/responses/a/b", "", 404, Value::Null),
        ("POST", "/v1/responsesx", "{}", 404, Value::Null),
        ("POST", "/v1/responses", "{", 400, Value::Null),
        ("POST", "/v1/responses", "[]", 400, json!("invalid_type")),
        (
            "POST",
            "/v1/responses",
            r#"{"model": 5}"#,
            400,
            json!("invalid_type"),
        ),
        (
            "POST",
            "/v1/responses",
            r#"{"input": ""}"#,
            400,
            json!("missing_required_parameter"),
        ),
        (
            "POST",
            "/v1/responses",
            r#"{"model": ""}"#,
            400,
            json!("missing_required_parameter"),
        ),
        (
            "POST",
            "/v1/chat/completions",
            r#"{"model": "m"}"#,
            400,
            json!("missing_required_parameter"),
        ),
    ] {
        let answer = client.call(method, path, body.as_bytes());
        let error = &answer.json["error"];
        assert_eq!(
            (answer.status, &error["code"]),
            (status, &code),
            "{method} {path} {body}"
        );
        assert_eq!(error["type"], "invalid_request_error");
        assert!(error["message"].is_string() && error.get("param").is_some());
    }
    assert_eq!(client.billing(), Billing::default());
}

#[test]
fn every_answer_has_a_request_id_of_its_own() {
    let mut client = Client::new(second());
    let answers = [
        client.create(),
        client.poll("resp_unknown"),
        client.call("GET", "/v1/models", b""),
        client.create(),
    ];
    let ids: std::collections::BTreeSet<_> = answers
        .iter()
        .map(|answer| answer.header("x-request-id"))
        .collect();
    assert_eq!(ids.len(), answers.len());
}

#[test]
fn a_request_without_a_key_is_unauthorized() {
    let mut client = Client::new(second());
    for authorization in [None, Some("Bearer "), Some("Basic abc")] {
        let request = Request {
            method: "POST",
            path: "/v1/responses",
            query: None,
            authorization,
            body: b"{}",
        };
        assert_eq!(client.state.handle(START, &request).status, 401);
    }
    assert_eq!(client.state.stats().creates, 0);
}

#[test]
fn metadata_beyond_the_official_bounds_is_refused() {
    let mut client = Client::new(second());
    let pairs: serde_json::Map<String, Value> =
        (0..17).map(|n| (n.to_string(), json!(""))).collect();
    for metadata in [
        json!(pairs),
        json!({"k".repeat(65): ""}),
        json!({"k": "v".repeat(513)}),
    ] {
        let answer = client.post(&json!({"model": "m", "input": "", "metadata": metadata}));
        assert_eq!(
            (answer.status, &answer.json["error"]["param"]),
            (400, &json!("metadata"))
        );
    }
}

#[test]
fn an_answer_longer_than_asked_for_is_incomplete() {
    let mut client = Client::new(second().section("x".repeat(400)));
    let id = client
        .post(&json!({"model": "m", "input": "w", "background": true, "max_output_tokens": 25}))
        .id();
    let answer = client.wait(ms(1000)).poll(&id);
    assert_eq!(
        answer.json["incomplete_details"]["reason"],
        "max_output_tokens"
    );
    assert_eq!(
        answer.json["output"][0]["content"][0]["text"],
        "x".repeat(100)
    );
    assert_eq!(answer.json["usage"]["output_tokens"], 25);
}

#[test]
fn an_override_changes_the_calls_it_names() {
    let script = second()
        .with_override(Override {
            which: Which::Step("slow".to_owned()),
            latency: Some(Latency::Fixed { ms: 5000.0 }),
            text: None,
        })
        .with_override(Override {
            which: Which::Nth(2),
            latency: None,
            text: Some("Second.".to_owned()),
        });
    let mut client = Client::new(script);
    let slow =
        json!({"model": "m", "input": "w", "background": true, "metadata": {"step": "slow"}});
    let (slow, second) = (client.post(&slow).id(), client.create().id());
    client.wait(ms(1000));
    assert_eq!(client.poll(&slow).status_text(), "in_progress");
    assert_eq!(
        client.poll(&second).json["output"][0]["content"][0]["text"],
        "Second."
    );
    assert_eq!(client.wait(ms(4000)).poll(&slow).status_text(), "completed");
}

#[test]
fn a_new_script_leaves_responses_as_they_are_and_counts_calls_from_one() {
    let mut client = Client::new(second());
    let first = client.create().id();
    let next = second()
        .seed(9)
        .section("New.")
        .latency(Latency::Fixed { ms: 10.0 })
        .fault(
            Call::Create,
            When::Nth(1),
            Action::ServerError { status: 500 },
        );
    client
        .state
        .set_script(next)
        .expect("a script that can be played");
    assert_eq!(client.create().status, 500);
    let second = client.create().id();
    assert_ne!(first, second);
    client.wait(ms(60));
    assert_eq!(
        client.poll(&second).json["output"][0]["content"][0]["text"],
        "New."
    );
    assert_eq!(client.poll(&first).status_text(), "in_progress");
    assert_eq!(client.billing().responses_created, 2);
}

#[test]
fn an_ended_response_is_kept_for_its_retention_and_no_longer() {
    let mut client = Client::new(Script {
        retention_ms: 600_000.0,
        ..second()
    });
    let id = client.create().id();
    client.wait(ms(1000)).poll(&id);
    assert_eq!(client.wait(ms(600_000)).poll(&id).status, 200);
    assert_eq!(client.wait(ms(1)).poll(&id).status, 404);
    assert_eq!(client.state.remembered(), 0);
}

#[test]
fn a_client_that_attaches_again_reads_the_same_text_thousands_of_responses_later() {
    let mut client = Client::new(second());
    let id = client.create().id();
    let first = client.wait(ms(1000)).poll(&id).json;
    for _ in 0..9_000 {
        let other = client.create().id();
        client.wait(ms(1000)).poll(&other);
    }
    assert_eq!(client.poll(&id).json, first);
}

#[test]
fn memory_stays_bounded_over_a_hundred_thousand_responses() {
    // Every third response is polled, every third cancelled, every third abandoned.
    let mut client = Client::new(second().section("Short."));
    let instructions = "i".repeat(200);
    let mut remembered_max = 0;
    for number in 0..100_000_u32 {
        let body = format!(
            r#"{{"model": "m", "input": "w", "background": true, "instructions": "{instructions}",
                "metadata": {{"generation_id": "{number}"}}}}"#
        );
        let id = client.call("POST", "/v1/responses", body.as_bytes()).id();
        match number % 3 {
            0 => {
                client.wait(ms(1000)).poll(&id);
            }
            1 => {
                client.cancel(&id);
            }
            _ => {}
        }
        remembered_max = remembered_max.max(client.state.remembered());
    }
    assert!(remembered_max <= RESPONSES_MAX, "{remembered_max}");
    assert_eq!(client.wait(ms(1000)).billing().responses_created, 100_000);
    assert!(
        client.state.store.size_bytes() < 20 << 20,
        "{}",
        client.state.store.size_bytes()
    );
}

#[test]
fn large_requests_that_nobody_comes_back_for_stay_within_the_same_memory() {
    let mut client = Client::new(
        second()
            .latency(Latency::Fixed { ms: 0.0 })
            .section("Short."),
    );
    for number in 0..3000_u32 {
        let instructions = format!("{number}{}", "i".repeat(20_000));
        let body =
            json!({"model": "m", "input": "w", "background": true, "instructions": instructions});
        assert_eq!(client.wait(ms(1)).post(&body).status, 200);
    }
    assert_eq!(client.billing().responses_completed, 3000);
    assert!(
        client.state.store.size_bytes() < 11 << 20,
        "{}",
        client.state.store.size_bytes()
    );
    assert!(
        client.state.remembered() > 400,
        "{}",
        client.state.remembered()
    );
}

#[test]
fn a_response_in_progress_is_never_forgotten_for_a_new_one() {
    let mut client = Client::new(
        second()
            .fault(Call::Create, When::Always, Action::NeverEnds)
            .section("."),
    );
    let first = client.create().id();
    for _ in 1..RESPONSES_MAX {
        assert_eq!(client.create().status, 200);
    }
    let refused = client.create();
    assert_eq!(
        (refused.status, &refused.json["error"]["code"]),
        (429, &json!("rate_limit_exceeded"))
    );
    assert_eq!(client.cancel(&first).status_text(), "cancelled");
    assert_eq!(client.create().status, 200, "an ended one makes room");
}
