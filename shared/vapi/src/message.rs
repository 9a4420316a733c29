//! The result of parsing a webhook's body.

use crate::events::{PartialTranscript, StoredEvent};
use crate::failure::FailureCode;
use crate::interactive::{Conversation, Interactive};
use crate::unknown_message::UnknownMessage;

/// A parsed webhook body.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// Vapi's `message.type` for metrics and logs: at most 64 safe characters. It is `transcript` for both type
    /// literals of the final transcript, and `unknown` for a longer or unsafe text.
    pub message_type: String,
    pub message: Message,
    /// The fields that had a wrong type or an impossible value and are treated as absent, such as `cost` or
    /// `call.customer.number`. Each is listed once.
    pub unreadable: Vec<&'static str>,
    /// Field names that this version does not know. `None`: there are none, or the type is unknown as well.
    pub drift: Option<Drift>,
}

/// Field names in a message of a known type that this version does not know.
#[derive(Clone, Debug, PartialEq)]
pub struct Drift {
    /// `message`, `call`, `artifact` or `analysis`, a dot and the name, such as `call.newField`. Never a value.
    pub fields: Vec<String>,
    /// Names the org of a message to the platform URL.
    pub conversation: Conversation,
}

/// A Vapi server message (`ServerMessage`), by the way in which Ringfence handles it.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one message lives per request; a box would only be in the way")]
pub enum Message {
    /// The event's function stores it under its event key.
    Stored(StoredEvent),
    /// A partial transcript. It is pushed to viewers and not stored.
    Partial(PartialTranscript),
    /// Vapi waits for the response.
    Interactive(Interactive),
    /// `voice-request`. Its response is raw audio, which Ringfence does not produce.
    NotServed,
    /// A known type that is only counted.
    Informational,
    /// A type that this version does not know, because Vapi adds types. It is quarantined.
    Unknown(UnknownMessage),
}

/// The only errors for which Ringfence refuses a body (HTTP 400). The error contains no text of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// The body is not JSON.
    #[error("the body is not valid JSON")]
    NotJson,
    /// There is no text at `message.type`.
    #[error("message.type is missing or not a text")]
    MessageTypeMissing,
    /// The message is of a stored type, and `message.call.id` is missing or invalid.
    #[error("message.call.id is missing or not 1 to 128 letters, digits, dots, underscores or hyphens")]
    CallIdMissing,
    /// `message` or `message.call` is a text, as Vapi's encrypted fields are (`encryptedPaths`).
    #[error("encrypted fields are not supported: see \"Not supported\" in docs/MESSAGES.md")]
    EncryptedFields,
}

impl BadRequest {
    /// The failure code for the log and the response.
    #[must_use]
    pub const fn code(self) -> FailureCode {
        match self {
            Self::NotJson => FailureCode::BodyNotJson,
            Self::MessageTypeMissing => FailureCode::MessageTypeMissing,
            Self::CallIdMissing => FailureCode::CallIdMissing,
            Self::EncryptedFields => FailureCode::EncodingNotSupported,
        }
    }
}
