//! Starts the broadcast-retry function.

use aws_sdk_sqs::Client;
use broadcast_retry::Broadcaster;
use ringfence_runtime::consumer::queue_function;
use ringfence_runtime::{Consumer, Environment, FunctionQueues, start, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let aws = environment.aws();
    let queues = FunctionQueues::of_broadcasts(&environment, &Client::new(&aws))?;
    let worker = Broadcaster {
        database: start::database(&environment)?,
        connections: start::connections(&environment, &aws)?,
        queues: queues.clone(),
    };
    queue_function(Consumer { worker, queues, backoff: environment.backoff()? }).await
}
