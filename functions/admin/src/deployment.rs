//! The custom resource of the stack. Every other function depends on it, so CloudFormation puts no new code in place before the
//! migrations succeeded, and rolls the deployment back if they fail.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Request as HttpRequest, header};
use http_body_util::Full;
use ringfence_egress::EgressClient;
use ringfence_identity::{CryptoError, MasterKeys, Ring};
use ringfence_runtime::{Misconfigured, catch_panics};
use serde::{Deserialize, Serialize};

use crate::administration::Administration;

/// The id of the one resource. It never changes, so CloudFormation never deletes an old one after an update.
const PHYSICAL_RESOURCE_ID: &str = "ringfence-migrations";
/// Bounds one attempt to send the response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts to send the response. Without a response, CloudFormation waits until the timeout of the resource.
const RESPONSE_ATTEMPTS: u32 = 3;
/// The time before Lambda's deadline that is left for the response.
const RESPONSE_RESERVE: Duration = Duration::from_secs(20);
/// CloudFormation limits the response to 4096 bytes in all; the key rings have most of them.
const MAX_REASON_BYTES: usize = 1_000;

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
    #[serde(default)]
    pub resource_properties: Properties,
    /// The properties before an update.
    pub old_resource_properties: Option<Properties>,
}

/// The properties of the resource, as far as they matter here. None is required, so that every request gets a response.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Properties {
    /// The version of the newest migration.
    pub schema_version: Option<String>,
}

impl Request {
    /// Whether the stack goes back to an earlier release: a rollback, by CloudFormation or by a person.
    fn is_rollback(&self) -> bool {
        // Versions are dates of equal length, so their texts compare as they do.
        let old = self.old_resource_properties.as_ref().and_then(|old| old.schema_version.as_ref());
        old.zip(self.resource_properties.schema_version.as_ref()).is_some_and(|(old, new)| old > new)
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

/// The key rings of the functions, by the attribute that template.yaml reads with `!GetAtt`.
type Rings = BTreeMap<&'static str, String>;

/// The response to CloudFormation. It has no `Debug`, because it has keys.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Response<'a> {
    status: &'static str,
    no_echo: bool,
    data: Rings,
    reason: String,
    physical_resource_id: &'static str,
    stack_id: &'a str,
    request_id: &'a str,
    logical_resource_id: &'a str,
}

/// CloudFormation did not receive the response. It waits until the timeout of the resource and rolls back.
#[derive(Debug, thiserror::Error)]
#[error("CloudFormation did not accept the response")]
pub struct NotTold;

/// What a successful request did.
#[derive(Default)]
struct Done {
    applied: Vec<String>,
    rings: Rings,
}

/// Migrates, and returns the key rings of the functions to CloudFormation.
///
/// There is nothing to do when the stack is deleted, since the data stays. When it goes back, the earlier code runs on the newer
/// schema and needs its password only. A failure reported then would leave the stack stuck in the middle of its rollback.
///
/// CloudFormation gets a response whatever fails: if the function is misconfigured, if the migration panics, and if it does
/// not end before `deadline`, when Lambda stops the function.
pub async fn respond(
    administration: Result<&Administration, &Misconfigured>,
    client: &EgressClient,
    request: &Request,
    deadline: Instant,
) -> Result<(), NotTold> {
    let until = deadline.checked_sub(RESPONSE_RESERVE).unwrap_or(deadline);
    let result = match (request.request_type, administration) {
        // Nothing reads the attributes of a deleted resource.
        (RequestType::Delete, _) => Ok(Done::default()),
        (_, Err(misconfigured)) => Err(misconfigured.to_string()),
        (_, Ok(administration)) => {
            let migrating = catch_panics(async { Ok(carry_out(administration, request).await) });
            match tokio::time::timeout_at(until.into(), migrating).await {
                Ok(Ok(result)) => result,
                Ok(Err(panicked)) => Err(panicked.to_string()),
                Err(_) => Err("the migration did not end before the timeout of the function".to_owned()),
            }
        }
    };
    if let Err(reason) = &result {
        tracing::error!(reason, "migration failed");
    }
    tell(client, request, &response(request, result)).await
}

async fn carry_out(administration: &Administration, request: &Request) -> Result<Done, String> {
    let applied = if request.is_rollback() {
        administration.restore_password().await;
        Vec::new()
    } else {
        administration.migrate().await.map_err(|error| error.to_string())?
    };
    // A stack that goes back reads the attributes again.
    let rings = rings(&administration.masters).map_err(|error| error.to_string())?;
    Ok(Done { applied, rings })
}

/// The key rings of all functions.
fn rings(masters: &MasterKeys) -> Result<Rings, CryptoError> {
    let ring = |ring: Ring| Ok((ring.attribute(), masters.key_ring(ring.purposes())?.expose()));
    Ring::ALL.into_iter().map(ring).collect()
}

fn response(request: &Request, result: Result<Done, String>) -> Response<'_> {
    let (status, reason, data) = match result {
        Ok(Done { applied, rings }) => ("SUCCESS", format!("applied: {}", applied.join(", ")), rings),
        Err(reason) => ("FAILED", reason, Rings::new()),
    };
    Response {
        status,
        no_echo: true,
        data,
        reason: cut(&reason),
        physical_resource_id: PHYSICAL_RESOURCE_ID,
        stack_id: &request.stack_id,
        request_id: &request.request_id,
        logical_resource_id: &request.logical_resource_id,
    }
}

