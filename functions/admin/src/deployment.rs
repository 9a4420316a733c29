//! The custom resource of the stack. Every other function depends on it, so CloudFormation puts no new code in place before the
//! migrations succeeded, and rolls the deployment back if they fail.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::administration::Administration;

/// The id of the one resource. It never changes, so CloudFormation never deletes an old one after an update.
const PHYSICAL_RESOURCE_ID: &str = "ringfence-migrations";
/// How long CloudFormation's answer store may take.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// CloudFormation takes 4 KB in all.
const MAX_REASON_CHARACTERS: usize = 1_000;

/// What CloudFormation asks (AWS CloudFormation custom resource request).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    /// Create, Update or Delete.
    pub request_type: RequestType,
    /// Where the answer goes: presigned, so a secret.
    #[serde(rename = "ResponseURL")]
    pub response_url: String,
    /// The stack.
    pub stack_id: String,
    /// The request.
    pub request_id: String,
    /// The resource's name in the template.
    pub logical_resource_id: String,
    /// The properties in the template.
    pub resource_properties: Properties,
    /// The properties before an update.
    pub old_resource_properties: Option<Properties>,
}

/// The properties of the resource, as far as they matter here.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Properties {
    /// The version of the newest migration.
    pub schema_version: String,
}

impl Request {
    /// Whether the stack goes back to an earlier release: a rollback, by CloudFormation or by a person.
    fn goes_back(&self) -> bool {
        // Versions are dates of equal length, so their texts compare as they do.
        self.old_resource_properties
            .as_ref()
            .is_some_and(|old| old.schema_version > self.resource_properties.schema_version)
    }
}

/// What happens to the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum RequestType {
    /// A new stack.
    Create,
    /// A new version of the stack.
    Update,
    /// The stack goes; the data stays.
    Delete,
}

/// The answer, as CloudFormation wants it.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Response<'a> {
    status: &'static str,
    reason: String,
    physical_resource_id: &'static str,
    stack_id: &'a str,
    request_id: &'a str,
    logical_resource_id: &'a str,
}

/// CloudFormation could not be told. It waits until its timeout and rolls back.
#[derive(Debug, thiserror::Error)]
#[error("CloudFormation did not take the answer")]
pub struct NotTold;

/// Migrates and tells CloudFormation how it went.
///
/// There is nothing to do when the stack is deleted, since the data stays. When it goes back, the earlier code runs on the newer
/// schema and needs its password only. A failure reported then would leave the stack stuck in the middle of its rollback.
pub async fn respond(administration: &Administration, request: &Request) -> Result<(), NotTold> {
    let result = match request.request_type {
        RequestType::Delete => Ok(Vec::new()),
        RequestType::Update if request.goes_back() => {
            administration.restore_password().await;
            Ok(Vec::new())
        }
        RequestType::Create | RequestType::Update => administration.migrate().await.map_err(|error| error.to_string()),
    };
    if let Err(reason) = &result {
        tracing::error!(reason, "migration failed");
    }
    tell(request, &response(request, result)).await
}

fn response(request: &Request, result: Result<Vec<String>, String>) -> Response<'_> {
    let (status, reason) = match result {
        Ok(applied) => ("SUCCESS", format!("applied: {}", applied.join(", "))),
        Err(reason) => ("FAILED", reason),
    };
    Response {
        status,
        reason: reason.chars().take(MAX_REASON_CHARACTERS).collect(),
        physical_resource_id: PHYSICAL_RESOURCE_ID,
        stack_id: &request.stack_id,
        request_id: &request.request_id,
        logical_resource_id: &request.logical_resource_id,
    }
}

async fn tell(request: &Request, response: &Response<'_>) -> Result<(), NotTold> {
    let client = reqwest::Client::builder().timeout(RESPONSE_TIMEOUT).build().map_err(|_| NotTold)?;
    let body = serde_json::to_vec(response).map_err(|_| NotTold)?;
    // The presigned URL was signed for an empty content type.
    let sent = client.put(&request.response_url).header("content-type", "").body(body).send().await;
    sent.and_then(reqwest::Response::error_for_status).map(drop).map_err(|_| NotTold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Invocation;

    fn update(from: &str, to: &str) -> Request {
        let event = serde_json::json!({
            "RequestType": "Update", "ResponseURL": "https://store.example/answer", "StackId": "stack", "RequestId": "request",
            "LogicalResourceId": "Migration", "ResourceType": "Custom::Migration",
            "ResourceProperties": {"SchemaVersion": to}, "OldResourceProperties": {"SchemaVersion": from},
        });
        match serde_json::from_value(event).unwrap() {
            Invocation::Deployment(request) => request,
            Invocation::Command(command) => panic!("taken for {command:?}"),
        }
    }

    #[test]
    fn a_failure_is_told_with_its_reason_within_cloudformations_limit() {
        let request = update("20261122100600", "20261201100000");
        let response = response(&request, Err("x".repeat(10_000)));
        assert_eq!(response.status, "FAILED");
        assert!(serde_json::to_vec(&response).unwrap().len() < 4_096);
    }

    /// Nobody serves that port: what matters is that the client knows the scheme.
    #[tokio::test]
    async fn cloudformation_is_told_over_tls() {
        let error = reqwest::Client::new().put("https://127.0.0.1:1/answer").send().await.unwrap_err();
        let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
        let told: Vec<String> = causes.map(ToString::to_string).collect();
        assert!(!told.iter().any(|cause| cause.contains("scheme")), "{told:?}");
    }

    #[test]
    fn going_back_is_told_from_going_forward() {
        assert!(update("20261201100000", "20261122100600").goes_back());
        assert!(!update("20261122100600", "20261201100000").goes_back());
        assert!(!update("20261122100600", "20261122100600").goes_back());
    }

    #[test]
    fn neither_a_deployment_nor_an_act_is_refused() {
        for event in ["{}", r#"{"command":"drop-everything"}"#, r#"{"RequestType":"Update"}"#, r#"{"Records":[]}"#] {
            assert!(serde_json::from_str::<Invocation>(event).is_err(), "{event}");
        }
    }
}
