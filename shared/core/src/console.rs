//! What people look at: one function per page, each a statement that enters its org (`migrations/*__console.sql`).

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use ringfence_vapi::{FailureCode, OrgId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use crate::database::{Database, Parameter};
use crate::error::Failure;

/// Which calls are listed. What is left out chooses all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFilter {
    /// Vapi's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// The other party's number, E.164.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// As in the rows: `in-progress`, `completed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The family of the reason why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// First heard of at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// First heard of before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Not over yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_open: Option<bool>,
}

/// A call in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedCall {
    /// Vapi's id.
    pub call_id: String,
    /// Its status.
    pub status: String,
    /// `inbound` or `outbound`, where it is known.
    pub direction: Option<String>,
    /// Who called.
    pub from_number: Option<String>,
    /// Who was called.
    pub to_number: Option<String>,
    /// When it was answered.
    pub started_at: Option<Timestamp>,
    /// When it was first heard of.
    pub heard_at: Timestamp,
    /// Whole seconds.
    pub duration_seconds: Option<i64>,
    /// The family of the reason why it ended.
    pub family: Option<String>,
    /// US dollars.
    pub cost: Option<f64>,
    /// Whether its recording is kept.
    pub is_recorded: bool,
}

/// A page of calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calls {
    /// The latest first.
    pub calls: Vec<ListedCall>,
    /// Where the next page begins. A page may be empty and have one.
    pub next: Option<Uuid>,
}

/// All that is known of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownCall {
    /// Its row in `call_logs`.
    pub call: Value,
    /// The agent's name.
    pub agent: Option<String>,
    /// The lead.
    pub lead: Option<ShownLead>,
    /// What was said, in order.
    pub transcript: Vec<Turn>,
    /// What was recorded.
    pub recordings: Vec<ShownRecording>,
    /// What happened, in order.
    pub timeline: Vec<Happening>,
}

/// Who was called, or called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownLead {
    /// The name.
    pub name: Option<String>,
    /// E.164.
    pub phone: String,
    /// `new`, `contacted`, or the org's own.
    pub status: String,
}

/// One thing said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// `user`, `assistant`, or one that Vapi adds.
    pub speaker: String,
    /// The words.
    pub text: String,
    /// When.
    pub said_at: Option<Timestamp>,
}

/// A recording of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownRecording {
    /// `mono`, `stereo` or `video`.
    pub kind: String,
    /// `pending`, `stored`, `dead` or `removed`.
    pub state: String,
    /// Its length, when it is kept.
    pub bytes: Option<i64>,
    /// Why the latest attempt to fetch it failed.
    pub code: Option<FailureCode>,
}

/// An event of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// Its key.
    pub event_id: String,
    /// Vapi's name of its type, or ours.
    pub event_type: String,
    /// The kind of the typed event.
    pub kind: Option<String>,
    /// When Vapi made the message.
    pub at: Timestamp,
    /// When it was received.
    pub received_at: Timestamp,
    /// The few words that are worth showing.
    pub detail: String,
}

/// Which failures are listed. What is left out chooses all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureFilter {
    /// By the code of the latest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// By the function whose queue it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// `retrying`, `dead` or `redriven`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Of one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
}

/// Failures that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureGroup {
    /// Why.
    pub code: FailureCode,
    /// Where.
    pub function: String,
    /// What became of them.
    pub state: String,
    /// How many.
    pub count: i64,
    /// The first failure of any.
    pub since: Timestamp,
    /// The latest failure of any.
    pub latest: Timestamp,
}

/// A failure in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedFailure {
    /// Its key.
    pub event_id: String,
    /// What failed.
    pub event_type: String,
    /// The call.
    pub vapi_call_id: String,
    /// The function whose queue it is on.
    pub function: String,
    /// `retrying`, `dead` or `redriven`.
    pub state: String,
    /// Why the latest attempt failed.
    pub code: FailureCode,
    /// How often its message was received.
    pub receives: i32,
    /// When it first failed.
    pub first_failed_at: Timestamp,
    /// When it last failed.
    pub last_failed_at: Timestamp,
}

/// A page of failures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// All open failures.
    pub groups: Vec<FailureGroup>,
    /// There are more than 10 000: what follows is of the latest of them.
    pub is_cut: bool,
    /// How many the filter chooses.
    pub selected: i64,
    /// How many of these are dead letters, which can be sent back.
    pub dead: i64,
    /// The latest first.
    pub failures: Vec<ListedFailure>,
    /// Whether there may be more.
    pub has_more: bool,
}

impl Failures {
    /// Where the next page begins.
    #[must_use]
    pub fn next(&self) -> Option<FailureCursor> {
        let last = self.failures.last().filter(|_| self.has_more)?;
        Some(FailureCursor { at: last.last_failed_at, event_id: last.event_id.clone() })
    }
}

/// A place in a list of failures, `{time}~{event}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureCursor {
    at: Timestamp,
    event_id: String,
}

impl fmt::Display for FailureCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{}", self.at, self.event_id)
    }
}

/// A text is no place in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a place in this list")]
pub struct InvalidPlace;

impl FromStr for FailureCursor {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let (at, event_id) = text.split_once('~').ok_or(InvalidPlace)?;
        Ok(Self { at: at.parse().map_err(|_| InvalidPlace)?, event_id: event_id.to_owned() })
    }
}

/// A failure with its story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownFailure {
    /// Its row in `failed_operations`.
    pub failure: Value,
    /// The typed event. None: it was applied, and stands among the call's.
    pub event: Option<Value>,
    /// Whether what may be personal is left out of the event.
    pub is_masked: bool,
    /// Each attempt.
    pub attempts: Vec<Attempt>,
}

