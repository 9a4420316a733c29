//! Starts the webhook function.

use std::convert::Infallible;
use std::sync::Arc;

use assistant_request::{Answers, Fallback};
use aws_sdk_sqs::Client;
use lambda_http::{Error, service_fn};
use ringfence_runtime::{
    DriftCounter, Environment, Pipeline, Pusher, Quarantine, Reception, RecordingQueue, RetryQueues, start, telemetry,
};
use tool_calls::Tools;
use webhook::Webhook;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let database = start::database(&environment)?;
    let aws = environment.aws();
    let endpoints = start::endpoints(&environment)?;
    let keys = environment.keys()?;
    let drift = DriftCounter::new(Arc::clone(&database));
    let handler = Webhook {
        queues: RetryQueues::connect(&environment, &aws)?,
        sealer: keys.delivery_sealer()?,
        quarantine: Quarantine { database: Arc::clone(&database), sealer: keys.message_sealer()? },
        answers: Answers::new(Arc::clone(&database), Arc::clone(&endpoints), Fallback::from_environment(&environment)?),
        tools: Tools::new(Arc::clone(&database), endpoints, environment.keys()?.number_hasher()?),
        pipeline: Pipeline {
            pusher: Pusher::connect(&environment, &database, &aws)?,
            recordings: Some(RecordingQueue::from_environment(&environment, &Client::new(&aws))?),
            store: database,
        },
    };
    let reception = &Reception { authenticator: environment.authenticator()?, handler, drift };
    lambda_http::run(service_fn(|request| async move { Ok::<_, Infallible>(reception.answer(request).await) })).await
}
