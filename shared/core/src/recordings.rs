//! Recordings, from their queue to the bucket: one function per statement (`migrations/*__recordings.sql`).

use std::time::Duration;

use jiff::Timestamp;
use ringfence_protocol::Recording;
use ringfence_vapi::FailureCode;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};

use crate::database::Database;
use crate::error::Failure;
use crate::failures::{Recorded, recorded};
use crate::lease::LeaseHolder;
use crate::live::{self, Announcement};

/// What is needed to fetch a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// How often it was begun, this time included.
    pub attempt: i32,
    /// Vapi's presigned link, sealed.
    pub link: Option<String>,
    /// From then on the link leads nowhere.
    pub link_expires_at: Option<Timestamp>,
    /// The org's API key at Vapi, sealed.
    pub api_key: Option<String>,
    /// When the recording was queued.
    pub queued_at: Timestamp,
}

/// What a claim found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is the claimant's to fetch.
    Leased(Box<Lease>),
    /// Somebody else fetches it, for so long more at the most.
    Busy(Duration),
    /// There is nothing to fetch: it is kept, or was removed, or nobody queued it.
    Done,
}

/// An object in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    /// Its key.
    pub key: String,
    /// Its media type.
    pub content_type: String,
    /// Its length.
    pub bytes: i64,
    /// SHA-256 of all of it.
    pub sha256: Vec<u8>,
}

/// What became of a recording that is in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finished {
    /// The rows say so now.
    Stored(Option<Announcement>),
    /// They said so before.
    Repeated,
    /// It was removed meanwhile: its object has to go.
    Unwanted,
}

/// Leases a recording to `holder`.
pub async fn claim(
    database: &Database,
    recording: &Recording,
    holder: LeaseHolder,
    lease: Duration,
) -> Result<Claimed, Failure> {
    let Recording { org_id, call_id, kind } = recording;
    let seconds = i32::try_from(lease.as_secs()).unwrap_or(i32::MAX);
    let row = database
        .query_one(
            "SELECT * FROM claim_recording_v1($1, $2, $3, $4, $5)",
            &[
                (org_id.as_uuid(), Type::UUID),
                (&call_id.as_str(), Type::TEXT),
                (&kind.as_str(), Type::TEXT),
                (holder.as_uuid(), Type::UUID),
                (&seconds, Type::INT4),
            ],
        )
        .await?;
    claimed(&row)
}

fn claimed(row: &Row) -> Result<Claimed, Failure> {
    Ok(match row.try_get("outcome")? {
        "claimed" => Claimed::Leased(Box::new(Lease {
            attempt: row.try_get("attempt")?,
            link: row.try_get("link")?,
            link_expires_at: row.try_get("link_expires_at")?,
            api_key: row.try_get("api_key")?,
            queued_at: row.try_get("queued_at")?,
        })),
        "busy" => Claimed::Busy(Duration::from_secs(u64::from(row.try_get::<_, i32>("wait_seconds")?.unsigned_abs()))),
        "done" => Claimed::Done,
        _ => return Err(Failure::unknown_outcome()),
    })
}

/// Writes down that a recording is in the bucket.
pub async fn finish(database: &Database, recording: &Recording, object: &StoredObject) -> Result<Finished, Failure> {
    let Recording { org_id, call_id, kind } = recording;
    let row = database
        .query_one(
            "SELECT * FROM finish_recording_v1($1, $2, $3, $4, $5, $6, $7)",
            &[
                (org_id.as_uuid(), Type::UUID),
                (&call_id.as_str(), Type::TEXT),
                (&kind.as_str(), Type::TEXT),
                (&object.key, Type::TEXT),
                (&object.content_type, Type::TEXT),
                (&object.bytes, Type::INT8),
                (&object.sha256, Type::BYTEA),
            ],
        )
        .await?;
    finished(&row)
}

fn finished(row: &Row) -> Result<Finished, Failure> {
    Ok(match row.try_get("outcome")? {
        "stored" => Finished::Stored(live::announcement(row)?),
        "repeated" => Finished::Repeated,
        "unwanted" => Finished::Unwanted,
        _ => return Err(Failure::unknown_outcome()),
    })
}

