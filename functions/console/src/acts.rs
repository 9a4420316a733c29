//! What people do from their screens: acts of administration, which the migrate function performs and audits, as it does for the tool.

use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::error::DisplayErrorContext;
use aws_sdk_lambda::types::InvocationType;
use aws_types::SdkConfig;
use jiff::Timestamp;
use ringfence_core::admin::Selection;
use ringfence_edge::{Environment, Misconfigured};
use ringfence_vapi::{FailureCode, OrgId};
use serde_json::{Value, json};

/// Events in a second that are sent back, at most.
const PER_SECOND: u32 = 50;

/// A call's events that are replayed, at most.
const REPLAYED: u32 = 5000;

/// Shorter than API Gateway waits for the page that follows.
const PATIENCE: Duration = Duration::from_secs(25);

/// Orders acts.
pub struct Acts {
    client: Client,
    function: String,
}

impl Acts {
    /// A client that waits for an order to be taken. Lambda takes it at once; what stands for Lambda on one's own machine carries it
    /// out first.
    #[must_use]
    pub fn client(aws: &SdkConfig) -> Client {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(PATIENCE).operation_timeout(PATIENCE).build();
        let config = aws_sdk_lambda::config::Builder::from(aws);
        // What was cut off may have been taken.
        Client::from_conf(config.timeout_config(timeouts).retry_config(RetryConfig::disabled()).build())
    }

    /// The function in `MIGRATE_FUNCTION_NAME`.
    pub fn from_environment(environment: &Environment<'_>, client: Client) -> Result<Self, Misconfigured> {
        Ok(Self { client, function: environment.required("MIGRATE_FUNCTION_NAME")? })
    }

    /// Sends dead letters back to their queues. It is ordered, and goes on by itself: what becomes of them is seen in their rows.
    pub(crate) async fn redrive(
        &self,
        actor: &str,
        selection: &Selection,
        before: Timestamp,
    ) -> Result<(), FailureCode> {
        let act = json!({
            "act": "redrive", "actor": actor, "selection": selection, "run": true, "per_second": PER_SECOND, "before": before,
        });
        self.order(&act).await
    }

    /// Applies the effects of a call's events once more.
    pub(crate) async fn replay(&self, actor: &str, selection: &Selection) -> Result<(), FailureCode> {
        let act = json!({"act": "replay", "actor": actor, "kind": "applied", "selection": selection, "after": null, "limit": REPLAYED});
        self.order(&act).await
    }

    /// Closes the failure of a tool call whose fate people have found out.
    pub(crate) async fn settle(&self, actor: &str, org: OrgId, event_id: &str) -> Result<(), FailureCode> {
        self.order(&json!({"act": "settle-tool-call", "actor": actor, "org_id": org, "event_id": event_id})).await
    }

    async fn order(&self, act: &Value) -> Result<(), FailureCode> {
        let invoke = self.client.invoke().function_name(&self.function).invocation_type(InvocationType::Event);
        let ordered = invoke.payload(act.to_string().into_bytes().into()).send().await;
        ordered.map(drop).map_err(|error| {
            let code = FailureCode::QueueUnavailable;
            tracing::error!(failure.code = %code, error = %DisplayErrorContext(&error), "an act could not be ordered");
            code
        })
    }
}
