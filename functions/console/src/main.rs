//! Starts the console function.

use std::convert::Infallible;

use console::Console;
use lambda_http::{Error, service_fn};
use ringfence_edge::{Bucket, Environment, Tokens, aws, start, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let console = &Console {
        tokens: Tokens::new(&environment.master_keys()?),
        database: start::database(&environment)?,
        bucket: Bucket::from_environment(&environment, Bucket::client(&aws::configuration(&environment)))?,
    };
    lambda_http::run(service_fn(|request| async move { Ok::<_, Infallible>(console.answer(request).await) })).await
}