/// One attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When.
    pub failed_at: Timestamp,
    /// Who tried.
    pub function: String,
    /// Why not.
    pub code: FailureCode,
    /// The server's SQLSTATE.
    pub sqlstate: Option<String>,
    /// The constraint that was violated.
    pub constraint_name: Option<String>,
}

/// Which acts are listed. What is left out chooses all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditFilter {
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// What.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditedAct {
    /// Its place.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// Of what.
    pub subject: String,
    /// More of it.
    pub detail: Value,
}

/// A page of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// The latest first.
    pub acts: Vec<AuditedAct>,
    /// Where the next page begins.
    pub next: Option<i64>,
}

/// An org, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedOrganization {
    /// Its id.
    pub id: OrgId,
    /// Its name.
    pub name: String,
    /// Its open failures, up to a thousand.
    pub open_failures: i64,
}

/// All orgs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organizations {
    /// By name.
    pub organizations: Vec<ListedOrganization>,
    /// Events that name no org that is known.
    pub unresolved_events: i64,
    /// The queues of the deployment, as maintenance saw them last.
    pub queues: Vec<ListedQueue>,
}

/// A queue, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedQueue {
    /// The function whose queue it is, or `{function}-dead-letters`.
    pub queue: String,
    /// Messages that can be received now, or after a delay.
    pub waiting: i64,
    /// Messages that somebody has, or that wait to be tried again.
    pub in_flight: i64,
    /// When this was seen.
    pub seen_at: Timestamp,
    /// When the oldest event was received that waits there and has a row.
    pub oldest: Option<Timestamp>,
}

/// An org's calls, a page of at most `limit`.
pub async fn calls(
    database: &Database,
    org: OrgId,
    filter: &CallFilter,
    before: Option<Uuid>,
    limit: i32,
) -> Result<Calls, Failure> {
    let parameters: [Parameter<'_>; 4] =
        [(org.as_uuid(), Type::UUID), (&Json(filter), Type::JSONB), (&before, Type::UUID), (&limit, Type::INT4)];
    answer(database, "SELECT list_calls_v1($1, $2, $3, $4)", &parameters).await
}

/// A call. None: the org has no such call.
pub async fn call(database: &Database, org: OrgId, call_id: &str) -> Result<Option<ShownCall>, Failure> {
    let parameters: [Parameter<'_>; 2] = [(org.as_uuid(), Type::UUID), (&call_id, Type::TEXT)];
    answer(database, "SELECT show_call_v1($1, $2)", &parameters).await
}

/// An org's open failures, in groups and a page of at most `limit`.
pub async fn failures(
    database: &Database,
    org: OrgId,
    filter: &FailureFilter,
    before: Option<&FailureCursor>,
    limit: i32,
) -> Result<Failures, Failure> {
    let (at, event_id) = before.map(|before| (before.at, before.event_id.as_str())).unzip();
    let parameters: [Parameter<'_>; 5] = [
        (org.as_uuid(), Type::UUID),
        (&Json(filter), Type::JSONB),
        (&at, Type::TIMESTAMPTZ),
        (&event_id, Type::TEXT),
        (&limit, Type::INT4),
    ];
    answer(database, "SELECT list_failures_v1($1, $2, $3, $4, $5)", &parameters).await
}

/// A failure, without what may be personal; whole, if somebody asks for that by name, which is audited. None: the org has none such.
pub async fn failure(
    database: &Database,
    org: OrgId,
    event_id: &str,
    unmasked_for: Option<&str>,
) -> Result<Option<ShownFailure>, Failure> {
    let parameters: [Parameter<'_>; 3] =
        [(org.as_uuid(), Type::UUID), (&event_id, Type::TEXT), (&unmasked_for, Type::TEXT)];
    answer(database, "SELECT show_failure_v1($1, $2, $3)", &parameters).await
}

/// Who did what of an org, a page of at most `limit`.
pub async fn audit(
    database: &Database,
    org: OrgId,
    filter: &AuditFilter,
    before: Option<i64>,
    limit: i32,
) -> Result<Audit, Failure> {
    let parameters: [Parameter<'_>; 4] =
        [(org.as_uuid(), Type::UUID), (&Json(filter), Type::JSONB), (&before, Type::INT8), (&limit, Type::INT4)];
    answer(database, "SELECT list_audit_v1($1, $2, $3, $4)", &parameters).await
}

/// All orgs, for an operator, which is audited.
pub async fn organizations(database: &Database, actor: &str) -> Result<Organizations, Failure> {
    answer(database, "SELECT list_organizations_v1($1)", &[(&actor, Type::TEXT)]).await
}

/// Notes that an operator is about to see something of an org. False: there is no such org.
pub async fn note_view(database: &Database, org: OrgId, actor: &str, subject: &str) -> Result<bool, Failure> {
    let parameters: [Parameter<'_>; 3] = [(org.as_uuid(), Type::UUID), (&actor, Type::TEXT), (&subject, Type::TEXT)];
    Ok(database.query_one("SELECT note_view_v1($1, $2, $3)", &parameters).await?.try_get(0)?)
}

/// The one JSON value that a statement answers with; SQL's NULL reads as JSON's.
pub(crate) async fn answer<T: for<'de> Deserialize<'de>>(
    database: &Database,
    statement: &str,
    parameters: &[Parameter<'_>],
) -> Result<T, Failure> {
    let row = database.query_one(statement, parameters).await?;
    let value: Option<Value> = row.try_get(0)?;
    // The statement and this are of one release: what does not fit is a bug to report.
    serde_json::from_value(value.unwrap_or_default()).map_err(|_| FailureCode::StatementRefused.into())
}
