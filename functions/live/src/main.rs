//! Starts the live function.

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use live::Live;
use ringfence_runtime::{Environment, start, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let environment = Environment::of_process();
    let database = start::database(&environment)?;
    let tokens = environment.keys()?.live_tokens()?;
    let connections = start::connections(&environment, &environment.aws())?;
    let live = &Live::new(tokens, database, connections);
    let serve = |event: LambdaEvent<ApiGatewayWebsocketProxyRequest>| async move {
        Ok::<_, Error>(live.answer(&event.payload).await)
    };
    lambda_runtime::run(service_fn(serve)).await
}
