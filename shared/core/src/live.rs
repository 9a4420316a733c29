//! Viewers over WebSocket and the org's log that they read: one function per statement (`migrations/*__live.sql`).

mod cursor;

use jiff::Timestamp;
use ringfence_protocol::{ConnectionId, Credential};
use ringfence_vapi::{CallFacts, EventKey, OrgId};
use serde::Deserialize;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

pub use cursor::{Cursor, InvalidCursor};

use crate::database::Database;
use crate::error::Failure;
use crate::events::credential_columns;

/// An entry of an org's log.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct LogEntry {
    #[serde(with = "cursor::transaction")]
    xact: u64,
    pub seq: i64,
    /// When Vapi created the message, or when it was received.
    pub at: Timestamp,
    /// The typed event, without its large fields. As JSON, because a later release may have written an event that this
    /// release cannot read.
    pub event: Value,
}

/// A page of an org's log after a cursor.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// In the order of the log.
    pub entries: Vec<LogEntry>,
    /// The transaction at which the sweep after this one begins.
    floor: u64,
    /// Whether the log ends with this page.
    is_last: bool,
}

impl Page {
    /// Keeps only the first `count` entries.
    pub fn truncate(&mut self, count: usize) {
        self.is_last &= count >= self.entries.len();
        self.entries.truncate(count);
    }

    /// Whether the log has entries after this page.
    #[must_use]
    pub const fn has_more(&self) -> bool {
        !self.is_last
    }

    /// The cursor of the next read: after this page, or, if it was the last, at the first transaction that was still
    /// open when the sweep began.
    #[must_use]
    pub fn next(&self) -> Cursor {
        let after = self.entries.last().filter(|_| self.has_more()).map(|last| (last.xact, last.seq));
        Cursor { floor: self.floor, after }
    }
}

/// The answer to a resume.
#[derive(Clone, Debug, PartialEq)]
pub enum Resumed {
    /// The entries since the cursor.
    Page(Page),
    /// The log no longer contains the cursor's position. The client loads all data again and resumes from this cursor.
    Reset(Cursor),
    /// The connection is unknown or has expired.
    Unknown,
}

/// An event of the log, and the connections that have not received it.
#[derive(Clone, Debug, PartialEq)]
pub struct Broadcast {
    /// None: the log has no such event.
    pub entry: Option<(i64, Timestamp, Value)>,
    pub viewers: Vec<ConnectionId>,
}

/// An event that Ringfence itself adds to an org's log: a failure, or a stored recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    pub key: EventKey,
    pub sequence: i64,
    pub at: Timestamp,
    /// The typed event.
    pub event: Value,
    /// The WebSocket connections that watch the org.
    pub viewers: Vec<ConnectionId>,
}

/// The event that a statement has added to the org's log, if any.
pub(crate) fn announcement(row: &Row) -> Result<Option<Announcement>, tokio_postgres::Error> {
    let Some(key) = row.try_get::<_, Option<String>>("event_id")? else { return Ok(None) };
    Ok(Some(Announcement {
        key: EventKey::new(key),
        sequence: row.try_get("sequence")?,
        at: row.try_get("at")?,
        event: row.try_get("event")?,
        viewers: viewers(row)?,
    }))
}

/// The connections in the column `viewers`.
pub(crate) fn viewers(row: &Row) -> Result<Vec<ConnectionId>, tokio_postgres::Error> {
    Ok(row.try_get::<_, Vec<String>>("viewers")?.into_iter().map(ConnectionId::from).collect())
}

fn texts(connections: &[ConnectionId]) -> Vec<&str> {
    connections.iter().map(ConnectionId::as_str).collect()
}

/// Limits on the connections that are open at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    pub per_token: i32,
    pub per_org: i32,
}

/// The result of opening a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    Pending,
    /// The connection belongs to another org, or is active already.
    Taken,
    /// The token or the org has as many connections as the limits allow.
    Full,
}

/// Makes a connection a viewer of an org, pending until its first message. `token_sha256` identifies the token.
pub async fn open(
    database: &Database,
    org: OrgId,
    connection: &ConnectionId,
    expires_at: Timestamp,
    token_sha256: [u8; 32],
    limits: ConnectionLimits,
) -> Result<Opened, Failure> {
    let row = database
        .query_one(
            "SELECT open_viewer_v1($1, $2, $3, $4, $5, $6)",
            &[
                (org.as_uuid(), Type::UUID),
                (&connection.as_str(), Type::TEXT),
                (&expires_at, Type::TIMESTAMPTZ),
                (&token_sha256.as_slice(), Type::BYTEA),
                (&limits.per_token, Type::INT4),
                (&limits.per_org, Type::INT4),
            ],
        )
        .await?;
    match row.try_get(0)? {
        "opened" => Ok(Opened::Pending),
        "taken" => Ok(Opened::Taken),
        "full" => Ok(Opened::Full),
        _ => Err(Failure::unknown_outcome()),
    }
}

