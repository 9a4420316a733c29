//! Interactive messages: the answers of orgs, and the executions of tool calls (`migrations/*__interactive.sql`).

use std::time::Duration;

use jiff::Timestamp;
use ringfence_protocol::Credential;
use ringfence_vapi::interactive::{Agent, Conversation, Lead, ToolResult};
use ringfence_vapi::{FailureCode, LeadId, OrgId, exact_numbers};
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use crate::database::Database;
use crate::error::Failure;
use crate::events::credential_columns;
use crate::lease::LeaseHolder;

/// Bounds a statement while a caller waits for its answer. Afterwards the database is treated as unavailable.
const STATEMENT_TIMEOUT: Duration = Duration::from_millis(2_500);

/// The sender of a message and the conversation of the message.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    pub credential: Credential,
    pub received_at: Timestamp,
    pub conversation: &'a Conversation,
}

/// Whether the sender may receive an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Admission<T> {
    /// The org is known.
    Known(T),
    /// The key was revoked when the message was received.
    Revoked,
    /// The message came to the platform URL, and its org is unknown or ambiguous.
    Unresolved,
}

/// An endpoint of an org.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Endpoint {
    pub url: String,
    pub timeout_seconds: u64,
}

impl Endpoint {
    #[must_use]
    pub fn address(&self) -> (&str, Duration) {
        (&self.url, Duration::from_secs(self.timeout_seconds))
    }
}

/// The data with which an org answers a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub org_id: OrgId,
    /// The agent that takes or has the call.
    pub agent: Option<Agent>,
    /// The caller, if the org knows the number.
    pub lead: Option<Lead>,
    /// The endpoint for messages of this type, if the org registered one.
    pub endpoint: Option<Endpoint>,
}

/// A tool call to be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Wanted<'a> {
    /// The idempotency key.
    pub execution_id: &'a str,
    /// The name of the tool that the model called.
    pub tool: &'a str,
}

/// The states of tool calls after a claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Claimed {
    pub org_id: OrgId,
    /// The caller, if the org knows the number.
    pub lead_id: Option<LeadId>,
    pub executions: Vec<Execution>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(remote = "Self")]
pub struct Execution {
    /// The idempotency key.
    pub execution_id: String,
    #[serde(flatten)]
    pub state: ExecutionState,
}

exact_numbers!(deserialize Execution);

/// The state of an execution.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ExecutionState {
    /// The org has not registered this tool.
    Unregistered,
    /// The claimant has the lease and must send the call.
    Claimed {
        endpoint: Endpoint,
        /// How often it was claimed, this time included.
        attempt: i32,
    },
    /// Another claimant has the lease.
    Running,
    /// The endpoint returned a result.
    Done {
        /// The result that answers every delivery.
        result: ToolResult,
    },
    /// The claimant died after sending the call, and the tool is not idempotent, so the call is not sent again.
    Interrupted {
        /// The result that answers every delivery.
        result: ToolResult,
    },
}

/// Finds the answer of the sender's org to a message of this type. The conversation has the called number and the
/// caller.
pub async fn find_answer(
    database: &Database,
    sender: &Sender<'_>,
    message_type: &str,
) -> Result<Admission<Found>, Failure> {
    let (org_id, key_version) = credential_columns(sender.credential);
    let row = database
        .query_one_within(
            STATEMENT_TIMEOUT,
            "SELECT * FROM find_answer_v1($1, $2, $3, $4, $5)",
            &[
                (&org_id, Type::UUID),
                (&key_version, Type::INT4),
                (&message_type, Type::TEXT),
                (&Json(sender.conversation), Type::JSONB),
                (&sender.received_at, Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    admission(&row, |row, org_id| {
        Ok(Found { org_id, agent: json(row, "agent")?, lead: json(row, "lead")?, endpoint: json(row, "endpoint")? })
    })
}

/// Claims tool calls for `holder`: unclaimed calls, and calls whose lease has expired if they may be sent again.
/// `number_tombstones` are the keyed hashes of the customer's number, by which an erasure finds the executions.
pub async fn claim_tool_calls(
    database: &Database,
    sender: &Sender<'_>,
    holder: LeaseHolder,
    number_tombstones: &[String],
    wanted: &[Wanted<'_>],
) -> Result<Admission<Claimed>, Failure> {
    let (org_id, key_version) = credential_columns(sender.credential);
    let row = database
        .query_one_within(
            STATEMENT_TIMEOUT,
            "SELECT * FROM claim_tool_calls_v1($1, $2, $3, $4, $5, $6, $7)",
            &[
                (&org_id, Type::UUID),
                (&key_version, Type::INT4),
                (&Json(sender.conversation), Type::JSONB),
                (&number_tombstones, Type::TEXT_ARRAY),
                (&Json(wanted), Type::JSONB),
                (&sender.received_at, Type::TIMESTAMPTZ),
                (holder.as_uuid(), Type::UUID),
            ],
        )
        .await?;
    admission(&row, |row, org_id| {
        let Json(executions) = row.try_get("executions")?;
        Ok(Claimed { org_id, lead_id: row.try_get::<_, Option<Uuid>>("lead_id")?.map(LeadId::from), executions })
    })
}

/// Stores the result of a tool call that `holder` has sent. Returns the result that answers every delivery, which is
/// another claimant's if the lease was lost meanwhile.
pub async fn finish_tool_call(
    database: &Database,
    org_id: OrgId,
    execution_id: &str,
    holder: LeaseHolder,
    result: &ToolResult,
    code: Option<FailureCode>,
) -> Result<ToolResult, Failure> {
    let row = database
        .query_one_within(
            STATEMENT_TIMEOUT,
            "SELECT finish_tool_call_v1($1, $2, $3, $4, $5)",
            &[
                (org_id.as_uuid(), Type::UUID),
                (&execution_id, Type::TEXT),
                (holder.as_uuid(), Type::UUID),
                (&Json(result), Type::JSON),
                (&code.map(|code| code.to_string()), Type::TEXT),
            ],
        )
        .await?;
    let Json(stored) = row.try_get(0)?;
    Ok(stored)
}

pub(crate) fn admission<T>(
    row: &Row,
    read: impl FnOnce(&Row, OrgId) -> Result<T, tokio_postgres::Error>,
) -> Result<Admission<T>, Failure> {
    Ok(match row.try_get("outcome")? {
        "known" => Admission::Known(read(row, OrgId::from(row.try_get::<_, Uuid>("event_org")?))?),
        "unresolved" => Admission::Unresolved,
        "revoked" => Admission::Revoked,
        _ => return Err(Failure::unknown_outcome()),
    })
}

fn json<T: for<'de> Deserialize<'de>>(row: &Row, column: &str) -> Result<Option<T>, tokio_postgres::Error> {
    Ok(row.try_get::<_, Option<Json<T>>>(column)?.map(|Json(value)| value))
}
