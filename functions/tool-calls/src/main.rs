//! Starts the tool-calls function behind its own route.

use ringfence_runtime::route::interactive_function;
use tool_calls::Tools;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    interactive_function(|environment, database, endpoints| {
        Ok(Tools::new(database, endpoints, environment.keys()?.number_hasher()?))
    })
    .await
}
