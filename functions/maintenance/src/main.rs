//! Starts the maintenance function.

use aws_sdk_sqs::Client;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use maintenance::{Maintenance, Reconciler};
use ringfence_aws::Bucket;
use ringfence_protocol::maintenance::JobRequest;
use ringfence_runtime::parking::Parking;
use ringfence_runtime::{Environment, FunctionQueues, RecordingQueue, start, telemetry};
use ringfence_vapi::Function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let aws = environment.aws();
    let sqs = Client::new(&aws);
    let keys = environment.keys()?;
    let maintenance = &Maintenance {
        reconciler: Reconciler {
            api: start::vapi_api(&environment)?,
            api_keys: keys.api_key_sealer()?,
            sealer: keys.delivery_sealer()?,
            reports: FunctionQueues::from_environment(&environment, &sqs, Function::EndOfCallReport)?.retries,
            parking: Parking::from_environment(&environment, Parking::client(&aws))?,
        },
        queues: FunctionQueues::all_named(&environment, &sqs)?,
        database: start::database(&environment)?,
        recordings: RecordingQueue::from_environment(&environment, &sqs)?,
        bucket: Bucket::new(Bucket::client(&aws), environment.required("RECORDINGS_BUCKET")?),
    };
    let serve = |event: LambdaEvent<JobRequest>| async move {
        let deadline = start::until(event.context.deadline);
        Ok::<_, Error>(maintenance.run(event.payload, deadline).await?)
    };
    lambda_runtime::run(service_fn(serve)).await
}
