//! A broadcast: what is still to be pushed, as a message on the broadcast queue. It names an event of the log and holds none of
//! its text; only a partial transcript, which is in no log, travels itself, as the frame that it is.

use jiff::Timestamp;
use ringfence_vapi::{EventKey, OrgId};
use serde::{Deserialize, Serialize};

use crate::connection::ConnectionId;
use crate::live::Frame;

/// Something to push, to some or all viewers of an org.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Broadcast {
    /// Whose viewers.
    pub org_id: OrgId,
    /// What.
    #[serde(flatten)]
    pub subject: Subject,
    /// To which connections; none: to all that watch the org.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Vec<ConnectionId>>,
    /// How often pushing it to these connections has failed.
    #[serde(default)]
    pub failures: u32,
}

/// What a broadcast is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "subject", rename_all = "kebab-case")]
pub enum Subject {
    /// An event of the org's log.
    Event {
        /// Its key.
        event_key: EventKey,
    },
    /// Something that is being said right now.
    Partial {
        /// What viewers are to see of it.
        frame: Box<Frame>,
        /// When they were received. What is older than a moment is worth nothing.
        received_at: Timestamp,
    },
}

impl Broadcast {
    /// To all viewers of an org, for the first time.
    #[must_use]
    pub fn to_all(org_id: OrgId, subject: Subject) -> Self {
        Self { org_id, subject, connections: None, failures: 0 }
    }

    /// A partial transcript is never stored, so it is never a dead letter.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        matches!(self.subject, Subject::Partial { .. })
    }

    /// The same for those that did not get it.
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
    fn a_message_names_the_event_and_says_nothing_of_it() {
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
