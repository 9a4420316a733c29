//! The retry path: a batch of queued events, each by itself.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::FutureExt as _;
use jiff::Timestamp;
use ringfence_core::error::Failure;
use ringfence_core::failures::{self, Recorded};
use ringfence_core::{Database, Delivery, FailedAttempt, FailedState, Outcome};
use ringfence_vapi::{FailureClass, FailureCode, Function};

use crate::backoff::Backoff;
use crate::metrics::{Counts, Measure, Metric};
use crate::parking::{Park, Parking};
use crate::pusher::Pusher;
use crate::queue::{FunctionQueues, QueueError};
use crate::recordings::RecordingQueue;
use crate::report;
use crate::sentry;

/// How often a queue delivers a message before SQS itself gives it up (`maxReceiveCount` in template.yaml).
pub const LAST_RECEIVE: u32 = 200;
/// No record takes longer, whatever it waits for: to be read (7 s), to be applied (9 s), to have its failure written down (8 s),
/// to be pushed (3 s) and to be moved or postponed (4 s each).
const LONGEST_RECORD: Duration = Duration::from_secs(35);

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
    /// Tells viewers what was applied, and what failed.
    pub pusher: Pusher,
    /// Asks for recordings, where the function's events name any.
    pub recordings: Option<RecordingQueue>,
}

/// An event that could not be applied.
struct Failed {
    /// Nothing, where the message was not read.
    delivery: Option<Arc<Delivery>>,
    failure: Failure,
    at: Timestamp,
}

impl Failed {
    fn new(delivery: Option<Arc<Delivery>>, failure: Failure) -> Self {
        Self { delivery, failure, at: Timestamp::now() }
    }
}

/// What is to become of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It was applied, or moved to the dead-letter queue: delete it.
    Done,
    /// Deliver it again later.
    Again,
}

impl Consumer {
    /// Applies a batch and names the messages that are to come again.
    ///
    /// One bad, slow or panicking record never fails its neighbours: what there is no time for before `deadline` comes again untried.
    /// Only when the database is away are the rest of the batch spared the same wait: they come again with it.
    pub async fn consume<F>(
        &self,
        batch: SqsEvent,
        deadline: Instant,
        handle: impl Fn(Arc<Delivery>) -> F,
    ) -> SqsBatchResponse
    where
        F: Future<Output = Result<Outcome, Failure>>,
    {
        let mut counts = Counts::default();
        let mut response = SqsBatchResponse::default();
        let mut away: Option<Failure> = None;
        for (index, message) in batch.records.into_iter().enumerate() {
            // The first is tried in any case, or none ever would be.
            let fate = if index > 0 && Instant::now() + LONGEST_RECORD > deadline {
                self.leave(&message).await
            } else {
                let handled = AssertUnwindSafe(self.one(&message, &handle, &mut away, &mut counts)).catch_unwind();
                handled.await.unwrap_or(Fate::Again)
            };
            if fate == Fate::Again {
                let mut failure = BatchItemFailure::default();
                // Without an id the whole batch comes again, which is how Lambda reads an empty one.
                failure.item_identifier = message.message_id.unwrap_or_default();
                response.batch_item_failures.push(failure);
            }
        }
        counts.emit();
        sentry::flush().await;
        response
    }

    /// Parks an event for the door, and puts a message on the queue that says where. Whatever is parked without a message, since
    /// this died in between, was not acknowledged, and the bucket's lifecycle removes it.
    pub async fn park(&self, park: Park) -> Result<(), QueueError> {
        let (code, event_key) = (park.code(), park.event_key().clone());
        let message = self.parking.park(park).await.map_err(QueueError)?;
        self.queues.retries.send_text(message, code).await?;
        tracing::info!(
            event.key = event_key.as_str(),
            failure.code = code.map(tracing::field::display),
            "event parked"
        );
        Ok(())
    }

