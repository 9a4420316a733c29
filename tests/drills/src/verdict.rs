//! Verdict of a drill: a comparison of every row and every acknowledged event.

use std::time::{Duration, Instant};

use super::site::Site;
use super::traffic::Tenant;
use ringfence_harness::error::Result;
use ringfence_harness::wait::wait_until;
use ringfence_simulate::sender::Tally;

/// Limit for the drain of the queues after the fault. The batch of a killed function is hidden for 15 s.
const TIMEOUT: Duration = Duration::from_mins(3);

/// Result of a drill.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Webhooks, each counted once.
    pub sent: u64,
    /// Webhooks that were answered with 2xx.
    pub acknowledged: u64,
    /// Answers with status 503.
    pub refused: u64,
    /// Repeated attempts of senders.
    pub repeated: u64,
    /// Events that were applied.
    pub applied: usize,
    /// Acknowledged webhooks of events that had been acknowledged before.
    pub duplicates: u64,
    /// Acknowledged events that are not applied and not queued. A dead letter is included, because all dead letters of
    /// a drill are redriven.
    pub lost: Vec<String>,
    /// Duplicate, unexpected, missing and wrong rows.
    pub differences: Vec<String>,
    /// Messages in the dead-letter queues.
    pub dead: u64,
    /// Time from the end of the fault until the queues were drained.
    pub drain: Duration,
    /// Messages that still waited at the end of the time limit.
    pub waiting: u64,
    /// Median time to answer webhooks that were posted during the fault, without its first two seconds.
    pub median: Option<Duration>,
    /// Repeating senders with webhooks that were never acknowledged.
    pub given_up: u64,
}

impl Verdict {
    /// Waits until the queues are drained, then compares all rows. `fault` is its begin and end.
    pub(crate) async fn reach(
        site: &Site<'_>,
        tenants: &[Tenant],
        tallies: &[Tally],
        fault: (Instant, Instant),
    ) -> Result<Self> {
        let mut verdict = Self::default();
        let is_drained = async || {
            (verdict.waiting, verdict.dead) = site.depths().await?;
            Ok(verdict.waiting == 0)
        };
        wait_until(TIMEOUT.saturating_sub(fault.1.elapsed()), is_drained).await?;
        verdict.drain = fault.1.elapsed();
        for (tenant, tally) in tenants.iter().zip(tallies) {
            let judgement = tenant.ledger.judge(tenant.target.org, &tenant.calls, &tally.taken).await?;
            verdict.sent += tally.sent;
            verdict.acknowledged += tally.acknowledged;
            verdict.repeated += tally.repeated;
            verdict.refused += tally.refusals.get("503").copied().unwrap_or_default();
            verdict.applied += judgement.applied;
            verdict.duplicates += tally.acknowledged - tally.taken.len() as u64;
            verdict.lost.extend(judgement.lost);
            verdict.differences.extend(judgement.comparison.differences());
            if tenant.is_persistent() {
                verdict.given_up += tally.sent - tally.acknowledged;
            }
        }
        verdict.median = median(tallies, fault);
        Ok(verdict)
    }

    /// Whether the drill succeeded: no event is lost, no row is duplicate or wrong, no message waits, and every
    /// repeating sender received an acknowledgement for each webhook.
    pub(crate) fn is_kept(&self) -> bool {
        self.lost.is_empty() && self.differences.is_empty() && self.waiting == 0 && self.given_up == 0
    }
}

fn median(tallies: &[Tally], (began, ended): (Instant, Instant)) -> Option<Duration> {
    let first = began + Duration::from_secs(2);
    let answers = tallies.iter().flat_map(|tally| &tally.answers);
    let during = answers.filter(|(posted, _)| (first..ended).contains(&posted.into_std()));
    let mut durations: Vec<Duration> = during.map(|(_, duration)| *duration).collect();
    durations.sort_unstable();
    durations.get(durations.len() / 2).copied()
}
