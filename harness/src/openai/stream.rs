//! A response as the server-sent events of the Responses API.
//!
//! Nothing is streamed while it is written: a stream begins when its response has ended, and then
//! holds all events, or those after `starting_after`. Names and shapes follow the official client's
//! types (`openai` for Python, `types/responses/response_stream_event.py`).

use serde_json::{Value, json};

/// What answers that are event streams are labelled with.
pub(super) const CONTENT_TYPE: &str = "text/event-stream; charset=utf-8";

/// Characters of one piece of text.
const DELTA_CHARS: usize = 400;

/// All events of an ended response's JSON whose number is above `starting_after`.
pub(super) fn events(response: &[u8], starting_after: Option<u64>) -> Vec<u8> {
    let ended: Value = serde_json::from_slice(response).unwrap_or_default();
    let mut begun = ended.clone();
    for (key, value) in [
        ("status", json!("in_progress")),
        ("output", json!([])),
        ("usage", Value::Null),
        ("error", Value::Null),
        ("incomplete_details", Value::Null),
        ("completed_at", Value::Null),
    ] {
        begun[key] = value;
    }
    let mut events = vec![
        ("response.created", json!({"response": begun})),
        ("response.in_progress", json!({"response": begun})),
    ];
    if let Some(item) = ended.pointer("/output/0") {
        message_events(item, &mut events);
    }
    let last = match ended["status"].as_str() {
        Some("completed") => Some("response.completed"),
        Some("incomplete") => Some("response.incomplete"),
        Some("failed") => Some("response.failed"),
        // The stream of a cancelled response just ends.
        _ => None,
    };
    events.extend(last.map(|name| (name, json!({"response": ended}))));

    let mut text = String::new();
    for (number, (name, mut data)) in (0_u64..).zip(events) {
        if starting_after.is_some_and(|after| number <= after) {
            continue;
        }
        data["type"] = json!(name);
        data["sequence_number"] = json!(number);
        text.push_str(&format!("event: {name}\ndata: {data}\n\n"));
    }
    text.into_bytes()
}

/// The events of the one message of a response.
fn message_events(item: &Value, events: &mut Vec<(&'static str, Value)>) {
    let id = &item["id"];
    let part = &item["content"][0];
    let text = part["text"].as_str().unwrap_or_default();
    let mut begun = item.clone();
    begun["status"] = json!("in_progress");
    begun["content"] = json!([]);
    let mut empty = part.clone();
    empty["text"] = json!("");
    events.push((
        "response.output_item.added",
        json!({"output_index": 0, "item": begun}),
    ));
    events.push((
        "response.content_part.added",
        json!({"item_id": id, "output_index": 0, "content_index": 0, "part": empty}),
    ));
    for delta in pieces(text) {
        events.push((
            "response.output_text.delta",
            json!({"item_id": id, "output_index": 0, "content_index": 0, "delta": delta,
                "logprobs": []}),
        ));
    }
    events.push((
        "response.output_text.done",
        json!({"item_id": id, "output_index": 0, "content_index": 0, "text": text,
            "logprobs": []}),
    ));
    events.push((
        "response.content_part.done",
        json!({"item_id": id, "output_index": 0, "content_index": 0, "part": part}),
    ));
    events.push((
        "response.output_item.done",
        json!({"output_index": 0, "item": item}),
    ));
}

/// A text in pieces that, joined, give it again.
pub(super) fn pieces(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let pieces = chars.chunks(DELTA_CHARS);
    pieces.map(|piece| piece.iter().collect()).collect()
}
