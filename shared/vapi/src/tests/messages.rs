//! Message types, and the facts that all messages have.

use serde_json::{Value, json};

use super::{parse_json, parse_text, sample_json, stored};
use crate::{BadRequest, CallFacts, Event, Function, Message};

fn message(mut message: Value) -> Value {
    if message.get("call").is_none() {
        message["call"] = json!({"id": "call-1"});
    }
    json!({ "message": message })
}

fn call(body: &Value) -> CallFacts {
    stored(body).event.call().clone()
}

#[test]
fn invalid_json_is_refused() {
    for body in ["", "{", "nonsense", "{\"message\":{\"type\":\"hang\"}} trailing", "{\"a\":\"raw\u{0}nul\"}"] {
        assert_eq!(parse_text(body).unwrap_err(), BadRequest::NotJson, "{body}");
    }
}

#[test]
fn a_body_without_a_type_is_refused() {
    for body in ["7", "[]", "{}", r#"{"message":7}"#, r#"{"message":{"type":null}}"#, r#"{"message":{"type":""}}"#] {
        assert_eq!(parse_text(body).unwrap_err(), BadRequest::MessageTypeMissing, "{body}");
    }
}

#[test]
fn every_stored_type_needs_a_usable_call_id() {
    for name in ["status-update", "transcript", "end-of-call-report", "hang", "call.deleted", "call.artifact.upload"] {
        for id in [json!(null), json!(7), json!(""), json!("a b"), json!("x".repeat(129))] {
            let body = json!({"message": {"type": name, "call": {"id": id}}});
            assert_eq!(parse_text(&body.to_string()).unwrap_err(), BadRequest::CallIdMissing, "{body}");
        }
    }
}

#[test]
fn no_other_type_needs_a_call_id() {
    for name in ["assistant-request", "tool-calls", "voice-request", "speech-update", "something.new"] {
        assert!(parse_text(&json!({"message": {"type": name}}).to_string()).is_ok(), "{name}");
    }
    let partial = json!({"message": {"type": "transcript", "transcriptType": "partial"}});
    assert!(matches!(parse_json(&partial).message, Message::Informational));
}

#[test]
fn a_type_is_printed_only_if_it_is_short_and_safe() {
    for (name, printed) in [
        ("something.new", "something.new"),
        ("transcript[transcriptType=\"final\"]", "transcript"),
        ("evil\ntype", "unknown"),
        ("+1 555 555 0142", "unknown"),
        (&"x".repeat(65), "unknown"),
    ] {
        assert_eq!(parse_json(&message(json!({"type": name}))).message_type, printed);
    }
}

#[test]
fn simulations_post_without_an_envelope() {
    let parsed = parse_json(&json!({"type": "simulation.run.started", "simulationId": "s"}));
    assert_eq!(parsed.message_type, "simulation.run.started");
    assert!(matches!(parsed.message, Message::Informational));
    let enveloped = json!({"type": "simulation.run.started", "message": {"type": "voice-request"}});
    assert!(matches!(parse_json(&enveloped).message, Message::NotServed));
}

#[test]
fn documented_types_are_not_unknown() {
    for name in ["campaign.started", "contact.failed", "session.deleted", "chat.deleted", "language-changed"] {
        assert!(matches!(parse_json(&message(json!({"type": name}))).message, Message::Informational), "{name}");
    }
    assert!(matches!(parse_json(&message(json!({"type": "voice-request"}))).message, Message::NotServed));
}

#[test]
fn a_status_decides_the_event() {
    for (status, function, is_timeline) in [
        (json!("scheduled"), Function::CallStarted, false),
        (json!("forwarding"), Function::CallStarted, false),
        (json!("paused"), Function::CallStarted, false),
        (json!(7), Function::CallStarted, false),
        (json!("ended"), Function::CallEnded, false),
        (json!("not-found"), Function::CallEnded, true),
        (json!("deletion-failed"), Function::CallEnded, true),
    ] {
        let event = stored(&message(json!({"type": "status-update", "status": status}))).event;
        assert_eq!(event.function(), function, "{status}");
        assert_eq!(matches!(event, Event::CallEvent(_)), is_timeline, "{status}");
    }
}

#[test]
fn a_status_update_has_its_reason_and_destination() {
    let Event::CallStarted(update) = stored(&sample_json("status-update.forwarding")).event else { panic!() };
    assert_eq!(update.destination.unwrap().expose(), "+15555550155");
    let Event::CallEnded(update) = stored(&sample_json("status-update.ended")).event else { panic!() };
    let update = serde_json::to_value(update).unwrap();
    assert_eq!(update["ended_reason"], "customer-ended-call");
    assert_eq!(update["reason_family"], "customer-ended");
}

