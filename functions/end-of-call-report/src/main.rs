//! Starts the end-of-call-report function.

use ringfence_edge::start::event_function;
use ringfence_vapi::Function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    event_function(Function::EndOfCallReport, async |database, delivery| {
        end_of_call_report::handle(&database, &delivery).await
    })
    .await
}
