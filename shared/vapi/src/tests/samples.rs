//! Each sample body is parsed as the design's table specifies.

use std::fs;

use super::{parse_text, sample, sample_json, samples_dir, stored};
use crate::interactive::{Interactive, Question};
use crate::{BadRequest, FailureCode, Message, Parsed, StoredEvent};

/// Each sample with the expected result: `stored`, the kind of the event and its function; or the handling of the
/// message.
const SAMPLES: [(&str, &str); 50] = [
    ("assistant-request.inbound-twilio", "interactive assistant-request"),
    ("assistant-request.inbound-vapi-number", "interactive assistant-request"),
    ("assistant.started", "stored call-event by call-started"),
    ("call.artifact.upload", "stored call-event by end-of-call-report"),
    ("call.deleted", "stored call-event by call-ended"),
    ("campaign.predial", "interactive campaign.predial"),
    ("chat.created", "informational"),
    ("conversation-update", "informational"),
    ("end-of-call-report.duplicate-1-preliminary", "stored end-of-call-report by end-of-call-report"),
    ("end-of-call-report.duplicate-2-final", "stored end-of-call-report by end-of-call-report"),
    ("end-of-call-report.inbound-full", "stored end-of-call-report by end-of-call-report"),
    ("end-of-call-report.inbound-no-recording", "stored end-of-call-report by end-of-call-report"),
    ("end-of-call-report.large", "stored end-of-call-report by end-of-call-report"),
    ("end-of-call-report.minimal-required", "refused RF4004"),
    ("end-of-call-report.outbound-full", "stored end-of-call-report by end-of-call-report"),
    ("end-of-call-report.outbound-no-answer", "stored end-of-call-report by end-of-call-report"),
    ("end-of-call-report.web-full", "stored end-of-call-report by end-of-call-report"),
    ("function-call.legacy", "interactive function-call"),
    ("handoff-destination-request", "interactive handoff-destination-request"),
    ("hang", "stored call-event by call-started"),
    ("knowledge-base-request", "interactive knowledge-base-request"),
    ("language-change-detected", "stored call-event by call-started"),
    ("malformed.call-missing", "refused RF4004"),
    ("malformed.type-missing", "refused RF4003"),
    ("model-output.object", "informational"),
    ("phone-call-control.hang-up", "informational"),
    ("session.created", "informational"),
    ("speech-update.assistant-started", "informational"),
    ("speech-update.user-started", "informational"),
    ("speech-update.user-stopped", "informational"),
    ("status-update.ended", "stored call-ended by call-ended"),
    ("status-update.ended-no-answer", "stored call-ended by call-ended"),
    ("status-update.forwarding", "stored call-started by call-started"),
    ("status-update.in-progress", "stored call-started by call-started"),
    ("status-update.queued", "stored call-started by call-started"),
    ("status-update.ringing", "stored call-started by call-started"),
    ("tool-calls.multiple", "interactive tool-calls, 3 calls"),
    ("tool-calls.single", "interactive tool-calls, 1 calls"),
    ("transcript-literal-final.user", "stored transcript by transcript"),
    ("transcript.assistant-final", "stored transcript by transcript"),
    ("transcript.user-final", "stored transcript by transcript"),
    ("transcript.user-partial", "partial"),
    ("transfer-destination-request", "interactive transfer-destination-request"),
    ("transfer-update.number", "stored call-event by call-started"),
    ("unknown.future-type", "unknown"),
    ("user-interrupted", "stored call-event by call-started"),
    ("voice-input", "informational"),
    ("wild.end-of-call-report.carries-secrets", "stored end-of-call-report by end-of-call-report"),
    ("wild.tool-calls.arguments-object", "interactive tool-calls, 2 calls"),
    ("hmac-vectors", "refused RF4003"),
];

fn describe(parsed: &Result<Parsed, BadRequest>) -> String {
    match parsed.as_ref().map(|parsed| &parsed.message) {
        Ok(Message::Stored(stored)) => format!("stored {} by {}", kind(stored), stored.event.function()),
        Ok(Message::Partial(_)) => "partial".to_owned(),
        Ok(Message::Interactive(interactive)) => format!("interactive {}", describe_interactive(interactive)),
        Ok(Message::NotServed) => "not served".to_owned(),
        Ok(Message::Informational) => "informational".to_owned(),
        Ok(Message::Unknown(_)) => "unknown".to_owned(),
        Err(refused) => format!("refused {}", refused.code()),
    }
}

fn kind(stored: &StoredEvent) -> String {
    serde_json::to_value(&stored.event).unwrap()["kind"].as_str().unwrap().to_owned()
}

fn describe_interactive(interactive: &Interactive) -> String {
    match &interactive.question {
        Question::Assistant => "assistant-request".to_owned(),
        Question::ToolCalls(calls) => format!("tool-calls, {} calls", calls.calls.len()),
        Question::FunctionCall(_) => "function-call".to_owned(),
        Question::Inquiry(inquiry) => inquiry.kind.as_str().to_owned(),
    }
}