#[test]
fn the_timeline_shows_a_few_safe_values() {
    for (sample, detail) in [
        ("assistant.started", json!({"to_assistant": "Acme front desk"})),
        ("call.deleted", json!({})),
        ("hang", json!({})),
        ("language-change-detected", json!({"language": "es"})),
        ("transfer-update.number", json!({"destination": "+15555550155"})),
        ("user-interrupted", json!({"turn_id": "019dbd52-0c28-76af-8a53-e86c5707ec85"})),
    ] {
        let event = serde_json::to_value(stored(&sample_json(sample)).event).unwrap();
        assert_eq!(event["detail"], detail, "{sample}");
    }
    let event = serde_json::to_value(stored(&sample_json("call.artifact.upload")).event).unwrap();
    assert_eq!(event["detail"]["artifacts"][4], json!({"type": "log", "success": false}));
}

#[test]
fn the_facts_of_a_call_are_read() {
    let facts = serde_json::to_value(call(&sample_json("status-update.ringing"))).unwrap();
    assert_eq!(
        facts,
        json!({
            "id": "019daeed-c7be-7e60-9f29-73769f0b7791",
            "type": "outboundPhoneCall",
            "direction": "outbound",
            "created_at": "2026-09-14T15:02:11.48Z",
            "assistant_id": "4dac6abb-472a-4a1d-8f6c-c2ed74e2cf44",
            "phone_number_id": "54b9aa37-92a5-48a6-856d-2d3cc4a27f48",
            "our_number": "+15555550100",
            "customer_number": "+15555550189",
            "customer_name": "Dana Example",
            "customer_external_id": "crm-4471",
            "metadata": {"tenant": "acme", "leadId": "lead_4471"},
        })
    );
}

#[test]
fn the_message_has_priority_over_the_stale_call() {
    let facts = call(&message(json!({
        "type": "hang",
        "customer": {"number": "+1 (555) 555-0001"},
        "phoneNumber": {"id": "number-1", "number": "+15555550002"},
        "assistant": {"id": "assistant-1"},
        "call": {
            "id": "call-1",
            "customer": {"number": "+15555550003"},
            "phoneNumberId": "number-2",
            "phoneNumber": {"number": "+15555550004"},
        },
    })));
    assert_eq!(facts.customer_number.unwrap().expose(), "+15555550001");
    assert_eq!(facts.phone_number_id.unwrap(), "number-1");
    assert_eq!(facts.our_number.unwrap().expose(), "+15555550002");
    assert_eq!(facts.assistant_id.unwrap(), "assistant-1");
}

#[test]
fn the_call_supplies_missing_facts() {
    let facts = call(&message(json!({
        "type": "hang",
        "customer": {"sipUri": "sip:sam@pbx.example.com"},
        "call": {
            "id": "call-1",
            "type": "vapi.websocketCall",
            "assistantId": "assistant-1",
            "squadId": "squad-1",
            "phoneNumberId": "number-1",
            "phoneNumber": {"number": "+15555550004"},
        },
    })));
    assert_eq!(facts.customer_number.unwrap().expose(), "sip:sam@pbx.example.com");
    assert_eq!(facts.phone_number_id.unwrap(), "number-1");
    assert_eq!(facts.our_number.unwrap().expose(), "+15555550004");
    assert_eq!((facts.assistant_id.unwrap(), facts.squad_id.unwrap()), ("assistant-1".into(), "squad-1".into()));
    assert_eq!(facts.direction, Some(crate::Direction::Web));
}

#[test]
fn only_a_true_flag_makes_a_test_call() {
    for (flag, is_test) in [(json!(true), true), (json!("true"), false), (json!(1), false), (json!(null), false)] {
        let overrides = json!({"metadata": {"is_test_call": flag}});
        let facts = call(&message(json!({"type": "hang", "call": {"id": "c", "assistantOverrides": overrides}})));
        assert_eq!(facts.is_test, is_test, "{flag}");
        assert_eq!(serde_json::to_value(facts).unwrap().get("is_test").is_some(), is_test, "{flag}");
    }
}

#[test]
fn metadata_is_limited() {
    let deep = (0..33).fold(json!({}), |inner, _| json!({"a": inner}));
    let large = json!({"a": "x".repeat(16 * 1024)});
    for metadata in [deep, large, json!("text"), json!([1])] {
        let body = message(json!({"type": "hang", "call": {"id": "c", "assistantOverrides": {"metadata": metadata}}}));
        assert_eq!(call(&body).metadata, None);
        assert_eq!(parse_json(&body).unreadable, ["call.assistantOverrides.metadata"]);
    }
    let body = message(json!({"type": "hang", "call": {"id": "c", "metadata": {"tenant": "acme"}}}));
    assert_eq!(call(&body).metadata.unwrap().expose()["tenant"], "acme");
}

#[test]
fn only_an_explicit_type_makes_a_transcript_partial() {
    for (kind, is_partial) in
        [(json!("final"), false), (json!(null), false), (json!(7), false), (json!("partial"), true)]
    {
        let body = message(json!({"type": "transcript", "transcriptType": kind, "transcript": "Yes."}));
        assert_eq!(matches!(parse_json(&body).message, Message::Partial(_)), is_partial, "{kind}");
    }
    let literal = json!({"type": "transcript[transcriptType=\"final\"]", "transcriptType": "partial"});
    assert!(matches!(parse_json(&message(literal)).message, Message::Stored(_)));
}
