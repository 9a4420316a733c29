use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;
use uuid::Uuid;

use super::{
    AddedAgent, Connection, DeadLetters, Erasure, FailedOperation, Finding, ListedAgent, Operation, Organization,
    OrganizationKey, Tool,
};

/// The result of a command.
#[derive(Clone, Debug, IntoStaticStr, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Reply {
    /// The migrations that were applied.
    Migrated {
        /// Version and name of each.
        applied: Vec<String>,
    },
    /// The checks of `verify.sql`.
    Verified { findings: Vec<Finding> },
    /// An org's credential.
    Organization(OrganizationKey),
    /// All orgs, without their keys.
    Organizations { organizations: Vec<Organization> },
    /// The new agent.
    Agent(AddedAgent),
    /// The new lead.
    Lead { id: Uuid },
    /// The agents of an org.
    Agents { agents: Vec<ListedAgent> },
    /// The tools of an org.
    Tools { tools: Vec<Tool> },
    /// The secret that signs messages to an org's endpoints. Stored nowhere.
    ToolSecret {
        /// Of the first master key.
        secret: String,
    },
    /// The command was carried out.
    Done {},
    /// A token for the live view. Shown once; stored nowhere.
    Token {
        /// A secret.
        token: String,
        /// It is not valid after this time.
        expires_at: Timestamp,
    },
    /// A link that signs in to the console. Shown once; stored nowhere.
    Console {
        /// A secret, since it holds a token.
        link: String,
        /// It is not valid after this time.
        expires_at: Timestamp,
    },
    /// Failed operations.
    Failures { operations: Vec<FailedOperation> },
    /// What a pass over the dead-letter queues found.
    DeadLetters(DeadLetters),
    /// How many events a replay would take.
    Count { events: i64 },
    /// An operation as it stands when the invocation leaves it.
    Operation(Operation),
    /// Operations: those that were continued, or a list.
    Operations { operations: Vec<Operation> },
    /// What was erased, or would be.
    Erased(Erasure),
    /// How an org is set up at Vapi.
    Connected(Connection),
    /// Queues and clocks.
    Inspected {
        /// Function and number of messages of each dead-letter queue.
        dead_letters: Vec<(String, i64)>,
        /// How far the database's clock is ahead of the function's.
        clock_skew_ms: i64,
    },
}
