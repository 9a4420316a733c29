//! The retry path: a batch of queued events, each by itself.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::FutureExt as _;
use ringfence_core::error::Failure;
use ringfence_core::{Database, Delivery, FailedAttempt, FailedState, Outcome, failures};
use ringfence_vapi::{FailureClass, FailureCode, Function};

use crate::backoff::Backoff;
use crate::metrics::{Counts, Metric};
use crate::parking::{Park, Parking, Unparked};
use crate::queue::{FunctionQueues, QueueError};
use crate::report;

/// Consumes the retry queue of one function.
pub struct Consumer {
    /// Whose queue it is.
    pub function: Function,
    /// Where failures are written down.
    pub database: Arc<Database>,
    /// Its retry queue, and where what can never apply is moved to.
    pub queues: FunctionQueues,
    /// Where events wait that no message can hold.
    pub parking: Parking,
    /// How long what may apply later waits.
    pub backoff: Backoff,
}

/// An event that could not be applied.
struct Failed {
    /// Nothing, where the message was not read.
    delivery: Option<Arc<Delivery>>,
    failure: Failure,
}

/// What is to become of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It was moved to the dead-letter queue: delete it.
    Dead,
    /// Deliver it again later.
    Again,
}

impl Consumer {
    /// Applies a batch and names the messages that are to come again.
    ///
    /// One bad or panicking record never fails its neighbours. Only when the database is away are the rest of the batch spared
    /// the same wait: they come again with it.
    pub async fn consume<F>(&self, batch: SqsEvent, handle: impl Fn(Arc<Delivery>) -> F) -> SqsBatchResponse
    where
        F: Future<Output = Result<Outcome, Failure>>,
    {
        let mut counts = Counts::default();
        let mut response = SqsBatchResponse::default();
        let mut away: Option<Failure> = None;
        for message in batch.records {
            let result = match &away {
                Some(failure) => Err(Failed { delivery: None, failure: failure.clone() }),
                None => self.apply(&message, &handle, &mut counts).await,
            };
            let Err(failed) = result else { continue };
            let fate = self.fate(&message, failed.failure.code, &mut counts).await;
            if fate == Fate::Again {
                let mut failure = BatchItemFailure::default();
                // Without an id the whole batch comes again, which is how Lambda reads an empty one.
                failure.item_identifier = message.message_id.unwrap_or_default();
                response.batch_item_failures.push(failure);
            }
            if is_away(&failed.failure) {
                away = Some(failed.failure);
            } else if let Some(delivery) = failed.delivery {
                self.record(&delivery, &failed.failure, fate).await;
            }
        }
        counts.emit();
        response
    }

    /// Parks an event for the door, and puts a message on the queue that says where. Whatever is parked without a message, since
    /// this died in between, was not acknowledged, and the bucket's lifecycle removes it.
    pub async fn park(&self, park: Park) -> Result<(), QueueError> {
        let code = park.code();
        let message = self.parking.park(park).await.map_err(QueueError)?;
        self.queues.retries.send_text(message, code).await?;
        tracing::info!(failure.code = %code, "event parked");
        Ok(())
    }

    async fn apply<F>(
        &self,
        message: &SqsMessage,
        handle: &impl Fn(Arc<Delivery>) -> F,
        counts: &mut Counts,
    ) -> Result<(), Failed>
    where
        F: Future<Output = Result<Outcome, Failure>>,
    {
        let opened = self.parking.open(message.body.as_deref().unwrap_or_default()).await;
        let Unparked { mut delivery, key } = opened.map_err(|code| {
            tracing::error!(failure.code = %code, message.id = message.message_id, "an event could not be read");
            Failed { delivery: None, failure: code.into() }
        })?;
        delivery.receives = receive_count(message);
        let delivery = Arc::new(delivery);
        let facts = report::Facts::of(&delivery);
        let result = caught(handle(Arc::clone(&delivery))).await;
        facts.log(&result);
        let failure = match result {
            Ok(Outcome::Revoked) => FailureCode::KeyRevoked.into(),
            Ok(outcome) => {
                counts.add(report::metric(&outcome), 1);
                if let Some(key) = key {
                    self.parking.remove(&key).await;
                }
                return Ok(());
            }
            Err(failure) => failure,
        };
        Err(Failed { delivery: Some(delivery), failure })
    }

    /// A transient failure waits and comes again; any other goes to the dead-letter queue now.
    async fn fate(&self, message: &SqsMessage, code: FailureCode, counts: &mut Counts) -> Fate {
        if code.class() != FailureClass::Transient {
            let body = message.body.clone().unwrap_or_default();
            if self.queues.dead_letters.send_text(body, code).await.is_ok() {
                counts.add(Metric::DeadLettered, 1);
                return Fate::Dead;
            }
        }
        counts.add(Metric::Retried, 1);
        if let Some(handle) = &message.receipt_handle {
            // Should SQS refuse, the message comes again after the queue's own visibility timeout.
            let _ = self.queues.retries.postpone(handle, self.backoff.delay(receive_count(message))).await;
        }
        Fate::Again
    }

    /// Writes the failure down, together with those that the message brought along. What cannot be written now is written with
    /// the next attempt, or counted only.
    async fn record(&self, delivery: &Delivery, failure: &Failure, fate: Fate) {
        let mut delivery = delivery.clone();
        delivery.failures.push(FailedAttempt::now(self.function.as_str(), failure));
        let state = match fate {
            Fate::Dead => FailedState::Dead,
            Fate::Again => FailedState::Retrying,
        };
        match failures::record(&self.database, &delivery, state).await {
            Ok(Some(org)) => tracing::info!(org.id = %org, event.key = delivery.key.as_str(), "failure written down"),
            Ok(None) => tracing::warn!(event.key = delivery.key.as_str(), "a failure of an event that names no org"),
            Err(failure) => {
                tracing::warn!(event.key = delivery.key.as_str(), %failure, "a failure could not be written down");
            }
        }
    }
}

/// The handler's result; a panic is a failure like others, and the event has its place among what failed.
pub async fn caught(handling: impl Future<Output = Result<Outcome, Failure>>) -> Result<Outcome, Failure> {
    let result = AssertUnwindSafe(handling).catch_unwind().await;
    result.unwrap_or_else(|_| Err(FailureCode::HandlerPanicked.into()))
}

/// How often the message was received, this time included.
fn receive_count(message: &SqsMessage) -> u32 {
    message.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// Whether the failure says that the next event would meet it too, after the same wait. A statement that the server ended for
/// taking too long says nothing of the next one.
fn is_away(failure: &Failure) -> bool {
    match failure.code {
        FailureCode::DatabaseUnreachable => true,
        FailureCode::DatabaseTimeout => failure.sqlstate.is_none(),
        _ => false,
    }
}
