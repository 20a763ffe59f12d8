//! Streams of ended responses, and chat completions.

use super::*;

/// The data of every event.
fn events(answer: &Answer) -> Vec<Value> {
    let text = String::from_utf8_lossy(&answer.reply.body);
    text.lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .collect()
}

fn joined(events: &[Value], pointer: &str) -> String {
    let pieces = events
        .iter()
        .filter_map(|event| event.pointer(pointer)?.as_str());
    pieces.collect()
}

#[test]
fn a_finished_response_is_streamed_from_where_the_client_left_off() {
    let mut client = Client::new(second());
    let id = client.create().id();
    client.wait(ms(1000));
    let text = client.poll(&id).json["output"][0]["content"][0]["text"].clone();
    let whole = client.call("GET", &format!("/v1/responses/{id}?stream=true"), b"");
    assert_eq!(whole.reply.content_type, "text/event-stream; charset=utf-8");
    assert_eq!(whole.reply.delay, Duration::ZERO);
    let all = events(&whole);
    let numbers: Vec<_> = all
        .iter()
        .map(|event| event["sequence_number"].clone())
        .collect();
    assert_eq!(
        numbers,
        (0..all.len()).map(|n| json!(n)).collect::<Vec<_>>()
    );
    assert_eq!(all[0]["type"], "response.created");
    assert_eq!(all[all.len() - 1]["type"], "response.completed");
    assert_eq!(json!(joined(&all, "/delta")), text);

    let path = format!("/v1/responses/{id}?stream=true&starting_after=3");
    let rest = client.call("GET", &path, b"");
    assert_eq!(events(&rest), all[4..]);
}

#[test]
fn the_stream_of_a_response_in_progress_is_held_back_until_it_ends() {
    let mut client = Client::new(second());
    let id = client.create().id();
    client.wait(ms(400));
    let stream = client.call("GET", &format!("/v1/responses/{id}?stream=true"), b"");
    assert_eq!(stream.reply.delay, ms(600));
    let last = events(&stream).pop().expect("it has events");
    assert_eq!(last["type"], "response.completed");
    client.wait(ms(600)).billing();
    assert_eq!(client.state.stats().completions_seen, 1);
}

#[test]
fn a_response_that_failed_says_so_at_the_end_of_its_stream() {
    let failed = Action::Failed {
        code: "server_error".to_owned(),
    };
    let mut client = Client::new(second().fault(Call::Create, When::Always, failed));
    let body = json!({"model": "m", "input": "w", "stream": true});
    let stream = client.post(&body);
    assert_eq!((stream.status, stream.reply.delay), (200, ms(1000)));
    let last = events(&stream).pop().expect("it has events");
    assert_eq!(last["type"], "response.failed");
    assert_eq!(last["response"]["error"]["code"], "server_error");
}

#[test]
fn a_chat_completion_blocks_and_is_billed() {
    let mut client = Client::new(second().section("All of it."));
    let mut body = json!({"model": "gpt-5", "messages": [{"role": "user", "content": "Write."}]});
    let path = "/v1/chat/completions";
    let answer = client.call("POST", path, body.to_string().as_bytes());
    assert_eq!((answer.status, answer.reply.delay), (200, ms(1000)));
    let choice = &answer.json["choices"][0];
    assert_eq!(choice["message"]["content"], "All of it.");
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(answer.json["object"], "chat.completion");
    assert_eq!(answer.json["usage"]["prompt_tokens"], 2);

    body["stream"] = json!(true);
    let stream = client.call("POST", path, body.to_string().as_bytes());
    assert_eq!(
        joined(&events(&stream), "/choices/0/delta/content"),
        "All of it."
    );
    assert!(stream.reply.body.ends_with(b"data: [DONE]\n\n"));

    body["stream"] = json!(false);
    body["max_completion_tokens"] = json!(1);
    let short = client.call("POST", path, body.to_string().as_bytes());
    assert_eq!(short.json["choices"][0]["finish_reason"], "length");
    client.wait(ms(1000));
    assert_eq!(client.billing().responses_created, 3);
    assert_eq!(client.billing().responses_completed, 2);
}

#[test]
fn a_chat_completion_without_messages_is_told_which_parameter_is_missing() {
    let mut client = Client::new(second());
    let answer = client.call("POST", "/v1/chat/completions", br#"{"model": "gpt-5"}"#);
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json["error"]["param"], "messages");
    assert_eq!(
        answer.json["error"]["message"],
        "Missing required parameter: 'messages'."
    );
}
