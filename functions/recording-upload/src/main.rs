//! Starts the recording-upload function.

use std::sync::Arc;

use aws_sdk_sqs::Client;
use recording_upload::{Source, Uploader};
use ringfence_aws::Bucket;
use ringfence_runtime::consumer::queue_function;
use ringfence_runtime::{Consumer, Environment, FunctionQueues, Pusher, start, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let database = start::database(&environment)?;
    let aws = environment.aws();
    let worker = Uploader {
        source: Source::from_environment(&environment)?,
        bucket: Bucket::new(Bucket::client(&aws), environment.required("RECORDINGS_BUCKET")?),
        pusher: Pusher::connect(&environment, &database, &aws)?,
        backoff: environment.backoff()?,
        database: Arc::clone(&database),
    };
    let queues = FunctionQueues::of_recordings(&environment, &Client::new(&aws))?;
    queue_function(Consumer { worker, queues, backoff: environment.backoff()? }).await
}
