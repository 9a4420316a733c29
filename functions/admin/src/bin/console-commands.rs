//! Starts the console-commands function.

use admin::ConsoleCommands;
use aws_sdk_sqs::Client;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use ringfence_protocol::admin::{ConsoleReply, ConsoleRequest};
use ringfence_runtime::{Environment, Parking, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let aws = environment.aws();
    let commands = &ConsoleCommands::from_environment(&environment, &Client::new(&aws), Parking::client(&aws))?;
    lambda_runtime::run(service_fn(|event: LambdaEvent<ConsoleRequest>| async move {
        Ok::<ConsoleReply, Error>(commands.perform(event.payload).await?)
    }))
    .await
}
