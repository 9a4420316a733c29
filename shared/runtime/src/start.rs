//! The start of a function: logging, configuration, the first connection. Nothing here waits for another machine, so a function also
//! starts while the database is unavailable.

#[cfg(feature = "handover")]
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_lambda_events::sqs::SqsEvent;
use aws_sdk_sqs::Client;
use aws_types::SdkConfig;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use ringfence_aws::Connections;
use ringfence_core::{Database, DatabaseSettings, Timeouts};
use ringfence_egress::{EgressClient, Endpoints, VapiApi, vapi_api};

use crate::configuration::Environment;
use crate::consumer::{Consumer, Worker};
use crate::pusher::Pusher;

/// The database. Its first connection is started, not awaited.
pub fn database(environment: &Environment<'_>) -> Result<Arc<Database>, Error> {
    database_with(environment, Timeouts::default())
}

/// The same with other timeouts.
pub fn database_with(environment: &Environment<'_>, timeouts: Timeouts) -> Result<Arc<Database>, Error> {
    let settings = DatabaseSettings { timeouts, ..environment.database()? };
    let database = Arc::new(Database::new(&settings)?);
    database.start_connecting();
    Ok(database)
}

/// The connections of the WebSocket API whose endpoint is in `CONNECTIONS_ENDPOINT`.
pub fn connections(environment: &Environment<'_>, aws: &SdkConfig) -> Result<Connections, Error> {
    Ok(Connections::new(aws, &environment.required("CONNECTIONS_ENDPOINT")?))
}

/// Vapi's REST API.
pub fn vapi_api(environment: &Environment<'_>) -> Result<VapiApi, Error> {
    Ok(VapiApi::new(EgressClient::new(environment.egress_policy()?), vapi_api::VAPI_API))
}

/// Pushes to viewers.
pub fn pusher(environment: &Environment<'_>, database: &Arc<Database>, aws: &SdkConfig) -> Result<Pusher, Error> {
    let connections = connections(environment, aws)?;
    Ok(Pusher::from_environment(environment, Arc::clone(database), connections, &Client::new(aws))?)
}

/// The retry queues of the event functions.
#[cfg(feature = "handover")]
pub fn retry_queues(environment: &Environment<'_>, aws: &SdkConfig) -> Result<crate::RetryQueues, Error> {
    let handover = crate::Handover::from_environment(environment, aws)?;
    Ok(crate::RetryQueues::from_environment(environment, &Client::new(aws), handover)?)
}

/// The client of the orgs' endpoints.
pub fn endpoints(environment: &Environment<'_>) -> Result<Arc<Endpoints>, Error> {
    let client = EgressClient::new(environment.egress_policy()?);
    Ok(Arc::new(Endpoints::new(client, environment.master_keys()?)))
}

/// Runs an interactive function behind its own route.
#[cfg(feature = "handover")]
pub async fn interactive_function<R: crate::route::Respond + Sync>(
    responder: impl FnOnce(&Environment<'_>, Arc<Database>, Arc<Endpoints>) -> Result<R, Error>,
) -> Result<(), Error> {
    crate::telemetry::start();
    let environment = Environment::of_process();
    let responder = responder(&environment, database(&environment)?, endpoints(&environment)?)?;
    let queues = retry_queues(&environment, &environment.aws())?;
    let sealer = ringfence_identity::Sealer::new(&environment.master_keys()?);
    let route = &crate::Route::new(environment.authenticator()?, queues, sealer, responder);
    lambda_http::run(lambda_http::service_fn(|request| async move { Ok::<_, Infallible>(route.answer(request).await) }))
        .await
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
            Ok::<_, Error>(consumer.consume(event.payload, until(event.context.deadline)).await)
        })
    };
    lambda_runtime::run(service_fn(serve)).await
}

/// Lambda's deadline, in milliseconds since 1970, by this process's clock.
#[must_use]
pub fn until(deadline_ms: u64) -> Instant {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Instant::now() + Duration::from_millis(deadline_ms).saturating_sub(now)
}
