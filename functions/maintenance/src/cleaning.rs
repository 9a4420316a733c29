//! Jobs that delete or close rows, a bounded batch per statement.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use ringfence_core::error::Failure;
use ringfence_core::maintenance::{self, ROW_KINDS};
use ringfence_core::numbers;
use ringfence_runtime::metrics::{Counts, Metric};
use ringfence_vapi::OrgId;

use ringfence_protocol::maintenance::Report;

use crate::{DRY_RUN_LIMIT, Maintenance};

/// The most orgs of one round. Each round takes others, in random order.
const ORGS_PER_ROUND: i32 = 1000;

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
        let batch = async |org, limit, run| maintenance::clean_events(&self.database, org, limit, run).await;
        let result = self.for_each_org(report, until, ROWS_PER_STATEMENT, batch).await;
        emit(Metric::ClaimsRemoved, report);
        result
    }

    /// Deletes rows kind by kind. A kind that fails stops no other.
    pub(crate) async fn clean_rows(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        let mut problems = Problems::default();
        for kind in ROW_KINDS {
            let batch = async |limit, run| maintenance::clean_rows(&self.database, kind, limit, run).await;
            let before = report.done;
            let result = run_batches(report, until, ROWS_PER_STATEMENT, batch).await;
            if report.done > before {
                tracing::info!(rows.kind = kind, rows.count = report.done - before, "rows cleaned");
            }
            if let Err(failure) = result {
                tracing::error!(rows.kind = kind, failure.code = %failure.code, "rows of a kind were not cleaned");
                problems.add(failure)?;
            }
        }
        problems.result()
    }

    pub(crate) async fn expire_leases(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        let batch =
            async |org, limit, run| maintenance::interrupt_expired_tool_calls(&self.database, org, limit, run).await;
        let result = self.for_each_org(report, until, CALLS_PER_STATEMENT, batch).await;
        emit(Metric::ToolFailed, report);
        result
    }

    pub(crate) async fn expire_transcripts(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        let batch = async |org, limit, run| maintenance::expire_transcripts(&self.database, org, limit, run).await;
        self.for_each_org(report, until, CALLS_PER_STATEMENT, batch).await
    }

    /// Updates the rollups. A dry run counts the orgs.
    pub(crate) async fn roll_up(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        let batch = async |org, limit, run| {
            if run { numbers::roll_up(&self.database, org, limit).await } else { Ok(1) }
        };
        self.for_each_org(report, until, EVENTS_PER_STATEMENT, batch).await
    }

    /// Runs batches of the orgs that have work for the job, one batch per org and round, until a round changes nothing
    /// or the time is up. An org whose batch fails is skipped for the rest of the run, and the job fails at the end. A
    /// dry run counts one batch of each org.
    pub(crate) async fn for_each_org(
        &self,
        report: &mut Report,
        until: Instant,
        limit: i32,
        batch: impl AsyncFn(OrgId, i32, bool) -> Result<u64, Failure>,
    ) -> Result<(), Failure> {
        let run = !report.dry_run;
        let limit = if run { limit } else { DRY_RUN_LIMIT };
        let mut failed = HashSet::new();
        let mut problems = Problems::default();
        loop {
            let mut is_changed = false;
            for org in maintenance::find_orgs_with_work(&self.database, report.job, ORGS_PER_ROUND).await? {
                if failed.contains(&org) {
                    continue;
                }
                let began = Instant::now();
                match batch(org, limit, run).await {
                    Ok(count) => {
                        report.found += count;
                        report.done += if run { count } else { 0 };
                        is_changed |= count > 0;
                    }
                    Err(failure) => {
                        tracing::error!(
                            job = <&str>::from(report.job),
                            org.id = %org,
                            failure.code = %failure.code,
                            "a job failed for an org"
                        );
                        problems.add(failure)?;
                        failed.insert(org);
                    }
                }
                if Instant::now() > until {
                    report.more = true;
                    return problems.result();
                }
                if run {
                    tokio::time::sleep(rest(began.elapsed())).await;
                }
            }
            // Nothing is left, or another invocation is processing the remaining orgs.
            if !is_changed || !run {
                return problems.result();
            }
        }
    }
}

/// The failures of a run that goes on with the next org, object or call.
#[derive(Default)]
pub(crate) struct Problems(Option<Failure>);

impl Problems {
    /// Remembers a failure, which must be in the log. An error: the database is unavailable, so the run must end.
    pub(crate) fn add(&mut self, failure: Failure) -> Result<(), Failure> {
        if failure.is_unavailable() {
            return Err(failure);
        }
        self.0 = Some(failure);
        Ok(())
    }

    /// The last failure.
    pub(crate) fn result(self) -> Result<(), Failure> {
        self.0.map_or(Ok(()), Err)
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
        report.found += batch(DRY_RUN_LIMIT, false).await?;
        return Ok(());
    }
    loop {
        let began = Instant::now();
        let done = batch(limit, true).await?;
        report.found += done;
        report.done += done;
        if done == 0 {
            return Ok(());
        }
        if Instant::now() > until {
            report.more = true;
            return Ok(());
        }
        tokio::time::sleep(rest(began.elapsed())).await;
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