/// Deletes closed connections, all of one org. Without `org` the first connection determines it.
pub async fn close(database: &Database, org: Option<OrgId>, connections: &[ConnectionId]) -> Result<(), Failure> {
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&org.map(|org| *org.as_uuid()), Type::UUID), (&texts(connections), Type::TEXT_ARRAY)];
    database.query_one("SELECT close_viewers_v1($1, $2)", &parameters).await?;
    Ok(())
}

/// Makes a viewer active and reads at most `limit` entries of its org's log. Without a cursor it reads none and returns
/// the end of the log.
pub async fn resume(
    database: &Database,
    connection: &ConnectionId,
    cursor: Option<Cursor>,
    limit: i32,
) -> Result<Resumed, Failure> {
    let (floor, after) = cursor.map_or((None, None), |cursor| (Some(cursor.floor.to_string()), cursor.after));
    let (xact, seq) = (after.map(|(xact, _)| xact.to_string()), after.map(|(_, seq)| seq));
    let row = database
        .query_one(
            "SELECT * FROM resume_viewer_v1($1, $2, $3, $4, $5)",
            &[
                (&connection.as_str(), Type::TEXT),
                (&floor, Type::TEXT),
                (&xact, Type::TEXT),
                (&seq, Type::INT8),
                (&limit, Type::INT4),
            ],
        )
        .await?;
    resumed(&row, cursor)
}

fn resumed(row: &Row, cursor: Option<Cursor>) -> Result<Resumed, Failure> {
    let outcome: &str = row.try_get("outcome")?;
    if outcome == "unknown" {
        return Ok(Resumed::Unknown);
    }
    let now = cursor::parse_transaction(row.try_get("floor")?).ok_or_else(Failure::unknown_outcome)?;
    match outcome {
        "reset" => return Ok(Resumed::Reset(Cursor { floor: now, after: None })),
        "resumed" => {}
        _ => return Err(Failure::unknown_outcome()),
    }
    // A sweep of several pages keeps the end that was set when its first page was read.
    let floor = cursor.filter(|cursor| cursor.after.is_some()).map_or(now, |cursor| cursor.floor);
    let Json(entries) = row.try_get("entries")?;
    Ok(Resumed::Page(Page { entries, floor, is_last: row.try_get("is_last")? }))
}

/// Reads an event of an org's log and the connections that have not received it: `connections`, or all viewers of the
/// org. Without an event only the connections.
pub async fn find_broadcast(
    database: &Database,
    org: OrgId,
    event: Option<&EventKey>,
    connections: Option<&[ConnectionId]>,
) -> Result<Broadcast, Failure> {
    let row = database
        .query_one(
            "SELECT * FROM find_broadcast_v1($1, $2, $3)",
            &[
                (org.as_uuid(), Type::UUID),
                (&event.map(EventKey::as_str), Type::TEXT),
                (&connections.map(texts), Type::TEXT_ARRAY),
            ],
        )
        .await?;
    Ok(broadcast(&row)?)
}

fn broadcast(row: &Row) -> Result<Broadcast, tokio_postgres::Error> {
    let entry = match row.try_get::<_, Option<i64>>("sequence")? {
        Some(sequence) => Some((sequence, row.try_get("at")?, row.try_get("event")?)),
        None => None,
    };
    Ok(Broadcast { entry, viewers: viewers(row)? })
}

/// The org and the viewers for a partial transcript of a call. None: the org is unknown or has no viewers.
pub async fn throttle_partial(
    database: &Database,
    credential: Credential,
    call: &CallFacts,
    received_at: Timestamp,
) -> Result<Option<(OrgId, Vec<ConnectionId>)>, Failure> {
    let (org_id, key_version) = credential_columns(credential);
    let row = database
        .query_one(
            "SELECT * FROM throttle_partial_v1($1, $2, $3, $4)",
            &[
                (&org_id, Type::UUID),
                (&key_version, Type::INT4),
                (&Json(call), Type::JSONB),
                (&received_at, Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    let org = row.try_get::<_, Option<Uuid>>("event_org")?;
    let viewers = viewers(&row)?;
    Ok(org.map(OrgId::from).map(|org| (org, viewers)).filter(|(_, viewers)| !viewers.is_empty()))
}
