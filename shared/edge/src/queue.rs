//! The retry queues, over the AWS SDK.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::MessageAttributeValue;
use ringfence_core::Delivery;
use ringfence_vapi::{FailureCode, Function};

use crate::configuration::{Environment, Misconfigured};
use crate::envelope;

/// The longest wait for SQS, all attempts together: the sender of a webhook still waits for its answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// The name of the message attribute that says why an event is here.
pub const FAILURE_CODE_ATTRIBUTE: &str = "failure_code";

/// A message was not accepted by a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: {text}", text = .0.title())]
pub struct QueueError(pub FailureCode);

/// AWS configuration for functions: region and credentials from the environment, bounded waits.
pub async fn aws_configuration() -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(2))
        .operation_timeout(PATIENCE)
        .build();
    aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts).load().await
}

/// One queue.
#[derive(Clone)]
pub struct RetryQueue {
    client: Client,
    url: String,
}

impl RetryQueue {
    /// The queue behind a URL.
    #[must_use]
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self { client, url: url.into() }
    }

    /// Hands a delivery over, with the reason why it has to wait. Once this returns, SQS keeps it.
    pub async fn send(&self, delivery: &Delivery, code: FailureCode) -> Result<(), QueueError> {
        let message = envelope::seal(delivery).map_err(|_| QueueError(FailureCode::EventTooLarge))?;
        self.send_text(message, code).await
    }

    /// Hands a message over as it is.
    pub async fn send_text(&self, message: String, code: FailureCode) -> Result<(), QueueError> {
        let unavailable = QueueError(FailureCode::QueueUnavailable);
        let attribute = MessageAttributeValue::builder()
            .data_type("String")
            .string_value(code.to_string())
            .build()
            .map_err(|_| unavailable)?;
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_body(message)
            .message_attributes(FAILURE_CODE_ATTRIBUTE, attribute)
            .send()
            .await
            .map_err(|_| unavailable)?;
        Ok(())
    }

    /// Hides a received message for a while before it is delivered again.
    pub async fn postpone(&self, receipt_handle: &str, delay: Duration) -> Result<(), QueueError> {
        // SQS allows 12 hours; the back-off's cap is far below.
        let seconds = i32::try_from(delay.as_secs()).unwrap_or(i32::MAX);
        self.client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(receipt_handle)
            .visibility_timeout(seconds)
            .send()
            .await
            .map_err(|_| QueueError(FailureCode::QueueUnavailable))?;
        Ok(())
    }
}

/// The retry queue of every event function, for the door.
pub struct RetryQueues {
    call_started: RetryQueue,
    call_ended: RetryQueue,
    transcript: RetryQueue,
    end_of_call_report: RetryQueue,
}

impl RetryQueues {
    /// The queues named by `CALL_STARTED_QUEUE_URL` and its siblings.
    pub fn from_environment(environment: &Environment<'_>, client: &Client) -> Result<Self, Misconfigured> {
        let queue = |function| named_queue(environment, client, function, "QUEUE_URL");
        Ok(Self {
            call_started: queue(Function::CallStarted)?,
            call_ended: queue(Function::CallEnded)?,
            transcript: queue(Function::Transcript)?,
            end_of_call_report: queue(Function::EndOfCallReport)?,
        })
    }

    /// The queue on which a function's events wait.
    #[must_use]
    pub fn of(&self, function: Function) -> &RetryQueue {
        match function {
            Function::CallStarted => &self.call_started,
            Function::CallEnded => &self.call_ended,
            Function::Transcript => &self.transcript,
            Function::EndOfCallReport => &self.end_of_call_report,
        }
    }
}

/// The queue in `{FUNCTION}_{suffix}`: `CALL_STARTED_QUEUE_URL`, `CALL_STARTED_DLQ_URL`.
pub fn named_queue(
    environment: &Environment<'_>,
    client: &Client,
    function: Function,
    suffix: &str,
) -> Result<RetryQueue, Misconfigured> {
    let name = format!("{}_{suffix}", function.as_str().to_uppercase().replace('-', "_"));
    Ok(RetryQueue::new(client.clone(), environment.required(&name)?))
}
