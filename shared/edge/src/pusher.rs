//! Pushes to an org's viewers, after the commit. A push is a hint: whoever does not get it has it after the next resume.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ringfence_core::{Database, Delivery, failures, live};
use ringfence_vapi::frame::{CallReference, Logged, OperationFailed};
use ringfence_vapi::{EventKey, FailureCode, Frame, OrgId, PartialTranscript};

use crate::broadcast::{Broadcast, Subject};
use crate::configuration::{Environment, Misconfigured};
use crate::connections::{Connections, Pushes};
use crate::metrics::{Counts, Metric};
use crate::queue::{BROADCAST_QUEUE, Queue};

/// More viewers than this are told by the fan-out function, so that the sender of the webhook does not wait for them.
pub const MAX_DIRECT: usize = 10;
/// The wait before a failed push is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Pushes frames.
pub struct Pusher {
    database: Arc<Database>,
    connections: Connections,
    broadcasts: Queue,
}

impl Pusher {
    /// To the viewers' `connections`; what cannot be pushed at once goes to the queue `broadcasts`.
    #[must_use]
    pub fn new(database: Arc<Database>, connections: Connections, broadcasts: Queue) -> Self {
        Self { database, connections, broadcasts }
    }

    /// With the queue in `BROADCAST_QUEUE_URL`.
    pub fn from_environment(
        environment: &Environment<'_>,
        database: Arc<Database>,
        connections: Connections,
        sqs: &aws_sdk_sqs::Client,
    ) -> Result<Self, Misconfigured> {
        let broadcasts = Queue::new(sqs.clone(), environment.required(BROADCAST_QUEUE)?);
        Ok(Self::new(database, connections, broadcasts))
    }

    /// Tells an org's viewers of an event that was applied at `sequence` of its log.
    pub async fn event(&self, org: OrgId, sequence: i64, viewers: &[String], delivery: &Delivery, counts: &mut Counts) {
        if viewers.is_empty() {
            return;
        }
        let at = delivery.event.message_time().unwrap_or(delivery.received_at);
        if let Some(frame) = Frame::of_event(sequence, at, &delivery.event) {
            self.push(org, &delivery.key, viewers, &frame, counts).await;
        }
    }

    /// Tells an org's viewers that an event failed.
    pub async fn failure(
        &self,
        org: OrgId,
        logged: &failures::LoggedFailure,
        delivery: &Delivery,
        state: failures::FailedState,
        counts: &mut Counts,
    ) {
        let Some(last) = delivery.failures.last().filter(|_| !logged.viewers.is_empty()) else { return };
        let failed = OperationFailed {
            event_type: delivery.event.event_type().to_owned(),
            code: last.code,
            state: state.as_str().to_owned(),
        };
        let call = CallReference { id: delivery.event.call().id.clone() };
        let failed = Logged::OperationFailed { call, failed };
        if let Some(frame) = Frame::of_logged(logged.sequence, last.failed_at, failed) {
            self.push(org, &logged.key, &logged.viewers, &frame, counts).await;
        }
    }

    /// Tells an org's viewers what is being said. Who misses it misses nothing: more follows, and then the final transcript.
    pub async fn partial(
        &self,
        org: OrgId,
        viewers: &[String],
        partial: PartialTranscript,
        received_at: Timestamp,
        counts: &mut Counts,
    ) {
        if viewers.len() > MAX_DIRECT {
            let subject = Subject::Partial { partial: Box::new(partial), received_at };
            return self.hand_over(&Broadcast::to_all(org, subject), Duration::ZERO).await;
        }
        let frame = Frame::of_partial(partial.message_time.unwrap_or(received_at), &partial);
        if let Ok(text) = serde_json::to_string(&frame) {
            let pushes = self.connections.push(viewers, &text).await;
            self.settle(org, &pushes, counts).await;
        }
    }

    async fn push(&self, org: OrgId, key: &EventKey, viewers: &[String], frame: &Frame, counts: &mut Counts) {
        let broadcast = Broadcast::to_all(org, Subject::Event { event_key: key.clone() });
        if viewers.len() > MAX_DIRECT {
            return self.hand_over(&broadcast, Duration::ZERO).await;
        }
        let Ok(text) = serde_json::to_string(frame) else { return };
        let pushes = self.connections.push(viewers, &text).await;
        self.settle(org, &pushes, counts).await;
        if !pushes.failed.is_empty() {
            self.hand_over(&broadcast.again(pushes.failed), PAUSE).await;
        }
    }

    /// Counts, and forgets who is gone.
    async fn settle(&self, org: OrgId, pushes: &Pushes, counts: &mut Counts) {
        settle(&self.database, org, pushes, counts).await;
    }

    /// One message, whatever there is to tell. Should SQS refuse, the viewers have the frame with their next resume.
    async fn hand_over(&self, broadcast: &Broadcast, delay: Duration) {
        let Ok(message) = serde_json::to_string(broadcast) else { return };
        if self.broadcasts.send_later(message, delay).await.is_err() {
            let org = broadcast.org_id;
            tracing::warn!(org.id = %org, failure.code = %FailureCode::PushFailed, "a push is left to the next resume");
        }
    }
}

/// Counts what became of pushes, and forgets the connections that are gone.
pub async fn settle(database: &Database, org: OrgId, pushes: &Pushes, counts: &mut Counts) {
    let Pushes { delivered, gone, failed } = pushes;
    for (metric, count) in
        [(Metric::Pushed, *delivered), (Metric::ViewerGone, gone.len()), (Metric::PushFailed, failed.len())]
    {
        if count > 0 {
            counts.add(metric, count as u64);
        }
    }
    if !gone.is_empty()
        && let Err(failure) = live::close(database, Some(org), gone).await
    {
        // They are pushed to once more, and found to be gone again.
        tracing::warn!(org.id = %org, %failure, "gone viewers could not be forgotten");
    }
}
