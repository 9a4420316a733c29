//! Starts the maintenance function.

use aws_sdk_sqs::Client;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use maintenance::{Maintenance, Order, Reconciler};
use ringfence_edge::{Bucket, Environment, FunctionQueues, RecordingQueue, Sealer, VapiApi, aws, start, telemetry};
use ringfence_vapi::Function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let aws = aws::configuration(&environment);
    let sqs = Client::new(&aws);
    let maintenance = &Maintenance {
        reconciler: Reconciler {
            api: VapiApi::from_environment(&environment)?,
            sealer: Sealer::new(&environment.master_keys()?),
            reports: FunctionQueues::from_environment(&environment, &sqs, Function::EndOfCallReport)?.retries,
        },
        queues: FunctionQueues::all_named(&environment, &sqs)?,
        database: start::database(&environment)?,
        recordings: RecordingQueue::from_environment(&environment, &sqs)?,
        bucket: Bucket::from_environment(&environment, Bucket::client(&aws))?,
    };
    let serve = |event: LambdaEvent<Order>| async move {
        let deadline = start::until(event.context.deadline);
        Ok::<_, Error>(maintenance.carry_out(event.payload, deadline).await?)
    };
    lambda_runtime::run(service_fn(serve)).await
}
