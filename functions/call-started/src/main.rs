//! Applies the queued events of a call before its end, and most timeline events.

use ringfence_runtime::events::event_function;
use ringfence_vapi::Function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    event_function(Function::CallStarted).await
}
