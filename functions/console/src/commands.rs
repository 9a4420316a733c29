//! Commands of the pages. The function `console-commands` performs and audits them.

use std::time::Duration;

use aws_types::SdkConfig;
use ringfence_aws::Invoker;
use ringfence_aws::invoke::InvokeError;
use ringfence_protocol::admin::{ConsoleCommand, ConsoleReply, ConsoleRequest, Secret};
use ringfence_vapi::{FailureCode, OrgId};
use serde_json::Value;

/// Shorter than API Gateway's timeout for the page. Lambda accepts an asynchronous invocation at once, but the local
/// stack performs it first.
const TIMEOUT: Duration = Duration::from_secs(25);

/// Sends commands with the token of the person who acts.
pub struct Commands {
    invoker: Invoker,
    function: String,
}

impl Commands {
    #[must_use]
    pub fn new(aws: &SdkConfig, function: String) -> Self {
        Self { invoker: Invoker::new(aws, TIMEOUT), function }
    }

    /// Sends a command and does not wait for its end: the rows show it.
    pub(crate) async fn send(&self, token: &Secret, command: ConsoleCommand) -> Result<(), FailureCode> {
        self.invoker.invoke_async(&self.function, payload(token, command)?).await.map_err(not_invoked)
    }

    /// The event of a failure with its personal data. None: the org has no such failure, or its event was applied.
    pub(crate) async fn unmask(
        &self,
        token: &Secret,
        org_id: OrgId,
        event_id: String,
    ) -> Result<Option<Value>, FailureCode> {
        let payload = payload(token, ConsoleCommand::Unmask { org_id, event_id })?;
        let reply = self.invoker.invoke(&self.function, payload).await.map_err(not_invoked)?;
        match serde_json::from_slice(&reply) {
            Ok(ConsoleReply::Unmasked { event }) => Ok(event.map(ringfence_vapi::Sensitive::into_exposed)),
            Ok(_) | Err(_) => Err(FailureCode::QueueUnavailable),
        }
    }
}

fn payload(token: &Secret, command: ConsoleCommand) -> Result<Vec<u8>, FailureCode> {
    let request = ConsoleRequest { token: token.clone(), command };
    serde_json::to_vec(&request).map_err(|_| FailureCode::QueueUnavailable)
}

/// The cause is in the log.
fn not_invoked(_: InvokeError) -> FailureCode {
    FailureCode::QueueUnavailable
}