/// At most [`MAX_REASON_BYTES`] of a JSON text: control characters, which JSON escapes, become spaces.
fn cut(reason: &str) -> String {
    let mut bytes = 0;
    let characters = reason.chars().map(|character| if character.is_control() { ' ' } else { character });
    let fitting = characters.take_while(|character| {
        // Quotes and backslashes have two bytes in JSON.
        bytes += character.len_utf8() + usize::from(matches!(character, '"' | '\\'));
        bytes <= MAX_REASON_BYTES
    });
    fitting.collect()
}

async fn tell(client: &EgressClient, request: &Request, response: &Response<'_>) -> Result<(), NotTold> {
    let body = Bytes::from(serde_json::to_vec(response).map_err(|_| NotTold)?);
    for attempt in 1..=RESPONSE_ATTEMPTS {
        // The presigned URL was signed for an empty content type.
        let put = HttpRequest::put(&request.response_url).header(header::CONTENT_TYPE, HeaderValue::from_static(""));
        let put = put.body(Full::new(body.clone())).map_err(|_| NotTold)?;
        match tokio::time::timeout(RESPONSE_TIMEOUT, client.send(put)).await {
            Ok(Ok(answer)) if answer.status().is_success() => return Ok(()),
            Ok(Ok(answer)) => {
                tracing::warn!(attempt, status = answer.status().as_u16(), "the response was refused");
                if answer.status().is_client_error() {
                    break;
                }
            }
            Ok(Err(error)) => tracing::warn!(attempt, %error, "the response was not sent"),
            Err(_) => tracing::warn!(attempt, "the response was not sent in time"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Err(NotTold)
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
    fn a_failure_is_reported_with_its_reason_within_the_limit_of_cloudformation() {
        let request = update("20261122100600", "20261201100000");
        for text in ["x", "\"", "\\", "\n", "\u{1}", "é", "\u{1f512}"] {
            let response = response(&request, Err(text.repeat(10_000)));
            assert_eq!((response.status, response.data.len()), ("FAILED", 0));
            let reason = serde_json::to_vec(&response.reason).unwrap().len();
            assert!((900..=MAX_REASON_BYTES + 2).contains(&reason), "{text:?}: {reason}");
        }
    }

    /// Two master keys with names of 8 characters, and a stack whose name has 128.
    #[test]
    fn the_key_rings_of_two_masters_are_within_the_limit_of_cloudformation() {
        let key = "A".repeat(43) + "=";
        let masters = format!("rotated2:{key},rotated1:{key}").parse().ok().unwrap();
        let uuid = "8d1c0a6e-6f0e-4b1c-9a53-0f6f0b0d7c11";
        let name = "n".repeat(128);
        let stack = format!("arn:aws-us-gov:cloudformation:ap-southeast-3:123456789012:stack/{name}/{uuid}");
        let request = Request { stack_id: stack, request_id: uuid.to_owned(), ..update("1", "2") };
        let done = Done { applied: vec!["x".repeat(10_000)], rings: rings(&masters).unwrap() };
        let bytes = serde_json::to_vec(&response(&request, Ok(done))).unwrap().len();
        assert!(bytes <= 4_096, "{bytes}");
    }

    #[test]
    fn each_ring_has_the_keys_of_its_purposes() {
        let masters = format!("k1:{}=", "A".repeat(43)).parse().ok().unwrap();
        let rings = rings(&masters).unwrap();
        assert_eq!(rings.len(), Ring::ALL.len());
        for ring in Ring::ALL {
            let keys: ringfence_identity::KeyRing = rings[ring.attribute()].parse().ok().unwrap();
            assert_eq!(keys.purposes().collect::<Vec<_>>(), ring.purposes());
        }
    }

    #[test]
    fn a_rollback_is_distinguished_from_an_upgrade() {
        assert!(update("20261201100000", "20261122100600").is_rollback());
        assert!(!update("20261122100600", "20261201100000").is_rollback());
        assert!(!update("20261122100600", "20261122100600").is_rollback());
    }

    #[test]
    fn an_invocation_that_is_no_deployment_and_no_command_is_refused() {
        for event in ["{}", r#"{"command":"drop-everything"}"#, r#"{"RequestType":"Update"}"#, r#"{"Records":[]}"#] {
            assert!(serde_json::from_str::<Invocation>(event).is_err(), "{event}");
        }
    }
}