/// The stored samples, by name.
fn stored_samples() -> impl Iterator<Item = (&'static str, StoredEvent)> {
    let stored_ones = SAMPLES.into_iter().filter(|(_, fate)| fate.starts_with("stored"));
    stored_ones.map(|(name, _)| (name, stored(&sample_json(name))))
}

#[test]
fn every_sample_matches_its_row_of_the_table() {
    for (name, fate) in SAMPLES {
        assert_eq!(describe(&parse_text(&sample(name))), fate, "{name}");
    }
}

#[test]
fn no_sample_is_left_out_of_the_table() {
    let files = fs::read_dir(samples_dir()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let bodies = files.filter_map(|file| file.strip_suffix(".json").map(str::to_owned));
    for name in bodies {
        assert!(SAMPLES.iter().any(|(known, _)| *known == name), "{name}");
    }
}

#[test]
fn every_field_of_a_well_formed_sample_is_readable() {
    for (name, fate) in SAMPLES.into_iter().filter(|(_, fate)| !fate.starts_with("refused")) {
        assert_eq!(parse_text(&sample(name)).unwrap().unreadable, [""; 0], "{name}: {fate}");
    }
}

#[test]
fn every_delivery_of_a_whole_call_is_read() {
    for name in ["inbound-happy-path", "outbound-no-answer"] {
        let sequence = sample_json(&format!("sequences/{name}"));
        for delivery in sequence["deliveries"].as_array().unwrap() {
            assert!(parse_text(&delivery["body"].to_string()).is_ok(), "{name}: {}", delivery["sample"]);
        }
    }
}

#[test]
fn a_stored_event_survives_its_queue() {
    for (name, event) in stored_samples() {
        let queued = serde_json::to_string(&event).unwrap();
        assert!(!queued.contains("null"), "{name}: {queued}");
        // The links are left out, because they are secrets.
        assert!(!queued.contains("X-Amz-Signature"), "{name}: {queued}");
        let facts = StoredEvent { links: Vec::new(), ..event };
        assert_eq!(serde_json::from_str::<StoredEvent>(&queued).unwrap(), facts, "{name}");
    }
}

#[test]
fn keys_name_the_type_the_call_and_the_status() {
    for (name, StoredEvent { key, event, .. }) in stored_samples() {
        let prefix = match name.strip_prefix("status-update.") {
            Some(status) => {
                format!("status-update:{}:{}:", event.call().id, status.strip_suffix("-no-answer").unwrap_or(status))
            }
            None => format!("{}:{}:", event.event_type(), event.call().id),
        };
        let hash = key.as_str().strip_prefix(&prefix).unwrap_or_else(|| panic!("{name}: {key}"));
        assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}: {key}");
    }
}

#[test]
fn a_report_that_carries_secrets_loses_them() {
    let body = sample("wild.end-of-call-report.carries-secrets");
    let event = serde_json::to_string(&stored(&serde_json::from_str(&body).unwrap())).unwrap();
    for secret in [
        "not-a-real-secret",
        "not-a-real-token-0000000000000000",
        "not-a-real-tool-secret",
        "AC1673448ee7064c989d02579c534f6b66",
        "CAb8c1a3069167247e3503f0daba6c5723",
        "vapi.example",
        "X-Amz",
        "You are the receptionist",
    ] {
        assert!(body.contains(secret), "{secret} is not in the sample");
        assert!(!event.contains(secret), "{secret}");
    }
}

#[test]
fn an_event_can_be_logged() {
    for (name, event) in stored_samples() {
        let printed = format!("{event:?}");
        for personal in ["+1555", "Dana", "water heater", "receptionist", "https://", "lead_4471"] {
            assert!(!printed.contains(personal), "{name}: {personal}");
        }
    }
}

#[test]
fn a_refusal_gives_its_reason_and_no_input() {
    let cases = [
        ("{\"message\": hunter2}", BadRequest::NotJson, FailureCode::BodyNotJson),
        (r#"{"message":{"type":{"hunter2":1}}}"#, BadRequest::MessageTypeMissing, FailureCode::MessageTypeMissing),
        (
            r#"{"message":{"type":"hang","call":{"id":"hunter2 "}}}"#,
            BadRequest::CallIdMissing,
            FailureCode::CallIdMissing,
        ),
    ];
    for (body, refusal, code) in cases {
        assert_eq!(parse_text(body).unwrap_err(), refusal);
        assert_eq!(refusal.code(), code);
        assert!(!refusal.to_string().contains("hunter2"));
    }
}

/// E5: every field of the samples is known, so that an unknown field is new.
#[test]
fn no_sample_has_an_unknown_field() {
    for (name, _) in SAMPLES {
        let Ok(parsed) = parse_text(&sample(name)) else { continue };
        assert_eq!(parsed.drift, None, "{name}");
    }
}
