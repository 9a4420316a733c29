use jiff::Timestamp;
use ringfence_vapi::{FailureCode, OrgId};
use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr};

/// Selects events. An absent field selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    pub org_id: Option<OrgId>,
    /// Vapi's id of the call.
    pub call_id: Option<String>,
    /// Vapi's name of the type, such as `end-of-call-report`; or `recording`.
    pub event_type: Option<String>,
    /// Received at this time or later.
    pub since: Option<Timestamp>,
    /// Received before this time.
    pub until: Option<Timestamp>,
    /// Of failed events: the code of the latest failure.
    pub code: Option<FailureCode>,
    /// The event's key.
    #[serde(default)]
    pub event_id: Option<String>,
}

/// A failed event: ids, codes and times. The event itself holds personal data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedOperation {
    pub org_id: OrgId,
    /// Vapi's id of the call.
    pub call_id: String,
    /// The idempotency key.
    pub event_id: String,
    /// The function whose queue holds it.
    pub function: String,
    /// `retrying`, `dead`, `redriven` or `resolved`.
    pub state: String,
    /// The code of the latest failure.
    pub code: String,
    /// Recorded failed attempts.
    pub attempts: i64,
    /// How often its message was received from the queue.
    pub receives: i32,
    pub first_failed_at: Timestamp,
    pub last_failed_at: Timestamp,
    /// Maintenance removed the event after the org's retention of events: it can neither be redriven nor replayed.
    #[serde(default)]
    pub is_event_removed: bool,
}

/// The result of a pass over the dead-letter queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetters {
    /// The pass leaves messages that became dead letters after this time. The next pass of the same redrive uses the
    /// same time: an event whose cause is not fixed becomes a dead letter again at once, and would otherwise be
    /// redriven without end.
    pub before: Timestamp,
    /// Messages that the selection chose.
    pub selected: u64,
    /// The selected messages that were moved back to their retry queue; in an erasure, those that were deleted.
    pub redriven: u64,
    /// Messages that are neither an event nor a recording, that belong to no known org, or that cannot be read now.
    /// The pass leaves them in the queue.
    pub unknown: u64,
    /// The pass ran out of time.
    pub more: bool,
}

/// The events that a replay takes.
#[derive(Clone, Copy, Debug, Display, IntoStaticStr, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Replayable {
    /// Retained events that were applied.
    Applied,
    /// Events that failed and have not been applied since.
    Failed,
    /// Quarantined messages: their type was unknown when they were received.
    Quarantined,
}
