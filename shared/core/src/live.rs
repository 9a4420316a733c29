//! Viewers over WebSocket, and the log that they read: one function per statement (`migrations/*__live.sql`).

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

/// An event at its place in an org's log.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct LogEntry {
    /// Its transaction.
    #[serde(with = "cursor::transaction")]
    xact: u64,
    /// Its place.
    pub seq: i64,
    /// When Vapi made the message, or when it was received.
    pub at: Timestamp,
    /// The typed event, without its large parts. As JSON: a later release may have written what this one cannot read.
    pub event: Value,
}

/// A part of an org's log, from a cursor on.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// In the order in which they are read.
    pub entries: Vec<LogEntry>,
    /// Where the sweep that this page belongs to must be followed by the next.
    floor: u64,
    /// Whether the log ends with it.
    is_last: bool,
}

impl Page {
    /// The page with no more than its first `count` entries.
    pub fn truncate(&mut self, count: usize) {
        self.is_last &= count >= self.entries.len();
        self.entries.truncate(count);
    }

    /// Whether the log goes on behind it.
    #[must_use]
    pub const fn has_more(&self) -> bool {
        !self.is_last
    }

    /// Where to read on: behind this page, or, if it was the last, from where something was still being written when the sweep
    /// began.
    #[must_use]
    pub fn next(&self) -> Cursor {
        let after = self.entries.last().filter(|_| self.has_more()).map(|last| (last.xact, last.seq));
        Cursor { floor: self.floor, after }
    }
}

/// What a viewer that resumes is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Resumed {
    /// What it missed.
    Page(Page),
    /// The log does not go back to its cursor: it has to load everything anew, and to resume from here.
    Reset(Cursor),
    /// There is no such connection, or it has expired.
    Unknown,
}

/// An event of the log, and who is still to be told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Broadcast {
    /// None: the log has no such event.
    pub entry: Option<(i64, Timestamp, Value)>,
    /// WebSocket connections.
    pub viewers: Vec<ConnectionId>,
}

/// Something that Ringfence itself has to tell of a call, at its place in the org's log: a failure, or a recording that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Its key there.
    pub key: EventKey,
    /// Its sequence.
    pub sequence: i64,
    /// When it happened.
    pub at: Timestamp,
    /// What the log says of it.
    pub event: Value,
    /// The WebSocket connections that watch the org.
    pub viewers: Vec<ConnectionId>,
}

/// What a statement has put into the org's log, if it did.
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

/// Makes a connection a viewer of an org, pending until its first message. False: the connection is there already.
pub async fn open(
    database: &Database,
    org: OrgId,
    connection: &ConnectionId,
    expires_at: Timestamp,
) -> Result<bool, Failure> {
    let row = database
        .query_one(
            "SELECT open_viewer_v1($1, $2, $3)",
            &[(org.as_uuid(), Type::UUID), (&connection.as_str(), Type::TEXT), (&expires_at, Type::TIMESTAMPTZ)],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// Forgets connections that are gone, all of one org; without it, it is found from the first of them.
pub async fn close(database: &Database, org: Option<OrgId>, connections: &[ConnectionId]) -> Result<(), Failure> {
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&org.map(|org| *org.as_uuid()), Type::UUID), (&texts(connections), Type::TEXT_ARRAY)];
    database.query_one("SELECT close_viewers_v1($1, $2)", &parameters).await?;
    Ok(())
}

/// Makes a viewer active and reads its org's log, at most `limit` entries of it. Without a cursor it reads none and is told where
/// the log ends.
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
    // A sweep of several pages ends where it was when its first page was read.
    let floor = cursor.filter(|cursor| cursor.after.is_some()).map_or(now, |cursor| cursor.floor);
    let Json(entries) = row.try_get("entries")?;
    Ok(Resumed::Page(Page { entries, floor, is_last: row.try_get("is_last")? }))
}

/// An event of an org's log, and who is still to be told of it: of `connections`, or of all that watch the org. Without an
/// event: who watches the org.
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

/// Who is to see a partial transcript of a call: its org and the org's viewers, or nobody.
pub async fn pass_partial(
    database: &Database,
    credential: Credential,
    call: &CallFacts,
    received_at: Timestamp,
) -> Result<Option<(OrgId, Vec<ConnectionId>)>, Failure> {
    let (org_id, key_version) = credential_columns(credential);
    let row = database
        .query_one(
            "SELECT * FROM pass_partial_v1($1, $2, $3, $4)",
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
