//! Jobs on schedules. Each works off small batches until nothing is left or its time is up, may be stopped anywhere and begun again, also
//! twice at once, and says what it did. A dry run says what there would be to do, and does nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence_core::error::Failure;
use ringfence_core::{Database, recordings};
use ringfence_edge::metrics::{Counts, Metric};
use ringfence_edge::{Bucket, RecordingQueue};
use serde::{Deserialize, Serialize};

/// What is taken at a time.
const BATCH: i32 = 50;
/// As much as a dry run counts.
const SHOWN: i32 = 1000;
/// What a batch that has begun is expected to take.
const RESERVE: Duration = Duration::from_secs(20);

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Which job.
    pub job: Job,
    /// Only count what there is to do, up to a thousand.
    #[serde(default)]
    pub dry_run: bool,
}

/// A job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Job {
    /// Recordings whose message was lost are asked for again.
    SweepRecordings,
    /// Recordings are removed that are kept for longer than their org wants.
    ExpireRecordings,
}

impl Job {
    /// The job's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SweepRecordings => "sweep-recordings",
            Self::ExpireRecordings => "expire-recordings",
        }
    }
}

/// What a job did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which job.
    pub job: Job,
    /// Whether it only counted.
    pub dry_run: bool,
    /// What there was to do, as far as it was seen.
    pub found: u64,
    /// What was done.
    pub done: u64,
    /// There may be more: the time was up, or something refused, which is in the log.
    pub more: bool,
}

/// What maintenance works with.
pub struct Maintenance {
    /// Where all of it stands.
    pub database: Arc<Database>,
    /// Where recordings are asked for.
    pub recordings: RecordingQueue,
    /// Where they are kept.
    pub bucket: Bucket,
}

impl Maintenance {
    /// Does a job until `deadline` at the most, a batch of it in any case. An error: the database did not answer, or
    /// the bucket kept what should go; the schedule comes again.
    pub async fn carry_out(&self, order: Order, deadline: Instant) -> Result<Report, Failure> {
        let Order { job, dry_run } = order;
        let mut report = Report { job, dry_run, found: 0, done: 0, more: false };
        let until = deadline.checked_sub(RESERVE).unwrap_or(deadline);
        match job {
            Job::SweepRecordings => self.sweep_recordings(&mut report, until).await?,
            Job::ExpireRecordings => self.expire_recordings(&mut report, until).await?,
        }
        tracing::info!(
            job = job.as_str(),
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
            report.found = recordings::find_expired(&self.database, SHOWN).await?.len() as u64;
            return Ok(());
        }
        let mut counts = Counts::default();
        let result = self.remove_expired(report, until).await;
        if report.done > 0 {
            counts.add(Metric::RecordingRemoved, report.done);
        }
        counts.emit();
        result
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
                if let Err(code) = self.bucket.delete(&key).await {
                    refused = Some(code);
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
