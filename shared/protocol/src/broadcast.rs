//! Broadcasts: messages on the broadcast queue about frames that are still to be pushed. A broadcast names an event of
//! the org's log and has none of its text. A partial transcript is not in the log, so its broadcast contains the
//! frame.

use jiff::Timestamp;
use ringfence_vapi::{EventKey, OrgId, exact_numbers};
use serde::{Deserialize, Serialize};

use crate::connection::ConnectionId;
use crate::live::Frame;

/// A push to some or all viewers of an org.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Broadcast {
    /// The org of the viewers.
    pub org_id: OrgId,
    /// The subject of the push.
    #[serde(flatten)]
    pub subject: Subject,
    /// The connections to push to. None: all connections that watch the org.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Vec<ConnectionId>>,
    /// The number of failed pushes to these connections.
    #[serde(default)]
    pub failures: u32,
}

exact_numbers!(Broadcast);

/// The subject of a broadcast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "subject", rename_all = "kebab-case")]
pub enum Subject {
    /// An event of the org's log.
    Event {
        /// The event's key.
        event_key: EventKey,
    },
    /// A partial transcript.
    Partial {
        /// The frame for the viewers.
        frame: Box<Frame>,
        /// The time of receipt. A partial transcript is useful only for a moment.
        received_at: Timestamp,
    },
}

impl Broadcast {
    /// A first push to all viewers of an org.
    #[must_use]
    pub fn to_all(org_id: OrgId, subject: Subject) -> Self {
        Self { org_id, subject, connections: None, failures: 0 }
    }

    /// A partial transcript is never stored, so it is never a dead letter.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        matches!(self.subject, Subject::Partial { .. })
    }

    /// The same broadcast for the connections that did not receive it.
    #[must_use]
    pub fn again(&self, connections: Vec<ConnectionId>) -> Self {
        let (org_id, subject) = (self.org_id, self.subject.clone());
        Self { org_id, subject, connections: Some(connections), failures: self.failures + 1 }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_names_the_event_without_its_content() {
        let org_id: OrgId = "8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11".parse().unwrap();
        let event_key = EventKey::new("transcript:c1:ab".to_owned());
        let first = Broadcast::to_all(org_id, Subject::Event { event_key });
        let again = first.again(vec!["x=".to_owned().into()]);
        let message = serde_json::to_value(&again).unwrap();
        assert_eq!(
            message,
            json!({"org_id": org_id, "subject": "event", "event_key": "transcript:c1:ab", "connections": ["x="],
                "failures": 1})
        );
        assert_eq!(serde_json::from_value::<Broadcast>(message).unwrap(), again);
    }
}
