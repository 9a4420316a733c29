//! The event functions: each applies the events of its retry queue.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use ringfence_aws::QueueError;
use ringfence_core::events;
use ringfence_core::failures::{self, Recorded};
use ringfence_core::{Database, FailedState, Failure, Outcome};
use ringfence_protocol::{Delivery, ParkRequest, ParkedKey};
use ringfence_vapi::{FailureClass, FailureCode, Function, OrgId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::backoff::Backoff;
use crate::codes::Coded as _;
use crate::configuration::Environment;
use crate::consumer::{Consumer, Disposition, Record, Worker, require_sqs};
use crate::metrics::{Counts, Measure, Metric};
use crate::parking::{Parking, ParkingError};
use crate::pipeline::{EventStore, Pipeline};
use crate::pusher::Pusher;
use crate::queues::FunctionQueues;
use crate::recordings::RecordingQueue;
use crate::{event_log, start, telemetry};

/// Applies queued events.
pub struct EventWorker<S = Arc<Database>> {
    pub function: Function,
    pub pipeline: Pipeline<S>,
    pub parking: Parking,
    pub backoff: Backoff,
}

impl<S: EventStore> Worker for EventWorker<S> {
    /// To read the event (7 s), apply it (9 s), record its failure (8 s), push it (3 s), and move or postpone its message (4 s each).
    const LONGEST_RECORD: Duration = Duration::from_secs(35);

    async fn process(&self, record: &Record<'_>, counts: &mut Counts) -> Disposition {
        let mut delivery = match self.parking.open(record.body).await {
            Ok(delivery) => delivery,
            Err(ParkingError::Gone) if self.is_parked_call_erased(record.body).await => return Disposition::Done,
            Err(error) => {
                let code = error.code();
                tracing::error!(failure.code = %code, %error, message.id = record.message_id, "an event could not be read");
                counts.failed(code);
                return self.unreadable(record, code, counts);
            }
        };
        delivery.receives = Some(record.receives);
        counts.measure(Measure::RetryAge, Timestamp::now().duration_since(delivery.received_at).as_secs_f64());
        let failure = match self.pipeline.apply(&delivery, counts).await {
            Ok(Outcome::Revoked) => FailureCode::KeyRevoked.into(),
            Ok(Outcome::Duplicate { org_id }) => return self.end_duplicate(record, org_id, &delivery).await,
            Ok(_) => return Disposition::Done,
            Err(failure) => failure,
        };
        counts.failed(failure.code);
        self.settle(record, delivery, &failure, counts).await
    }
}

impl<S: EventStore> EventWorker<S> {
    /// Whether the object that a message names may be gone because its call was erased. If this cannot be asked now, the message is
    /// handled as any other whose object is gone.
    async fn is_parked_call_erased(&self, message: &str) -> bool {
        let Some(key) = Parking::key_of(message) else { return false };
        let Some(ParkedKey { org_id, call_id }) = ParkedKey::parse(&key) else { return false };
        let event = json!({"call": {"id": call_id}});
        let is_erased = events::is_erased(self.pipeline.store.database(), org_id, &event, Timestamp::now()).await;
        is_erased.unwrap_or_else(|failure| {
            tracing::warn!(%failure, "it could not be asked whether a parked event is erased");
            false
        })
    }

    /// An erased event ends as a duplicate. If it was parked while its call was erased, its object is still there.
    async fn end_duplicate(&self, record: &Record<'_>, org_id: OrgId, delivery: &Delivery) -> Disposition {
        let Some(key) = Parking::key_of(record.body) else { return Disposition::Done };
        let database = self.pipeline.store.database();
        match events::is_erased(database, Some(org_id), &delivery.event, delivery.received_at).await {
            Ok(false) => Disposition::Done,
            Ok(true) if self.parking.delete(&key).await.is_ok() => Disposition::Done,
            Ok(true) | Err(_) => Disposition::Retry(self.backoff.delay(record.receives)),
        }
    }

    /// An event that cannot be read has no row: nobody knows its org.
    fn unreadable(&self, record: &Record<'_>, code: FailureCode, counts: &mut Counts) -> Disposition {
        if code.class() != FailureClass::Transient || record.is_last_receive() {
            return Disposition::DeadLetter(code);
        }
        counts.add(Metric::Retried, 1);
        Disposition::Retry(self.backoff.delay(record.receives))
    }

    /// A transient failure is retried as long as the queue delivers the message. Any other failure ends in the dead-letter queue now.
    async fn settle(
        &self,
        record: &Record<'_>,
        delivery: Delivery,
        failure: &Failure,
        counts: &mut Counts,
    ) -> Disposition {
        let is_transient = failure.code.class() == FailureClass::Transient;
        let is_over = !is_transient || record.is_last_receive();
        if is_over && is_transient {
            // A permanent failure was reported when it was logged.
            event_log::report(&delivery, failure);
        }
        let state = if is_over { FailedState::Dead } else { FailedState::Retrying };
        // A dead letter without a row would be known to its queue only, so the row comes first.
        let is_recorded = self.record(delivery, failure, state, counts).await;
        if is_over && is_recorded {
            return Disposition::DeadLetter(failure.code);
        }
        counts.add(Metric::Retried, 1);
        Disposition::Retry(self.backoff.delay(record.receives))
    }

    /// Records the failure, with those that the message brought along. False: it could not be recorded now and may be later.
    ///
    /// While the database is unavailable no row can be written: the redrive of the message writes it.
    async fn record(&self, mut delivery: Delivery, failure: &Failure, state: FailedState, counts: &mut Counts) -> bool {
        if failure.is_unavailable() {
            return true;
        }
        delivery.failures.push(failure.attempt(self.function.as_str(), Timestamp::now()));
        let key = delivery.key.as_str();
        match failures::record(self.pipeline.store.database(), &delivery, state).await {
            Ok(Some(Recorded { org_id, log_entry })) => {
                tracing::info!(org.id = %org_id, event.key = key, "failure recorded");
                if let Some(entry) = log_entry {
                    self.pipeline.pusher.announce(org_id, &entry, counts).await;
                }
            }
            Ok(None) => tracing::warn!(event.key = key, "an event that names no org failed"),
            Err(failure) => {
                tracing::warn!(event.key = key, %failure, "a failure could not be recorded");
                return failure.code.class() != FailureClass::Transient;
            }
        }
        true
    }
}

/// What invokes an event function.
#[derive(Deserialize)]
#[serde(untagged)]
enum Invocation {
    /// The webhook function: the event is too large for a queue message.
    Park(ParkRequest),
    /// The retry queue.
    Batch(aws_lambda_events::sqs::SqsEvent),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Reply {
    Parked {},
    Batch(aws_lambda_events::sqs::SqsBatchResponse),
}

/// An event was not parked, or no message names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParkError {
    #[error(transparent)]
    Parking(#[from] ParkingError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// Parks an event and sends a message that names the object to its queue. An object whose message was never sent was not acknowledged
/// either, and the bucket's lifecycle removes it.
pub async fn park(consumer: &Consumer<EventWorker>, request: ParkRequest) -> Result<(), ParkError> {
    let (code, event_key) = (request.park.code, request.park.event_key.clone());
    let message = consumer.worker.parking.park(request).await?;
    consumer.queues.retries.send_text(message, code).await?;
    tracing::info!(event.key = event_key.as_str(), failure.code = code.map(tracing::field::display), "event parked");
    Ok(())
}

/// Runs the function of an event. It never returns without an error.
pub async fn event_function(function: Function) -> Result<(), Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let consumer = &consumer(&environment, function)?;
    // Boxed, because the future of a whole batch is nested too deep for the compiler.
    lambda_runtime::run(service_fn(|event: LambdaEvent<Invocation>| {
        Box::pin(async move {
            match event.payload {
                Invocation::Park(request) => {
                    park(consumer, request).await?;
                    Ok(Reply::Parked {})
                }
                Invocation::Batch(batch) => {
                    require_sqs(&batch)?;
                    Ok::<_, Error>(Reply::Batch(consumer.consume(batch, start::until(event.context.deadline)).await))
                }
            }
        })
    }))
    .await
}

fn consumer(environment: &Environment<'_>, function: Function) -> Result<Consumer<EventWorker>, Error> {
    let aws = environment.aws();
    let sqs = aws_sdk_sqs::Client::new(&aws);
    let database = start::database(environment)?;
    // Only reports name recordings, so only the role of this function may send to their queue.
    let has_recordings = function == Function::EndOfCallReport;
    let worker = EventWorker {
        function,
        pipeline: Pipeline {
            pusher: Pusher::connect(environment, &database, &aws)?,
            recordings: has_recordings.then(|| RecordingQueue::from_environment(environment, &sqs)).transpose()?,
            store: Arc::clone(&database),
        },
        parking: Parking::from_environment(environment, Parking::client(&aws))?,
        backoff: environment.backoff()?,
    };
    let queues = FunctionQueues::from_environment(environment, &sqs, function)?;
    Ok(Consumer { worker, queues, backoff: environment.backoff()? })
}
