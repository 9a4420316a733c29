//! Expected rows of a call, computed from its plan alone.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::cast::{Cast, Lead, OUR_NUMBER};
use super::plan::{Call, Conversation, Recording, Step, Turn};
use super::recording::RECORDING_BYTES;
use super::rows::Row;

/// Expected rows of the calls and of their leads.
pub(super) fn rows(calls: &[Call], cast: &Cast) -> Vec<Row> {
    let of_calls = calls.iter().flat_map(|call| of_call(call, cast));
    of_calls.chain(leads(calls, cast)).collect()
}

fn of_call(call: &Call, cast: &Cast) -> Vec<Row> {
    let turns = call.conversation.iter().flat_map(|conversation| &conversation.turns);
    let mut rows = vec![call_logs(call, cast), call_tracking(call, cast), calls(call)];
    rows.extend(turns.map(|turn| transcript(call, turn)));
    rows.extend(recording(call).map(|_| recording_queue(call)));
    rows.extend(call.steps().into_iter().map(|step| claim(call, step)));
    rows
}

fn call_logs(call: &Call, cast: &Cast) -> Row {
    let conversation = call.conversation.as_ref();
    let (from, to) = if call.outbound { (OUR_NUMBER, call.customer) } else { (call.customer, OUR_NUMBER) };
    Row::expected(
        "call_logs",
        json!({
            "vapi_call_id": call.id,
            "status": "completed",
            "direction": if call.outbound { "outbound" } else { "inbound" },
            "from_number": from,
            "to_number": to,
            "started_at": started_at(call),
            "ended_at": call.ended_at,
            "duration_seconds": whole_seconds(call.duration()),
            "ended_reason": call.reason,
            "outcome": call.family,
            "summary": conversation.map(Conversation::summary),
            "success_evaluation": conversation.map(|_| "true"),
            "structured_data": conversation.map(Conversation::structured_data),
            "structured_outputs": conversation.map(Conversation::structured_outputs),
            "cost": cost(call),
            "cost_breakdown": conversation.map(Conversation::cost_breakdown),
            "transcript": conversation.map(Conversation::transcript),
            "recording_url": recording(call).map(|recording| &recording.url),
            "recording_storage_path": recording_path(call),
            "agent_id": cast.agent,
            "lead_id": lead(call, cast).map(|lead| lead.id),
            "metadata": call.metadata,
        }),
    )
}

fn call_tracking(call: &Call, cast: &Cast) -> Row {
    Row::expected(
        "call_tracking",
        json!({
            "vapi_call_id": call.id,
            "status": "completed",
            "phone_number": call.customer,
            "agent_id": cast.agent,
            "lead_id": lead(call, cast).map(|lead| lead.id),
            "answered": answered(call),
            "called_at": call.began_at,
            "started_at": started_at(call),
            "ended_at": call.ended_at,
            "duration_seconds": whole_seconds(call.duration()),
            "metadata": call.metadata,
        }),
    )
}

fn calls(call: &Call) -> Row {
    Row::expected(
        "calls",
        json!({
            "vapi_call_id": call.id,
            "record_of": call.id,
            "status": "completed",
            "call_type": call.call_type(),
            "started_at": started_at(call),
            "duration_seconds": whole_seconds(call.duration()),
            "reason_family": call.family,
            "cost": cost(call),
            "recording_state": if recording(call).is_some() { "stored" } else { "none" },
            "recording_path": recording_path(call),
        }),
    )
}

fn transcript(call: &Call, turn: &Turn) -> Row {
    Row::expected(
        "call_transcripts",
        json!({
            "vapi_call_id": call.id,
            "record_of": call.id,
            "speaker": turn.speaker,
            "text": turn.text,
            "said_at": turn.said_at,
            "source": "transcript",
        }),
    )
}

/// Claim of an event.
pub(super) fn claim(call: &Call, step: Step<'_>) -> Row {
    let (event_type, message_time, status, text) = match step {
        Step::Status(status, at) => ("status-update", at, Some(status), None),
        Step::Said(turn) => ("transcript", turn.said_at, None, Some(turn.text)),
        Step::Reported(at) => ("end-of-call-report", at, None, None),
    };
    Row::expected(
        "processed_webhook_events",
        json!({
            "vapi_call_id": call.id,
            "event_type": event_type,
            "message_time": message_time,
            "status": status,
            "text": text,
        }),
    )
}

/// Leads of the calls. `last_contacted_at` is the end of the last call that was not a test.
fn leads(calls: &[Call], cast: &Cast) -> Vec<Row> {
    let mut contacts: BTreeMap<&str, Option<Timestamp>> = BTreeMap::new();
    for call in calls {
        let contact = (!call.is_test).then_some(call.ended_at);
        let latest = contacts.entry(call.customer).or_default();
        *latest = contact.max(*latest);
    }
    let row = |(phone, contact): (&str, Option<Timestamp>)| {
        let lead = cast.leads.get(phone)?;
        let status = if contact.is_some() && lead.status == "new" { "contacted" } else { &lead.status };
        Some(Row::expected(
            "leads",
            json!({
                "phone": phone,
                "id": lead.id,
                "status": status,
                "last_contacted_at": contact.max(lead.last_contacted_at),
            }),
        ))
    };
    contacts.into_iter().filter_map(row).collect()
}

