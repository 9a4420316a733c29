use jiff::Timestamp;
use ringfence_vapi::OrgId;
use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr};
use uuid::Uuid;

/// A redrive or a replay, with its progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    pub id: Uuid,
    pub kind: OperationKind,
    /// None: events of all orgs.
    pub org_id: Option<OrgId>,
    pub actor: String,
    pub state: OperationState,
    /// Events that were applied, or dead letters that were moved back to their retry queue.
    pub done: u64,
    /// Events that failed again, or dead letters that cannot be read. The log has the code of each.
    pub failed: u64,
    /// Selected events that are not processed yet. None: unknown.
    pub remaining: Option<u64>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Display, IntoStaticStr, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum OperationKind {
    Redrive,
    Replay,
}

#[derive(Clone, Copy, Debug, Display, IntoStaticStr, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum OperationState {
    Running,
    Done,
    /// Ended because it made no progress.
    Failed,
}
