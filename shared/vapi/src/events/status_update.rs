//! `status-update`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{CallEvent, Details, Event, EventType, destination};
use crate::call::{CallFacts, Direction};
use crate::fingerprint::Fingerprint;
use crate::ids::VapiCallId;
use crate::object::Object;
use crate::reason::{self, ReasonFamily};
use crate::sensitive::Sensitive;

/// A new status of a call (`ServerMessageStatusUpdate`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusUpdate {
    /// Always `status-update`.
    pub event_type: EventType,
    /// `timestamp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_time: Option<Timestamp>,
    /// The call.
    pub call: CallFacts,
    /// `status`, as Vapi's text, because the enum is open. `unknown` if absent.
    pub status: String,
    /// `endedReason`, only present with `ended`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_reason: Option<String>,
    /// The family of the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_family: Option<ReasonFamily>,
    /// The destination, only present with `forwarding`: a number, a SIP URI or the name of an assistant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Sensitive<String>>,
    /// Why an inbound call was not accepted, only present with `ended`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
}

/// The call of a status update without a call id that says why Vapi did not accept an inbound call: a caller was turned
/// away. Its id is the hash of the message's facts, so that a redelivery names the same call. `None`: another message.
pub(crate) fn call_turned_away(event_type: EventType, message: &Object<'_>) -> Option<CallFacts> {
    let is_turned_away = event_type == EventType::StatusUpdate
        && message.token("status").as_deref() == Some("ended")
        && message.raw("inboundPhoneCallDebuggingArtifacts").is_some();
    if !is_turned_away {
        return None;
    }
    let call = CallFacts::read_with(message, |_| Some(VapiCallId::of_call_without_id("")))?;
    // Vapi says so in the name of the field.
    let (call_type, direction) = (Some("inboundPhoneCall".to_owned()), Some(Direction::Inbound));
    let call = CallFacts { call_type, direction, ..call };
    let mut fingerprint = Fingerprint::new();
    StatusUpdate::read("ended".to_owned(), message, call.clone()).feed(&mut fingerprint);
    Some(CallFacts { id: VapiCallId::of_call_without_id(&fingerprint.finish()), ..call })
}

/// Reads a status update. Its status determines the kind of the event.
pub(super) fn read(message: &Object<'_>, call: CallFacts) -> Event {
    // A status of a wrong type is treated as absent, so that the call's other facts are not lost.
    let status = message.token("status").unwrap_or_else(|| "unknown".to_owned());
    match status.as_str() {
        "not-found" | "deletion-failed" => Event::CallEvent(CallEvent::read(EventType::StatusUpdate, message, call)),
        "ended" => Event::CallEnded(StatusUpdate::read(status, message, call)),
        _ => Event::CallStarted(StatusUpdate::read(status, message, call)),
    }
}

impl StatusUpdate {
    fn read(status: String, message: &Object<'_>, call: CallFacts) -> Self {
        let (ended_reason, reason_family) = reason::read(message, "endedReason").unzip();
        Self {
            event_type: EventType::StatusUpdate,
            message_time: message.time("timestamp"),
            call,
            status,
            reason_family,
            ended_reason,
            destination: destination::read(message),
            details: Details::of_status_update(message),
        }
    }

    /// Feeds all facts to the event key.
    pub(super) fn feed(&self, fingerprint: &mut Fingerprint) {
        let Self {
            event_type: _, // part of the key itself
            message_time,
            call,
            status,
            ended_reason,
            reason_family: _, // derived from the reason
            destination,
            details,
        } = self;
        call.feed(fingerprint);
        fingerprint
            .time("message_time", *message_time)
            .text("status", Some(status))
            .text("ended_reason", ended_reason.as_deref())
            .secret_text("destination", destination.as_ref());
        if let Some(details) = details {
            details.feed(fingerprint);
        }
    }
}
