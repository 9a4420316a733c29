//! Timeline events.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EventType, Function, RecordingKind, destination, recording};
use crate::call::CallFacts;
use crate::fingerprint::Fingerprint;
use crate::object::Object;
use crate::sensitive::Sensitive;

/// An event that changes only the timeline of its call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallEvent {
    pub event_type: EventType,
    /// `timestamp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_time: Option<Timestamp>,
    /// The call.
    pub call: CallFacts,
    /// The values that the timeline shows.
    pub detail: Detail,
    /// The recordings that can be fetched after this event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recordings: Vec<RecordingKind>,
}

/// The values of a [`CallEvent`] that the timeline shows. Each belongs to one message type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// `ServerMessageStatusUpdate.status`: `not-found` or `deletion-failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// `ServerMessageLanguageChangeDetected.language`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// `ServerMessageUserInterrupted.turnId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<String>,
    /// The name of the assistant that takes over: `newAssistant` of `assistant.started`, or `toAssistant` of
    /// `ServerMessageTransferUpdate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_assistant: Option<String>,
    /// The name of the assistant that hands over: `ServerMessageTransferUpdate.fromAssistant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_assistant: Option<String>,
    /// `ServerMessageTransferUpdate.destination`: a number, a SIP URI or the name of an assistant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Sensitive<String>>,
    /// `ServerMessageCallArtifactUpload.artifacts`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<ArtifactUpload>,
}

/// The result of an upload to the customer's own storage (`CallArtifactUploadItem`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactUpload {
    /// `type`: `recording-mono`, `log` and others.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// `success`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<bool>,
}

impl CallEvent {
    pub(super) fn read(event_type: EventType, message: &Object<'_>, call: CallFacts) -> Self {
        let detail = Detail::read(event_type, message);
        let recordings = recording::kinds_of_uploads(&detail.artifacts);
        Self { event_type, message_time: message.time("timestamp"), call, detail, recordings }
    }

    pub(super) fn function(&self) -> Function {
        match self.event_type {
            EventType::StatusUpdate | EventType::CallDeleted | EventType::CallDeleteFailed => Function::CallEnded,
            EventType::CallArtifactUpload => Function::EndOfCallReport,
            _ => Function::CallStarted,
        }
    }

    /// Feeds all facts to the event key.
    pub(super) fn feed(&self, fingerprint: &mut Fingerprint) {
        let Self { event_type: _, message_time, call, detail, recordings: _ } = self; // derived from the detail
        call.feed(fingerprint);
        fingerprint.time("message_time", *message_time);
        detail.feed(fingerprint);
    }
}

impl Detail {
    fn read(event_type: EventType, message: &Object<'_>) -> Self {
        let mut detail = Self::default();
        match event_type {
            EventType::StatusUpdate => detail.status = message.token("status"),
            EventType::LanguageChangeDetected => detail.language = message.token("language"),
            EventType::UserInterrupted => detail.turn_id = message.id("turnId"),
            EventType::AssistantStarted => {
                detail.to_assistant = message.object("newAssistant").id("newAssistant.name");
            }
            EventType::TransferUpdate => {
                detail.to_assistant = message.object("toAssistant").id("toAssistant.name");
                detail.from_assistant = message.object("fromAssistant").id("fromAssistant.name");
                detail.destination = destination::read(message);
            }
            EventType::CallArtifactUpload => detail.artifacts = ArtifactUpload::read_all(message),
            _ => {}
        }
        detail
    }

    fn feed(&self, fingerprint: &mut Fingerprint) {
        let Self { status, language, turn_id, to_assistant, from_assistant, destination, artifacts } = self;
        fingerprint
            .text("status", status.as_deref())
            .text("language", language.as_deref())
            .text("turn_id", turn_id.as_deref())
            .text("to_assistant", to_assistant.as_deref())
            .text("from_assistant", from_assistant.as_deref())
            .secret_text("destination", destination.as_ref());
        for (index, ArtifactUpload { artifact_type, success }) in (0..).zip(artifacts) {
            fingerprint
                .integer("artifact", Some(index))
                .text("artifact.type", artifact_type.as_deref())
                .flag("artifact.success", *success);
        }
    }
}

impl ArtifactUpload {
    fn read_all(message: &Object<'_>) -> Vec<Self> {
        let artifacts = message.objects("artifacts").unwrap_or_default();
        artifacts.iter().map(Self::read).collect()
    }

    fn read(artifact: &Object<'_>) -> Self {
        Self { artifact_type: artifact.token("artifacts.type"), success: artifact.boolean("artifacts.success") }
    }
}