fn lead<'a>(call: &Call, cast: &'a Cast) -> Option<&'a Lead> {
    cast.leads.get(call.customer)
}

fn started_at(call: &Call) -> Option<Timestamp> {
    call.conversation.as_ref().map(|conversation| conversation.started_at)
}

/// Unknown for an answering machine.
fn answered(call: &Call) -> Option<bool> {
    if call.conversation.is_some() { Some(true) } else { (call.family == "not-reached").then_some(false) }
}

fn recording(call: &Call) -> Option<&Recording> {
    call.conversation.as_ref()?.recording.as_ref()
}

/// Key in the bucket, without the org's prefix.
fn recording_path(call: &Call) -> Option<String> {
    recording(call).map(|_| format!("{}/mono", call.id))
}

fn recording_queue(call: &Call) -> Row {
    Row::expected(
        "recording_upload_queue",
        json!({
            "vapi_call_id": call.id,
            "record_of": call.id,
            "kind": "mono",
            "state": "stored",
            "storage_key": recording_path(call),
            "content_type": "audio/wav",
            "bytes": RECORDING_BYTES,
        }),
    )
}

/// The cost of an unanswered call is zero, not unknown.
fn cost(call: &Call) -> Value {
    call.conversation.as_ref().map_or(json!(0), |conversation| json!(conversation.cost()))
}

/// Rounded half up.
fn whole_seconds(duration: SignedDuration) -> i64 {
    (duration + SignedDuration::from_millis(500)).as_secs()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::cast::LEADS;
    use crate::plan::Run;

    fn cast(status: &str, last_contacted_at: Option<Timestamp>) -> Cast {
        let lead = |phone: &str| {
            let lead = Lead { id: Uuid::new_v4(), status: status.to_owned(), last_contacted_at };
            (phone.to_owned(), lead)
        };
        Cast { agent: None, leads: LEADS.into_iter().map(lead).collect() }
    }

    fn of_table<'a>(rows: &'a [Row], table: &str) -> Vec<&'a Row> {
        rows.iter().filter(|row| row.table == table).collect()
    }

    #[test]
    fn the_first_call_has_a_row_everywhere() {
        let calls = Run::new(Timestamp::now(), false).recorded_by("http://127.0.0.1:9").calls(1);
        let rows = rows(&calls, &cast("new", None));
        let turns = calls[0].conversation.as_ref().unwrap().turns.len();
        for (table, count) in [
            ("call_logs", 1),
            ("call_tracking", 1),
            ("calls", 1),
            ("call_transcripts", turns),
            ("recording_upload_queue", 1),
            ("leads", 1),
        ] {
            assert_eq!(of_table(&rows, table).len(), count, "{table}");
        }
        assert_eq!(of_table(&rows, "processed_webhook_events").len(), calls[0].steps().len());
        assert_eq!(of_table(&rows, "calls")[0].columns["recording_state"], "stored");
        assert_eq!(of_table(&rows, "leads")[0].columns["status"], "contacted");
    }

    /// The fifth call is not answered.
    #[test]
    fn a_call_that_nobody_answered_has_an_end_and_nothing_said() {
        let calls = Run::new(Timestamp::now(), false).calls(5);
        let rows = rows(&calls[4..], &cast("new", None));
        let log = &of_table(&rows, "call_logs")[0].columns;
        assert_eq!((&log["duration_seconds"], &log["cost"]), (&json!(0), &json!(0)));
        assert!(log["started_at"].is_null() && log["transcript"].is_null() && !log["ended_at"].is_null());
        assert_eq!(of_table(&rows, "call_tracking")[0].columns["answered"], false);
        assert!(of_table(&rows, "call_transcripts").is_empty());
    }

    #[test]
    fn a_lead_only_moves_up() {
        let calls = Run::new(Timestamp::now(), false).calls(1);
        let later = calls[0].ended_at + SignedDuration::from_hours(1);
        let rows = leads(&calls, &cast("qualified", Some(later)));
        assert_eq!(rows[0].columns["status"], "qualified");
        assert_eq!(rows[0].columns["last_contacted_at"], later.to_string());
    }

    #[test]
    fn test_calls_move_no_lead() {
        let calls = Run::new(Timestamp::now(), true).calls(20);
        let rows = leads(&calls, &cast("new", None));
        assert!(!rows.is_empty() && rows.iter().all(|lead| lead.columns["status"] == "new"));
    }

    #[test]
    fn seconds_are_rounded_half_up() {
        for (ms, seconds) in [(0, 0), (499, 0), (500, 1), (17_300, 17), (17_500, 18)] {
            assert_eq!(whole_seconds(SignedDuration::from_millis(ms)), seconds, "{ms}");
        }
    }
}
