//! A function for the tests of the Lambda host (`tests/harness/src/lambda`): its event selects its behaviour.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if std::env::var("FAIL_IN_INIT").is_ok() {
        return Err("asked to fail in the init".into());
    }
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| act(event.payload))).await
}

/// `do` is `fail`, `die`, or `wait`, which waits until the connection that it opens to the address in `for` is closed.
/// After that, and without `do`, the answer contains the process id and the event. The answer to an event of API
/// Gateway is a response with that as its body.
async fn act(event: Value) -> Result<Value, Error> {
    match event["do"].as_str() {
        Some("fail") => return Err("asked to fail".into()),
        Some("die") => std::process::abort(),
        Some("wait") => {
            let mut connection = TcpStream::connect(event["for"].as_str().unwrap_or_default()).await?;
            connection.read_to_end(&mut Vec::new()).await?;
        }
        _ => {}
    }
    if event["requestContext"].is_null() {
        return Ok(json!({"pid": std::process::id(), "event": event}));
    }
    if event["body"] == "die" {
        std::process::abort();
    }
    Ok(json!({"statusCode": 418, "headers": {"x-answered-by": "test"}, "body": event.to_string()}))
}
