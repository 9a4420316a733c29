//! Vapi's message types and how Ringfence handles each.

use strum::IntoEnumIterator as _;

use crate::events::EventType;
use crate::interactive::{InquiryKind, TOOL_CALLS};

/// How a message type is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "kebab-case")]
pub enum Handling {
    /// Stored as an event.
    Stored,
    /// Answered.
    Answered,
    /// Refused with 404.
    Refused,
    /// Counted by a metric, and not stored.
    Counted,
}

/// The type of `ServerMessageVoiceRequest`.
pub(crate) const VOICE_REQUEST: &str = "voice-request";

/// Types that Vapi documents and that Ringfence only counts.
const COUNTED: [&str; 25] = [
    "assistant.speechStarted",
    "campaign.archived",
    "campaign.cancelled",
    "campaign.ended",
    "campaign.job.continued",
    "campaign.started",
    "campaign.unarchived",
    "chat.created",
    "chat.deleted",
    "contact.completed",
    "contact.dispatched",
    "contact.failed",
    "contact.predial-failed",
    "contact.skipped",
    "conversation-update",
    "language-changed",
    "model-output",
    "phone-call-control",
    "session.created",
    "session.deleted",
    "session.updated",
    "simulation.run.ended",
    "simulation.run.started",
    "speech-update",
    "voice-input",
];

/// Whether messages of this type are only counted.
pub(crate) fn is_counted(name: &str) -> bool {
    COUNTED.contains(&name)
}

/// All types that this version knows. Messages of other types are quarantined.
#[must_use]
pub fn message_types() -> Vec<(&'static str, Handling)> {
    let stored = EventType::iter().map(|event_type| (event_type.as_str(), Handling::Stored));
    let inquiries = InquiryKind::iter().map(InquiryKind::as_str);
    let answered = ["assistant-request", TOOL_CALLS, "function-call"].into_iter().chain(inquiries);
    stored
        .chain(answered.map(|name| (name, Handling::Answered)))
        .chain([(VOICE_REQUEST, Handling::Refused)])
        .chain(COUNTED.map(|name| (name, Handling::Counted)))
        .collect()
}
