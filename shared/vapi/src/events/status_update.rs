//! `status-update`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{CallEvent, Details, Event, EventType, destination};
use crate::call::CallFacts;
use crate::fingerprint::Fingerprint;
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
