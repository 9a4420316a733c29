//! The Lambda function `console`.

use std::convert::Infallible;

use console::{Commands, Console};
use lambda_http::{Error, service_fn};
use ringfence_aws::Bucket;
use ringfence_runtime::{Environment, start, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let aws = environment.aws();
    let keys = environment.keys()?;
    let console = &Console {
        console_tokens: keys.console_token_verifier()?,
        live_tokens: keys.live_tokens()?,
        database: start::database(&environment)?,
        bucket: Bucket::new(Bucket::client(&aws), environment.required("RECORDINGS_BUCKET")?),
        commands: Commands::new(&aws, environment.function_name("console-commands")),
        live_url: environment.required("LIVE_URL")?,
    };
    lambda_http::run(service_fn(|request| async move { Ok::<_, Infallible>(console.answer(request).await) })).await
}
