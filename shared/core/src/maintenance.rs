//! The statements of the maintenance jobs (`migrations/*__maintenance.sql`). Each processes a bounded batch and returns
//! its size.

use ringfence_protocol::maintenance::Job;
use ringfence_vapi::OrgId;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::{Json, Type};

use crate::console::answer;
use crate::database::{Database, Parameter};
use crate::error::Failure;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueState {
    /// The function of the queue. A dead-letter queue has the name `{function}-dead-letters`.
    pub queue: String,
    /// Messages that can be received now, or after a delay.
    pub waiting: i64,
    /// Messages that a consumer has received, or that wait for a retry.
    pub in_flight: i64,
}

/// The values behind the alarms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gauges {
    /// Platform events whose org is unknown, up to 10 000.
    pub unresolved_events: u64,
    /// The age of the oldest event that keeps failing. 0: there is none.
    pub oldest_retry_seconds: u64,
    /// Recordings that are not fetched yet and whose links expire within ten minutes, or have expired in the last hour.
    pub recording_links_expiring: u64,
    /// Orgs that had calls on five of the seven days before, and none for a day.
    pub silent_orgs: Vec<OrgId>,
}

/// The kinds of rows that `clean_rows_v1` deletes after their retention.
pub const ROW_KINDS: [&str; 12] = [
    "connections",
    "partial gates",
    "removed recordings",
    "tool calls",
    "reconciliations",
    "operations",
    "routes",
    "unresolved events",
    "quarantined messages",
    "unknown fields",
    "events of failures",
    "resolved failures",
];

/// At most `limit` orgs for which a job has work, in random order.
pub async fn find_orgs_with_work(database: &Database, job: Job, limit: i32) -> Result<Vec<OrgId>, Failure> {
    let statement = "SELECT coalesce(jsonb_agg(o), '[]') FROM find_orgs_with_work_v1($1, $2) o";
    answer(database, statement, &[(&<&str>::from(job), Type::TEXT), (&limit, Type::INT4)]).await
}

/// Deletes at most `limit` events of an org that are older than its retention. Without `run` it only counts them.
pub async fn clean_events(database: &Database, org: OrgId, limit: i32, run: bool) -> Result<u64, Failure> {
    count_of_org(database, "SELECT clean_events_v1($1, $2, $3)", org, limit, run).await
}

/// Deletes at most `limit` finished rows of a kind.
pub async fn clean_rows(database: &Database, kind: &str, limit: i32, run: bool) -> Result<u64, Failure> {
    count(database, "SELECT clean_rows_v1($1, $2, $3)", (&kind, Type::TEXT), limit, run).await
}

/// Closes at most `limit` tool calls of an org whose function died.
pub async fn interrupt_expired_tool_calls(
    database: &Database,
    org: OrgId,
    limit: i32,
    run: bool,
) -> Result<u64, Failure> {
    count_of_org(database, "SELECT interrupt_expired_tool_calls_v1($1, $2, $3)", org, limit, run).await
}

/// Deletes the transcripts of at most `limit` calls of an org that are older than its retention.
pub async fn expire_transcripts(database: &Database, org: OrgId, limit: i32, run: bool) -> Result<u64, Failure> {
    count_of_org(database, "SELECT expire_transcripts_v1($1, $2, $3)", org, limit, run).await
}

/// Stores the states of the queues for the console and returns the values behind the alarms.
pub async fn watch(database: &Database, queues: &[QueueState]) -> Result<Gauges, Failure> {
    answer(database, "SELECT collect_metrics_v1($1)", &[(&Json(queues), Type::JSONB)]).await
}

/// At most `limit` objects of erased calls that must be deleted, with their orgs.
pub async fn find_orphans(database: &Database, limit: i32) -> Result<Vec<(OrgId, String)>, Failure> {
    let statement = "SELECT coalesce(jsonb_agg(jsonb_build_array(o.org_id, o.storage_key)), '[]') \
        FROM find_orphaned_objects_v1($1) o";
    answer(database, statement, &[(&limit, Type::INT4)]).await
}

/// Records that such an object was deleted. False: another invocation has recorded it.
pub async fn record_orphan_removal(database: &Database, org: OrgId, storage_key: &str) -> Result<bool, Failure> {
    let parameters = [(org.as_uuid() as _, Type::UUID), (&storage_key as _, Type::TEXT)];
    Ok(database.query_one("SELECT record_orphan_removal_v1($1, $2)", &parameters).await?.try_get(0)?)
}

async fn count_of_org(database: &Database, statement: &str, org: OrgId, limit: i32, run: bool) -> Result<u64, Failure> {
    count(database, statement, (org.as_uuid(), Type::UUID), limit, run).await
}

async fn count(database: &Database, statement: &str, of: Parameter<'_>, limit: i32, run: bool) -> Result<u64, Failure> {
    let row = database.query_one(statement, &[of, (&limit, Type::INT4), (&run, Type::BOOL)]).await?;
    Ok(u64::from(row.try_get::<_, i32>(0)?.unsigned_abs()))
}
