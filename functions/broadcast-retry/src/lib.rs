//! Pushes for which the webhook function does not wait: to more viewers than it can reach in time, and to viewers whose
//! push failed.
//!
//! A message contains the key of an event in the log and the connections that have not received it. After each attempt
//! the function sends a new message for the connections that failed; after [`MAX_FAILURES`] attempts it moves the
//! message to the dead-letter queue. No frame is lost: the viewer receives it with its next resume.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ringfence_aws::Connections;
use ringfence_core::{Database, Failure, live};
use ringfence_protocol::broadcast::Subject;
use ringfence_protocol::live::Logged;
use ringfence_protocol::{Broadcast, Frame};
use ringfence_runtime::metrics::{Counts, Metric};
use ringfence_runtime::pusher::settle;
use ringfence_runtime::{Disposition, FunctionQueues, Record, Worker, catch_panics};
use ringfence_vapi::{FailureClass, FailureCode};

/// A message whose push failed more often is moved to the dead-letter queue.
pub const MAX_FAILURES: u32 = 5;
/// More connections are split into messages of this many, so that each message is processed quickly.
const MAX_CONNECTIONS: usize = 200;
/// The delay before a message that could not be processed is retried. It is short, because a late frame is useless.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// A partial transcript that is older is not pushed.
const PARTIAL_LIFETIME: SignedDuration = SignedDuration::from_secs(3);

pub struct Broadcaster {
    pub database: Arc<Database>,
    pub connections: Connections,
    pub queues: FunctionQueues,
}

impl Worker for Broadcaster {
    /// Reading the event (9 s), pushing it (6 s), deleting closed connections (9 s) and queueing the rest (4 s).
    const LONGEST_RECORD: Duration = Duration::from_secs(28);

    async fn process(&self, record: &Record<'_>, counts: &mut Counts) -> Disposition {
        let Err(failure) = catch_panics(self.broadcast(record.body, counts)).await else { return Disposition::Done };
        tracing::error!(failure.code = %failure.code, message.id = record.message_id, "a broadcast failed");
        if failure.code.class() == FailureClass::Transient {
            return Disposition::Retry(RETRY_DELAY);
        }
        // Partial transcripts are dropped, not stored as dead letters.
        let is_partial = serde_json::from_str::<Broadcast>(record.body).is_ok_and(|broadcast| broadcast.is_partial());
        if is_partial { Disposition::Done } else { Disposition::DeadLetter(failure.code) }
    }
}

impl Broadcaster {
    async fn broadcast(&self, body: &str, counts: &mut Counts) -> Result<(), Failure> {
        let broadcast: Broadcast = serde_json::from_str(body).map_err(|_| FailureCode::EventUnreadable)?;
        let Some((frame, viewers)) = self.find(&broadcast).await? else { return Ok(()) };
        if viewers.len() > MAX_CONNECTIONS {
            return self.split(&broadcast, &viewers).await;
        }
        let text = serde_json::to_string(&frame).map_err(|_| FailureCode::EventUnreadable)?;
        let pushes = self.connections.push(&viewers, &text).await;
        settle(&self.database, broadcast.org_id, &pushes, counts).await;
        if !broadcast.is_partial() && !pushes.failed.is_empty() {
            self.retry(&broadcast.again(pushes.failed), counts).await?;
        }
        Ok(())
    }

    /// The frame and the connections that have not received it. None: there is nothing to push.
    async fn find(&self, broadcast: &Broadcast) -> Result<Option<(Frame, Vec<String>)>, Failure> {
        let (org, connections) = (broadcast.org_id, broadcast.connections.as_deref());
        match &broadcast.subject {
            Subject::Partial { received_at, .. } if received_at.duration_until(Timestamp::now()) > PARTIAL_LIFETIME => {
                Ok(None)
            }
            Subject::Partial { frame, .. } => {
                let found = live::find_broadcast(&self.database, org, None, connections).await?;
                Ok(Some((Frame::clone(frame), found.viewers)))
            }
            Subject::Event { event_key } => {
                let found = live::find_broadcast(&self.database, org, Some(event_key), connections).await?;
                let Some((seq, at, event)) = found.entry else { return Ok(None) };
                let logged: Logged = serde_json::from_value(event).map_err(|_| FailureCode::EventUnreadable)?;
                Ok(Frame::of_logged(seq, at, logged).map(|frame| (frame, found.viewers)))
            }
        }
    }

    async fn split(&self, broadcast: &Broadcast, viewers: &[String]) -> Result<(), Failure> {
        for part in viewers.chunks(MAX_CONNECTIONS) {
            let part = Broadcast { connections: Some(part.to_vec()), ..broadcast.clone() };
            let message = serde_json::to_string(&part).map_err(|_| FailureCode::EventUnreadable)?;
            self.queues.retries.send_later(message, Duration::ZERO).await.map_err(|error| error.0)?;
        }
        Ok(())
    }

    /// Queues a message for the connections that did not receive the frame, or moves it to the dead-letter queue.
    async fn retry(&self, broadcast: &Broadcast, counts: &mut Counts) -> Result<(), Failure> {
        let message = serde_json::to_string(broadcast).map_err(|_| FailureCode::EventUnreadable)?;
        let sent = if broadcast.failures > MAX_FAILURES {
            counts.add(Metric::DeadLettered, 1);
            tracing::warn!(
                org.id = %broadcast.org_id, failure.code = %FailureCode::PushFailed,
                "a push was moved to the dead-letter queue"
            );
            self.queues.dead_letters.send_text(message, Some(FailureCode::PushFailed)).await
        } else {
            self.queues.retries.send_later(message, retry_delay(broadcast.failures)).await
        };
        sent.map_err(|error| error.0.into())
    }
}

/// 1, 2, 4 seconds and so on. Five attempts end within half a minute, the interval at which viewers resume by
/// themselves.
fn retry_delay(failures: u32) -> Duration {
    Duration::from_secs(2u64.saturating_pow(failures.saturating_sub(1)))
}
