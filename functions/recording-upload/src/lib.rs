//! Fetches recordings before their links expire, and stores them in the bucket.
//!
//! A message names a recording; everything else is in the recording's row, on which the function takes a lease. If an
//! invocation dies, the row stays pending and the bucket has no partial object. The next attempt starts from the
//! beginning, or finds the complete object and only updates the row.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking"))]

mod hosts;
mod media;
mod source;
mod store;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use ringfence_aws::Bucket;
use ringfence_core::Database;
use ringfence_core::error::Failure;
use ringfence_core::recordings::{self, Claimed, Finished, Lease, StoredObject};
use ringfence_protocol::Recording;
use ringfence_runtime::metrics::{Counts, Metric};
use ringfence_runtime::recordings::read;
use ringfence_runtime::{Backoff, Disposition, Pusher, Record, Worker, catch_panics};
use ringfence_vapi::{FailureClass, FailureCode};
use uuid::Uuid;

pub use hosts::Hosts;
pub use source::{MAX_BYTES, Source};

use crate::store::Store;

/// Longer than any invocation lasts (300 s in template.yaml), so the holder of an older lease has died.
const LEASE: Duration = Duration::from_secs(310);
/// The part of an invocation that is reserved for the time after a recording timed out: to update the row, to push the
/// event and to move the message.
const RESERVE: Duration = Duration::from_secs(30);
/// The part of the reserve for aborting the upload.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);
/// The limit if the invocation has no deadline, as with `cargo lambda watch`.
const DEFAULT_LIMIT: Duration = Duration::from_mins(1);
/// Vapi may publish a recording some minutes after the report. A recording that is still missing after this time is
/// treated as permanently missing.
const PUBLICATION_LAG: SignedDuration = SignedDuration::from_hours(2);
/// The longest visibility timeout that the function sets.
const MAX_VISIBILITY_TIMEOUT: Duration = Duration::from_mins(15);

pub struct Uploader {
    pub database: Arc<Database>,
    pub source: Source,
    pub bucket: Bucket,
    /// The delay before a failed recording is retried.
    pub backoff: Backoff,
    /// Pushes stored and failed recordings to viewers.
    pub pusher: Pusher,
}

/// Why an attempt did not complete.
enum AttemptFailure {
    /// The source or the bucket failed. The lease can be released.
    NotStored(FailureCode),
    /// The object is in the bucket, but the database did not record it.
    NotRecorded(Failure),
}

impl Worker for Uploader {
    /// A batch is one message (template.yaml). In a larger batch, all messages but the first are left for another
    /// invocation.
    const LONGEST_RECORD: Duration = LEASE;

    async fn process(&self, record: &Record<'_>, counts: &mut Counts) -> Disposition {
        self.claim(record, counts).await
    }
}

impl Uploader {
    async fn claim(&self, record: &Record<'_>, counts: &mut Counts) -> Disposition {
        let recording = match read(record.body) {
            Ok(recording) => recording,
            Err(code) => {
                tracing::error!(
                    failure.code = %code, message.id = record.message_id, "the message does not name a recording"
                );
                return Disposition::DeadLetter(code);
            }
        };
        let claimant = Uuid::new_v4();
        match recordings::claim(&self.database, &recording, claimant, LEASE).await {
            Ok(Claimed::Done) => Disposition::Done,
            Ok(Claimed::Busy(wait)) => Disposition::Retry((wait + Duration::from_secs(1)).min(MAX_VISIBILITY_TIMEOUT)),
            Ok(Claimed::Leased(lease)) => self.fetch(record, &recording, claimant, &lease, counts).await,
            Err(failure) => {
                log_failure(&recording, &failure);
                if failure.code.class() == FailureClass::Transient {
                    return Disposition::Retry(self.backoff.delay(record.receives));
                }
                Disposition::DeadLetter(failure.code)
            }
        }
    }

    async fn fetch(
        &self,
        record: &Record<'_>,
        recording: &Recording,
        claimant: Uuid,
        lease: &Lease,
        counts: &mut Counts,
    ) -> Disposition {
        let began = Instant::now();
        let left = record.deadline.saturating_duration_since(began);
        let limit = if left.is_zero() { DEFAULT_LIMIT } else { left.saturating_sub(RESERVE) };
        // Boxed, because the future contains the large futures of the SDK.
        let stored = Box::pin(tokio::time::timeout(
            limit + ABORT_TIMEOUT,
            catch_panics(self.store(recording, lease, began + limit)),
        ));
        let result = stored.await.unwrap_or_else(|_| Err(FailureCode::RecordingUnreachable.into()));
        let failed = match result {
            Ok(object) => match recordings::finish(&self.database, recording, &object).await {
                Ok(finished) => return self.finished(recording, &object, lease, began, finished, counts).await,
                Err(failure) => AttemptFailure::NotRecorded(failure),
            },
            Err(failure) => AttemptFailure::NotStored(failure.code),
        };
        self.fail(record, recording, claimant, lease, failed, counts).await
    }

