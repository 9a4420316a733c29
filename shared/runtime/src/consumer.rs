//! The consumer of an SQS queue. All functions behind a queue use it: one record never fails the rest of its batch, a
//! record that fails is retried after its own delay, and a record that cannot succeed is moved to the dead-letter queue.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::FutureExt as _;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use ringfence_vapi::FailureCode;

use crate::backoff::Backoff;
use crate::metrics::{Counts, Metric};
use crate::queues::FunctionQueues;
use crate::{sentry, start};

/// How often a queue delivers a message before SQS itself moves it to the dead-letter queue (`maxReceiveCount` in
/// template.yaml). A record that is left for another invocation uses up a receive as well, so the count is far above the
/// number of attempts in twelve hours.
pub const LAST_RECEIVE: u32 = 500;

/// A message of the queue.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub message_id: Option<&'a str>,
    pub body: &'a str,
    /// How often the message was received, this time included.
    pub receives: u32,
    /// When the invocation ends.
    pub deadline: Instant,
}

impl Record<'_> {
    /// SQS will not deliver the message again.
    #[must_use]
    pub const fn is_last_receive(&self) -> bool {
        self.receives >= LAST_RECEIVE
    }
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// SQS deletes it.
    Done,
    /// SQS delivers it again after this delay.
    Retry(Duration),
    /// The consumer moves it to the dead-letter queue.
    DeadLetter(FailureCode),
}

/// Processes the records of a queue.
pub trait Worker {
    /// No record takes longer. A record that could not end before the deadline is left for another invocation.
    const LONGEST_RECORD: Duration;

    /// Processes one record.
    fn process(&self, record: &Record<'_>, counts: &mut Counts) -> impl Future<Output = Disposition>;
}

/// Consumes the queue of one function.
pub struct Consumer<W> {
    pub worker: W,
    pub queues: FunctionQueues,
    /// The delay of a record whose processing panicked, or that the dead-letter queue did not accept.
    pub backoff: Backoff,
}

impl<W: Worker> Consumer<W> {
    /// Processes a batch. The response names the messages that SQS must deliver again.
    pub async fn consume(&self, batch: SqsEvent, deadline: Instant) -> SqsBatchResponse {
        let mut counts = Counts::default();
        let mut response = SqsBatchResponse::default();
        for (index, message) in batch.records.into_iter().enumerate() {
            // The first record is always tried, or a queue with slow records would never be drained. So is a record at
            // its last receive, which SQS would otherwise move to the dead-letter queue without a code.
            let is_tried = index == 0 || receive_count(&message) >= LAST_RECEIVE;
            let is_late = !is_tried && Instant::now() + W::LONGEST_RECORD > deadline;
            let delay =
                if is_late { Some(Duration::ZERO) } else { self.dispose(&message, deadline, &mut counts).await };
            if let Some(delay) = delay {
                self.postpone(&message, delay).await;
                let mut failure = BatchItemFailure::default();
                // Lambda retries the whole batch if it cannot find the id.
                failure.item_identifier = message.message_id.unwrap_or_default();
                response.batch_item_failures.push(failure);
            }
        }
        counts.emit();
        sentry::flush().await;
        response
    }

    /// The delay before SQS delivers the message again. None: SQS deletes it.
    async fn dispose(&self, message: &SqsMessage, deadline: Instant, counts: &mut Counts) -> Option<Duration> {
        let record = Record {
            message_id: message.message_id.as_deref(),
            body: message.body.as_deref().unwrap_or_default(),
            receives: receive_count(message),
            deadline,
        };
        // Boxed, because the future of a record is nested too deep for the compiler.
        let processed = AssertUnwindSafe(Box::pin(self.worker.process(&record, counts))).catch_unwind().await;
        let disposition = processed.unwrap_or_else(|_| {
            if record.is_last_receive() {
                Disposition::DeadLetter(FailureCode::HandlerPanicked)
            } else {
                Disposition::Retry(self.backoff.delay(record.receives))
            }
        });
        match disposition {
            Disposition::Done => None,
            Disposition::Retry(delay) => Some(delay),
            Disposition::DeadLetter(code) => self.dead_letter(message, code, counts).await,
        }
    }

    /// Moves a message to the dead-letter queue. Returns a delay if that queue does not accept it.
    async fn dead_letter(&self, message: &SqsMessage, code: FailureCode, counts: &mut Counts) -> Option<Duration> {
        let body = message.body.clone().unwrap_or_default();
        if self.queues.dead_letters.send_text(body, Some(code)).await.is_err() {
            return Some(self.backoff.delay(receive_count(message)));
        }
        counts.add(Metric::DeadLettered, 1);
        None
    }

    async fn postpone(&self, message: &SqsMessage, delay: Duration) {
        if let Some(handle) = &message.receipt_handle {
            // If SQS refuses, it delivers the message again after the queue's own visibility timeout.
            let _ = self.queues.retries.postpone(handle, delay).await;
        }
    }
}

/// A message without a readable count counts as received once.
fn receive_count(message: &SqsMessage) -> u32 {
    message.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// Refuses an invocation that does not come from SQS.
pub fn require_sqs(batch: &SqsEvent) -> Result<(), Error> {
    let is_sqs = batch.records.iter().all(|record| record.event_source.as_deref() == Some("aws:sqs"));
    if is_sqs { Ok(()) } else { Err(Error::from("not an SQS event")) }
}

/// Runs a function behind a queue.
pub async fn queue_function<W: Worker>(consumer: Consumer<W>) -> Result<(), Error> {
    let consumer = &consumer;
    // Boxed, because the future of a whole batch is nested too deep for the compiler.
    let serve = |event: LambdaEvent<SqsEvent>| {
        Box::pin(async move {
            require_sqs(&event.payload)?;
            Ok::<_, Error>(consumer.consume(event.payload, start::until(event.context.deadline)).await)
        })
    };
    lambda_runtime::run(service_fn(serve)).await
}
