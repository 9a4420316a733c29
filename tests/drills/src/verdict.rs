//! What a drill is judged by: every row, and every acknowledged event.

use std::time::{Duration, Instant};

use super::site::Site;
use super::traffic::Tenant;
use ringfence_harness::error::Result;
use ringfence_harness::wait::wait_until;
use ringfence_simulate::sender::Tally;

/// Nothing waits longer than this once everything is back: a batch of a killed function is hidden for 15 s.
const PATIENCE: Duration = Duration::from_mins(3);

/// What became of a drill's webhooks.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Webhooks, each counted once.
    pub sent: u64,
    /// Those that were answered with 2xx.
    pub acknowledged: u64,
    /// Those that were answered with 503.
    pub refused: u64,
    /// Attempts that a sender made again.
    pub repeated: u64,
    /// Events that were applied.
    pub applied: usize,
    /// Acknowledged webhooks of events that had been acknowledged before.
    pub duplicates: u64,
    /// Acknowledged events that were not applied, and nothing is queued any more. A dead letter counts: no event of a drill stays one.
    pub lost: Vec<String>,
    /// Rows that are there twice or should not be, and rows that are missing or wrong.
    pub differences: Vec<String>,
    /// Messages in the dead-letter queues.
    pub dead: u64,
    /// From the end of the fault until nothing waited any more.
    pub drain: Duration,
    /// Messages that still waited when patience ended.
    pub waiting: u64,
    /// The median answer to webhooks that were posted while the fault lasted, its first two seconds left out.
    pub median: Option<Duration>,
    /// Repeating senders whose webhooks were not all acknowledged in the end.
    pub given_up: u64,
}

impl Verdict {
    /// Waits until nothing is queued any more, then looks at everything. `fault` is when it began and ended.
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
        wait_until(PATIENCE.saturating_sub(fault.1.elapsed()), is_drained).await?;
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

    /// Whether the promise was kept: nothing lost, nothing doubled or wrong, nothing that still waits, and a sender that repeats
    /// was heard in the end.
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
