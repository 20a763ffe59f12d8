//! Tables and properties of the state machine.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::openai::rate_limit::RateLimits;
use crate::openai::script::{Fault, Latency, When};

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
        let request = Request {
            method,
            path,
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
            "/v1/responses",
            r#"{"model": "m", "input": "", "stream": true}"#,
            400,
            json!("unsupported_parameter"),
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
fn a_request_without_a_key_is_unauthorized() {
    let mut client = Client::new(second());
    for authorization in [None, Some("Bearer "), Some("Basic abc")] {
        let request = Request {
            method: "POST",
            path: "/v1/responses",
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
fn refused_creates_are_not_billed_and_lost_answers_are() {
    for (action, status, created) in [
        (
            Action::RateLimited {
                retry_after_ms: 1.0,
            },
            429,
            0,
        ),
        (Action::ServerError { status: 503 }, 503, 0),
        (Action::Stall { ms: 60_000.0 }, 200, 1),
        (Action::Garbage, 200, 1),
        (Action::Expired, 200, 1),
        (Action::NeverEnds, 200, 1),
    ] {
        let mut client = Client::new(second().fault(Call::Create, When::Nth(1), action.clone()));
        assert_eq!(client.create().status, status, "{action:?}");
        assert_eq!(client.billing().responses_created, created, "{action:?}");
        assert_eq!(client.state.stats().faults, 1);
        assert_eq!(client.create().status, 200, "the second is as usual");
    }
}

#[test]
fn responses_end_as_faults_on_their_creation_say() {
    let reason = "content_filter".to_owned();
    let code = "server_error".to_owned();
    for on in [Call::Create, Call::Poll] {
        let incomplete = Action::Incomplete {
            reason: reason.clone(),
        };
        let mut client = Client::new(second().fault(on, When::Always, incomplete));
        let id = client.create().id();
        let answer = client.wait(ms(1000)).poll(&id);
        if on == Call::Create {
            assert_eq!(answer.status_text(), "incomplete");
            assert_eq!(answer.json["incomplete_details"], json!({"reason": reason}));
            assert_eq!(answer.json["output"][0]["status"], "incomplete");
            assert_eq!(client.billing().responses_incomplete, 1);
        } else {
            assert_eq!(
                answer.status_text(),
                "completed",
                "it had ended before the poll"
            );
        }

        let mut client =
            Client::new(second().fault(on, When::Always, Action::Failed { code: code.clone() }));
        let id = client.create().id();
        if on == Call::Create {
            client.wait(ms(1000));
        }
        let answer = client.poll(&id);
        assert_eq!(answer.status_text(), "failed");
        assert_eq!(answer.json["error"]["code"], code);
        assert_eq!(
            (&answer.json["output"], &answer.json["usage"]),
            (&json!([]), &Value::Null)
        );
        let billing = client.wait(ms(5000)).billing();
        assert_eq!((billing.responses_failed, billing.output_tokens), (1, 0));
    }
}

#[test]
fn an_expired_response_is_not_found_but_paid() {
    for on in [Call::Create, Call::Poll] {
        let mut client = Client::new(second().fault(on, When::Nth(1), Action::Expired));
        let id = client.create().id();
        for _ in 0..3 {
            assert_eq!(client.poll(&id).status, 404);
            client.wait(ms(1000));
        }
        let billing = client.billing();
        assert_eq!(
            (billing.responses_created, billing.responses_completed),
            (1, 1)
        );
        assert_eq!(client.state.remembered(), 0);
    }
}

#[test]
fn a_never_ending_response_ends_only_by_cancelling() {
    for on in [Call::Create, Call::Poll] {
        let mut client = Client::new(second().fault(on, When::Nth(1), Action::NeverEnds));
        let id = client.create().id();
        client.poll(&id);
        assert_eq!(client.wait(FOREVER).poll(&id).status_text(), "in_progress");
        assert_eq!(client.cancel(&id).status_text(), "cancelled");
    }
}

#[test]
fn garbage_is_no_json_and_tells_nobody_the_end() {
    let mut client = Client::new(second().fault(Call::Poll, When::Nth(1), Action::Garbage));
    let id = client.create().id();
    let answer = client.wait(ms(1000)).poll(&id);
    assert_eq!((answer.status, answer.json), (200, Value::Null));
    assert_eq!(client.state.stats().completions_seen, 0);
    assert_eq!(client.wait(ms(40)).poll(&id).status_text(), "completed");
    let stats = client.state.stats();
    assert_eq!(stats.completions_seen, 1);
    assert!((stats.completion_lag_ms_total - 40.0).abs() < 1e-6);
    assert!((stats.scripted_latency_ms_total - 1000.0).abs() < 1e-6);
}

#[test]
fn a_refusal_by_the_limits_tells_when_to_come_back() {
    let limits = RateLimits {
        requests_per_minute: 2,
        tokens_per_minute: 1_000_000,
    };
    let mut client = Client::new(second().rate_limits(limits).speedup(10.0));
    assert_eq!(
        client.create().header("x-ratelimit-remaining-requests"),
        Some("1")
    );
    assert_eq!(
        client.create().header("x-ratelimit-reset-requests"),
        Some("6s")
    );
    let refused = client.create();
    assert_eq!(
        (refused.status, refused.header("retry-after-ms")),
        (429, Some("3000"))
    );
    assert_eq!(refused.json["error"]["code"], "rate_limit_exceeded");
    assert_eq!(client.billing().responses_created, 2);
    assert_eq!(client.wait(ms(3000)).create().status, 200);
    assert_eq!(client.state.stats().rate_limited, 1);
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

/// What a client may do in a property.
#[derive(Clone, Debug)]
enum Step {
    Create {
        blocking: bool,
    },
    Poll(usize),
    Cancel(usize),
    Wait(u16),
    /// The clock is read backwards.
    Back(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => any::<bool>().prop_map(|blocking| Step::Create { blocking }),
        5 => (0_usize..8).prop_map(Step::Poll),
        1 => (0_usize..8).prop_map(Step::Cancel),
        3 => (0_u16..900).prop_map(Step::Wait),
        1 => (0_u16..900).prop_map(Step::Back),
    ];
    prop::collection::vec(step, 1..60)
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let action = prop_oneof![
        Just(Action::RateLimited {
            retry_after_ms: 10.0
        }),
        Just(Action::ServerError { status: 500 }),
        Just(Action::Stall { ms: 300.0 }),
        Just(Action::Garbage),
        Just(Action::Incomplete {
            reason: "content_filter".to_owned()
        }),
        Just(Action::Failed {
            code: "server_error".to_owned()
        }),
        Just(Action::Expired),
        Just(Action::NeverEnds),
    ];
    let on = prop_oneof![Just(Call::Create), Just(Call::Poll)];
    let when = prop_oneof![
        (1_u64..5).prop_map(When::Nth),
        (2_u64..4).prop_map(When::Every),
        (0.0..0.5).prop_map(When::Probability),
    ];
    prop::collection::vec(
        (on, when, action).prop_map(|(on, when, action)| Fault::new(on, when, action)),
        0..4,
    )
}

/// Plays steps; gives each reply and the ids that were given out.
fn play(script: Script, steps: &[Step]) -> (Client, Vec<Answer>, Vec<String>) {
    let mut client = Client::new(script);
    let (mut answers, mut ids) = (Vec::new(), Vec::<String>::new());
    for step in steps {
        let named = |index: usize| {
            ids.get(index)
                .cloned()
                .unwrap_or_else(|| "resp_unknown".to_owned())
        };
        let answer = match *step {
            Step::Create { blocking } => {
                let answer =
                    client.post(&json!({"model": "m", "input": "w", "background": !blocking}));
                if !answer.id().is_empty() {
                    ids.push(answer.id());
                }
                answer
            }
            Step::Poll(index) => client.poll(&named(index)),
            Step::Cancel(index) => client.cancel(&named(index)),
            Step::Wait(by) => {
                client.wait(ms(by.into()));
                continue;
            }
            Step::Back(by) => {
                client.now -= ms(by.into());
                continue;
            }
        };
        answers.push(answer);
    }
    (client, answers, ids)
}

fn is_terminal(status: &str) -> bool {
    matches!(status, "completed" | "incomplete" | "failed" | "cancelled")
}

proptest! {
    #[test]
    fn the_same_seed_and_calls_give_the_same_replies(seed: u64, faults in faults(), steps in steps()) {
        let script = Script { faults, ..second() }
            .seed(seed)
            .latency(Latency::LogNormal { median_ms: 700.0, sigma: 0.8 });
        let (_, first, _) = play(script.clone(), &steps);
        let (_, second, _) = play(script, &steps);
        for (first, second) in first.iter().zip(&second) {
            prop_assert_eq!(&first.reply, &second.reply);
        }
    }

    #[test]
    fn a_response_ends_exactly_once_and_never_changes_again(faults in faults(), steps in steps()) {
        let (_, answers, ids) = play(Script { faults, ..second() }, &steps);
        for id in ids {
            let shown: Vec<&Value> =
                answers.iter().map(|answer| &answer.json).filter(|json| json["id"] == id.as_str()).collect();
            // A blocking create shows the end in advance: its own answer is a second late.
            let background = shown.first().is_some_and(|json| json["background"] == true);
            let ended: Vec<&Value> = shown
                .iter()
                .copied()
                .filter(|json| is_terminal(json["status"].as_str().unwrap_or_default()))
                .collect();
            prop_assert!(ended.windows(2).all(|pair| pair[0] == pair[1]) || !background);
            if let Some(at) = shown.iter().position(|json| is_terminal(json["status"].as_str().unwrap_or_default()))
                && background
            {
                prop_assert_eq!(shown.len() - at, ended.len());
            }
        }
    }

    #[test]
    fn the_bill_counts_every_create_once(faults in faults(), steps in steps()) {
        let (mut client, answers, _) = play(Script { faults, ..second() }, &steps);
        let accepted = answers.iter().filter(|answer| answer.status == 200).count();
        client.now = client.now.max(START) + ms(60_000_000);
        let billing = client.billing();
        let stats = client.state.stats();
        let ended = billing.responses_completed
            + billing.responses_incomplete
            + billing.responses_failed
            + billing.responses_cancelled;
        prop_assert!(ended <= billing.responses_created);
        prop_assert!(billing.responses_created <= stats.creates);
        prop_assert!(stats.completions_seen <= ended);
        prop_assert!(accepted as u64 <= stats.creates + stats.polls + stats.cancels);
        prop_assert_eq!(client.billing(), billing, "looking changes nothing");
    }

    #[test]
    fn without_faults_all_that_was_created_ends(steps in steps()) {
        let (mut client, _, ids) = play(second(), &steps);
        client.now = client.now.max(START) + ms(60_000_000);
        let billing = client.billing();
        prop_assert_eq!(billing.responses_created, ids.len() as u64);
        prop_assert_eq!(billing.responses_completed + billing.responses_cancelled, ids.len() as u64);
        for id in ids {
            let answer = client.poll(&id);
            prop_assert!(is_terminal(answer.status_text()));
        }
    }

    #[test]
    fn time_never_goes_back(latency_ms in 1_u32..2000, back_ms in 1_u64..1_000_000) {
        let script = second().latency(Latency::Fixed { ms: f64::from(latency_ms) });
        let mut client = Client::new(script);
        let id = client.create().id();
        let ended = client.wait(ms(u64::from(latency_ms))).poll(&id).json;
        client.now -= ms(back_ms);
        prop_assert_eq!(client.poll(&id).json, ended);
        let created_at = client.create().json["created_at"].as_u64();
        prop_assert!(created_at >= Some(START.as_secs()));
    }

    #[test]
    fn the_lag_is_the_time_from_the_end_to_the_first_poll_after_it(
        latency_ms in 1_u32..5000, poll_ms in 1_u64..700, speedup in 1_u32..50,
    ) {
        let script = second()
            .latency(Latency::Fixed { ms: f64::from(latency_ms * speedup) })
            .speedup(f64::from(speedup));
        let mut client = Client::new(script);
        let id = client.create().id();
        while client.wait(ms(poll_ms)).poll(&id).status_text() != "completed" {}
        client.wait(ms(poll_ms)).poll(&id);
        let lag_ms = (client.now - START).as_millis() as f64 - poll_ms as f64 - f64::from(latency_ms);
        let stats = client.state.stats();
        prop_assert_eq!(stats.completions_seen, 1);
        prop_assert!((stats.completion_lag_ms_total - lag_ms).abs() < 1e-3);
        prop_assert!(lag_ms < poll_ms as f64);
        prop_assert!((stats.scripted_latency_ms_total - f64::from(latency_ms)).abs() < 1e-3);
    }

    #[test]
    fn no_path_and_no_body_breaks_it(method in "GET|POST|DELETE", path in "(/v1)?(/responses)?[/a-z_]{0,20}", body: Vec<u8>) {
        let mut client = Client::new(second());
        let answer = client.call(&method, &path, &body);
        prop_assert!((400..500).contains(&answer.status));
        prop_assert!(answer.json["error"]["message"].is_string());
    }
}
