//! Deliveries: stored events that are to be applied.

use jiff::Timestamp;
use ringfence_vapi::{Event, EventKey, FailureCode, OrgId, RecordingKind, StoredEvent, exact_numbers};
use serde::{Deserialize, Serialize};

/// The verified credential of the sender. Only the request verifier creates it; a queued event includes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", remote = "Self")]
pub enum Credential {
    /// The org's own key.
    Org { org_id: OrgId, key_version: i32 },
    /// The platform's key. The org is determined from the event.
    Platform,
}

exact_numbers!(Credential);

impl Credential {
    /// None for the platform's key.
    #[must_use]
    pub const fn org(self) -> Option<OrgId> {
        match self {
            Self::Org { org_id, .. } => Some(org_id),
            Self::Platform => None,
        }
    }
}

/// A stored event with the data that its handler needs to apply it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    pub credential: Credential,
    /// The idempotency key.
    pub key: EventKey,
    pub event: Event,
    /// When the webhook function received it.
    pub received_at: Timestamp,
    /// Links to the recordings that the event names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<SealedLink>,
    /// Failed attempts that no database row records yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailedAttempt>,
    /// The same in all log lines of the event, from the webhook to the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// How often the queue has delivered the event, including this delivery. None: the event did not come from a
    /// queue.
    #[serde(skip)]
    pub receives: Option<u32>,
}

impl Delivery {
    /// An event that was just received. The links of `stored` are left out, because they must be sealed first.
    #[must_use]
    pub fn new(credential: Credential, stored: StoredEvent, received_at: Timestamp) -> Self {
        let StoredEvent { key, event, links: _ } = stored;
        Self {
            credential,
            key,
            event,
            received_at,
            links: Vec::new(),
            failures: Vec::new(),
            trace_id: None,
            receives: None,
        }
    }
}

/// A link to a recording, sealed so that it can be stored in a queue and in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedLink {
    pub kind: RecordingKind,
    pub link: String,
    /// The time from which Vapi's storage rejects the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A failed attempt to apply an event. `sqlstate` and `constraint` are absent if the database server did not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedAttempt {
    pub failed_at: Timestamp,
    /// `webhook` if the sender waited for the response, else the event's function.
    pub function: String,
    pub code: FailureCode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
}
