//! Starts the broadcast-retry function.

use aws_lambda_events::sqs::SqsEvent;
use aws_sdk_sqs::Client;
use broadcast_retry::Broadcaster;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use ringfence_edge::{Connections, Environment, FunctionQueues, aws, start, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let database = start::database(&environment)?;
    let aws = aws::configuration(&environment);
    let connections = Connections::from_environment(&environment, &aws)?;
    let queues = FunctionQueues::of_broadcasts(&environment, &Client::new(&aws))?;
    let broadcaster = &Broadcaster::new(database, connections, queues);
    let serve = |event: LambdaEvent<SqsEvent>| async move { Ok::<_, Error>(broadcaster.consume(event.payload).await) };
    lambda_runtime::run(service_fn(serve)).await
}
