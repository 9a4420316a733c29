//! The events that Ringfence keeps, one file per kind.
//!
//! An event is what is stored, queued and replayed: only the fields that its handler needs, and no secret, since Vapi's
//! bodies carry credentials. A field that Vapi left out is left out of the JSON too; it is never `null`.

mod call_event;
mod cost;
mod destination;
mod duration;
mod event_type;
mod function;
mod key;
mod recording;
mod report;
mod status_update;
mod transcript;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use call_event::{ArtifactUpload, CallEvent, Detail};
pub use cost::CostBreakdown;
pub use event_type::EventType;
pub use function::Function;
pub use recording::{RecordingKind, RecordingLink, UnknownRecordingKind};
pub use report::Report;
pub use status_update::StatusUpdate;
pub use transcript::{FinalTranscript, PartialTranscript};

pub(crate) use transcript::is_final;

use crate::call::CallFacts;
use crate::ids::EventKey;
use crate::object::Object;

/// An event together with the key under which it is claimed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// Equal keys mean equal facts.
    pub key: EventKey,
    /// The facts.
    pub event: Event,
    /// What fetches the recordings that the event names. Secrets that differ by delivery: neither facts nor kept with them.
    #[serde(skip)]
    pub links: Vec<RecordingLink>,
}

impl StoredEvent {
    /// Reads an event of a stored type, under the key of its facts.
    pub(crate) fn read(event_type: EventType, message: &Object<'_>, call: CallFacts) -> Self {
        let event = Event::read(event_type, message, call);
        let links = match &event {
            Event::EndOfCallReport(_) => RecordingLink::read_all(message),
            _ => Vec::new(),
        };
        Self { key: key::of(&event), event, links }
    }
}

/// What happened to a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    /// A `status-update` with which a call begins or goes on, known to us or not.
    CallStarted(StatusUpdate),
    /// The `status-update` `ended`.
    CallEnded(StatusUpdate),
    /// Something for the call's timeline only.
    CallEvent(CallEvent),
    /// A final `transcript`.
    Transcript(FinalTranscript),
    /// An `end-of-call-report`.
    EndOfCallReport(Report),
}

impl Event {
    /// Reads an event of a stored type. A partial transcript is none: the caller tells it apart.
    fn read(event_type: EventType, message: &Object<'_>, call: CallFacts) -> Self {
        match event_type {
            EventType::StatusUpdate => status_update::read(message, call),
            EventType::Transcript => Self::Transcript(FinalTranscript::read(message, call)),
            EventType::EndOfCallReport => Self::EndOfCallReport(Report::read(message, call)),
            timeline => Self::CallEvent(CallEvent::read(timeline, message, call)),
        }
    }

    /// Vapi's name of the message's type.
    #[must_use]
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::CallStarted(event) | Self::CallEnded(event) => event.event_type,
            Self::CallEvent(event) => event.event_type,
            Self::Transcript(event) => event.event_type,
            Self::EndOfCallReport(event) => event.event_type,
        }
        .as_str()
    }

    /// The call it happened to.
    #[must_use]
    pub fn call(&self) -> &CallFacts {
        match self {
            Self::CallStarted(event) | Self::CallEnded(event) => &event.call,
            Self::CallEvent(event) => &event.call,
            Self::Transcript(event) => &event.call,
            Self::EndOfCallReport(event) => &event.call,
        }
    }

    /// The same, to be completed.
    pub fn call_mut(&mut self) -> &mut CallFacts {
        match self {
            Self::CallStarted(event) | Self::CallEnded(event) => &mut event.call,
            Self::CallEvent(event) => &mut event.call,
            Self::Transcript(event) => &mut event.call,
            Self::EndOfCallReport(event) => &mut event.call,
        }
    }

    /// When Vapi made the message (`message.timestamp`), in whole milliseconds.
    #[must_use]
    pub fn message_time(&self) -> Option<Timestamp> {
        match self {
            Self::CallStarted(event) | Self::CallEnded(event) => event.message_time,
            Self::CallEvent(event) => event.message_time,
            Self::Transcript(event) => event.message_time,
            Self::EndOfCallReport(event) => event.message_time,
        }
    }

    /// The recordings that it says there are.
    #[must_use]
    pub fn recordings(&self) -> &[RecordingKind] {
        match self {
            Self::CallEvent(event) => &event.recordings,
            Self::EndOfCallReport(report) => &report.recordings,
            Self::CallStarted(_) | Self::CallEnded(_) | Self::Transcript(_) => &[],
        }
    }

    /// The function whose handler applies it, and on whose retry queue it waits.
    #[must_use]
    pub fn function(&self) -> Function {
        match self {
            Self::CallStarted(_) => Function::CallStarted,
            Self::CallEnded(_) => Function::CallEnded,
            Self::CallEvent(event) => event.function(),
            Self::Transcript(_) => Function::Transcript,
            Self::EndOfCallReport(_) => Function::EndOfCallReport,
        }
    }
}
