//! The contents of dead-letter queues.

use jiff::Timestamp;
use ringfence_protocol::{Credential, Delivery, Recording};

/// The content of a dead letter.
#[derive(Clone, Debug, PartialEq)]
pub enum DeadLetter {
    /// An event that was not applied.
    Event(Box<Delivery>),
    /// A recording that was not fetched.
    Recording {
        recording: Recording,
        /// When the message was moved to the dead-letter queue. The message has no time of its own.
        died_at: Timestamp,
    },
}

impl DeadLetter {
    /// The `event_id` of its row in `failed_operations`.
    #[must_use]
    pub fn event_id(&self) -> String {
        match self {
            Self::Event(delivery) => delivery.key.as_str().to_owned(),
            Self::Recording { recording, .. } => recording.event_id(),
        }
    }

    /// Vapi's id of its call.
    #[must_use]
    pub fn call_id(&self) -> &str {
        match self {
            Self::Event(delivery) => delivery.event.call().id.as_str(),
            Self::Recording { recording, .. } => recording.call_id.as_str(),
        }
    }

    /// Whether it is an event that came to the platform URL.
    #[must_use]
    pub fn is_from_platform(&self) -> bool {
        matches!(self, Self::Event(delivery) if delivery.credential == Credential::Platform)
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
