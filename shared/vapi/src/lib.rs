//! Vapi's messages, ids, event keys, call state and failure codes. No I/O, no async.
//!
//! The entry point is [`parse()`]. It takes the raw bytes of a webhook and returns a typed [`Message`] with only the
//! data that Ringfence stores. Assistant configuration and credentials are removed. Links to recordings expire, so
//! they are returned beside the event and are not part of it. The parser is tolerant, because Vapi's enums are open
//! and real bodies differ from the published schema. A field of a wrong type is treated as absent and listed in
//! [`Parsed::unreadable`]; only the errors of [`BadRequest`] cause a body to be refused.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking"))]

pub mod events;
pub mod exact;
pub mod failure;
pub mod ids;
pub mod interactive;
pub mod reason;
pub mod sensitive;
pub mod status;

mod call;
mod contact;
mod conversation;
mod ended_call;
mod fingerprint;
mod json;
mod known_fields;
mod link;
mod message;
mod message_types;
mod object;
mod parse;
mod phone;
mod sanitise;
mod server_messages;
mod time;
mod unknown_message;

#[cfg(test)]
mod tests;

pub use call::{CallFacts, Direction};
pub use contact::contact_identifiers;
pub use ended_call::end_of_call_report;
pub use events::{
    ArtifactUpload, CallEvent, Cost, CostBreakdown, Detail, Details, Event, EventType, FinalTranscript, Function,
    PartialTranscript, Performance, RecordingConsent, RecordingKind, RecordingLink, Report, StatusUpdate, StoredEvent,
    Transfer, Turn, TurnToolCall, UnknownRecordingKind,
};
pub use failure::{FailureClass, FailureCode};
pub use ids::{AgentId, EventKey, LeadId, OrgId, VapiCallId};
pub use interactive::{Interactive, nothing_configured};
pub use message::{BadRequest, Drift, Message, Parsed};
pub use message_types::{Handling, message_types};
pub use parse::parse;
pub use reason::ReasonFamily;
pub use sensitive::Sensitive;
pub use server_messages::server_messages;
pub use unknown_message::UnknownMessage;
