//! Builds the end-of-call report from a call that Vapi's REST API returns.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The fields that `Call` and `ServerMessageEndOfCallReport` have in common.
const SHARED: [&str; 13] = [
    "endedReason",
    "startedAt",
    "endedAt",
    "cost",
    "costs",
    "costBreakdown",
    "analysis",
    "artifact",
    "destination",
    "customer",
    "phoneNumber",
    "assistant",
    "compliance",
];

/// The body of the `end-of-call-report` that Vapi would have sent for a `Call` (`GET /call/{id}`). `None` if the call
/// has not ended.
///
/// A call with an `endedReason` has ended, even if its status differs. The message's time is the time of the call's
/// last change, so that two requests for the same call give the same report.
#[must_use]
pub fn end_of_call_report(call: &Value) -> Option<Value> {
    let has_ended = call.get("status").and_then(Value::as_str) == Some("ended");
    if !has_ended && call.get("endedReason").is_none_or(Value::is_null) {
        return None;
    }
    let field = |name: &str| Some((name.to_owned(), call.get(name)?.clone()));
    let mut message: Map<_, _> = SHARED.into_iter().filter_map(field).collect();
    message.insert("type".to_owned(), json!("end-of-call-report"));
    let changed = ["updatedAt", "endedAt", "createdAt"].into_iter().find_map(|name| call.get(name)?.as_str());
    if let Some(at) = changed.and_then(|text| text.parse::<Timestamp>().ok()) {
        message.insert("timestamp".to_owned(), json!(at.as_millisecond()));
    }
    message.insert("call".to_owned(), call.clone());
    Some(json!({ "message": message }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Message, parse};

    #[test]
    fn a_call_that_has_ended_is_read_as_its_report() {
        let call = json!({"id": "c1", "status": "ended", "endedReason": "customer-ended-call", "cost": 0.5,
            "updatedAt": "2026-09-14T15:03:11.480Z", "createdAt": "2026-09-14T15:02:11.480Z"});
        let body = end_of_call_report(&call).unwrap();
        assert_eq!(body["message"]["timestamp"], 1_789_398_191_480_u64);
        let parsed = parse(body.to_string().as_bytes(), Timestamp::UNIX_EPOCH).unwrap();
        let Message::Stored(stored) = parsed.message else { panic!("not stored") };
        let Event::EndOfCallReport(report) = stored.event else { panic!("not a report") };
        assert_eq!(report.ended_reason.as_deref(), Some("customer-ended-call"));
        assert_eq!(report.call.id.as_str(), "c1");
    }

    #[test]
    fn an_active_call_has_no_report() {
        for call in [json!({"status": "in-progress"}), json!({"status": "queued", "endedReason": null}), json!({})] {
            assert_eq!(end_of_call_report(&call), None, "{call}");
        }
        assert!(end_of_call_report(&json!({"status": "in-progress", "endedReason": "silence-timed-out"})).is_some());
    }
}