    /// Applies one message, or settles what becomes of it.
    async fn one<F>(
        &self,
        message: &SqsMessage,
        handle: &impl Fn(Arc<Delivery>) -> F,
        away: &mut Option<Failure>,
        counts: &mut Counts,
    ) -> Fate
    where
        F: Future<Output = Result<Outcome, Failure>>,
    {
        let result = match away {
            Some(failure) => Err(Failed::new(None, failure.clone())),
            None => self.apply(message, handle, counts).await,
        };
        let Err(failed) = result else { return Fate::Done };
        counts.failed(failed.failure.code);
        if is_away(&failed.failure) {
            *away = Some(failed.failure.clone());
        }
        self.settle(message, &failed, counts).await
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
        let mut delivery = opened.map_err(|code| {
            tracing::error!(failure.code = %code, message.id = message.message_id, "an event could not be read");
            Failed::new(None, code.into())
        })?;
        delivery.receives = receive_count(message);
        let delivery = Arc::new(delivery);
        let age = Timestamp::now().duration_since(delivery.received_at);
        counts.measure(Measure::RetryAge, age.as_secs_f64());
        let facts = report::Facts::of(&delivery);
        let result = caught(handle(Arc::clone(&delivery))).await;
        facts.log(&result);
        match result {
            Ok(Outcome::Revoked) => Err(Failed::new(Some(delivery), FailureCode::KeyRevoked.into())),
            Ok(outcome) => {
                counts.add(report::metric(&outcome), 1);
                if let Some(recordings) = &self.recordings {
                    recordings.announce(&outcome, &delivery.event, counts).await;
                }
                if let Outcome::Applied { org_id, sequence, viewers } = &outcome {
                    self.pusher.event(*org_id, *sequence, viewers, &delivery, counts).await;
                }
                Ok(())
            }
            Err(failure) => Err(Failed::new(Some(delivery), failure)),
        }
    }

    /// A transient failure waits and comes again, as often as its queue delivers it; any other is given up now.
    async fn settle(&self, message: &SqsMessage, failed: &Failed, counts: &mut Counts) -> Fate {
        let is_over = failed.failure.code.class() != FailureClass::Transient || receive_count(message) >= LAST_RECEIVE;
        if is_over && self.give_up(message, failed, counts).await {
            counts.add(Metric::DeadLettered, 1);
            return Fate::Done;
        }
        if !is_over {
            self.record(failed, FailedState::Retrying, counts).await;
        }
        counts.add(Metric::Retried, 1);
        self.postpone(message, self.backoff.delay(receive_count(message))).await;
        Fate::Again
    }

    /// Moves a message to the dead-letter queue, where people find it. False: it stays, and this is tried again.
    async fn give_up(&self, message: &SqsMessage, failed: &Failed, counts: &mut Counts) -> bool {
        // What could never apply was told when it failed.
        if failed.failure.code.class() == FailureClass::Transient
            && let Some(delivery) = &failed.delivery
        {
            report::Facts::of(delivery).tell_sentry(&failed.failure);
        }
        // The row first: a dead letter without one would be known to nobody but its queue. While the database is away there can be
        // none; whoever redrives the message then writes it.
        if !self.record(failed, FailedState::Dead, counts).await {
            return false;
        }
        let body = message.body.clone().unwrap_or_default();
        self.queues.dead_letters.send_text(body, Some(failed.failure.code)).await.is_ok()
    }

    /// Not tried: it comes again at once.
    async fn leave(&self, message: &SqsMessage) -> Fate {
        self.postpone(message, Duration::ZERO).await;
        Fate::Again
    }

    async fn postpone(&self, message: &SqsMessage, delay: Duration) {
        if let Some(handle) = &message.receipt_handle {
            // Should SQS refuse, the message comes again after the queue's own visibility timeout.
            let _ = self.queues.retries.postpone(handle, delay).await;
        }
    }

    /// Writes the failure down, together with those that the message brought along. False: it could not be written now, and
    /// may be later. What is not read, and what nobody can write since the database is away, has no row.
    async fn record(&self, failed: &Failed, state: FailedState, counts: &mut Counts) -> bool {
        let Failed { delivery: Some(delivery), failure, at } = failed else { return true };
        if is_away(failure) {
            return true;
        }
        let mut delivery = Delivery::clone(delivery);
        delivery.failures.push(FailedAttempt::new(self.function.as_str(), failure, *at));
        match failures::record(&self.database, &delivery, state).await {
            Ok(Some(Recorded { org_id, news })) => {
                tracing::info!(org.id = %org_id, event.key = delivery.key.as_str(), "failure written down");
                if let Some(news) = news {
                    self.pusher.announce(org_id, &news, counts).await;
                }
            }
            Ok(None) => tracing::warn!(event.key = delivery.key.as_str(), "a failure of an event that names no org"),
            Err(failure) => {
                tracing::warn!(event.key = delivery.key.as_str(), %failure, "a failure could not be written down");
                return failure.code.class() != FailureClass::Transient;
            }
        }
        true
    }
}

/// The handler's result; a panic is a failure like others, and the event has its place among what failed.
pub async fn caught<T>(handling: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let result = AssertUnwindSafe(handling).catch_unwind().await;
    result.unwrap_or_else(|_| Err(FailureCode::HandlerPanicked.into()))
}

/// How often the message was received, this time included.
#[must_use]
pub fn receive_count(message: &SqsMessage) -> u32 {
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
