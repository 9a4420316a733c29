//! Types of stored messages.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

/// The other type literal of a final transcript. An assistant that subscribes to it may receive it as the type.
pub(crate) const FINAL_TRANSCRIPT: &str = "transcript[transcriptType=\"final\"]";

/// The types of stored messages, by Vapi's names.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumIter, EnumString, IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", const_into_str)]
pub enum EventType {
    /// `ServerMessageStatusUpdate`.
    StatusUpdate,
    /// `ServerMessageTranscript`, with either of its type literals.
    Transcript,
    /// `ServerMessageEndOfCallReport`.
    EndOfCallReport,
    /// `ClientMessageAssistantStarted`, which servers also receive.
    #[serde(rename = "assistant.started")]
    #[strum(serialize = "assistant.started")]
    AssistantStarted,
    /// `ServerMessageHang`: the assistant stalls. The message does not mean a hang-up.
    Hang,
    /// `ServerMessageUserInterrupted`.
    UserInterrupted,
    /// `ServerMessageTransferUpdate`.
    TransferUpdate,
    /// `ServerMessageLanguageChangeDetected`.
    LanguageChangeDetected,
    /// `ServerMessageCallDeleted`.
    #[serde(rename = "call.deleted")]
    #[strum(serialize = "call.deleted")]
    CallDeleted,
    /// `ServerMessageCallDeleteFailed`.
    #[serde(rename = "call.delete.failed")]
    #[strum(serialize = "call.delete.failed")]
    CallDeleteFailed,
    /// `ServerMessageCallArtifactUpload`.
    #[serde(rename = "call.artifact.upload")]
    #[strum(serialize = "call.artifact.upload")]
    CallArtifactUpload,
}

impl EventType {
    /// The stored type that a `message.type` names.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        if name == FINAL_TRANSCRIPT {
            return Some(Self::Transcript);
        }
        name.parse().ok()
    }

    /// Vapi's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.into_str()
    }

    /// The type's name in an assistant's `serverMessages`. Partial transcripts are left out, because they are many and
    /// are not stored.
    pub(crate) const fn server_message(self) -> &'static str {
        match self {
            Self::Transcript => FINAL_TRANSCRIPT,
            other => other.into_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator as _;

    use super::*;

    #[test]
    fn a_type_is_serialised_under_vapis_name() {
        for event_type in EventType::iter() {
            assert_eq!(serde_json::to_value(event_type).unwrap(), event_type.as_str());
            assert_eq!(EventType::from_name(event_type.as_str()), Some(event_type));
        }
    }

    #[test]
    fn both_literals_name_a_transcript() {
        assert_eq!(EventType::from_name(FINAL_TRANSCRIPT), Some(EventType::Transcript));
        assert_eq!(EventType::from_name("transcripts"), None);
    }
}
