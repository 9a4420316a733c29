//! The rows of recordings, from the queue to the bucket: one function per statement (`migrations/*__recordings.sql`).

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

/// The right to fetch a recording, with the data for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The number of attempts, this one included.
    pub attempt: i32,
    /// Vapi's presigned link, sealed.
    pub link: Option<String>,
    pub link_expires_at: Option<Timestamp>,
    /// The org's API key at Vapi, sealed.
    pub api_key: Option<String>,
    /// When the recording was queued.
    pub queued_at: Timestamp,
}

/// The result of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The claimant has the lease.
    Leased(Box<Lease>),
    /// Another claimant has the lease, for at most this time.
    Busy(Duration),
    /// There is nothing to fetch: the recording is stored, was removed, or was never queued.
    Done,
}

/// An object in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    pub key: String,
    pub content_type: String,
    pub bytes: i64,
    pub sha256: Vec<u8>,
}

/// The result of recording that an object is in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finished {
    /// The rows were updated.
    Stored(Option<Announcement>),
    /// The rows had been updated before.
    AlreadyStored,
    /// The recording was removed meanwhile. Its object must be deleted.
    Removed,
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

/// Records that a recording is in the bucket.
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
        "already-stored" => Finished::AlreadyStored,
        "removed" => Finished::Removed,
        _ => return Err(Failure::unknown_outcome()),
    })
}

/// Records that an attempt of `claimant` failed. The recording is retried after `retry`, or it is dead (None). Returns
/// None if another claimant holds the lease now.
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

/// The object of a recording, for playback by `actor`, which is audited. None: the org has no such recording.
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
    let key = recording.object_key();
    // Only the object whose key is derived from org, call and kind is played, whatever the row names.
    if row.try_get::<_, Option<&str>>("storage_key")? != Some(key.as_str()) {
        return Ok(None);
    }
    Ok(Some(StoredObject {
        key,
        content_type: row.try_get("content_type")?,
        bytes: row.try_get("bytes")?,
        sha256: row.try_get("sha256")?,
    }))
}

/// At most `limit` recordings that are due and that no function fetches, because their message was lost. With `run` the
/// caller must send the messages.
pub async fn take_due(database: &Database, limit: i32, run: bool) -> Result<Vec<Recording>, Failure> {
    let statement = "SELECT coalesce(jsonb_agg(jsonb_build_object('org_id', d.org_id, \
        'call_id', d.vapi_call_id, 'kind', d.kind)), '[]') FROM take_due_recordings_v1($1, $2) d";
    let row = database.query_one(statement, &[(&limit, Type::INT4), (&run, Type::BOOL)]).await?;
    let Json(due) = row.try_get(0)?;
    Ok(due)
}

/// At most `limit` recordings that are older than their org's retention, with their keys in the bucket.
pub async fn find_expired(database: &Database, limit: i32) -> Result<Vec<(Recording, String)>, Failure> {
    let statement = "SELECT coalesce(jsonb_agg(jsonb_build_array(jsonb_build_object('org_id', e.org_id, \
        'call_id', e.vapi_call_id, 'kind', e.kind), e.storage_key)), '[]') FROM find_expired_recordings_v1($1) e";
    let row = database.query_one(statement, &[(&limit, Type::INT4)]).await?;
    let Json(expired) = row.try_get(0)?;
    Ok(expired)
}

/// Records that a recording's object was deleted. False: the recording was not stored.
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
