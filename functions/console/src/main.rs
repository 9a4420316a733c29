//! Starts the console function.

use std::convert::Infallible;

use console::{Acts, Console};
use lambda_http::{Error, service_fn};
use ringfence_edge::{Bucket, Environment, Tokens, aws, start, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let aws = aws::configuration(&environment);
    let console = &Console {
        tokens: Tokens::new(&environment.master_keys()?),
        database: start::database(&environment)?,
        bucket: Bucket::from_environment(&environment, Bucket::client(&aws))?,
        acts: Acts::from_environment(&environment, Acts::client(&aws))?,
        live_url: environment.required("LIVE_URL")?,
    };
    lambda_http::run(service_fn(|request| async move { Ok::<_, Infallible>(console.answer(request).await) })).await
}
