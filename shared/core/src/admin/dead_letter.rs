//! What is found in dead-letter queues.

use jiff::Timestamp;
use ringfence_protocol::{Delivery, Recording};

/// What a dead letter is about.
#[derive(Clone, Debug, PartialEq)]
pub enum DeadLetter {
    /// An event that was not applied.
    Event(Box<Delivery>),
    /// A recording that was not fetched.
    Recording {
        /// Which.
        recording: Recording,
        /// When it was given up: its message does not say when it was queued.
        died_at: Timestamp,
    },
}

impl DeadLetter {
    /// What names it among failed operations.
    #[must_use]
    pub fn event_id(&self) -> String {
        match self {
            Self::Event(delivery) => delivery.key.as_str().to_owned(),
            Self::Recording { recording, .. } => recording.event_id(),
        }
    }

    pub(super) fn call_id(&self) -> &str {
        match self {
            Self::Event(delivery) => delivery.event.call().id.as_str(),
            Self::Recording { recording, .. } => recording.call_id.as_str(),
        }
    }

    pub(super) fn event_type(&self) -> &'static str {
        match self {
            Self::Event(delivery) => delivery.event.event_type(),
            Self::Recording { .. } => "recording",
        }
    }

    pub(super) fn received_at(&self) -> Timestamp {
        match self {
            Self::Event(delivery) => delivery.received_at,
            Self::Recording { died_at, .. } => *died_at,
        }
    }
}