    /// Puts the recording into the bucket. A retry first looks for the object, because an earlier attempt may have died
    /// after it was complete.
    async fn store(&self, recording: &Recording, lease: &Lease, until: Instant) -> Result<StoredObject, Failure> {
        let key = recording.object_key();
        if lease.attempt > 1
            && let Some(object) = Store(&self.bucket).find(&key).await?
        {
            return Ok(object);
        }
        let body = self.source.open(recording, lease).await?;
        Ok(Store(&self.bucket).store(key, body, until).await?)
    }

    async fn finished(
        &self,
        recording: &Recording,
        object: &StoredObject,
        lease: &Lease,
        began: Instant,
        finished: Finished,
        counts: &mut Counts,
    ) -> Disposition {
        let Recording { org_id, call_id, kind } = recording;
        let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match finished {
            Finished::Stored(entry) => {
                tracing::info!(
                    org.id = %org_id, call.id = %call_id, recording.kind = %kind, recording.bytes = object.bytes,
                    recording.attempt = lease.attempt, duration_ms, "recording stored"
                );
                counts.add(Metric::RecordingStored, 1);
                if let Some(entry) = entry {
                    self.pusher.announce(*org_id, &entry, counts).await;
                }
            }
            Finished::AlreadyStored => {}
            Finished::Removed => {
                tracing::info!(
                    org.id = %org_id, call.id = %call_id, recording.kind = %kind,
                    "the object of a removed recording is deleted"
                );
                if self.bucket.delete(&object.key).await.is_err() {
                    return Disposition::Retry(self.backoff.delay(1));
                }
            }
        }
        Disposition::Done
    }

    /// Retries a recording that may be fetched later, and moves any other to the dead-letter queue.
    async fn fail(
        &self,
        record: &Record<'_>,
        recording: &Recording,
        claimant: Uuid,
        lease: &Lease,
        failed: AttemptFailure,
        counts: &mut Counts,
    ) -> Disposition {
        let delay = self.backoff.delay(record.receives);
        let code = match failed {
            AttemptFailure::NotStored(code) => code,
            AttemptFailure::NotRecorded(failure) => {
                log_failure(recording, &failure);
                failure.code
            }
        };
        let is_over = record.is_last_receive()
            || code.class() != FailureClass::Transient
            || (code == FailureCode::RecordingNotFound
                && lease.queued_at.duration_until(Timestamp::now()) > PUBLICATION_LAG);
        let Recording { org_id, call_id, kind } = recording;
        tracing::error!(
            org.id = %org_id, call.id = %call_id, recording.kind = %kind, recording.attempt = lease.attempt,
            failure.code = %code, failure.class = code.class().as_str(), recording.is_dead = is_over,
            "recording failed"
        );
        let retry = (!is_over).then_some(delay);
        match recordings::fail(&self.database, recording, claimant, code, retry, record.receives).await {
            Ok(Some(recorded)) => {
                if let Some(entry) = recorded.log_entry {
                    self.pusher.announce(*org_id, &entry, counts).await;
                }
            }
            // Another invocation holds the lease now and records the result.
            Ok(None) => return Disposition::Done,
            Err(failure) => {
                // The lease expires by itself. The message stays on the queue, because a dead letter without a row
                // would not appear on the console.
                log_failure(recording, &failure);
                return Disposition::Retry(delay);
            }
        }
        if is_over {
            counts.field("failure.code", code.to_string());
            return Disposition::DeadLetter(code);
        }
        counts.add(Metric::RecordingRetried, 1);
        counts.field("failure.code", code.to_string());
        Disposition::Retry(delay)
    }
}

fn log_failure(recording: &Recording, failure: &Failure) {
    let Recording { org_id, call_id, kind } = recording;
    tracing::error!(
        org.id = %org_id, call.id = %call_id, recording.kind = %kind, failure.code = %failure.code,
        db.sqlstate = failure.sqlstate, db.constraint = failure.constraint, "the recording's row was not updated"
    );
}
