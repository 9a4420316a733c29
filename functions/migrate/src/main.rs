//! Starts the migrate function.

use aws_sdk_sqs::Client;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use migrate::{Administration, Invocation, deployment};
use ringfence_edge::{Environment, Parking, aws, telemetry};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let aws = aws::configuration(&environment);
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
            deployment::carry_out(administration, &request).await?;
            Ok(Value::Null)
        }
        // Boxed: laid out in one piece, the acts' futures are deeper than the compiler goes.
        Invocation::Act(act) => Ok(serde_json::to_value(Box::pin(administration.perform(act)).await?)?),
    }
}
