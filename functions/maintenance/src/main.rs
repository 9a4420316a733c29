//! Starts the maintenance function.

use aws_sdk_sqs::Client;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use maintenance::{Maintenance, Order};
use ringfence_edge::{Bucket, Environment, RecordingQueue, aws, start, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let aws = aws::configuration(&environment);
    let maintenance = &Maintenance {
        database: start::database(&environment)?,
        recordings: RecordingQueue::from_environment(&environment, &Client::new(&aws))?,
        bucket: Bucket::from_environment(&environment, Bucket::client(&aws))?,
    };
    let serve = |event: LambdaEvent<Order>| async move {
        let deadline = start::until(event.context.deadline);
        Ok::<_, Error>(maintenance.carry_out(event.payload, deadline).await?)
    };
    lambda_runtime::run(service_fn(serve)).await
}
