//! The sources of a report's fields.

use serde_json::{Value, json};

use super::{parse_json, report, sample_json};
use crate::{Message, Report, parse};

fn body(mut message: Value) -> Value {
    message["type"] = json!("end-of-call-report");
    if message.get("call").is_none() {
        message["call"] = json!({"id": "call-1"});
    }
    json!({ "message": message })
}

fn read(message: Value) -> Report {
    report(&body(message))
}

#[test]
fn a_full_report_is_read_whole() {
    let report = serde_json::to_value(report(&sample_json("end-of-call-report.inbound-full"))).unwrap();
    for (field, value) in [
        ("event_type", json!("end-of-call-report")),
        ("message_time", json!("2026-09-14T15:02:36.38Z")),
        ("ended_reason", json!("customer-ended-call")),
        ("reason_family", json!("customer-ended")),
        ("started_at", json!("2026-09-14T15:02:15.48Z")),
        ("ended_at", json!("2026-09-14T15:02:32.78Z")),
        ("duration_seconds", json!(17)),
        ("cost", json!(0.037)),
        ("success_evaluation", json!("true")),
    ] {
        assert_eq!(report[field], value, "{field}");
    }
    assert_eq!(report["cost_breakdown"]["llmPromptTokens"], json!(1830));
    assert_eq!(report["cost_breakdown"]["analysisCostBreakdown"]["summary"], json!(0.0006));
    assert_eq!(report["structured_data"]["appointment"]["time"], "10:00");
    assert!(report["transcript"].as_str().unwrap().starts_with("AI: Acme Plumbing"));
    assert!(report["recording_url"].as_str().unwrap().ends_with("-mono.wav"));
    assert!(report["stereo_recording_url"].as_str().unwrap().ends_with("-stereo.wav"));
}

#[test]
fn an_unanswered_call_has_few_facts() {
    let report = serde_json::to_value(report(&sample_json("end-of-call-report.outbound-no-answer"))).unwrap();
    assert_eq!(report["duration_seconds"], 0);
    assert_eq!(report["cost"].as_f64(), Some(0.0));
    for absent in ["started_at", "summary", "transcript", "structured_data", "recording_url", "success_evaluation"] {
        assert!(report.get(absent).is_none(), "{absent}");
    }
}

#[test]
fn a_large_report_is_read() {
    let report = report(&sample_json("end-of-call-report.large"));
    assert_eq!(report.duration_seconds, Some(3606));
    assert!(report.transcript.unwrap().expose().len() > 10_000);
}

/// E6: the duration may be written as text.
#[test]
fn a_duration_comes_in_three_units_or_from_the_times() {
    let times = json!({"startedAt": "2026-09-14T15:00:00Z", "endedAt": "2026-09-14T15:00:10.500Z"});
    for (fields, seconds) in [
        (json!({"durationSeconds": 17.5, "durationMs": 1}), Some(18)),
        (json!({"durationSeconds": 17.4999}), Some(17)),
        (json!({"durationSeconds": "42.7"}), Some(43)),
        (json!({"durationSeconds": "long", "durationMs": 12_900}), Some(13)),
        (json!({"durationMinutes": 0.5}), Some(30)),
        (json!({"durationSeconds": -3, "durationMs": null}), None),
        (json!({"durationSeconds": 1e300}), None),
        (times, Some(11)),
        (json!({"startedAt": "2026-09-14T15:00:10Z", "endedAt": "2026-09-14T15:00:00Z"}), None),
    ] {
        assert_eq!(read(fields.clone()).duration_seconds, seconds, "{fields}");
    }
}

/// E4, E6: the cost may be written as text, and may be the sum of its items. If an item has none, it is unknown.
#[test]
fn a_cost_comes_from_the_message_or_its_breakdown_never_from_the_call() {
    for (fields, cost) in [
        (json!({"cost": 0.5, "costBreakdown": {"total": 0.7}}), Some(0.5)),
        (json!({"cost": "0.3412", "costBreakdown": {"total": 0.7}}), Some(0.3412)),
        (json!({"cost": "?", "costBreakdown": {"total": 0.7}}), Some(0.7)),
        (json!({"costs": [{"cost": 0.1}, {"cost": "0.2"}]}), Some(0.3)),
        (json!({"cost": 0, "costs": [{"cost": 0.1}]}), Some(0.0)),
        (json!({"costs": [{"cost": 0.1}, {"type": "model"}]}), None),
        (json!({"costs": []}), None),
        (json!({"cost": -1}), None),
        (json!({"call": {"id": "c", "cost": 0}}), None),
    ] {
        assert_eq!(read(fields.clone()).cost, cost, "{fields}");
    }
}

#[test]
fn a_breakdown_keeps_its_numbers_only() {
    let breakdown = json!({"stt": 0.1, "ttsCharacters": 121, "note": "x", "llm": -1, "nested": {"a": 1}});
    let report = serde_json::to_value(read(json!({ "costBreakdown": breakdown }))).unwrap();
    assert_eq!(report["cost_breakdown"], json!({"stt": 0.1, "ttsCharacters": 121}));
    assert_eq!(read(json!({"costBreakdown": {"note": "x"}})).cost_breakdown, None);
}

