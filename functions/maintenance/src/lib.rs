//! Scheduled jobs. A job processes bounded batches until no work is left or its time is up, and logs its result. It may
//! be stopped at any point, started again, or run twice at the same time. A dry run counts the work and changes
//! nothing.

mod cleaning;
mod reconcile;
mod watching;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence_aws::{Bucket, Queue};
use ringfence_core::error::Failure;
use ringfence_core::{Database, maintenance, recordings};
use ringfence_protocol::Recording;
use ringfence_protocol::maintenance::{Job, JobRequest, Report};
use ringfence_runtime::metrics::{Counts, Metric};
use ringfence_runtime::{Coded as _, RecordingQueue};
use ringfence_vapi::OrgId;

use cleaning::Problems;

pub use cleaning::{ROWS_PER_STATEMENT, rest};
pub use reconcile::Reconciler;

/// The rows of one batch.
const BATCH: i32 = 50;
/// The most rows that a dry run counts.
const DRY_RUN_LIMIT: i32 = 1000;
/// The longest time that a started batch is expected to take.
pub const RESERVE: Duration = Duration::from_secs(20);

pub struct Maintenance {
    pub database: Arc<Database>,
    pub recordings: RecordingQueue,
    pub bucket: Bucket,
    /// All queues of the deployment, by function. A dead-letter queue has the name `{function}-dead-letters`.
    pub queues: Vec<(String, Queue)>,
    pub reconciler: Reconciler,
}

impl Maintenance {
    /// Runs a job until `deadline` at the latest, but at least one batch. An error means that the database was
    /// unavailable, or that some orgs, objects or calls failed, each of which is in the log; the others were processed.
    /// The next scheduled run continues.
    pub async fn run(&self, request: JobRequest, deadline: Instant) -> Result<Report, Failure> {
        let JobRequest { job, dry_run } = request;
        let mut report = Report { job, dry_run, found: 0, done: 0, more: false };
        let until = deadline.checked_sub(RESERVE).unwrap_or(deadline);
        let result = match job {
            Job::SweepRecordings => self.sweep_recordings(&mut report, until).await,
            Job::ExpireRecordings => self.expire_recordings(&mut report, until).await,
            Job::ExpireTranscripts => self.expire_transcripts(&mut report, until).await,
            Job::CleanClaims => self.clean_claims(&mut report, until).await,
            Job::CleanRows => self.clean_rows(&mut report, until).await,
            Job::ExpireLeases => self.expire_leases(&mut report, until).await,
            Job::Reconcile => self.reconcile(&mut report, until).await,
            Job::RollUp => self.roll_up(&mut report, until).await,
            Job::Watch => self.watch(&mut report).await,
        };
        tracing::info!(
            job = <&str>::from(job),
            dry_run,
            found = report.found,
            done = report.done,
            more = report.more,
            is_failed = result.is_err(),
            "maintenance done"
        );
        result.map(|()| report)
    }

    async fn sweep_recordings(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        if report.dry_run {
            report.found = recordings::take_due(&self.database, DRY_RUN_LIMIT, false).await?.len() as u64;
            return Ok(());
        }
        loop {
            let due = recordings::take_due(&self.database, BATCH, true).await?;
            report.found += due.len() as u64;
            if due.is_empty() {
                return Ok(());
            }
            // If SQS refuses the messages, the recordings are due again some minutes later.
            let is_sent = self.recordings.send(&due).await.is_ok();
            report.done += if is_sent { due.len() as u64 } else { 0 };
            if !is_sent || Instant::now() > until {
                report.more = true;
                return Ok(());
            }
        }
    }

    async fn expire_recordings(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        if report.dry_run {
            let orphans = maintenance::find_orphans(&self.database, DRY_RUN_LIMIT).await?.len();
            report.found = (recordings::find_expired(&self.database, DRY_RUN_LIMIT).await?.len() + orphans) as u64;
            return Ok(());
        }
        let mut counts = Counts::default();
        // The objects of erased calls are deleted first.
        let orphans = self.remove_orphans(report, until).await;
        let result = self.remove_expired(report, until).await.and(orphans);
        if report.done > 0 {
            counts.add(Metric::RecordingRemoved, report.done);
        }
        counts.emit();
        result
    }

    /// Deletes the objects of erased calls.
    async fn remove_orphans(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        let find = async |limit| maintenance::find_orphans(&self.database, limit).await;
        let record =
            async |(org, key): &(OrgId, String)| maintenance::record_orphan_removal(&self.database, *org, key).await;
        self.remove_objects(report, until, find, record, |(org, key)| (*org, key)).await
    }

    async fn remove_expired(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        let find = async |limit| recordings::find_expired(&self.database, limit).await;
        let record = async |(recording, _): &(Recording, String)| recordings::remove(&self.database, recording).await;
        self.remove_objects(report, until, find, record, |(recording, key)| (recording.org_id, key)).await
    }

    /// Deletes objects, each before its row. If the invocation ends in between, the row remains and the next run deletes
    /// both. A failure stops no other deletion: the object is skipped for the rest of the run, which fails at the end.
    async fn remove_objects<T>(
        &self,
        report: &mut Report,
        until: Instant,
        find: impl AsyncFn(i32) -> Result<Vec<T>, Failure>,
        record: impl AsyncFn(&T) -> Result<bool, Failure>,
        place: impl Fn(&T) -> (OrgId, &str),
    ) -> Result<(), Failure> {
        let mut failed = HashSet::new();
        let mut problems = Problems::default();
        loop {
            // The failed objects are found again.
            let limit = BATCH.saturating_add(i32::try_from(failed.len()).unwrap_or(i32::MAX));
            let mut found = find(limit).await?;
            found.retain(|object| !failed.contains(place(object).1));
            if found.is_empty() {
                return problems.result();
            }
            report.found += found.len() as u64;
            for object in &found {
                let (org, key) = place(object);
                let result = match self.bucket.delete(key).await {
                    // False if another invocation has already done so.
                    Ok(()) => record(object).await,
                    Err(error) => Err(error.code().into()),
                };
                match result {
                    Ok(is_removed) => report.done += u64::from(is_removed),
                    Err(failure) => {
                        tracing::error!(org.id = %org, failure.code = %failure.code, "an object was not removed");
                        problems.add(failure)?;
                        failed.insert(key.to_owned());
                    }
                }
            }
            if Instant::now() > until {
                report.more = true;
                return problems.result();
            }
        }
    }
}
