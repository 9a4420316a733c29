//! Database of a webhook: its state before the calls, and its rows after them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use admin::Administration;
use indicatif::ProgressBar;
use ringfence_vapi::OrgId;

use super::cast::Cast;
use super::compare::{Comparison, compare};
use super::expected;
use super::plan::Call;
use super::rows::{self, Row};
use ringfence_harness::error::{Context, Result};
use ringfence_harness::local::connection;

/// Interval at which the applied events are counted.
const POLL: Duration = Duration::from_millis(250);

const CLAIMS: &str = "processed_webhook_events";
const LEADS: &str = "leads";

/// A database, and the participants in it before the calls.
pub struct Ledger {
    database_url: String,
    cast: Cast,
}

/// Rows of the calls and their comparison with the expected rows.
pub struct Findings {
    pub rows: Vec<Row>,
    pub comparison: Comparison,
}

/// Result for the events.
#[derive(Debug)]
pub struct Judgement {
    /// Number of applied events.
    pub applied: usize,
    /// Acknowledged events that do not exist in the database.
    pub lost: Vec<String>,
    /// Comparison of the rows of the calls whose events were all acknowledged.
    pub comparison: Comparison,
}

impl Ledger {
    /// Reads the current agents and leads of an org. `database_url` is a superuser's.
    pub async fn open(database_url: &str, org: OrgId) -> Result<Self> {
        let client = connection::open(database_url).await?;
        Ok(Self { cast: Cast::find(&client, org).await?, database_url: database_url.to_owned() })
    }

    /// Adds the missing participants to the org. Adds the agent only if `with_agent`, since only one org can register
    /// it.
    pub async fn add_cast(&mut self, administration: &Administration, org: OrgId, with_agent: bool) -> Result<()> {
        self.cast.add_missing(administration, org, with_agent).await?;
        *self = Self::open(&self.database_url, org).await?;
        Ok(())
    }

    /// Waits at most `timeout` until every event is applied and every recording is stored, then compares all rows.
    pub async fn check(&self, org: OrgId, calls: &[Call], timeout: Duration) -> Result<Findings> {
        let ids: Vec<&str> = calls.iter().map(|call| call.id.as_str()).collect();
        let phones: Vec<&str> = calls.iter().map(|call| call.customer).collect();
        let is_recorded = |call: &Call| call.conversation.as_ref().is_some_and(|said| said.recording.is_some());
        // A stored recording has an entry in the org's log, too.
        let events = calls.iter().map(|call| call.steps().len() + usize::from(is_recorded(call))).sum();
        self.wait_until_applied(org, &ids, events, timeout).await;
        let client = connection::open(&self.database_url).await?;
        let rows = rows::read(&client, org, &ids, &phones).await?;
        Ok(Findings { comparison: compare(&expected::rows(calls, &self.cast), &rows), rows })
    }

    /// Judges the acknowledged events `taken`, after the queues are drained. A call whose events were all acknowledged
    /// must have every row. Of other calls, the acknowledged events must exist.
    pub async fn judge(&self, org: OrgId, calls: &[Call], taken: &BTreeSet<(String, usize)>) -> Result<Judgement> {
        let is_taken = |call: &Call, position| taken.contains(&(call.id.clone(), position));
        let is_whole = |call: &Call| (0..call.steps().len()).all(|position| is_taken(call, position));
        let (whole, partial): (Vec<Call>, Vec<Call>) = calls.iter().cloned().partition(is_whole);
        let ids: Vec<&str> = calls.iter().map(|call| call.id.as_str()).collect();
        let phones: Vec<&str> = calls.iter().map(|call| call.customer).collect();
        let client = connection::open(&self.database_url).await?;
        let mut rows = rows::read(&client, org, &ids, &phones).await?;

        let claims: BTreeSet<String> = rows.iter().filter(|row| row.table == CLAIMS).map(Row::key).collect();
        let steps = calls.iter().flat_map(|call| call.steps().into_iter().enumerate().map(move |step| (call, step)));
        let claimed = steps.filter(|(call, (position, _))| is_taken(call, *position));
        let lost =
            claimed.map(|(call, (_, step))| expected::claim(call, step).key()).filter(|key| !claims.contains(key));
        let lost = lost.collect();

        let mut must_be = expected::rows(&whole, &self.cast);
        if !partial.is_empty() {
            // The set of applied events of the other calls is unknown, and so is the state of their leads.
            let partial: BTreeSet<&str> = partial.iter().map(|call| call.id.as_str()).collect();
            rows.retain(|row| row.table != LEADS && !row.call().is_some_and(|call| partial.contains(call)));
            must_be.retain(|row| row.table != LEADS);
        }
        Ok(Judgement { applied: claims.len(), lost, comparison: compare(&must_be, &rows) })
    }

    /// Events that could not be applied while the database was unavailable wait in the retry queues, each with its own
    /// delay.
    async fn wait_until_applied(&self, org: OrgId, calls: &[&str], events: usize, timeout: Duration) {
        let spinner = ProgressBar::new_spinner();
        let start = Instant::now();
        while start.elapsed() < timeout {
            // The database may still be unavailable, which is no reason to stop.
            let applied = self.count_applied(org, calls).await.unwrap_or_default();
            if applied >= events {
                break;
            }
            spinner.set_message(format!("waiting for {} of {events} events and recordings", events - applied));
            spinner.tick();
            tokio::time::sleep(POLL).await;
        }
        spinner.finish_and_clear();
    }

    async fn count_applied(&self, org: OrgId, calls: &[&str]) -> Result<usize> {
        let client = connection::try_open(&self.database_url).await.context("connect to the database")?;
        rows::count_done(&client, org, calls).await
    }
}
