//! The pages of the console: one function per page, each with one statement that enters its org
//! (`migrations/*__console.sql`).

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use ringfence_protocol::admin::Operation;
use ringfence_vapi::{FailureCode, OrgId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use crate::database::{Database, Parameter};
use crate::error::Failure;

/// The filter of a list of calls. None selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFilter {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// The other party's number, E.164.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// `in-progress` or `completed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The family of the ended reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// The first event was received at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The first event was received before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Present: only calls that have not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_open: Option<bool>,
}

/// A call in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedCall {
    pub call_id: String,
    pub status: String,
    /// `inbound` or `outbound`. None: unknown.
    pub direction: Option<String>,
    pub from_number: Option<String>,
    pub to_number: Option<String>,
    pub started_at: Option<Timestamp>,
    /// When the first event was received.
    pub created_at: Timestamp,
    /// Whole seconds.
    pub duration_seconds: Option<i64>,
    /// The family of the ended reason.
    pub family: Option<String>,
    /// US dollars.
    pub cost: Option<f64>,
    /// Whether a recording is stored.
    pub is_recorded: bool,
}

/// A page of calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calls {
    /// The latest first.
    pub calls: Vec<ListedCall>,
    /// The cursor of the next page. An empty page may have one.
    pub next: Option<Uuid>,
}

/// A call with all its data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownCall {
    /// Its row in `call_logs`.
    pub call: Value,
    pub agent: Option<String>,
    pub lead: Option<ShownLead>,
    /// In order.
    pub transcript: Vec<Turn>,
    pub recordings: Vec<ShownRecording>,
    /// In order.
    pub timeline: Vec<TimelineEvent>,
}

/// The lead of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownLead {
    pub name: Option<String>,
    /// E.164.
    pub phone: String,
    /// `new`, `contacted`, or the org's own.
    pub status: String,
}

/// A part of a transcript.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// `user`, `assistant`, or another role of Vapi.
    pub speaker: String,
    pub text: String,
    pub said_at: Option<Timestamp>,
}

/// A recording of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownRecording {
    /// `mono`, `stereo` or `video`.
    pub kind: String,
    /// `pending`, `stored`, `dead` or `removed`.
    pub state: String,
    /// The size of the stored object.
    pub bytes: Option<i64>,
    /// The failure of the latest attempt to fetch the recording.
    pub code: Option<FailureCode>,
}

/// An event in the timeline of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimelineEvent {
    pub event_id: String,
    /// The type of Vapi's message, or one of Ringfence's own.
    pub event_type: String,
    /// The kind of the typed event.
    pub kind: Option<String>,
    /// When Vapi created the message.
    pub at: Timestamp,
    pub received_at: Timestamp,
    /// A short text for the timeline.
    pub detail: String,
    /// Why Vapi did not accept an inbound call, in Vapi's own shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debugging_artifacts: Option<Value>,
}

/// The filter of a list of failures. None selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureFilter {
    /// The code of the latest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The function whose queue has the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// `retrying`, `dead` or `redriven`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
}

/// Failures with the same code, function and state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureGroup {
    pub code: FailureCode,
    pub function: String,
    pub state: String,
    pub count: i64,
    /// The first failure of any.
    pub since: Timestamp,
    /// The latest failure of any.
    pub latest: Timestamp,
}

/// A failure in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedFailure {
    pub event_id: String,
    pub event_type: String,
    pub vapi_call_id: String,
    /// The function whose queue has the event.
    pub function: String,
    /// `retrying`, `dead` or `redriven`.
    pub state: String,
    /// The code of the latest attempt.
    pub code: FailureCode,
    /// The receive count of the message.
    pub receives: i32,
    pub first_failed_at: Timestamp,
    pub last_failed_at: Timestamp,
    /// Maintenance removed the event after the org's retention.
    pub is_event_removed: bool,
}

/// A page of failures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// All open failures.
    pub groups: Vec<FailureGroup>,
    /// There are more than 10 000 failures. The rest of the page covers the latest of them.
    pub is_truncated: bool,
    /// The number of failures that the filter selects.
    pub selected: i64,
    /// The number of these that are dead letters, which can be redriven.
    pub dead: i64,
    /// The latest first.
    pub failures: Vec<ListedFailure>,
    /// Whether there may be further pages.
    pub has_more: bool,
}

impl Failures {
    #[must_use]
    pub fn next(&self) -> Option<FailureCursor> {
        let last = self.failures.last().filter(|_| self.has_more)?;
        Some(FailureCursor { at: last.last_failed_at, event_id: last.event_id.clone() })
    }
}

