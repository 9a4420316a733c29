//! The door's way for an event that no queue message can hold: its own function parks it.

use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::error::DisplayErrorContext;
use aws_sdk_lambda::primitives::Blob;
use aws_types::SdkConfig;
use ringfence_vapi::{FailureCode, Function};
use serde_json::json;

use crate::configuration::{Environment, Misconfigured};
use crate::parking::Park;

/// The longest wait for the function, which may have to start and then moves some megabytes.
const PATIENCE: Duration = Duration::from_secs(8);

/// Invokes the event functions.
pub struct Handover {
    client: Client,
    names: Vec<(Function, String)>,
}

impl Handover {
    /// The functions named by `CALL_STARTED_FUNCTION_NAME` and its siblings.
    pub fn from_environment(environment: &Environment<'_>, client: Client) -> Result<Self, Misconfigured> {
        let name = |function: Function| {
            let variable = format!("{}_FUNCTION_NAME", function.as_str().to_uppercase().replace('-', "_"));
            Ok((function, environment.required(&variable)?))
        };
        Ok(Self { client, names: Function::ALL.into_iter().map(name).collect::<Result<_, _>>()? })
    }

    /// A client that waits as long as the sender of a webhook can, and does not repeat what moved megabytes.
    #[must_use]
    pub fn client(aws: &SdkConfig) -> Client {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(PATIENCE).operation_timeout(PATIENCE).build();
        let config = aws_sdk_lambda::config::Builder::from(aws);
        Client::from_conf(config.timeout_config(timeouts).retry_config(RetryConfig::disabled()).build())
    }

    /// Has the event's function park it and put a message on its queue. Once this returns, both are done.
    pub async fn park(&self, function: Function, park: &Park) -> Result<(), FailureCode> {
        let name = self.names.iter().find(|(named, _)| *named == function).map(|(_, name)| name.as_str());
        let payload = Blob::new(json!({"park": park}).to_string());
        let invoked = self.client.invoke().set_function_name(name.map(str::to_owned)).payload(payload).send().await;
        let answer = invoked.map_err(|error| refused(function, &DisplayErrorContext(error)))?;
        match answer.function_error() {
            None => Ok(()),
            // Why it failed is in its own log.
            Some(error) => Err(refused(function, &error)),
        }
    }
}

fn refused(function: Function, error: &dyn std::fmt::Display) -> FailureCode {
    let code = FailureCode::ParkingUnavailable;
    tracing::error!(failure.code = %code, function = function.as_str(), %error, "an event could not be handed over");
    code
}
