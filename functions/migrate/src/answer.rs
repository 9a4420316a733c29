//! What acts bring about.

use jiff::Timestamp;
use ringfence_core::admin::AddedAgent;
use ringfence_core::admin::failures::FailedOperation;
use ringfence_core::admin::replay::Replayed;
use ringfence_core::admin::tools::{ListedAgent, Tool};
use ringfence_core::migrations::Finding;
use ringfence_vapi::OrgId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::connect::Connection;
use crate::erase::Erasure;
use crate::redrive::Redriven;

/// What an act brought about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// The migrations that were applied.
    Migrated {
        /// Version and name of each.
        applied: Vec<String>,
    },
    /// The checks of `verify.sql`.
    Verified {
        /// Each check.
        findings: Vec<Finding>,
    },
    /// An org's credential.
    Organization(OrganizationKey),
    /// All orgs, without their keys.
    Organizations {
        /// Each org.
        organizations: Vec<ringfence_core::admin::Organization>,
    },
    /// The new agent.
    Agent(AddedAgent),
    /// The new lead.
    Lead {
        /// Its id.
        id: Uuid,
    },
    /// The agents of an org.
    Agents {
        /// Each.
        agents: Vec<ListedAgent>,
    },
    /// The tools of an org.
    Tools {
        /// Each.
        tools: Vec<Tool>,
    },
    /// What signs messages to an org's endpoints. Kept nowhere.
    ToolSecret {
        /// The secret that new messages are signed with first.
        secret: String,
    },
    /// The act is done.
    Done {},
    /// A token that watches an org's calls. Shown once; kept nowhere.
    Token {
        /// The token: a secret.
        token: String,
        /// From then on it opens nothing.
        expires_at: Timestamp,
    },
    /// A link that signs in to the console. Shown once; kept nowhere.
    Console {
        /// The link, with a token in it: a secret.
        link: String,
        /// From then on it opens nothing.
        expires_at: Timestamp,
    },
    /// Failed operations.
    Failures {
        /// Each.
        operations: Vec<FailedOperation>,
    },
    /// What became of the dead letters.
    Redriven(Redriven),
    /// How many events a replay would take.
    Count {
        /// Events.
        events: i64,
    },
    /// What a page of a replay did.
    Replayed(Replayed),
    /// What was erased, or would be.
    Erased(Erasure),
    /// How an org is set up at Vapi.
    Connected(Connection),
    /// Queues and clocks.
    Inspected {
        /// Messages in each dead-letter queue, by its function.
        dead_letters: Vec<(String, i64)>,
        /// How far the database's clock is ahead of the function's, in milliseconds.
        clock_skew_ms: i64,
    },
}

/// An org with its newest key. Shown once to whoever asked; kept nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganizationKey {
    /// The org.
    pub id: OrgId,
    /// The key: a secret.
    pub key: String,
    /// The key's version. A URL for HMAC carries it as `?v=`.
    pub key_version: i32,
    /// Where Vapi is to post.
    pub webhook_url: String,
}
