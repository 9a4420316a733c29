//! Recordings to fetch.

use ringfence_vapi::{OrgId, RecordingKind, VapiCallId};
use serde::{Deserialize, Serialize};

/// Identifies a recording in queue messages and object keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Recording {
    pub org_id: OrgId,
    pub call_id: VapiCallId,
    pub kind: RecordingKind,
}

impl Recording {
    /// The recording's id in `failed_operations` (`recording_id` in SQL).
    #[must_use]
    pub fn event_id(&self) -> String {
        format!("recording:{}:{}", self.call_id, self.kind)
    }

    /// `{org}/{call}/{kind}`: each org and each call has its own prefix.
    #[must_use]
    pub fn object_key(&self) -> String {
        format!("{}/{}/{}", self.org_id, self.call_id, self.kind)
    }
}

/// A message of the recording queue. The recording's row has all other data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "v")]
pub enum RecordingMessage {
    #[serde(rename = "1")]
    Fetch { recording: Recording },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let recording = Recording {
            org_id: "8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11".parse().unwrap(),
            call_id: "c1".parse().unwrap(),
            kind: RecordingKind::Stereo,
        };
        let message = RecordingMessage::Fetch { recording };
        let text = serde_json::to_string(&message).unwrap();
        assert_eq!(
            text,
            r#"{"v":"1","recording":{"org_id":"8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11","call_id":"c1","kind":"stereo"}}"#
        );
        assert_eq!(serde_json::from_str::<RecordingMessage>(&text).unwrap(), message);
        for text in ["", "{}", r#"{"v":"9"}"#, r#"{"v":"1","recording":{"org_id":"x","call_id":"c1","kind":"mono"}}"#] {
            assert!(serde_json::from_str::<RecordingMessage>(text).is_err(), "{text}");
        }
    }
}