/// Writes down that an attempt of `holder` failed: the recording is tried again after `retry`, or given up (None). None: the
/// lease is somebody else's by now, and so is the recording.
pub async fn fail(
    database: &Database,
    recording: &Recording,
    holder: LeaseHolder,
    code: FailureCode,
    retry: Option<Duration>,
    receives: u32,
) -> Result<Option<Recorded>, Failure> {
    let Recording { org_id, call_id, kind } = recording;
    let retry_seconds = retry.map(|retry| i32::try_from(retry.as_secs()).unwrap_or(i32::MAX));
    let receives = i32::try_from(receives).unwrap_or(i32::MAX);
    let row = database
        .query_one(
            "SELECT * FROM fail_recording_v1($1, $2, $3, $4, $5, $6, $7)",
            &[
                (org_id.as_uuid(), Type::UUID),
                (&call_id.as_str(), Type::TEXT),
                (&kind.as_str(), Type::TEXT),
                (holder.as_uuid(), Type::UUID),
                (&code.to_string(), Type::TEXT),
                (&retry_seconds, Type::INT4),
                (&receives, Type::INT4),
            ],
        )
        .await?;
    Ok(recorded(&row)?)
}

/// Where a recording is that `actor` is about to listen to, which is audited. None: the org has no such recording.
pub async fn find(database: &Database, recording: &Recording, actor: &str) -> Result<Option<StoredObject>, Failure> {
    let Recording { org_id, call_id, kind } = recording;
    let row = database
        .query_one(
            "SELECT * FROM find_recording_v1($1, $2, $3, $4)",
            &[
                (org_id.as_uuid(), Type::UUID),
                (&actor, Type::TEXT),
                (&call_id.as_str(), Type::TEXT),
                (&kind.as_str(), Type::TEXT),
            ],
        )
        .await?;
    let Some(key) = row.try_get::<_, Option<String>>("storage_key")? else { return Ok(None) };
    Ok(Some(StoredObject {
        key,
        content_type: row.try_get("content_type")?,
        bytes: row.try_get("bytes")?,
        sha256: row.try_get("sha256")?,
    }))
}

/// Recordings, at most `limit`, that nobody fetches though it is time, since the message that asks for it was lost. With `run` they are
/// the caller's to send it for.
pub async fn take_due(database: &Database, limit: i32, run: bool) -> Result<Vec<Recording>, Failure> {
    let statement = "SELECT coalesce(jsonb_agg(jsonb_build_object('org_id', d.org_id, 'call_id', d.vapi_call_id, 'kind', d.kind)), '[]') \
        FROM take_due_recordings_v1($1, $2) d";
    let row = database.query_one(statement, &[(&limit, Type::INT4), (&run, Type::BOOL)]).await?;
    let Json(due) = row.try_get(0)?;
    Ok(due)
}

/// Recordings, at most `limit`, that are kept for longer than their org wants, with their keys in the bucket.
pub async fn find_expired(database: &Database, limit: i32) -> Result<Vec<(Recording, String)>, Failure> {
    let statement = "SELECT coalesce(jsonb_agg(jsonb_build_array(jsonb_build_object('org_id', e.org_id, 'call_id', e.vapi_call_id, \
        'kind', e.kind), e.storage_key)), '[]') FROM find_expired_recordings_v1($1) e";
    let row = database.query_one(statement, &[(&limit, Type::INT4)]).await?;
    let Json(expired) = row.try_get(0)?;
    Ok(expired)
}

/// Writes down that a recording's object is gone. False: it was not kept.
pub async fn remove(database: &Database, recording: &Recording) -> Result<bool, Failure> {
    let Recording { org_id, call_id, kind } = recording;
    let row = database
        .query_one(
            "SELECT remove_recording_v1($1, $2, $3)",
            &[(org_id.as_uuid(), Type::UUID), (&call_id.as_str(), Type::TEXT), (&kind.as_str(), Type::TEXT)],
        )
        .await?;
    Ok(row.try_get(0)?)
}
