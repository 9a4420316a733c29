//! Applies the queued events that end or delete a call.

use ringfence_runtime::events::event_function;
use ringfence_vapi::Function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    event_function(Function::CallEnded).await
}
