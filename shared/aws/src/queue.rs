//! SQS queues.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, Message, MessageAttributeValue, MessageSystemAttributeName,
    QueueAttributeName, SendMessageBatchRequestEntry,
};
use jiff::Timestamp;
use ringfence_vapi::FailureCode;

use crate::error::QueueError;

/// The most messages that SQS accepts or delivers with one request.
const MAX_BATCH: i32 = 10;
/// The message attribute with the failure code of an event.
pub const FAILURE_CODE_ATTRIBUTE: &str = "failure_code";

/// A received message.
#[derive(Clone, Debug)]
pub struct Received {
    pub body: String,
    /// The failure code, if the sender set one.
    pub code: Option<FailureCode>,
    pub sent_at: Option<Timestamp>,
    /// Identifies the message until it is visible again.
    pub receipt_handle: String,
}

/// The approximate number of messages in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Messages that can be received now, or after a delay.
    pub waiting: i64,
    /// Messages that a consumer has received, or that wait for a retry.
    pub in_flight: i64,
}

#[derive(Clone)]
pub struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    #[must_use]
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self { client, url: url.into() }
    }

    /// Sends a message, with a failure code if it has one. SQS has stored the message when this returns.
    pub async fn send_text(&self, message: String, code: Option<FailureCode>) -> Result<(), QueueError> {
        let mut request = self.client.send_message().queue_url(&self.url).message_body(message);
        if let Some(code) = code {
            let attribute = MessageAttributeValue::builder().data_type("String").string_value(code.to_string());
            let attribute = attribute.build().map_err(|error| unavailable(&error))?;
            request = request.message_attributes(FAILURE_CODE_ATTRIBUTE, attribute);
        }
        request.send().await.map_err(|error| unavailable(&error))?;
        Ok(())
    }

    /// Sends messages, ten with a request. SQS has stored all of them when this returns.
    pub async fn send_texts(&self, messages: &[String]) -> Result<(), QueueError> {
        for batch in messages.chunks(MAX_BATCH.unsigned_abs() as usize) {
            let entries = (0..).zip(batch).filter_map(|(index, message): (u32, _)| {
                SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(message).build().ok()
            });
            let request = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries.collect()));
            let answer = request.send().await.map_err(|error| unavailable(&error))?;
            if let Some(failed) = answer.failed.first() {
                tracing::error!(reason = failed.code(), "SQS refused a message");
                return Err(QueueError::Unavailable);
            }
        }
        Ok(())
    }

    /// Sends a message that is delivered after a delay of at most 15 minutes.
    pub async fn send_later(&self, message: String, delay: Duration) -> Result<(), QueueError> {
        let request = self.client.send_message().queue_url(&self.url).message_body(message);
        request.delay_seconds(seconds(delay)).send().await.map_err(|error| unavailable(&error))?;
        Ok(())
    }

    /// Hides a received message for `delay`, after which SQS delivers it again.
    pub async fn postpone(&self, receipt_handle: &str, delay: Duration) -> Result<(), QueueError> {
        self.client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(receipt_handle)
            .visibility_timeout(seconds(delay))
            .send()
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(())
    }
}

impl Queue {
    /// Receives up to ten messages and hides them from other consumers for `hold`. An empty list: no message is visible
    /// now.
    pub async fn receive(&self, hold: Duration) -> Result<Vec<Received>, QueueError> {
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(MAX_BATCH)
            .message_attribute_names(FAILURE_CODE_ATTRIBUTE)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .visibility_timeout(seconds(hold))
            // A long poll asks all servers of the queue; a short poll asks a few, which may have no message.
            .wait_time_seconds(1)
            .send()
            .await
            .map_err(|error| unavailable(&error))?;
        answer.messages.unwrap_or_default().into_iter().map(received).collect()
    }

    /// Makes received messages visible again at once. If SQS refuses, they become visible after their hold.
    pub async fn release(&self, receipt_handles: &[String]) {
        for handles in receipt_handles.chunks(MAX_BATCH.unsigned_abs() as usize) {
            let entries = (0..).zip(handles).filter_map(|(index, handle): (u32, _)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(index.to_string());
                entry.receipt_handle(handle).visibility_timeout(0).build().ok()
            });
            let request = self.client.change_message_visibility_batch().queue_url(&self.url);
            if let Err(error) = request.set_entries(Some(entries.collect())).send().await {
                unavailable(&error);
            }
        }
    }

    /// The approximate number of messages in the queue.
    pub async fn depth(&self) -> Result<Depth, QueueError> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesDelayed as Delayed,
            ApproximateNumberOfMessagesNotVisible as InFlight,
        };
        let request = self.client.get_queue_attributes().queue_url(&self.url);
        let answer = request.set_attribute_names(Some(vec![Visible, Delayed, InFlight])).send().await;
        let attributes = answer.map_err(|error| unavailable(&error))?.attributes.unwrap_or_default();
        let of = |name| {
            let count = attributes.get(&name).and_then(|value| value.parse::<i64>().ok());
            count.ok_or(QueueError::Incomplete("number of messages"))
        };
        Ok(Depth { waiting: of(Visible)? + of(Delayed)?, in_flight: of(InFlight)? })
    }

    pub async fn delete(&self, receipt_handle: &str) -> Result<(), QueueError> {
        let request = self.client.delete_message().queue_url(&self.url).receipt_handle(receipt_handle);
        request.send().await.map_err(|error| unavailable(&error))?;
        Ok(())
    }
}

fn received(message: Message) -> Result<Received, QueueError> {
    let sent_at = message.attributes.as_ref().and_then(|attributes| {
        let ms = attributes.get(&MessageSystemAttributeName::SentTimestamp)?.parse().ok()?;
        Timestamp::from_millisecond(ms).ok()
    });
    let attributes = message.message_attributes.unwrap_or_default();
    let code = attributes.get(FAILURE_CODE_ATTRIBUTE).and_then(|code| code.string_value.as_deref()?.parse().ok());
    Ok(Received {
        body: message.body.ok_or(QueueError::Incomplete("body"))?,
        code,
        sent_at,
        receipt_handle: message.receipt_handle.ok_or(QueueError::Incomplete("receipt handle"))?,
    })
}

/// Logs the cause of a failed SQS request.
fn unavailable(error: &(impl std::error::Error + Send + Sync + 'static)) -> QueueError {
    tracing::error!(error = %DisplayErrorContext(error), "SQS is unavailable");
    QueueError::Unavailable
}

/// SQS allows twelve hours; all delays here are far shorter.
fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
