//! Jobs on schedules. Each works off small batches until nothing is left or its time is up, may be stopped anywhere and begun again, also
//! twice at once, and says what it did. A dry run says what there would be to do, and does nothing.

mod cleaning;
mod reconcile;
mod watching;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence_aws::{Bucket, Queue};
use ringfence_core::error::Failure;
use ringfence_core::{Database, maintenance, recordings};
use ringfence_protocol::maintenance::{Job, JobRequest, Report};
use ringfence_runtime::metrics::{Counts, Metric};
use ringfence_runtime::{Coded as _, RecordingQueue};

pub use cleaning::rest;
pub use reconcile::Reconciler;

/// What is taken at a time.
const BATCH: i32 = 50;
/// As much as a dry run counts.
const SHOWN: i32 = 1000;
/// What a batch that has begun is expected to take.
const RESERVE: Duration = Duration::from_secs(20);

/// What maintenance works with.
pub struct Maintenance {
    /// Where all of it stands.
    pub database: Arc<Database>,
    /// Where recordings are asked for.
    pub recordings: RecordingQueue,
    /// Where they are kept.
    pub bucket: Bucket,
    /// All queues of the deployment, by function; of dead letters, `{function}-dead-letters`.
    pub queues: Vec<(String, Queue)>,
    /// Who asks Vapi.
    pub reconciler: Reconciler,
}

impl Maintenance {
    /// Does a job until `deadline` at the most, a batch of it in any case. An error: the database did not answer, or
    /// the bucket kept what should go; the schedule comes again.
    pub async fn run(&self, request: JobRequest, deadline: Instant) -> Result<Report, Failure> {
        let JobRequest { job, dry_run } = request;
        let mut report = Report { job, dry_run, found: 0, done: 0, more: false };
        let until = deadline.checked_sub(RESERVE).unwrap_or(deadline);
        match job {
            Job::SweepRecordings => self.sweep_recordings(&mut report, until).await?,
            Job::ExpireRecordings => self.expire_recordings(&mut report, until).await?,
            Job::ExpireTranscripts => self.expire_transcripts(&mut report, until).await?,
            Job::CleanClaims => self.clean_claims(&mut report, until).await?,
            Job::CleanRows => self.clean_rows(&mut report, until).await?,
            Job::SettleLeases => self.settle_leases(&mut report, until).await?,
            Job::Reconcile => self.reconcile(&mut report, until).await?,
            Job::RollUp => self.roll_up(&mut report, until).await?,
            Job::Watch => self.watch(&mut report).await?,
        }
        tracing::info!(
            job = <&str>::from(job),
            dry_run,
            found = report.found,
            done = report.done,
            more = report.more,
            "maintenance done"
        );
        Ok(report)
    }

    async fn sweep_recordings(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        if report.dry_run {
            report.found = recordings::take_due(&self.database, SHOWN, false).await?.len() as u64;
            return Ok(());
        }
        loop {
            let due = recordings::take_due(&self.database, BATCH, true).await?;
            report.found += due.len() as u64;
            if due.is_empty() {
                return Ok(());
            }
            // Should SQS refuse, they are due again in some minutes.
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
            let orphans = maintenance::find_orphans(&self.database, SHOWN).await?.len();
            report.found = (recordings::find_expired(&self.database, SHOWN).await?.len() + orphans) as u64;
            return Ok(());
        }
        let mut counts = Counts::default();
        // What was erased goes first.
        let orphans = self.remove_orphans(report, until).await;
        let result = self.remove_expired(report, until).await.and(orphans);
        if report.done > 0 {
            counts.add(Metric::RecordingRemoved, report.done);
        }
        counts.emit();
        result
    }

    /// The objects of erased calls.
    async fn remove_orphans(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        loop {
            let orphans = maintenance::find_orphans(&self.database, BATCH).await?;
            if orphans.is_empty() {
                return Ok(());
            }
            report.found += orphans.len() as u64;
            for (org, key) in orphans {
                self.bucket.delete(&key).await.map_err(|error| error.code())?;
                report.done += u64::from(maintenance::note_orphan_removed(&self.database, org, &key).await?);
            }
            if Instant::now() > until {
                report.more = true;
                return Ok(());
            }
        }
    }

    /// The object first: whatever dies in between, the row still leads here and is seen to again.
    async fn remove_expired(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        let mut refused = None;
        loop {
            let expired = recordings::find_expired(&self.database, BATCH).await?;
            if expired.is_empty() {
                return Ok(());
            }
            report.found += expired.len() as u64;
            for (recording, key) in expired {
                // One that cannot be removed keeps none of the others.
                if let Err(error) = self.bucket.delete(&key).await {
                    refused = Some(error.code());
                    continue;
                }
                // Somebody else may have done so meanwhile.
                report.done += u64::from(recordings::remove(&self.database, &recording).await?);
            }
            if let Some(code) = refused {
                return Err(code.into());
            }
            if Instant::now() > until {
                report.more = true;
                return Ok(());
            }
        }
    }
}
