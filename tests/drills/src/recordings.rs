//! A drill with a large recording, whose upload is interrupted by killing the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio_postgres::Client;

use super::site::Site;
use super::traffic::Tenant;
use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::local::{buckets, connection, http, progress, queues};
use ringfence_harness::process_usage::peak_memory;
use ringfence_harness::testing::FakeVapi;
use ringfence_harness::testing::fake_vapi::Reply;
use ringfence_harness::wait::wait_until;

/// Size of the recording.
const BYTES: u64 = 200 * 1024 * 1024;
/// Memory limit of a process that uploads it.
const MAX_MEMORY: u64 = 64 * 1024 * 1024;
const CHUNK: usize = 64 * 1024;
const TIMEOUT: Duration = Duration::from_mins(4);

/// Kills the process that uploads a recording in the middle of the upload. No object may be visible then. A later run
/// must complete the whole object within the memory limit.
pub(super) async fn kill_during_upload(site: &Site<'_>, tenant: &Tenant) -> Result<()> {
    let (storage, made) = storage().await;
    let database = connection::open(&site.owner_url).await?;
    report(tenant, &format!("{}/recording.wav", storage.url)).await?;
    until("half of a recording to be fetched", async || Ok(made.load(Ordering::SeqCst) > chunks() / 2)).await?;
    site.host.kill(queues::RECORDINGS).await;
    let (state, _) = row(&database).await?;
    if state != "pending" || !objects(site).await?.is_empty() {
        return Err(Error::new(format!("an upload was killed, and its row is {state}")));
    }
    // Ends the lease at once, instead of waiting five minutes.
    let age = "UPDATE recording_upload_queue SET lease_until = now() - interval '1 second'";
    database.batch_execute(age).await.context("end a lease")?;
    let mut peak = 0;
    until("a recording to be stored after its first process was killed", async || {
        for pid in site.host.pids(queues::RECORDINGS) {
            peak = peak.max(peak_memory(pid).unwrap_or_default());
        }
        Ok(row(&database).await?.0 == "stored")
    })
    .await?;
    let (_, sha256) = row(&database).await?;
    let objects = objects(site).await?;
    let is_whole = sha256 == checksum() && objects == [i64::try_from(BYTES).unwrap_or_default()];
    if !is_whole {
        return Err(Error::new(format!("a recording of {BYTES} bytes has these objects: {objects:?}")));
    }
    if peak == 0 || peak > MAX_MEMORY {
        return Err(Error::new(format!("a recording of {BYTES} bytes took {peak} bytes of memory")));
    }
    progress(&format!("A recording of 200 MB took {} MB of memory at the most", peak / 1024 / 1024));
    Ok(())
}

async fn report(tenant: &Tenant, link: &str) -> Result<()> {
    let body = json!({"message": {
        "type": "end-of-call-report", "call": {"id": "recording-drill"}, "endedReason": "customer-ended-call",
        "artifact": {"presignedMonoUrl": link, "presignedUrlsExpiresAt": Timestamp::now() + SignedDuration::from_mins(30)},
    }});
    let request = http::client(TIMEOUT)?.post(&tenant.target.webhook_url).header("x-vapi-secret", &tenant.target.key);
    let answer = request.body(body.to_string()).send().await.and_then(reqwest::Response::error_for_status);
    answer.map(drop).context("post a report")
}

/// State and checksum of the only recording.
async fn row(database: &Client) -> Result<(String, String)> {
    let query = "SELECT state, coalesce(encode(sha256, 'hex'), '') FROM recording_upload_queue";
    let row = database.query_one(query, &[]).await.context("look for the recording")?;
    Ok((row.get(0), row.get(1)))
}

/// Sizes of the stored objects.
async fn objects(site: &Site<'_>) -> Result<Vec<i64>> {
    let listed = site.s3.list_objects_v2().bucket(buckets::RECORDINGS).send().await.context("list the recordings")?;
    Ok(listed.contents().iter().filter_map(aws_sdk_s3::types::Object::size).collect())
}

async fn until(what: &str, is_true: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    if wait_until(TIMEOUT, is_true).await? { Ok(()) } else { Err(Error::new(format!("waited too long for {what}"))) }
}

/// A storage that serves one large recording and counts the parts that it has generated.
async fn storage() -> (FakeVapi, Arc<AtomicU64>) {
    let made = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&made);
    let next_chunk = move |number| {
        counted.fetch_add(1, Ordering::SeqCst);
        (number < chunks()).then(|| chunk(number))
    };
    (FakeVapi::start_with(Reply::Chunks(BYTES, Arc::new(next_chunk))).await, made)
}

const fn chunks() -> u64 {
    BYTES / CHUNK as u64
}

/// A part of the recording. All parts differ.
fn chunk(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(CHUNK / 8)
}

fn checksum() -> String {
    let mut digest = Sha256::new();
    for number in 0..chunks() {
        digest.update(chunk(number));
    }
    hex::encode(digest.finalize())
}
