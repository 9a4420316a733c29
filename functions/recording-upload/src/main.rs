//! Starts the recording-upload function.

use std::sync::Arc;

use aws_lambda_events::sqs::SqsEvent;
use aws_sdk_sqs::Client;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use recording_upload::{Source, Uploader};
use ringfence_edge::{Bucket, Environment, FunctionQueues, aws, start, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let database = start::database(&environment)?;
    let aws = aws::configuration(&environment);
    let uploader = &Uploader {
        source: Source::from_environment(&environment)?,
        bucket: Bucket::from_environment(&environment, Bucket::client(&aws))?,
        queues: FunctionQueues::of_recordings(&environment, &Client::new(&aws))?,
        pusher: start::pusher(&environment, &database, &aws)?,
        backoff: environment.backoff()?,
        database: Arc::clone(&database),
    };
    let serve = |event: LambdaEvent<SqsEvent>| {
        Box::pin(async move {
            let deadline = start::until(event.context.deadline);
            Ok::<_, Error>(uploader.consume(event.payload, deadline).await)
        })
    };
    lambda_runtime::run(service_fn(serve)).await
}
