//! Starts the call-started function.

use ringfence_edge::start::event_function;
use ringfence_vapi::Function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    event_function(Function::CallStarted, async |database, delivery| call_started::handle(&database, &delivery).await)
        .await
}
