//! Invocations of Lambda functions.

use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::error::DisplayErrorContext;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use aws_types::SdkConfig;

use crate::error::InvokeError;

/// Invokes functions. An invocation is never retried, because an interrupted one may have taken effect.
#[derive(Clone)]
pub struct Invoker {
    client: Client,
}

impl Invoker {
    /// `timeout` bounds an invocation.
    #[must_use]
    pub fn new(aws: &SdkConfig, timeout: Duration) -> Self {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(timeout).operation_timeout(timeout).build();
        let config = aws_sdk_lambda::config::Builder::from(aws);
        Self {
            client: Client::from_conf(config.timeout_config(timeouts).retry_config(RetryConfig::disabled()).build()),
        }
    }

    /// Invokes a function, waits until it ends and returns its reply.
    pub async fn invoke(&self, function: &str, payload: Vec<u8>) -> Result<Vec<u8>, InvokeError> {
        let invoked = self.client.invoke().function_name(function).payload(Blob::new(payload)).send().await;
        let reply = invoked.map_err(|error| not_invoked(function, &DisplayErrorContext(error)))?;
        if let Some(error) = reply.function_error() {
            // The function's log has the cause.
            tracing::error!(function, error, "a function failed");
            return Err(InvokeError::Failed);
        }
        let payload = reply.payload.ok_or_else(|| {
            tracing::error!(function, "a function returned no payload");
            InvokeError::Failed
        })?;
        Ok(payload.into_inner())
    }

    /// Starts a function asynchronously. Lambda has accepted the invocation when this returns.
    pub async fn invoke_async(&self, function: &str, payload: Vec<u8>) -> Result<(), InvokeError> {
        let invoke = self.client.invoke().function_name(function).invocation_type(InvocationType::Event);
        let invoked = invoke.payload(Blob::new(payload)).send().await;
        invoked.map(drop).map_err(|error| not_invoked(function, &DisplayErrorContext(error)))
    }
}

fn not_invoked(function: &str, error: &dyn std::fmt::Display) -> InvokeError {
    tracing::error!(function, %error, "a function was not invoked");
    InvokeError::NotInvoked
}
