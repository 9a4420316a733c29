//! Stored events, one file per kind.
//!
//! An event is stored, queued and replayed. It has only the fields that its handler needs and no secrets, because
//! Vapi's bodies contain credentials. A field that Vapi left out is also left out of the JSON; it is never `null`.

mod call_event;
mod cost;
mod destination;
mod details;
mod duration;
mod event_type;
mod function;
mod key;
mod outputs;
mod recording;
mod report;
mod status_update;
mod transcript;
mod turn;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use call_event::{ArtifactUpload, CallEvent, Detail};
pub use cost::{Cost, CostBreakdown};
pub use details::{Details, Performance, RecordingConsent, Transfer};
pub use event_type::EventType;
pub use function::Function;
pub use recording::{RecordingKind, RecordingLink, UnknownRecordingKind};
pub use report::Report;
pub use status_update::StatusUpdate;
pub use transcript::{FinalTranscript, PartialTranscript};
pub use turn::{Turn, TurnToolCall};

pub(crate) use status_update::call_turned_away;
pub(crate) use transcript::is_final;

use crate::call::CallFacts;
use crate::ids::EventKey;
use crate::object::Object;

/// An event with the key under which it is claimed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// Equal keys mean equal facts.
    pub key: EventKey,
    pub event: Event,
    /// Links to the recordings that the event names. They are secrets that differ between deliveries, so they are not
    /// facts and are not stored with the event.
    #[serde(skip)]
    pub links: Vec<RecordingLink>,
}

impl StoredEvent {
    /// Reads an event of a stored type and computes its key.
    pub(crate) fn read(event_type: EventType, message: &Object<'_>, call: CallFacts) -> Self {
        let event = Event::read(event_type, message, call);
        let links = match &event {
            Event::EndOfCallReport(_) => RecordingLink::read_all(message),
            _ => Vec::new(),
        };
        Self { key: key::of(&event), event, links }
    }
}

/// A typed event of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", remote = "Self")]
pub enum Event {
    /// A `status-update` of a call that begins or continues. The status may be unknown to Ringfence.
    CallStarted(StatusUpdate),
    /// The `status-update` with the status `ended`.
    CallEnded(StatusUpdate),
    /// An event for the call's timeline only.
    CallEvent(CallEvent),
    /// A final `transcript`.
    Transcript(FinalTranscript),
    /// An `end-of-call-report`. Boxed, because it is several times as large as any other event.
    EndOfCallReport(Box<Report>),
}

crate::exact_numbers!(Event);

impl Event {
    /// Reads an event of a stored type. The caller must handle partial transcripts separately.
    fn read(event_type: EventType, message: &Object<'_>, call: CallFacts) -> Self {
        match event_type {
            EventType::StatusUpdate => status_update::read(message, call),
            EventType::Transcript => Self::Transcript(FinalTranscript::read(message, call)),
            EventType::EndOfCallReport => Self::EndOfCallReport(Box::new(Report::read(message, call))),
            timeline => Self::CallEvent(CallEvent::read(timeline, message, call)),
        }
    }

    /// Vapi's name of the message type.
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

    /// The facts about the event's call.
    #[must_use]
    pub fn call(&self) -> &CallFacts {
        match self {
            Self::CallStarted(event) | Self::CallEnded(event) => &event.call,
            Self::CallEvent(event) => &event.call,
            Self::Transcript(event) => &event.call,
            Self::EndOfCallReport(event) => &event.call,
        }
    }

    /// The facts about the event's call, to be completed.
    pub fn call_mut(&mut self) -> &mut CallFacts {
        match self {
            Self::CallStarted(event) | Self::CallEnded(event) => &mut event.call,
            Self::CallEvent(event) => &mut event.call,
            Self::Transcript(event) => &mut event.call,
            Self::EndOfCallReport(event) => &mut event.call,
        }
    }

    /// The time at which Vapi created the message (`message.timestamp`), in whole milliseconds.
    #[must_use]
    pub fn message_time(&self) -> Option<Timestamp> {
        match self {
            Self::CallStarted(event) | Self::CallEnded(event) => event.message_time,
            Self::CallEvent(event) => event.message_time,
            Self::Transcript(event) => event.message_time,
            Self::EndOfCallReport(event) => event.message_time,
        }
    }

    /// The recordings that the event names.
    #[must_use]
    pub fn recordings(&self) -> &[RecordingKind] {
        match self {
            Self::CallEvent(event) => &event.recordings,
            Self::EndOfCallReport(report) => &report.recordings,
            Self::CallStarted(_) | Self::CallEnded(_) | Self::Transcript(_) => &[],
        }
    }

    /// The function whose handler applies the event and whose retry queue holds it after a failure.
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
