//! Starts the webhook function.

use std::convert::Infallible;
use std::sync::Arc;

use assistant_request::{Answers, Fallback};
use aws_sdk_sqs::Client;
use lambda_http::{Error, service_fn};
use ringfence_edge::{Environment, RecordingQueue, Sealer, aws, start, telemetry};
use tool_calls::Tools;
use webhook::Door;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let database = start::database(&environment)?;
    let aws = aws::configuration(&environment);
    let endpoints = start::endpoints(&environment)?;
    let door = &Door {
        authenticator: environment.authenticator()?,
        queues: start::retry_queues(&environment, &aws)?,
        pusher: start::pusher(&environment, &database, &aws)?,
        sealer: Sealer::new(&environment.master_keys()?),
        recordings: RecordingQueue::from_environment(&environment, &Client::new(&aws))?,
        answers: Answers::new(Arc::clone(&database), Arc::clone(&endpoints), Fallback::from_environment(&environment)?),
        tools: Tools::new(Arc::clone(&database), endpoints),
        database,
    };
    lambda_http::run(service_fn(|request| async move { Ok::<_, Infallible>(door.answer(request).await) })).await
}
