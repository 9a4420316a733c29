use jiff::Timestamp;
use ringfence_vapi::{LeadId, exact_numbers};
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::{
    AddedAgent, Connection, DeadLetters, Erasure, FailedOperation, Finding, ListedAgent, Operation, Organization,
    OrganizationKey, Tool,
};

/// The result of a command.
#[derive(Clone, Debug, IntoStaticStr, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case", remote = "Self")]
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
    Lead { id: LeadId },
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
    /// The state of an operation at the end of the invocation.
    Operation(Operation),
    /// Operations: those that were continued, or a list.
    Operations { operations: Vec<Operation> },
    /// The erased data, or in a dry run the data that would be erased.
    Erased(Erasure),
    /// The settings of an org at Vapi.
    Connected(Connection),
    /// Queues and clocks.
    Inspected {
        /// The function and the number of messages of each dead-letter queue.
        dead_letters: Vec<(String, i64)>,
        /// How far the database's clock is ahead of the function's.
        clock_skew_ms: i64,
        /// Message types and field names that the version does not know.
        #[serde(default)]
        drift: Drift,
    },
}

exact_numbers!(Reply);
/// Message types and field names of the last 14 days that the version does not know, with their counts, the most
/// frequent first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Types of quarantined messages.
    pub types: Vec<(String, u64)>,
    /// A message type, a space and a field.
    pub fields: Vec<(String, u64)>,
}
