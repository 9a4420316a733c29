//! Starts the assistant-request function behind its own route.

use assistant_request::{Answers, Fallback};
use ringfence_runtime::route::interactive_function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    interactive_function(|environment, database, endpoints| {
        Ok(Answers::new(database, endpoints, Fallback::from_environment(environment)?))
    })
    .await
}
