//! Requests to the function `maintenance`, and its reports.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr, VariantNames};

/// A request to run a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRequest {
    pub job: Job,
    /// Only count the items to process, up to a thousand.
    #[serde(default)]
    pub dry_run: bool,
}

#[derive(
    Clone,
    Copy,
    Debug,
    Display,
    EnumIter,
    EnumString,
    IntoStaticStr,
    VariantNames,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Job {
    /// Sends a new message for each recording whose message was lost.
    SweepRecordings,
    /// Removes recordings after their org's retention, and those of erased calls.
    ExpireRecordings,
    /// Removes transcripts and summaries after their org's retention.
    ExpireTranscripts,
    /// Removes retained events after their org's retention.
    CleanClaims,
    /// Removes finished rows that are no longer read.
    CleanRows,
    /// Turns tool calls whose function ended without a result into failed operations.
    ExpireLeases,
    /// Requests missing reports of calls from Vapi.
    Reconcile,
    /// Updates the hourly and daily metrics of each org.
    RollUp,
    /// Records the depth of the queues and publishes the metrics for the alarms.
    Watch,
}

impl Job {
    /// How often the job runs (template.yaml).
    #[must_use]
    pub const fn interval(self) -> Duration {
        match self {
            Self::ExpireRecordings | Self::ExpireTranscripts | Self::CleanRows => Duration::from_hours(1),
            Self::Reconcile => Duration::from_mins(15),
            Self::SweepRecordings | Self::CleanClaims | Self::ExpireLeases | Self::RollUp => Duration::from_mins(5),
            Self::Watch => Duration::from_mins(1),
        }
    }
}

/// The result of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub job: Job,
    pub dry_run: bool,
    /// The items that the job found to process.
    pub found: u64,
    pub done: u64,
    /// There may be more items: the job ran out of time, or an operation failed and is in the log.
    pub more: bool,
}
