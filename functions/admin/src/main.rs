//! Starts the admin function.

use admin::{Administration, Invocation, deployment};
use aws_sdk_sqs::Client;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use ringfence_egress::{EgressClient, EgressPolicy};
use ringfence_runtime::{Environment, Parking, start, telemetry};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let aws = environment.aws();
    let (sqs, s3) = (Client::new(&aws), Parking::client(&aws));
    // A misconfigured function starts as well, because CloudFormation waits for its response.
    let administration = Administration::from_environment(&environment, &sqs, s3);
    if let Err(error) = &administration {
        tracing::error!(%error, "the function is misconfigured");
    }
    // CloudFormation's own link: over HTTPS to S3, or locally over HTTP to the local cloud.
    let client = EgressClient::new(EgressPolicy::Anywhere);
    let (administration, client) = (administration.as_ref(), &client);
    lambda_runtime::run(service_fn(|event: LambdaEvent<Invocation>| async move {
        match event.payload {
            Invocation::Deployment(request) => {
                let deadline = start::until(event.context.deadline);
                deployment::respond(administration, client, &request, deadline).await?;
                Ok::<_, Error>(Value::Null)
            }
            // Boxed, because the future of a command is nested too deep for the compiler.
            Invocation::Command(command) => {
                Ok(serde_json::to_value(Box::pin(administration.map_err(Clone::clone)?.perform(command)).await?)?)
            }
        }
    }))
    .await
}
