//! What a webhook's body turned out to be.

use crate::events::{PartialTranscript, StoredEvent};
use crate::failure::FailureCode;
use crate::interactive::Interactive;

/// A webhook's body, read.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// Vapi's `message.type` as metrics and logs name it: at most 64 safe characters, `transcript` for both literals of
    /// the final transcript, `unknown` for what is longer or unsafe.
    pub message_type: String,
    /// The message.
    pub message: Message,
    /// The fields that were of a wrong type or had an impossible value, and so count as absent: `cost`,
    /// `call.customer.number`. Each is named once.
    pub unreadable: Vec<&'static str>,
}

/// A Vapi server message (`ServerMessage`), by what Ringfence does with it.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one message lives per request; a box would only be in the way")]
pub enum Message {
    /// Stored under its event key by its event's function.
    Stored(StoredEvent),
    /// A transcript that is still being spoken: pushed to viewers, never stored.
    Partial(PartialTranscript),
    /// Vapi waits for the answer.
    Interactive(Interactive),
    /// `voice-request`: its answer is raw audio, which Ringfence does not make.
    NotServed,
    /// Known and of no interest beyond its count.
    Informational,
    /// Not a type known here: acknowledged and counted, since Vapi adds types.
    Unknown,
}

/// The only faults for which a body is refused (HTTP 400). No text of the body is echoed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// The body is not JSON.
    #[error("the body is not valid JSON")]
    NotJson,
    /// There is no text at `message.type`.
    #[error("message.type is missing or not a text")]
    MessageTypeMissing,
    /// The message is of a stored type and `message.call.id` is not usable.
    #[error("message.call.id is missing or not 1 to 128 letters, digits, dots, underscores or hyphens")]
    CallIdMissing,
}

impl BadRequest {
    /// The failure code under which the fault is logged and answered.
    #[must_use]
    pub const fn code(self) -> FailureCode {
        match self {
            Self::NotJson => FailureCode::BodyNotJson,
            Self::MessageTypeMissing => FailureCode::MessageTypeMissing,
            Self::CallIdMissing => FailureCode::CallIdMissing,
        }
    }
}
