//! The types of message that are stored.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The other literal for a final transcript: an assistant that subscribes to it may be sent it as the type.
pub(crate) const FINAL_TRANSCRIPT: &str = "transcript[transcriptType=\"final\"]";

/// The types of message that are stored, by Vapi's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventType {
    /// `ServerMessageStatusUpdate`.
    #[serde(rename = "status-update")]
    StatusUpdate,
    /// `ServerMessageTranscript`, under either of its type literals.
    #[serde(rename = "transcript")]
    Transcript,
    /// `ServerMessageEndOfCallReport`.
    #[serde(rename = "end-of-call-report")]
    EndOfCallReport,
    /// `ClientMessageAssistantStarted`, sent to servers too.
    #[serde(rename = "assistant.started")]
    AssistantStarted,
    /// `ServerMessageHang`: the assistant stalls. Not a hang-up.
    #[serde(rename = "hang")]
    Hang,
    /// `ServerMessageUserInterrupted`.
    #[serde(rename = "user-interrupted")]
    UserInterrupted,
    /// `ServerMessageTransferUpdate`.
    #[serde(rename = "transfer-update")]
    TransferUpdate,
    /// `ServerMessageLanguageChangeDetected`.
    #[serde(rename = "language-change-detected")]
    LanguageChangeDetected,
    /// `ServerMessageCallDeleted`.
    #[serde(rename = "call.deleted")]
    CallDeleted,
    /// `ServerMessageCallDeleteFailed`.
    #[serde(rename = "call.delete.failed")]
    CallDeleteFailed,
    /// `ServerMessageCallArtifactUpload`.
    #[serde(rename = "call.artifact.upload")]
    CallArtifactUpload,
}

impl EventType {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::StatusUpdate,
        Self::Transcript,
        Self::EndOfCallReport,
        Self::AssistantStarted,
        Self::Hang,
        Self::UserInterrupted,
        Self::TransferUpdate,
        Self::LanguageChangeDetected,
        Self::CallDeleted,
        Self::CallDeleteFailed,
        Self::CallArtifactUpload,
    ];

    /// The stored type that a `message.type` names.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        if name == FINAL_TRANSCRIPT {
            return Some(Self::Transcript);
        }
        Self::ALL.into_iter().find(|event_type| event_type.as_str() == name)
    }

    /// Vapi's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StatusUpdate => "status-update",
            Self::Transcript => "transcript",
            Self::EndOfCallReport => "end-of-call-report",
            Self::AssistantStarted => "assistant.started",
            Self::Hang => "hang",
            Self::UserInterrupted => "user-interrupted",
            Self::TransferUpdate => "transfer-update",
            Self::LanguageChangeDetected => "language-change-detected",
            Self::CallDeleted => "call.deleted",
            Self::CallDeleteFailed => "call.delete.failed",
            Self::CallArtifactUpload => "call.artifact.upload",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_serialised_under_vapis_name() {
        for event_type in EventType::ALL {
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
