//! Pushes frames to the viewers of an org after the commit. A viewer that misses a push receives the frame with its next resume.

use std::sync::Arc;
use std::time::Duration;

use aws_types::SdkConfig;
use jiff::Timestamp;
use lambda_runtime::Error;
use ringfence_aws::connections::Pushes;
use ringfence_aws::{Connections, Queue};
use ringfence_core::Database;
use ringfence_core::live::{self, Announcement};
use ringfence_protocol::broadcast::Subject;
use ringfence_protocol::{Broadcast, ConnectionId, Delivery, Frame};
use ringfence_vapi::{EventKey, FailureCode, OrgId, PartialTranscript};

use crate::configuration::{Environment, Misconfigured};
use crate::metrics::{Counts, Metric};
use crate::queues::{BROADCAST_RETRY, named_queue};
use crate::start;

/// The function `broadcast-retry` pushes to larger audiences, so that the sender of the webhook does not wait for them.
pub const MAX_DIRECT: usize = 10;
/// Bounds a push, its queue message and its database statement together.
const PUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// The delay before a failed push is retried.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Pushes frames.
pub struct Pusher {
    database: Arc<Database>,
    connections: Connections,
    broadcasts: Queue,
}

impl Pusher {
    /// Pushes to `connections`, and sends what it cannot push at once to the queue `broadcasts`.
    #[must_use]
    pub fn new(database: Arc<Database>, connections: Connections, broadcasts: Queue) -> Self {
        Self { database, connections, broadcasts }
    }

    /// Pushes to the WebSocket API of the environment.
    pub fn connect(environment: &Environment<'_>, database: &Arc<Database>, aws: &SdkConfig) -> Result<Self, Error> {
        let connections = start::connections(environment, aws)?;
        Ok(Self::from_environment(environment, Arc::clone(database), connections, &aws_sdk_sqs::Client::new(aws))?)
    }

    /// With the queue of the function `broadcast-retry`.
    pub fn from_environment(
        environment: &Environment<'_>,
        database: Arc<Database>,
        connections: Connections,
        sqs: &aws_sdk_sqs::Client,
    ) -> Result<Self, Misconfigured> {
        let broadcasts = named_queue(environment, sqs, BROADCAST_RETRY)?;
        Ok(Self::new(database, connections, broadcasts))
    }

    /// Pushes an event that was applied at `sequence` of the org's log.
    pub async fn event(
        &self,
        org: OrgId,
        sequence: i64,
        viewers: &[ConnectionId],
        delivery: &Delivery,
        counts: &mut Counts,
    ) {
        if viewers.is_empty() {
            return;
        }
        let at = delivery.event.message_time().unwrap_or(delivery.received_at);
        if let Some(frame) = Frame::of_event(sequence, at, &delivery.event) {
            self.push(org, &delivery.key, viewers, &frame, counts).await;
        }
    }

    /// Pushes an entry that Ringfence itself added to the org's log.
    pub async fn announce(&self, org: OrgId, news: &Announcement, counts: &mut Counts) {
        let Announcement { key, sequence, at, event, viewers } = news;
        if viewers.is_empty() {
            return;
        }
        let logged = serde_json::from_value(event.clone()).ok();
        if let Some(frame) = logged.and_then(|logged| Frame::of_logged(*sequence, *at, logged)) {
            self.push(org, key, viewers, &frame, counts).await;
        }
    }

    /// Pushes a partial transcript. A missed one loses nothing: the final transcript follows.
    pub async fn partial(
        &self,
        org: OrgId,
        viewers: &[ConnectionId],
        partial: &PartialTranscript,
        received_at: Timestamp,
        counts: &mut Counts,
    ) {
        let frame = Frame::of_partial(partial.message_time.unwrap_or(received_at), partial);
        if viewers.len() > MAX_DIRECT {
            let subject = Subject::Partial { frame: Box::new(frame), received_at };
            return in_time(self.send_broadcast(&Broadcast::to_all(org, subject), Duration::ZERO)).await;
        }
        let Ok(text) = serde_json::to_string(&frame) else { return };
        let push = async {
            let pushes = self.connections.push(viewers, &text).await;
            settle(&self.database, org, &pushes, counts).await;
        };
        in_time(push).await;
    }

    async fn push(&self, org: OrgId, key: &EventKey, viewers: &[ConnectionId], frame: &Frame, counts: &mut Counts) {
        in_time(self.push_to(org, key, viewers, frame, counts)).await;
    }

    async fn push_to(&self, org: OrgId, key: &EventKey, viewers: &[ConnectionId], frame: &Frame, counts: &mut Counts) {
        let broadcast = Broadcast::to_all(org, Subject::Event { event_key: key.clone() });
        if viewers.len() > MAX_DIRECT {
            return self.send_broadcast(&broadcast, Duration::ZERO).await;
        }
        let Ok(text) = serde_json::to_string(frame) else { return };
        let pushes = self.connections.push(viewers, &text).await;
        // Before the database is asked, which may be slow and use up the rest of the time.
        if !pushes.failed.is_empty() {
            self.send_broadcast(&broadcast.again(pushes.failed.clone()), RETRY_DELAY).await;
        }
        settle(&self.database, org, &pushes, counts).await;
    }

    /// Sends a broadcast to the queue. If SQS refuses it, viewers receive the frame with their next resume.
    async fn send_broadcast(&self, broadcast: &Broadcast, delay: Duration) {
        let Ok(message) = serde_json::to_string(broadcast) else { return };
        if self.broadcasts.send_later(message, delay).await.is_err() {
            let org = broadcast.org_id;
            tracing::warn!(org.id = %org, failure.code = %FailureCode::PushFailed, "a broadcast was not queued");
        }
    }
}

async fn in_time(push: impl Future<Output = ()>) {
    if tokio::time::timeout(PUSH_TIMEOUT, push).await.is_err() {
        tracing::warn!(failure.code = %FailureCode::PushFailed, "a push took too long");
    }
}

/// Counts pushes, and deletes connections that no longer exist.
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
        // The next push finds them again.
        tracing::warn!(org.id = %org, %failure, "closed connections could not be deleted");
    }
}
