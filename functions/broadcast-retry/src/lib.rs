//! Pushes that a webhook does not wait for: to more viewers than it could, and to those that did not get a frame at first.
//!
//! A message names an event of the log and the connections that still want it. Each time those that failed again get a message of
//! their own; after [`MAX_FAILURES`] it is a dead letter. Nothing is lost with it: viewers have the frame with their next resume.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use jiff::{SignedDuration, Timestamp};
use ringfence_core::error::Failure;
use ringfence_core::{Database, live};
use ringfence_edge::broadcast::Subject;
use ringfence_edge::consumer::caught;
use ringfence_edge::metrics::{Counts, Metric};
use ringfence_edge::pusher::settle;
use ringfence_edge::{Broadcast, Connections, FunctionQueues};
use ringfence_vapi::frame::Logged;
use ringfence_vapi::{FailureClass, FailureCode, Frame};

/// A push that failed so often is given up.
pub const MAX_FAILURES: u32 = 5;
/// More connections than this are told by messages of their own.
const AUDIENCE: usize = 200;
/// No message takes longer: to find what it is about (9 s), to push (6 s), to forget who is gone (9 s) and to hand over the rest (4 s).
const LONGEST_RECORD: Duration = Duration::from_secs(28);
/// The wait of a message that failed.
const PAUSE: Duration = Duration::from_secs(5);
/// A partial transcript that is older is not worth a push.
const PARTIAL_LIFETIME: SignedDuration = SignedDuration::from_secs(3);

/// Works off the broadcast queue.
pub struct Broadcaster {
    database: Arc<Database>,
    connections: Connections,
    queues: FunctionQueues,
}

impl Broadcaster {
    /// Pushes to `connections`; what fails goes back to `queues`.
    #[must_use]
    pub fn new(database: Arc<Database>, connections: Connections, queues: FunctionQueues) -> Self {
        Self { database, connections, queues }
    }

    /// Pushes what the messages of a batch are about, each by itself, and names those that are to come again: what failed for now,
    /// and what there is no time for before `deadline`.
    pub async fn consume(&self, batch: SqsEvent, deadline: Instant) -> SqsBatchResponse {
        let mut counts = Counts::default();
        let mut response = SqsBatchResponse::default();
        for (index, message) in batch.records.into_iter().enumerate() {
            // The first is tried in any case, or none ever would be.
            let is_late = index > 0 && Instant::now() + LONGEST_RECORD > deadline;
            if is_late || !self.is_settled(&message, &mut counts).await {
                self.postpone(&message).await;
                let mut again = BatchItemFailure::default();
                again.item_identifier = message.message_id.unwrap_or_default();
                response.batch_item_failures.push(again);
            }
        }
        counts.emit();
        ringfence_edge::sentry::flush().await;
        response
    }

    /// Whether a message is done with.
    async fn is_settled(&self, message: &SqsMessage, counts: &mut Counts) -> bool {
        match caught(self.one(message, counts)).await {
            Ok(()) => true,
            Err(failure) => self.is_given_up(message, &failure, counts).await,
        }
    }

    /// What viewers are to see is worth something soon or not at all.
    async fn postpone(&self, message: &SqsMessage) {
        if let Some(handle) = &message.receipt_handle {
            let _ = self.queues.retries.postpone(handle, PAUSE).await;
        }
    }

    async fn one(&self, message: &SqsMessage, counts: &mut Counts) -> Result<(), Failure> {
        let broadcast = serde_json::from_str(message.body.as_deref().unwrap_or_default());
        let broadcast: Broadcast = broadcast.map_err(|_| FailureCode::EventUnreadable)?;
        let Some((frame, viewers)) = self.find(&broadcast).await? else { return Ok(()) };
        if viewers.len() > AUDIENCE {
            return self.split(&broadcast, &viewers).await;
        }
        let text = serde_json::to_string(&frame).map_err(|_| FailureCode::EventUnreadable)?;
        let pushes = self.connections.push(&viewers, &text).await;
        settle(&self.database, broadcast.org_id, &pushes, counts).await;
        let is_logged = matches!(broadcast.subject, Subject::Event { .. });
        if is_logged && !pushes.failed.is_empty() {
            self.again(&broadcast.again(pushes.failed), counts).await?;
        }
        Ok(())
    }

    /// The frame and who still wants it. None: nobody, or there is nothing to show.
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

    /// A message for each part of a large audience, so that they are pushed to side by side and none takes long.
    async fn split(&self, broadcast: &Broadcast, viewers: &[String]) -> Result<(), Failure> {
        for part in viewers.chunks(AUDIENCE) {
            let part = Broadcast { connections: Some(part.to_vec()), ..broadcast.clone() };
            let message = serde_json::to_string(&part).map_err(|_| FailureCode::EventUnreadable)?;
            self.queues.retries.send_later(message, Duration::ZERO).await.map_err(|error| Failure::from(error.0))?;
        }
        Ok(())
    }

    /// A message for those that did not get it, later; or a dead letter. The old message is done with: whoever got the frame
    /// is not in the new one.
    async fn again(&self, broadcast: &Broadcast, counts: &mut Counts) -> Result<(), Failure> {
        let message = serde_json::to_string(broadcast).map_err(|_| FailureCode::EventUnreadable)?;
        let sent = if broadcast.failures > MAX_FAILURES {
            counts.add(Metric::DeadLettered, 1);
            tracing::warn!(org.id = %broadcast.org_id, failure.code = %FailureCode::PushFailed, "a push was given up");
            self.queues.dead_letters.send_text(message, Some(FailureCode::PushFailed)).await
        } else {
            self.queues.retries.send_later(message, pause(broadcast.failures)).await
        };
        sent.map_err(|error| error.0.into())
    }

    /// Whether a message that failed is a dead letter now. What may succeed later comes again by itself.
    async fn is_given_up(&self, message: &SqsMessage, failure: &Failure, counts: &mut Counts) -> bool {
        tracing::error!(failure.code = %failure.code, message.id = message.message_id, "a broadcast failed");
        if failure.code.class() == FailureClass::Transient {
            return false;
        }
        let body = message.body.clone().unwrap_or_default();
        let broadcast = serde_json::from_str(&body).ok();
        if broadcast.is_some_and(|it: Broadcast| matches!(it.subject, Subject::Partial { .. })) {
            // What somebody was saying is nothing to be kept.
            return true;
        }
        counts.add(Metric::DeadLettered, 1);
        self.queues.dead_letters.send_text(body, Some(failure.code)).await.is_ok()
    }
}

/// One, two, four seconds and so on: five tries are over in half a minute, which is when viewers resume by themselves.
fn pause(failures: u32) -> Duration {
    Duration::from_secs(2u64.saturating_pow(failures.saturating_sub(1)))
}
