//! A deployed stack, whose functions run the commands. Only its admin function has the credentials of the database's
//! owner.

use std::fmt;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::error::{DisplayErrorContext, SdkError};
use aws_sdk_lambda::operation::invoke::InvokeError;
use aws_sdk_lambda::primitives::Blob;
use ringfence_protocol::admin::{Command, Reply};
use ringfence_protocol::maintenance::{JobRequest, Report};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::backend::{Backend, describe};
use crate::error::{Context, Error, Result};

/// A deployed stack, by its CloudFormation name. Region, credentials and endpoint are those of the AWS tools.
pub struct DeployedStack {
    name: String,
    lambda: Client,
}

impl DeployedStack {
    pub async fn connect(name: String) -> Result<Self> {
        // Retries are disabled: an interrupted command may have run, and most commands must not run twice.
        let config = aws_config::defaults(BehaviorVersion::latest()).retry_config(RetryConfig::disabled()).load().await;
        if config.region().is_none() {
            return Err(Error::new("no AWS region: set AWS_REGION, or a region in the AWS profile"));
        }
        Ok(Self { name, lambda: Client::new(&config) })
    }

    /// Invokes a function of the stack and parses its answer. `doing` completes the sentence "could not ...".
    async fn invoke<T: DeserializeOwned>(&self, function: &str, request: &impl Serialize, doing: &str) -> Result<T> {
        let function = format!("{}-{function}", self.name);
        let payload = serde_json::to_vec(request).context("write the request")?;
        let request = self.lambda.invoke().function_name(&function).payload(Blob::new(payload));
        let answer = request.send().await.map_err(|error| refused(&function, &error))?;
        let payload = answer.payload().map(Blob::as_ref).unwrap_or_default();
        if answer.function_error().is_some() {
            return Err(FunctionError::read(payload)).context(format_args!("{doing} ({function} failed)"));
        }
        serde_json::from_slice(payload).context(format_args!("read the answer of {function}"))
    }
}

impl Backend for DeployedStack {
    async fn command(&self, command: Command) -> Result<Reply> {
        self.invoke("admin", &command, describe(&command)).await
    }

    async fn run_job(&self, request: JobRequest) -> Result<Report> {
        self.invoke("maintenance", &request, "run the job").await
    }
}

/// Error of a failed invocation.
fn refused(function: &str, error: &SdkError<InvokeError>) -> Error {
    if error.as_service_error().is_some_and(InvokeError::is_resource_not_found_exception) {
        return Error::new(format!(
            "there is no function {function}: is the stack deployed in this region and account?"
        ));
    }
    Error::new(format!("could not invoke {function}: {}", DisplayErrorContext(error)))
}

/// Error of a Lambda function.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FunctionError {
    #[serde(default)]
    error_type: String,
    #[serde(default)]
    error_message: String,
}

impl FunctionError {
    fn read(payload: &[u8]) -> Self {
        serde_json::from_slice(payload).unwrap_or_default()
    }
}

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.error_message.as_str(), self.error_type.as_str()) {
            ("", "") => f.write_str("no reason given; see its log"),
            ("", reason) | (reason, _) => f.write_str(reason),
        }
    }
}

impl std::error::Error for FunctionError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_error_is_its_message() {
        let payload = br#"{"errorType":"admin::error::CommandError","errorMessage":"there is no such org"}"#;
        assert_eq!(FunctionError::read(payload).to_string(), "there is no such org");
        assert_eq!(FunctionError::read(br#"{"errorType":"Runtime.ExitError"}"#).to_string(), "Runtime.ExitError");
        assert!(FunctionError::read(b"<html>").to_string().contains("its log"));
    }
}
