//! The retry path: a batch of queued events, each by itself.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::FutureExt as _;
use ringfence_core::error::Failure;
use ringfence_core::{Delivery, Outcome};
use ringfence_vapi::{FailureClass, FailureCode};

use crate::backoff;
use crate::envelope;
use crate::metrics::{Counts, Metric};
use crate::queue::RetryQueue;
use crate::report;

/// Consumes one retry queue.
pub struct Consumer {
    queue: RetryQueue,
    dead_letters: RetryQueue,
}

/// What is to become of a message.
enum Fate {
    /// Delete it.
    Done,
    /// Deliver it again later.
    Again,
}

impl Consumer {
    /// Reads from `queue`, moves what can never apply to `dead_letters`.
    #[must_use]
    pub fn new(queue: RetryQueue, dead_letters: RetryQueue) -> Self {
        Self { queue, dead_letters }
    }

    /// Applies a batch and names the messages that are to come again.
    ///
    /// One bad or panicking record never fails its neighbours. Only when the database is away are the rest of the batch spared
    /// the same wait: they come again with it.
    pub async fn consume<F>(&self, batch: SqsEvent, handle: impl Fn(Delivery) -> F) -> SqsBatchResponse
    where
        F: Future<Output = Result<Outcome, Failure>>,
    {
        let mut counts = Counts::default();
        let mut response = SqsBatchResponse::default();
        let mut away = None;
        for message in batch.records {
            let result = match away {
                Some(code) => Err(code),
                None => self.apply(&message, &handle, &mut counts).await,
            };
            away = result.err().filter(|code| is_away(*code));
            let fate = match result {
                Ok(()) => Fate::Done,
                Err(code) => self.fate(&message, code, &mut counts).await,
            };
            if let (Fate::Again, Some(id)) = (fate, message.message_id) {
                let mut failure = BatchItemFailure::default();
                failure.item_identifier = id;
                response.batch_item_failures.push(failure);
            }
        }
        counts.emit();
        response
    }

    async fn apply<F>(
        &self,
        message: &SqsMessage,
        handle: &impl Fn(Delivery) -> F,
        counts: &mut Counts,
    ) -> Result<(), FailureCode>
    where
        F: Future<Output = Result<Outcome, Failure>>,
    {
        let Ok(delivery) = envelope::open(message.body.as_deref().unwrap_or_default()) else {
            tracing::error!(failure.code = %FailureCode::EventUnreadable, message.id = message.message_id, "unreadable event");
            return Err(FailureCode::EventUnreadable);
        };
        let facts = report::Facts::of(&delivery);
        let result = AssertUnwindSafe(handle(delivery))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(FailureCode::HandlerPanicked.into()));
        facts.log(&result);
        match result {
            Ok(Outcome::Revoked) => Err(FailureCode::KeyRevoked),
            Ok(outcome) => {
                counts.add(report::metric(&outcome), 1);
                Ok(())
            }
            Err(failure) => Err(failure.code),
        }
    }

    /// A transient failure waits and comes again; any other goes to the dead-letter queue now.
    async fn fate(&self, message: &SqsMessage, code: FailureCode, counts: &mut Counts) -> Fate {
        if code.class() != FailureClass::Transient {
            let body = message.body.clone().unwrap_or_default();
            if self.dead_letters.send_text(body, code).await.is_ok() {
                counts.add(Metric::DeadLettered, 1);
                return Fate::Done;
            }
        }
        counts.add(Metric::Retried, 1);
        if let Some(handle) = &message.receipt_handle {
            // Should SQS refuse, the message comes again after the queue's own visibility timeout.
            let _ = self.queue.postpone(handle, backoff::delay(receive_count(message))).await;
        }
        Fate::Again
    }
}

/// How often the message was received, this time included.
fn receive_count(message: &SqsMessage) -> u32 {
    message.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// Whether the failure says that the next event would meet it too, after the same wait.
fn is_away(code: FailureCode) -> bool {
    matches!(code, FailureCode::DatabaseUnreachable | FailureCode::DatabaseTimeout)
}
