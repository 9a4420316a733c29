use jiff::Timestamp;
use ringfence_vapi::{FailureCode, OrgId, Sensitive, exact_numbers};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Operation, Secret};

/// A request of the console to `console-commands`. It has no actor: the actor is the token's holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsoleRequest {
    /// The console token of the acting person.
    pub token: Secret,
    pub command: ConsoleCommand,
}

/// The only commands that `console-commands` accepts. Each is for one org.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ConsoleCommand {
    /// Moves dead letters of the org back to their retry queues. An absent field selects all.
    Redrive {
        org_id: OrgId,
        call_id: Option<String>,
        code: Option<FailureCode>,
        event_id: Option<String>,
        /// Leaves messages that became dead letters later.
        before: Timestamp,
    },
    /// Applies the effects of a call's events again.
    Replay { org_id: OrgId, call_id: String },
    /// Closes the failure of a tool call whose outcome a person has found out.
    Settle { org_id: OrgId, event_id: String },
    /// Returns the event of a failure with its personal data.
    Unmask { org_id: OrgId, event_id: String },
}

impl ConsoleCommand {
    #[must_use]
    pub const fn org_id(&self) -> OrgId {
        match self {
            Self::Redrive { org_id, .. }
            | Self::Replay { org_id, .. }
            | Self::Settle { org_id, .. }
            | Self::Unmask { org_id, .. } => *org_id,
        }
    }
}

/// The result of a [`ConsoleCommand`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case", remote = "Self")]
pub enum ConsoleReply {
    Operation(Operation),
    Settled {},
    Unmasked {
        /// None: the org has no such failure, or its event was applied.
        event: Option<Sensitive<Value>>,
    },
}

exact_numbers!(ConsoleReply);