/// The cursor of a list of failures, `{time}~{event}`.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is not valid")]
pub struct InvalidFailureCursor;

impl FromStr for FailureCursor {
    type Err = InvalidFailureCursor;

    fn from_str(text: &str) -> Result<Self, InvalidFailureCursor> {
        let (at, event_id) = text.split_once('~').ok_or(InvalidFailureCursor)?;
        let at: Timestamp = at.parse().map_err(|_| InvalidFailureCursor)?;
        // PostgreSQL does not read every year that `Timestamp` can have.
        if at < Timestamp::UNIX_EPOCH {
            return Err(InvalidFailureCursor);
        }
        Ok(Self { at, event_id: event_id.to_owned() })
    }
}

/// A failure with its event and its attempts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownFailure {
    /// Its row in `failed_operations`.
    pub failure: Value,
    /// The typed event. None: the event was applied and is in the call's timeline, or it was removed after its retention.
    pub event: Option<Value>,
    /// Whether the possibly personal parts of the event are hidden.
    pub is_masked: bool,
    pub attempts: Vec<Attempt>,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub failed_at: Timestamp,
    pub function: String,
    pub code: FailureCode,
    pub sqlstate: Option<String>,
    pub constraint_name: Option<String>,
}

/// The filter of the audit log. None selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditFilter {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    pub id: i64,
    pub at: Timestamp,
    pub actor: String,
    pub action: String,
    /// The changed object.
    pub subject: String,
    pub detail: Value,
}

/// A page of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// The latest first.
    pub entries: Vec<AuditEntry>,
    pub next: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedOrganization {
    pub id: OrgId,
    pub name: String,
    /// Counted up to a thousand.
    pub open_failures: i64,
}

/// All orgs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organizations {
    /// By name.
    pub organizations: Vec<ListedOrganization>,
    /// Events from the platform URL whose org is unknown.
    pub unresolved_events: i64,
    /// The queues of the deployment, as of the latest `watch` job.
    pub queues: Vec<ListedQueue>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedQueue {
    /// The function of the queue, or `{function}-dead-letters`.
    pub queue: String,
    /// Messages that can be received now, or after a delay.
    pub waiting: i64,
    /// Messages that a consumer has received, or that wait for a retry.
    pub in_flight: i64,
    pub seen_at: Timestamp,
    /// When the oldest event in the queue that has a row was received.
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

/// A failure with its possibly personal parts hidden. None: the org has no such failure.
pub async fn failure(database: &Database, org: OrgId, event_id: &str) -> Result<Option<ShownFailure>, Failure> {
    let parameters: [Parameter<'_>; 2] = [(org.as_uuid(), Type::UUID), (&event_id, Type::TEXT)];
    answer(database, "SELECT show_failure_v1($1, $2)", &parameters).await
}

/// The redrives and replays of an org, the latest 20, newest first.
pub async fn operations(database: &Database, org: OrgId) -> Result<Vec<Operation>, Failure> {
    answer(database, "SELECT list_operations_v1($1)", &[(org.as_uuid(), Type::UUID)]).await
}

/// An org's audit log, a page of at most `limit`.
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

/// All orgs, for an operator. Audited.
pub async fn organizations(database: &Database, actor: &str) -> Result<Organizations, Failure> {
    answer(database, "SELECT list_organizations_v1($1)", &[(&actor, Type::TEXT)]).await
}

/// Records in the audit log that an operator is about to see data of an org. False: no such org.
pub async fn record_view(database: &Database, org: OrgId, actor: &str, subject: &str) -> Result<bool, Failure> {
    let parameters: [Parameter<'_>; 3] = [(org.as_uuid(), Type::UUID), (&actor, Type::TEXT), (&subject, Type::TEXT)];
    Ok(database.query_one("SELECT record_view_v1($1, $2, $3)", &parameters).await?.try_get(0)?)
}

/// The JSON value that a statement returns. SQL's NULL becomes JSON's null.
pub(crate) async fn answer<T: for<'de> Deserialize<'de>>(
    database: &Database,
    statement: &str,
    parameters: &[Parameter<'_>],
) -> Result<T, Failure> {
    let row = database.query_one(statement, parameters).await?;
    let value: Option<Value> = row.try_get(0)?;
    // The statement and the type are of one release, so a mismatch is a bug to report.
    serde_json::from_value(value.unwrap_or_default()).map_err(|_| FailureCode::StatementRefused.into())
}