/// E4: the items of `costs` are retained, typed and bounded.
#[test]
fn the_items_of_a_cost_are_kept() {
    let report = report(&sample_json("end-of-call-report.inbound-full"));
    let costs = serde_json::to_value(&report.costs).unwrap();
    assert_eq!(costs.as_array().unwrap().len(), 9);
    assert_eq!(
        costs[0],
        json!({"type": "transport", "provider": "twilio", "amounts": {"cost": 0.0085, "minutes": 0.2883}})
    );
    let tokens = json!({"cost": 0.0041, "promptTokens": 1830, "completionTokens": 74, "cachedPromptTokens": 1024,
        "reasoningTokens": 0});
    assert_eq!(costs[2], json!({"type": "model", "provider": "openai", "model": "gpt-4.1", "amounts": tokens}));
    assert_eq!(costs[5]["subType"], "summary");
    let wild = json!({"costs": [{"type": "a b", "cost": "0.10", "model": "gpt", "x": 1e99, "secret": {"a": 1}}, "x"]});
    let amounts = json!([{"amounts": {"cost": serde_json::from_str::<Value>("0.10").unwrap()}}]);
    assert_eq!(serde_json::to_value(read(wild).costs).unwrap(), amounts);
    assert_eq!(read(json!({"costs": vec![json!({"cost": 1}); 300]})).costs.len(), 100);
}

/// E4: the digits of structured data are kept, and a number that cannot be stored is left out alone.
#[test]
fn structured_data_keeps_its_digits() {
    let data = r#"{"iccid":89440000000000012345,"order":123456789012345678901234,"price":0.10,"odd":1e-99999}"#;
    let body = format!(
        r#"{{"message":{{"type":"end-of-call-report","call":{{"id":"c"}},"cost":0.5,"analysis":{{"structuredData":{data}}}}}}}"#
    );
    let parsed = parse(body.as_bytes(), "2026-11-22T12:00:00Z".parse().unwrap()).unwrap();
    assert_eq!(parsed.unreadable, ["analysis.structuredData"]);
    let Message::Stored(stored) = parsed.message else { panic!("not stored") };
    let text = serde_json::to_string(&stored).unwrap();
    assert!(text.contains(r#"{"iccid":89440000000000012345,"order":123456789012345678901234,"price":0.10}"#), "{text}");
    let read: crate::StoredEvent = serde_json::from_str(&text).unwrap();
    assert_eq!(read, stored);
}

#[test]
fn artifact_and_analysis_supply_missing_facts() {
    let report = read(json!({
        "summary": "",
        "analysis": {"summary": "Booked.", "successEvaluation": true},
        "artifact": {
            "transcript": "AI: Hi",
            "structuredOutputs": {"id": {"name": "booked", "result": true}},
            "recording": {"stereoUrl": "https://s.example/s.wav", "mono": {"combinedUrl": "https://s.example/m.wav"}},
        },
    }));
    assert_eq!(report.summary.unwrap().expose(), "Booked.");
    assert_eq!(report.success_evaluation.unwrap().expose(), "true");
    assert_eq!(report.transcript.unwrap().expose(), "AI: Hi");
    assert_eq!(report.structured_outputs.unwrap().expose()["id"]["result"], true);
    assert_eq!(report.recording_url.unwrap().expose(), "https://s.example/m.wav");
    assert_eq!(report.stereo_recording_url.unwrap().expose(), "https://s.example/s.wav");
}

#[test]
fn the_call_snapshot_has_the_lowest_priority() {
    let call = json!({"id": "c", "endedReason": "voicemail", "endedAt": "2026-09-14T15:00:00Z"});
    let report = read(json!({"call": call, "endedReason": "customer-busy"}));
    assert_eq!(report.ended_reason.as_deref(), Some("customer-busy"));
    assert!(report.ended_at.is_some());
}

#[test]
fn a_link_that_is_not_plain_https_is_dropped() {
    let body = body(json!({"recordingUrl": "http://s.example/m.wav", "artifact": {"recordingUrl": 7}}));
    assert_eq!(report(&body).recording_url, None);
    assert_eq!(parse_json(&body).unreadable, ["recordingUrl", "artifact.recordingUrl"]);
}

#[test]
fn an_output_is_limited() {
    let deep = (0..64).fold(json!({}), |inner, _| json!([inner]));
    let large = json!(["x".repeat(256 * 1024)]);
    for output in [deep, large, json!("text"), json!(7)] {
        let body = body(json!({"artifact": {"structuredOutputs": output}}));
        assert_eq!(report(&body).structured_outputs, None);
        assert_eq!(parse_json(&body).unreadable, ["artifact.structuredOutputs"]);
    }
}
