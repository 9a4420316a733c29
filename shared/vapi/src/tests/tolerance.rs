//! A field of a wrong type or shape never causes a body to be refused.

use serde_json::{Value, json};

use super::{parse_text, received_at, sample, sample_json, stored_text};
use crate::{BadRequest, Event, Message, Parsed, parse};

/// JSON values of every type, including extreme ones.
const WRONG: [&str; 12] = [
    "null",
    "true",
    "-1",
    "1e999",
    "0.5",
    r#""""#,
    r#""text""#,
    r#""\u0000\ud800""#,
    "[]",
    "{}",
    r#"[null,{"type":[]}]"#,
    r#"{"id":{},"number":[],"metadata":3}"#,
];

/// The fields without which a report is refused, also if their values are invalid.
const NEEDED: [&str; 4] = ["/message", "/message/type", "/message/call", "/message/call/id"];

/// Together, these bodies have every field that is read.
const REPORTS: [&str; 2] = ["end-of-call-report.outbound-full", "wild.end-of-call-report.carries-secrets"];

/// The JSON pointers of all fields of an object, to a limited depth. Of a list, only the first item is included.
fn pointers(value: &Value, at: &str, depth: usize) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(name, value)| (format!("{at}/{name}"), value)).collect(),
        Value::Array(items) => items.iter().take(1).map(|item| (format!("{at}/0"), item)).collect(),
        _ => return vec![],
    };
    if depth == 0 {
        return vec![];
    }
    children.into_iter().flat_map(|(at, value)| [vec![at.clone()], pointers(value, &at, depth - 1)].concat()).collect()
}

/// A body in which one field is replaced by JSON that [`Value`] may not be able to represent.
fn with(body: &Value, pointer: &str, json: &str) -> String {
    const PLACEHOLDER: &str = "the-field-to-replace";
    let mut body = body.clone();
    *body.pointer_mut(pointer).unwrap() = json!(PLACEHOLDER);
    body.to_string().replace(&format!("\"{PLACEHOLDER}\""), json)
}

/// Removes the fields that are not read, which only make the test slow.
fn without_bulk(name: &str) -> Value {
    let mut body = sample_json(name);
    for bulk in ["messages", "costs"] {
        body["message"].as_object_mut().unwrap().remove(bulk);
    }
    body["message"]["assistant"].as_object_mut().unwrap().retain(|name, _| name == "id");
    let artifact = body["message"]["artifact"].as_object_mut().unwrap();
    artifact.retain(|name, _| {
        !["variable", "messages", "presigned", "performance"].iter().any(|bulk| name.starts_with(bulk))
    });
    body
}

#[test]
fn no_wrong_field_refuses_a_report() {
    for name in REPORTS {
        let body = without_bulk(name);
        let fields = pointers(&body, "", 5);
        assert!(fields.len() > 50);
        for field in fields.iter().filter(|field| !NEEDED.contains(&field.as_str())) {
            for wrong in WRONG {
                let parsed = parse_text(&with(&body, field, wrong));
                let Ok(Parsed { message: Message::Stored(stored), .. }) = parsed else {
                    panic!("{name} with {field} = {wrong}: {parsed:?}");
                };
                // The event may be queued and must be readable again.
                let queued = serde_json::to_string(&stored).unwrap();
                let read_back = serde_json::from_str(&queued);
                assert_eq!(read_back.ok(), Some(stored), "{name} with {field} = {wrong}: {queued}");
            }
        }
    }
}

/// The SQL statement and the queue must have the same number: if the cost changed in the queue, one key would have two
/// facts.
#[test]
fn a_cost_survives_the_queue_to_the_last_digit() {
    for cost in [0.477_000_000_000_000_04, 0.1 + 0.2, 0.1 + 0.7, 1.0 / 3.0, 0.037, 1e-7] {
        let body = json!({"message": {"type": "end-of-call-report", "cost": cost, "call": {"id": "c"}}});
        let stored = stored_text(&body.to_string());
        let Event::EndOfCallReport(report) = &stored.event else { panic!() };
        assert_eq!(report.cost, Some(cost));
        let read_back: crate::StoredEvent = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();
        assert_eq!(read_back, stored, "{cost}");
    }
}

#[test]
fn a_missing_variable_is_reported_by_name() {
    let body = without_bulk(REPORTS[0]);
    for (field, refusal) in [
        ("/message", BadRequest::MessageTypeMissing),
        ("/message/type", BadRequest::MessageTypeMissing),
        ("/message/call", BadRequest::CallIdMissing),
        ("/message/call/id", BadRequest::CallIdMissing),
    ] {
        for wrong in ["null", "[]", "7", "1e999"] {
            assert_eq!(parse_text(&with(&body, field, wrong)).unwrap_err(), refusal, "{field} = {wrong}");
        }
    }
}

#[test]
fn the_wrong_field_is_named() {
    let body = sample_json("end-of-call-report.outbound-full");
    for (pointer, path) in [
        ("/message/cost", "cost"),
        ("/message/endedAt", "endedAt"),
        ("/message/customer/number", "customer.number"),
        ("/message/call/createdAt", "call.createdAt"),
        ("/message/analysis/structuredData", "analysis.structuredData"),
    ] {
        assert_eq!(parse_text(&with(&body, pointer, "false")).unwrap().unreadable, [path]);
    }
}

#[test]
fn no_message_of_any_type_is_refused_for_a_field_of_its_own() {
    for name in ["status-update.forwarding", "transcript.user-final", "tool-calls.multiple", "call.artifact.upload"] {
        let body = sample_json(name);
        let fields = body["message"].as_object().unwrap().keys().map(|field| format!("/message/{field}"));
        for field in fields.filter(|field| !NEEDED.contains(&field.as_str())) {
            for wrong in WRONG {
                assert!(parse_text(&with(&body, &field, wrong)).is_ok(), "{name} with {field} = {wrong}");
            }
        }
    }
}

#[test]
fn depth_in_any_field_neither_refuses_nor_overflows() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = without_bulk("end-of-call-report.outbound-full");
    for field in ["/message/cost", "/message/summary", "/message/artifact", "/message/call/assistantOverrides/metadata"]
    {
        assert!(parse_text(&with(&body, field, &deep)).is_ok(), "{field}");
    }
}

#[test]
fn characters_that_postgres_cannot_store_are_replaced() {
    let text = r#""a\u0000b\ud800c\\u0000""#;
    let body = with(&sample_json("transcript.user-final"), "/message/transcript", text);
    let Event::Transcript(transcript) = stored_text(&body).event else { panic!() };
    assert_eq!(transcript.text.expose(), "a\u{fffd}b\u{fffd}c\\u0000");
}

#[test]
fn invalid_utf_8_is_replaced() {
    let body = sample("transcript.user-final").replace("Hi,", "H@,");
    let bytes: Vec<u8> = body.bytes().map(|byte| if byte == b'@' { 0xff } else { byte }).collect();
    assert!(parse(&bytes, received_at()).is_ok());
}

#[test]
fn the_last_of_duplicate_fields_counts() {
    let body =
        r#"{"message":{"type":"hang","type":"status-update","status":"ended","status":"ringing","call":{"id":"c"}}}"#;
    let Event::CallStarted(update) = stored_text(body).event else { panic!() };
    assert_eq!(update.status, "ringing");
}
