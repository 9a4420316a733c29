//! Fetches recordings before their links expire, and keeps them in the bucket.
//!
//! A message says that there is a recording to fetch; all about it stands in its row, which is leased to who fetches it. Whatever dies
//! on the way leaves the row pending and no half object: the next one begins anew, or finds the object whole and only has to say so.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking"))]

mod hosts;
mod media;
mod source;
mod store;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ringfence_aws::Bucket;
use ringfence_core::error::Failure;
use ringfence_core::recordings::{self, Claimed, Finished, Lease, StoredObject};
use ringfence_core::{Database, LeaseHolder};
use ringfence_protocol::Recording;
use ringfence_runtime::metrics::{Counts, Metric};
use ringfence_runtime::recordings::read;
use ringfence_runtime::{Backoff, Coded as _, Disposition, Pusher, Record, Worker, catch_panics};
use ringfence_vapi::{FailureClass, FailureCode};

pub use hosts::Hosts;
pub use source::{MAX_BYTES, Source};

use crate::store::Store;

/// Who holds a lease longer has died: no invocation lasts as long (300 s in template.yaml).
const LEASE: Duration = Duration::from_secs(310);
/// What is left of an invocation when a recording has taken too long: to write that down, to push it, and to move its message.
const RESERVE: Duration = Duration::from_secs(30);
/// Of that, to abort its upload.
const TO_ABORT: Duration = Duration::from_secs(5);
/// How long a recording may take where no time is told that is left, which `cargo lambda watch` does not.
const WITHOUT_DEADLINE: Duration = Duration::from_mins(1);
/// The longest that SQS hides a message for us.
const LONGEST_WAIT: Duration = Duration::from_mins(15);

/// Fetches recordings.
pub struct Uploader {
    /// Where the rows are.
    pub database: Arc<Database>,
    /// Where recordings come from.
    pub source: Source,
    /// Where they are kept.
    pub bucket: Bucket,
    /// How long what may be fetched later waits.
    pub backoff: Backoff,
    /// Tells viewers what is kept, and what failed.
    pub pusher: Pusher,
}

/// A recording that was not kept this time.
enum Setback {
    /// The source or the bucket failed: the lease can be given back.
    Failed(FailureCode),
    /// The object is in the bucket, and the database did not take it down.
    Unsaid(Failure),
}

impl Worker for Uploader {
    /// A batch is one message (template.yaml): of a larger batch, all but the first are left for another invocation.
    const LONGEST_RECORD: Duration = LEASE;

    async fn process(&self, record: &Record<'_>, counts: &mut Counts) -> Disposition {
        self.claim(record, counts).await
    }
}

impl Uploader {
    async fn claim(&self, record: &Record<'_>, counts: &mut Counts) -> Disposition {
        let recording = match read(record.body) {
            Ok(recording) => recording,
            Err(error) => {
                let code = error.code();
                tracing::error!(failure.code = %code, message.id = record.message_id, "not a message about a recording");
                return Disposition::DeadLetter(code);
            }
        };
        let holder = LeaseHolder::random();
        match recordings::claim(&self.database, &recording, holder, LEASE).await {
            Ok(Claimed::Done) => Disposition::Done,
            Ok(Claimed::Busy(wait)) => Disposition::Retry((wait + Duration::from_secs(1)).min(LONGEST_WAIT)),
            Ok(Claimed::Leased(lease)) => self.fetch(record, &recording, holder, &lease, counts).await,
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
        holder: LeaseHolder,
        lease: &Lease,
        counts: &mut Counts,
    ) -> Disposition {
        let began = Instant::now();
        let left = record.deadline.saturating_duration_since(began);
        let limit = if left.is_zero() { WITHOUT_DEADLINE } else { left.saturating_sub(RESERVE) };
        // Boxed: the future holds the SDK's.
        let kept =
            Box::pin(tokio::time::timeout(limit + TO_ABORT, catch_panics(self.keep(recording, lease, began + limit))));
        let result = kept.await.unwrap_or_else(|_| Err(FailureCode::RecordingUnreachable.into()));
        let setback = match result {
            Ok(object) => match recordings::finish(&self.database, recording, &object).await {
                Ok(finished) => return self.finished(recording, &object, lease, began, finished, counts).await,
                Err(failure) => Setback::Unsaid(failure),
            },
            Err(failure) => Setback::Failed(failure.code),
        };
        self.settle(record, recording, holder, lease, setback, counts).await
    }

    /// Puts the recording into the bucket, unless it is there already since somebody died who had put it there.
    async fn keep(&self, recording: &Recording, lease: &Lease, until: Instant) -> Result<StoredObject, Failure> {
        let key = recording.object_key();
        if lease.attempt > 1
            && let Some(object) = Store(&self.bucket).measure(&key).await.map_err(|error| error.code())?
        {
            return Ok(object);
        }
        let body = self.source.open(recording, lease).await.map_err(|error| error.code())?;
        Ok(Store(&self.bucket).store(key, body, until).await.map_err(|error| error.code())?)
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
            Finished::Stored(news) => {
                tracing::info!(
                    org.id = %org_id, call.id = %call_id, recording.kind = %kind, recording.bytes = object.bytes,
                    recording.attempt = lease.attempt, duration_ms, "recording stored"
                );
                counts.add(Metric::RecordingStored, 1);
                if let Some(news) = news {
                    self.pusher.announce(*org_id, &news, counts).await;
                }
            }
            Finished::Repeated => {}
            Finished::Unwanted => {
                tracing::info!(org.id = %org_id, call.id = %call_id, recording.kind = %kind, "recording not wanted any more");
                if self.bucket.delete(&object.key).await.is_err() {
                    return Disposition::Retry(self.backoff.delay(1));
                }
            }
        }
        Disposition::Done
    }

    /// What may be fetched later waits and comes again; any other is given up now.
    async fn settle(
        &self,
        record: &Record<'_>,
        recording: &Recording,
        holder: LeaseHolder,
        lease: &Lease,
        setback: Setback,
        counts: &mut Counts,
    ) -> Disposition {
        let delay = self.backoff.delay(record.receives);
        let code = match setback {
            Setback::Failed(code) => code,
            Setback::Unsaid(failure) => {
                log_failure(recording, &failure);
                failure.code
            }
        };
        let is_over =
            record.is_last_receive() || !code.is_retried_after(lease.queued_at.duration_until(Timestamp::now()));
        let Recording { org_id, call_id, kind } = recording;
        tracing::error!(
            org.id = %org_id, call.id = %call_id, recording.kind = %kind, recording.attempt = lease.attempt,
            failure.code = %code, failure.class = code.class().as_str(), recording.given_up = is_over, "recording failed"
        );
        let retry = (!is_over).then_some(delay);
        match recordings::fail(&self.database, recording, holder, code, retry, record.receives).await {
            Ok(Some(recorded)) => {
                if let Some(news) = recorded.news {
                    self.pusher.announce(*org_id, &news, counts).await;
                }
            }
            // It is somebody else's by now, who will say what became of it.
            Ok(None) => return Disposition::Done,
            Err(failure) => {
                // The lease ends by itself, and a dead letter without a row would be known to nobody but its queue.
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
        db.sqlstate = failure.sqlstate, db.constraint = failure.constraint, "the recording's row was not reached"
    );
}
