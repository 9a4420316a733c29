//! Starts the admin function.

use admin::{Administration, Invocation, deployment};
use aws_sdk_sqs::Client;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use ringfence_runtime::{Environment, Parking, telemetry};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let aws = environment.aws();
    let (sqs, s3) = (Client::new(&aws), Parking::client(&aws));
    let administration = Administration::from_environment(&environment, &sqs, s3)?;
    let administration = &administration;
    lambda_runtime::run(service_fn(|event: LambdaEvent<Invocation>| async move {
        invoke(administration, event.payload).await
    }))
    .await
}

async fn invoke(administration: &Administration, invocation: Invocation) -> Result<Value, Error> {
    match invocation {
        Invocation::Deployment(request) => {
            deployment::respond(administration, &request).await?;
            Ok(Value::Null)
        }
        // Boxed: laid out in one piece, the acts' futures are deeper than the compiler goes.
        Invocation::Command(command) => Ok(serde_json::to_value(Box::pin(administration.perform(command)).await?)?),
    }
}
