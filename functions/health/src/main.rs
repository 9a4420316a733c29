//! Starts the health function.

use std::convert::Infallible;

use lambda_http::{Error, Request, service_fn};
use ringfence_core::health::TIMEOUTS;
use ringfence_runtime::{Environment, start, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let database = start::database_with(&Environment::of_process(), TIMEOUTS)?;
    let database = &database;
    lambda_http::run(service_fn(|_: Request| async move { Ok::<_, Infallible>(health::check(database).await) })).await
}
