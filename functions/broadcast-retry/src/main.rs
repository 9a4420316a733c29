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
    // Boxed, because the future of a whole batch is nested too deep for the compiler to lay out in one piece.
    let serve = |event: LambdaEvent<SqsEvent>| {
        Box::pin(async move {
            let deadline = start::until(event.context.deadline);
            Ok::<_, Error>(broadcaster.consume(event.payload, deadline).await)
        })
    };
    lambda_runtime::run(service_fn(serve)).await
}
