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

/// As many messages as SQS takes or gives at once.
const MAX_BATCH: i32 = 10;
/// The name of the message attribute that says why an event is here.
pub const FAILURE_CODE_ATTRIBUTE: &str = "failure_code";

/// A message as a queue hands it out.
#[derive(Clone, Debug)]
pub struct Received {
    /// What was sent.
    pub body: String,
    /// Why it is there, if its sender said so.
    pub code: Option<FailureCode>,
    /// When it was sent there.
    pub sent_at: Option<Timestamp>,
    /// What names it until it is visible again.
    pub receipt_handle: String,
}

/// How much is in a queue, about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Can be received now, or after a delay.
    pub waiting: i64,
    /// Somebody has it, or it waits to be tried again.
    pub in_flight: i64,
}

/// One queue.
#[derive(Clone)]
pub struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    /// The queue behind a URL.
    #[must_use]
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self { client, url: url.into() }
    }

    /// Hands a message over, with the reason why it has to wait, if there is one. Once this returns, SQS keeps it.
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

    /// Hands messages over, ten with a request. Once this returns, SQS keeps all of them.
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

    /// Hands a message over that is delivered after a while, at most a quarter of an hour.
    pub async fn send_later(&self, message: String, delay: Duration) -> Result<(), QueueError> {
        let request = self.client.send_message().queue_url(&self.url).message_body(message);
        request.delay_seconds(seconds(delay)).send().await.map_err(|error| unavailable(&error))?;
        Ok(())
    }

    /// Hides a received message for a while before it is delivered again.
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
    /// Takes up to ten messages, which nobody else gets for as long as `hold`. None: there are none now.
    pub async fn receive(&self, hold: Duration) -> Result<Vec<Received>, QueueError> {
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(MAX_BATCH)
            .message_attribute_names(FAILURE_CODE_ATTRIBUTE)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .visibility_timeout(seconds(hold))
            // Asks every server of the queue, and not a few of them, which may have none of its messages.
            .wait_time_seconds(1)
            .send()
            .await
            .map_err(|error| unavailable(&error))?;
        answer.messages.unwrap_or_default().into_iter().map(received).collect()
    }

    /// Gives received messages back: they are visible again at once. Those for which SQS refuses are after their hold.
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

    /// How much is in the queue, about.
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

    /// Removes a received message.
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

/// Logs why SQS did not do what was asked.
fn unavailable(error: &(impl std::error::Error + Send + Sync + 'static)) -> QueueError {
    tracing::error!(error = %DisplayErrorContext(error), "SQS is unavailable");
    QueueError::Unavailable
}

/// SQS allows twelve hours; whatever is asked for here is far below.
fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}
