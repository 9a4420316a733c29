//! Starts the webhook function.

use std::convert::Infallible;

use aws_sdk_sqs::Client;
use lambda_http::{Error, service_fn};
use ringfence_edge::{Environment, Handover, RetryQueues, aws, start, telemetry};
use webhook::Door;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let database = start::database(&environment)?;
    let aws = aws::configuration(&environment);
    let handover = Handover::from_environment(&environment, Handover::client(&aws))?;
    let queues = RetryQueues::from_environment(&environment, &Client::new(&aws), handover)?;
    let pusher = start::pusher(&environment, &database, &aws)?;
    let door = Door::new(environment.authenticator()?, database, queues, pusher);
    let door = &door;
    lambda_http::run(service_fn(|request| async move { Ok::<_, Infallible>(door.answer(request).await) })).await
}
