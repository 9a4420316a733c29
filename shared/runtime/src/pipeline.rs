//! The event pipeline: apply, log, count, announce recordings, push. The webhook function runs it while the sender waits; the event
//! functions run it for events from their retry queues.

use std::sync::Arc;

use ringfence_core::{Database, Failure, Outcome, apply_event};
use ringfence_protocol::Delivery;

use crate::event_log::EventLog;
use crate::metrics::Counts;
use crate::panics::catch_panics;
use crate::pusher::Pusher;
use crate::recordings::RecordingQueue;

/// Where events are applied. Tests replace it to inject faults.
pub trait EventStore {
    fn database(&self) -> &Database;

    fn apply(&self, delivery: &Delivery) -> impl Future<Output = Result<Outcome, Failure>> {
        apply_event(self.database(), delivery)
    }
}

impl EventStore for Arc<Database> {
    fn database(&self) -> &Database {
        self
    }
}

/// Applies events and announces what they changed.
pub struct Pipeline<S = Arc<Database>> {
    pub store: S,
    pub pusher: Pusher,
    /// None for functions whose events name no recordings.
    pub recordings: Option<RecordingQueue>,
}

impl<S: EventStore> Pipeline<S> {
    /// Applies an event. Recordings are queued and viewers are pushed to after the commit; a failure there loses nothing and is no error.
    pub async fn apply(&self, delivery: &Delivery, counts: &mut Counts) -> Result<Outcome, Failure> {
        let log = EventLog::start(delivery);
        let result = catch_panics(self.store.apply(delivery)).await;
        log.finish(&result);
        let outcome = result?;
        counts.add((&outcome).into(), 1);
        if let Outcome::Applied { org_id, sequence, viewers } = &outcome {
            if let Some(recordings) = &self.recordings {
                recordings.announce(*org_id, &delivery.event, counts).await;
            }
            self.pusher.event(*org_id, *sequence, viewers, delivery, counts).await;
        }
        Ok(outcome)
    }
}
