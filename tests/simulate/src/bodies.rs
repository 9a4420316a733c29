//! Body of the webhook for a step of a call.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::cast::{ASSISTANT_ID, OUR_NUMBER};
use super::plan::{Call, Conversation, Step};

/// Validity of a recording's link.
const LINK_LIFETIME: SignedDuration = SignedDuration::from_mins(30);

/// Body of the webhook. `delivery` is the number of earlier deliveries of the step: Vapi signs a recording's link anew
/// for each.
pub(super) fn body(call: &Call, step: Step<'_>, delivery: usize) -> Value {
    match step {
        Step::Status(status, at) => {
            let reason = (status == "ended").then_some(call.reason);
            message(call, "status-update", at.as_millisecond(), json!({"status": status, "endedReason": reason}))
        }
        Step::Said(turn) => {
            let fields = json!({"role": turn.speaker, "transcriptType": "final", "transcript": turn.text});
            message(call, "transcript", turn.said_at.as_millisecond(), fields)
        }
        Step::Reported(at) => message(call, "end-of-call-report", at.as_millisecond(), report(call, delivery)),
    }
}

fn message(call: &Call, message_type: &str, timestamp: i64, fields: Value) -> Value {
    let mut message = json!({
        "type": message_type,
        "timestamp": timestamp,
        "call": {
            "id": call.id,
            "type": call.call_type(),
            "createdAt": call.began_at.to_string(),
            // A snapshot from the call's creation, as in Vapi's own bodies.
            "status": "queued",
            "cost": 0,
            "assistantId": ASSISTANT_ID,
            "assistantOverrides": {"metadata": call.metadata},
        },
        "customer": {"number": call.customer},
        "phoneNumber": {"number": OUR_NUMBER},
    });
    if let (Some(message), Value::Object(fields)) = (message.as_object_mut(), fields) {
        message.extend(fields);
    }
    json!({"message": message})
}

fn report(call: &Call, delivery: usize) -> Value {
    let mut report = json!({
        "endedReason": call.reason,
        "endedAt": call.ended_at.to_string(),
        "durationSeconds": call.duration().as_secs_f64(),
        "cost": 0,
        "artifact": {"transcript": "", "messages": []},
    });
    let conversation = call.conversation.as_ref().map(|conversation| of_conversation(conversation, delivery));
    if let (Some(report), Some(fields)) = (report.as_object_mut(), conversation) {
        report.extend(fields);
    }
    report
}

fn of_conversation(conversation: &Conversation, delivery: usize) -> Map<String, Value> {
    let recording = conversation.recording.as_ref();
    let expires_at = Timestamp::now() + LINK_LIFETIME;
    let fields = json!({
        "startedAt": conversation.started_at.to_string(),
        "cost": conversation.cost(),
        "costBreakdown": conversation.cost_breakdown(),
        "analysis": {
            "summary": conversation.summary(),
            "successEvaluation": "true",
            "structuredData": conversation.structured_data(),
        },
        "artifact": {
            "transcript": conversation.transcript(),
            "recordingUrl": recording.map(|recording| &recording.url),
            "presignedMonoUrl": recording.map(|recording| format!("{}?X-Amz-Signature={delivery}", recording.link)),
            "presignedUrlsExpiresAt": recording.map(|_| expires_at),
            "structuredOutputs": conversation.structured_outputs(),
        },
    });
    if let Value::Object(fields) = fields { fields } else { Map::new() }
}

#[cfg(test)]
mod tests {
    use ringfence_vapi::{Message, StoredEvent, parse};

    use super::*;
    use crate::plan::Run;

    fn stored(body: &Value) -> StoredEvent {
        let parsed = parse(body.to_string().as_bytes(), Timestamp::now()).unwrap();
        assert!(parsed.unreadable.is_empty(), "{:?} in {body}", parsed.unreadable);
        let Message::Stored(stored) = parsed.message else { panic!("not stored: {body}") };
        stored
    }

    fn recorded() -> Run {
        Run::new(Timestamp::now(), false).recorded_by("http://127.0.0.1:9")
    }

    /// 210 calls contain every combination of the traits.
    #[test]
    fn every_body_is_read_whole_and_a_redelivery_is_the_same_event() {
        for call in recorded().calls(210) {
            let mut keys = Vec::new();
            for step in call.steps() {
                let (first, again) = (stored(&body(&call, step, 0)), stored(&body(&call, step, 1)));
                assert_eq!(first.key, again.key);
                assert_eq!(first.event.call().id.as_str(), call.id);
                keys.push(first.key.to_string());
            }
            let events = keys.len();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), events, "two events of one call share a key");
        }
    }

    #[test]
    fn the_links_signature_differs_by_delivery() {
        let call = &recorded().calls(1)[0];
        let report = *call.steps().last().unwrap();
        assert_ne!(body(call, report, 0), body(call, report, 1));
    }
}
