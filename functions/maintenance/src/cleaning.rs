//! Jobs that delete or close rows, a bounded batch per statement.

use std::time::{Duration, Instant};

use ringfence_core::error::Failure;
use ringfence_core::{maintenance, numbers};
use ringfence_runtime::metrics::{Counts, Metric};

use ringfence_protocol::maintenance::Report;

use crate::{DRY_RUN_LIMIT, Maintenance};

/// The most rows that one statement deletes. It takes some tens of milliseconds, so that concurrent webhooks are not
/// delayed.
pub const ROWS_PER_STATEMENT: i32 = 1000;
/// The same for calls, each of which has many rows.
const CALLS_PER_STATEMENT: i32 = 100;
/// The most events that one statement counts. Each may belong to a call of another hour, which is then counted
/// completely.
const EVENTS_PER_STATEMENT: i32 = 500;

impl Maintenance {
    pub(crate) async fn clean_claims(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        let batch = async |limit, run| maintenance::clean_events(&self.database, limit, run).await;
        let result = run_batches(report, until, ROWS_PER_STATEMENT, batch).await;
        emit(Metric::ClaimsRemoved, report);
        result
    }

    pub(crate) async fn clean_rows(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        let batch = async |limit, run| {
            let cleaned = maintenance::clean_rows(&self.database, limit, run).await?;
            for kind in cleaned.iter().filter(|kind| kind.row_count > 0) {
                tracing::info!(rows.kind = kind.row_kind, rows.count = kind.row_count, "rows cleaned");
            }
            Ok(cleaned.iter().map(|kind| kind.row_count).sum())
        };
        run_batches(report, until, ROWS_PER_STATEMENT, batch).await
    }

    pub(crate) async fn expire_leases(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        let batch = async |limit, run| maintenance::interrupt_expired_tool_calls(&self.database, limit, run).await;
        let result = run_batches(report, until, CALLS_PER_STATEMENT, batch).await;
        emit(Metric::ToolFailed, report);
        result
    }

    pub(crate) async fn expire_transcripts(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        let batch = async |limit, run| maintenance::expire_transcripts(&self.database, limit, run).await;
        run_batches(report, until, CALLS_PER_STATEMENT, batch).await
    }

    /// Updates the rollups, org by org.
    pub(crate) async fn roll_up(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        loop {
            let orgs = numbers::find_orgs(&self.database, DRY_RUN_LIMIT).await?;
            report.found += orgs.len() as u64;
            if orgs.is_empty() || report.dry_run {
                return Ok(());
            }
            let before = report.done;
            for org in orgs {
                report.done += numbers::roll_up(&self.database, org, EVENTS_PER_STATEMENT).await?;
                if Instant::now() > until {
                    report.more = true;
                    return Ok(());
                }
            }
            // Another invocation is counting the remaining orgs.
            if report.done == before {
                return Ok(());
            }
        }
    }
}

/// Runs batches until one changes nothing or the time is up. A dry run counts the rows of one batch.
async fn run_batches(
    report: &mut Report,
    until: Instant,
    limit: i32,
    batch: impl AsyncFn(i32, bool) -> Result<u64, Failure>,
) -> Result<(), Failure> {
    if report.dry_run {
        report.found = batch(DRY_RUN_LIMIT, false).await?;
        return Ok(());
    }
    loop {
        let began = Instant::now();
        let done = batch(limit, true).await?;
        let took = began.elapsed();
        report.found += done;
        report.done += done;
        if done == 0 {
            return Ok(());
        }
        if Instant::now() > until {
            report.more = true;
            return Ok(());
        }
        tokio::time::sleep(rest(took)).await;
    }
}

/// The pause after a batch that took this long. Most of the time the database serves webhooks only.
#[must_use]
pub fn rest(took: Duration) -> Duration {
    (took * 4).min(Duration::from_secs(1))
}

fn emit(metric: Metric, report: &Report) {
    let mut counts = Counts::default();
    if report.done > 0 {
        counts.add(metric, report.done);
    }
    counts.emit();
}
