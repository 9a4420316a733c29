//! What maintenance removes and looks for (`migrations/*__maintenance.sql`): each function does a bounded piece, and says how much it was.

use ringfence_vapi::OrgId;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::{Json, Type};

use crate::console::answer;
use crate::database::Database;
use crate::error::Failure;

/// The state of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueState {
    /// The function whose queue it is; its dead letters are `{function}-dead-letters`.
    pub queue: String,
    /// Messages that can be received now, or after a delay.
    pub waiting: i64,
    /// Messages that somebody has, or that wait to be tried again.
    pub in_flight: i64,
}

/// What alarms are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// Platform events whose org is unknown, up to 10 000.
    pub unresolved_events: u64,
    /// How old the oldest event is that keeps failing. 0: none does.
    pub oldest_retry_seconds: u64,
    /// Recordings that are not fetched yet and whose links die within ten minutes, or have died in the last hour.
    pub recording_links_dying: u64,
    /// Orgs that had calls on five of the seven days before, and none for a day.
    pub silent_orgs: Vec<OrgId>,
}

/// Rows that are of no use any more.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Cleaned {
    /// Of what kind.
    pub what: String,
    /// How many.
    pub done: u64,
}

/// Removes events, at most `limit`, that their org keeps for too long. With `run` false it only counts those it would remove.
pub async fn clean_events(database: &Database, limit: i32, run: bool) -> Result<u64, Failure> {
    count(database, "SELECT clean_events_v1($1, $2)", limit, run).await
}

/// Removes rows that are over, at most `limit` of each kind.
pub async fn clean_rows(database: &Database, limit: i32, run: bool) -> Result<Vec<Cleaned>, Failure> {
    let statement = "SELECT jsonb_agg(to_jsonb(c)) FROM clean_rows_v1($1, $2) c";
    answer(database, statement, &[(&limit, Type::INT4), (&run, Type::BOOL)]).await
}

/// Gives tool calls up, at most `limit`, whose function died.
pub async fn settle_leases(database: &Database, limit: i32, run: bool) -> Result<u64, Failure> {
    count(database, "SELECT settle_leases_v1($1, $2)", limit, run).await
}

/// Removes what was said in calls, at most `limit`, of which their org does not keep it any longer.
pub async fn expire_transcripts(database: &Database, limit: i32, run: bool) -> Result<u64, Failure> {
    count(database, "SELECT expire_transcripts_v1($1, $2)", limit, run).await
}

/// Keeps the states of queues for who looks, and tells what alarms are made of.
pub async fn watch(database: &Database, queues: &[QueueState]) -> Result<Watched, Failure> {
    answer(database, "SELECT watch_v1($1)", &[(&Json(queues), Type::JSONB)]).await
}

/// Objects of erased calls, at most `limit`, that have to go, with their org.
pub async fn find_orphans(database: &Database, limit: i32) -> Result<Vec<(OrgId, String)>, Failure> {
    let statement = "SELECT coalesce(jsonb_agg(jsonb_build_array(o.org_id, o.storage_key)), '[]') FROM find_orphaned_objects_v1($1) o";
    answer(database, statement, &[(&limit, Type::INT4)]).await
}

/// Writes down that such an object is gone. False: somebody else did.
pub async fn note_orphan_removed(database: &Database, org: OrgId, storage_key: &str) -> Result<bool, Failure> {
    let parameters = [(org.as_uuid() as _, Type::UUID), (&storage_key as _, Type::TEXT)];
    Ok(database.query_one("SELECT note_orphan_removed_v1($1, $2)", &parameters).await?.try_get(0)?)
}

async fn count(database: &Database, statement: &str, limit: i32, run: bool) -> Result<u64, Failure> {
    let row = database.query_one(statement, &[(&limit, Type::INT4), (&run, Type::BOOL)]).await?;
    Ok(u64::try_from(row.try_get::<_, i32>(0)?).unwrap_or_default())
}
