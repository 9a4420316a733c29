//! Publishes the metrics behind the alarms.

use ringfence_core::error::Failure;
use ringfence_core::maintenance::{self, QueueState};
use ringfence_runtime::metrics::{Counts, Metric};

use ringfence_protocol::maintenance::Report;

use crate::Maintenance;

impl Maintenance {
    /// Stores the depth of each queue for the console and publishes the metrics that are not counts of events.
    pub(crate) async fn watch(&self, report: &mut Report) -> Result<(), Failure> {
        let mut states = Vec::new();
        for (name, queue) in &self.queues {
            // A queue that does not answer is logged and skipped.
            if let Ok(depth) = queue.depth().await {
                states.push(QueueState { queue: name.clone(), waiting: depth.waiting, in_flight: depth.in_flight });
            }
        }
        report.found = states.len() as u64;
        if report.dry_run {
            return Ok(());
        }
        let watched = maintenance::watch(&self.database, &states).await?;
        report.done = states.len() as u64;
        for org in &watched.silent_orgs {
            tracing::warn!(org.id = %org, "no calls for a day");
        }
        let mut counts = Counts::default();
        counts.add(Metric::UnresolvedEvents, watched.unresolved_events);
        counts.add(Metric::OldestRetrySeconds, watched.oldest_retry_seconds);
        counts.add(Metric::RecordingLinksExpiring, watched.recording_links_expiring);
        counts.add(Metric::OrgsSilent, watched.silent_orgs.len() as u64);
        counts.add(Metric::MaintenanceRan, 1);
        counts.emit();
        Ok(())
    }
}
