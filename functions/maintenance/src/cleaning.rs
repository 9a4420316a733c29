//! What is removed or settled in the database, piece by piece.

use std::time::{Duration, Instant};

use ringfence_core::error::Failure;
use ringfence_core::{maintenance, numbers};
use ringfence_runtime::metrics::{Counts, Metric};

use ringfence_protocol::maintenance::Report;

use crate::{Maintenance, SHOWN};

/// What one statement removes: some tens of milliseconds, so that webhooks beside it do not notice.
const PIECE: i32 = 1000;
/// The same of calls, of which each has many rows.
const CALLS: i32 = 100;
/// Events that are counted at a time. Each may be of a call of another hour, which is counted whole.
const EVENTS: i32 = 500;

impl Maintenance {
    pub(crate) async fn clean_claims(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        let piece = async |limit, run| maintenance::clean_events(&self.database, limit, run).await;
        let result = piecewise(report, until, PIECE, piece).await;
        emit(Metric::ClaimsRemoved, report);
        result
    }

    pub(crate) async fn clean_rows(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        let piece = async |limit, run| {
            let cleaned = maintenance::clean_rows(&self.database, limit, run).await?;
            for kind in cleaned.iter().filter(|kind| kind.row_count > 0) {
                tracing::info!(rows.kind = kind.row_kind, rows.count = kind.row_count, "rows cleaned");
            }
            Ok(cleaned.iter().map(|kind| kind.row_count).sum())
        };
        piecewise(report, until, PIECE, piece).await
    }

    pub(crate) async fn settle_leases(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        let piece = async |limit, run| maintenance::interrupt_expired_tool_calls(&self.database, limit, run).await;
        let result = piecewise(report, until, CALLS, piece).await;
        emit(Metric::ToolFailed, report);
        result
    }

    pub(crate) async fn expire_transcripts(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        let piece = async |limit, run| maintenance::expire_transcripts(&self.database, limit, run).await;
        piecewise(report, until, CALLS, piece).await
    }

    /// Counts what has happened since it was counted last, org by org.
    pub(crate) async fn roll_up(&self, report: &mut Report, until: Instant) -> Result<(), Failure> {
        loop {
            let orgs = numbers::find_orgs(&self.database, SHOWN).await?;
            report.found += orgs.len() as u64;
            if orgs.is_empty() || report.dry_run {
                return Ok(());
            }
            let before = report.done;
            for org in orgs {
                report.done += numbers::roll_up(&self.database, org, EVENTS).await?;
                if Instant::now() > until {
                    report.more = true;
                    return Ok(());
                }
            }
            // Somebody else is at those that are left.
            if report.done == before {
                return Ok(());
            }
        }
    }
}

/// Piece by piece until one is empty or the time is up. A dry run counts the first.
async fn piecewise(
    report: &mut Report,
    until: Instant,
    limit: i32,
    piece: impl AsyncFn(i32, bool) -> Result<u64, Failure>,
) -> Result<(), Failure> {
    if report.dry_run {
        report.found = piece(SHOWN, false).await?;
        return Ok(());
    }
    loop {
        let began = Instant::now();
        let done = piece(limit, true).await?;
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

/// How long cleaning rests after a piece that took so long: most of the time the database is the webhooks' alone.
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
