//! What every function's `main` does before its first invocation: log, read the configuration, start to connect. Nothing
//! here waits for another machine, so a function starts also when the database is away.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use aws_sdk_sqs::Client;
use aws_types::SdkConfig;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use ringfence_core::error::Failure;
use ringfence_core::{Database, DatabaseSettings, Delivery, Outcome, Patience};
use ringfence_vapi::Function;
use serde::{Deserialize, Serialize};

use crate::aws;
use crate::configuration::Environment;
use crate::connections::Connections;
use crate::consumer::Consumer;
use crate::endpoints::Endpoints;
use crate::handover::Handover;
use crate::outbound::{Outbound, Reach};
use crate::parking::{Park, Parking};
use crate::pusher::Pusher;
use crate::queue::{FunctionQueues, RetryQueues};
use crate::recordings::RecordingQueue;
use crate::route::{Respond, Route};
use crate::seal::Sealer;
use crate::telemetry;

/// The database of the environment, its first connection under way.
pub fn database(environment: &Environment<'_>) -> Result<Arc<Database>, Error> {
    database_with(environment, Patience::default())
}

/// The same, waited for as long as told.
pub fn database_with(environment: &Environment<'_>, patience: Patience) -> Result<Arc<Database>, Error> {
    let settings = DatabaseSettings { patience, ..environment.database()? };
    let database = Arc::new(Database::new(&settings)?);
    database.start_connecting();
    Ok(database)
}

/// What tells viewers.
pub fn pusher(environment: &Environment<'_>, database: &Arc<Database>, aws: &SdkConfig) -> Result<Pusher, Error> {
    let connections = Connections::from_environment(environment, aws)?;
    Ok(Pusher::from_environment(environment, Arc::clone(database), connections, &Client::new(aws))?)
}

/// The retry queues of the event functions, for those who take events that are not applied at once.
pub fn retry_queues(environment: &Environment<'_>, aws: &SdkConfig) -> Result<RetryQueues, Error> {
    let handover = Handover::from_environment(environment, Handover::client(aws))?;
    Ok(RetryQueues::from_environment(environment, &Client::new(aws), handover)?)
}

/// What asks orgs' endpoints.
pub fn endpoints(environment: &Environment<'_>) -> Result<Arc<Endpoints>, Error> {
    let outbound = Outbound::new(Reach::from_environment(environment)?);
    Ok(Arc::new(Endpoints::new(outbound, environment.master_keys()?)))
}

/// Runs an interactive function behind its own route.
pub async fn interactive_function<R: Respond + Sync>(
    responder: impl FnOnce(&Environment<'_>, Arc<Database>, Arc<Endpoints>) -> Result<R, Error>,
) -> Result<(), Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let responder = responder(&environment, database(&environment)?, endpoints(&environment)?)?;
    let queues = retry_queues(&environment, &aws::configuration(&environment))?;
    let route = &Route::new(environment.authenticator()?, queues, Sealer::new(&environment.master_keys()?), responder);
    lambda_http::run(lambda_http::service_fn(|request| async move { Ok::<_, Infallible>(route.answer(request).await) }))
        .await
}

/// Runs the function of an event behind its retry queue.
pub async fn event_function<F>(
    function: Function,
    handle: impl Fn(Arc<Database>, Arc<Delivery>) -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<Outcome, Failure>>,
{
    telemetry::start();
    let environment = Environment::of_process();
    let database = database(&environment)?;
    let aws = aws::configuration(&environment);
    let sqs = Client::new(&aws);
    // Of the events with a queue only this function's name recordings, so only it may ask for them.
    let names_recordings = function == Function::EndOfCallReport;
    let consumer = Consumer {
        recordings: names_recordings.then(|| RecordingQueue::from_environment(&environment, &sqs)).transpose()?,
        function,
        database: Arc::clone(&database),
        queues: FunctionQueues::from_environment(&environment, &sqs, function)?,
        parking: Parking::from_environment(&environment, Parking::client(&aws))?,
        backoff: environment.backoff()?,
        pusher: pusher(&environment, &database, &aws)?,
    };
    let (consumer, database, handle) = (&consumer, &database, &handle);
    // Boxed, because the future of a whole batch is nested too deep for the compiler to lay out in one piece.
    lambda_runtime::run(service_fn(|event: LambdaEvent<Invocation>| {
        Box::pin(async move {
            let batch = match event.payload {
                Invocation::Park { park } => return Ok(consumer.park(park).await.map(|()| Answer::Parked {})?),
                Invocation::Batch(batch) => batch,
            };
            if batch.records.iter().any(|record| record.event_source.as_deref() != Some("aws:sqs")) {
                return Err(Error::from("not an SQS event"));
            }
            let handle = |delivery| handle(Arc::clone(database), delivery);
            Ok(Answer::Batch(consumer.consume(batch, until(event.context.deadline), handle).await))
        })
    }))
    .await
}

/// Lambda's deadline, in milliseconds since 1970, by this process's clock.
#[must_use]
pub fn until(deadline_ms: u64) -> Instant {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Instant::now() + Duration::from_millis(deadline_ms).saturating_sub(now)
}

/// What an event function is invoked with; anything else is refused.
#[derive(Deserialize)]
#[serde(untagged)]
enum Invocation {
    /// By the door: the event is too large for a message.
    Park { park: Park },
    /// By its queue.
    Batch(SqsEvent),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Parked {},
    Batch(SqsBatchResponse),
}
