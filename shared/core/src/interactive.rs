//! What Vapi waits for: what an org answers with, and the executions of its tool calls (`migrations/*__interactive.sql`).

use std::time::Duration;

use jiff::Timestamp;
use ringfence_protocol::Credential;
use ringfence_vapi::interactive::{Agent, Lead, ToolResult};
use ringfence_vapi::{CallFacts, FailureCode, LeadId, OrgId};
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use crate::database::Database;
use crate::error::Failure;
use crate::events::credential_columns;
use crate::lease::LeaseHolder;

/// The longest wait for a statement while a caller waits for its answer. A database that says nothing for so long is taken for away.
const STATEMENT_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Who asks, and about which call.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// Who.
    pub credential: Credential,
    /// When.
    pub received_at: Timestamp,
    /// The call, if the message names one.
    pub call: Option<&'a CallFacts>,
}

/// Whether a sender may have an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Admission<T> {
    /// It is an org's.
    Known(T),
    /// The key did not count any more when the message came.
    Revoked,
    /// It came by the platform's key and names no org, or two.
    Unresolved,
}

/// Where an org wants to be asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Endpoint {
    /// HTTPS.
    pub url: String,
    /// How long it may take.
    pub timeout_seconds: u64,
}

impl Endpoint {
    #[must_use]
    pub fn address(&self) -> (&str, Duration) {
        (&self.url, Duration::from_secs(self.timeout_seconds))
    }
}

/// What an org answers a message with.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Whose call it is.
    pub org_id: OrgId,
    /// Who takes the call, or has it.
    pub agent: Option<Agent>,
    /// Who calls.
    pub lead: Option<Lead>,
    /// Where messages of this type are answered.
    pub endpoint: Option<Endpoint>,
}

/// A tool call that is to be executed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Wanted<'a> {
    /// The idempotency key.
    pub execution_id: &'a str,
    /// What the model called.
    pub tool: &'a str,
}

/// Where tool calls stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Claimed {
    /// Whose they are.
    pub org_id: OrgId,
    /// Who calls.
    pub lead_id: Option<LeadId>,
    /// Each.
    pub executions: Vec<Execution>,
}

/// A tool call and where it stands.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Execution {
    /// The idempotency key.
    pub execution_id: String,
    /// Where it stands.
    #[serde(flatten)]
    pub standing: Standing,
}

/// Where a tool call stands.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Standing {
    /// The org has no such tool.
    Unregistered,
    /// It is the claimant's, to be sent.
    Claimed {
        /// Where.
        endpoint: Endpoint,
        /// How often it was claimed, this time included.
        attempt: i32,
    },
    /// Somebody else sends it now.
    Running,
    /// It was done.
    Done {
        /// What every delivery of it is told.
        result: ToolResult,
    },
    /// Whoever sent it died, and it must not be sent twice.
    Interrupted {
        /// What every delivery of it is told.
        result: ToolResult,
    },
}

/// What the sender's org answers a message of this type with. `call` tells the number that was called, and who called.
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
                (&Json(sender.call), Type::JSONB),
                (&sender.received_at, Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    admission(&row, |row, org_id| {
        Ok(Found { org_id, agent: json(row, "agent")?, lead: json(row, "lead")?, endpoint: json(row, "endpoint")? })
    })
}

/// Claims tool calls for `holder`: those that nobody has, or whose claimant died and which may be sent again.
pub async fn claim_tool_calls(
    database: &Database,
    sender: &Sender<'_>,
    holder: LeaseHolder,
    wanted: &[Wanted<'_>],
) -> Result<Admission<Claimed>, Failure> {
    let (org_id, key_version) = credential_columns(sender.credential);
    let row = database
        .query_one_within(
            STATEMENT_TIMEOUT,
            "SELECT * FROM claim_tool_calls_v1($1, $2, $3, $4, $5, $6)",
            &[
                (&org_id, Type::UUID),
                (&key_version, Type::INT4),
                (&Json(sender.call), Type::JSONB),
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

/// Stores the result of a tool call that `holder` has sent. What it is told is what every delivery is told: another result, if it
/// has lost the claim meanwhile.
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
                (&Json(result), Type::JSONB),
                (&code.map(|code| code.to_string()), Type::TEXT),
            ],
        )
        .await?;
    let Json(stored) = row.try_get(0)?;
    Ok(stored)
}

fn admission<T>(
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
