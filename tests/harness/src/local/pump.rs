//! Replacement for Lambda's event source mappings, from the queues to their functions, and for EventBridge's schedules.
//!
//! Batches contain up to ten messages, batches of recordings one; two batches at a time per queue. A message that a
//! function reports as failed stays in the queue until its visibility timeout ends. If an invocation fails, its whole
//! batch stays.

use std::collections::HashSet;
use std::process;
use std::time::Duration;

use aws_lambda_events::sqs::SqsBatchResponse;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message, MessageAttributeValue, MessageSystemAttributeName};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use ringfence_protocol::admin::Command;
use ringfence_protocol::maintenance::{Job, JobRequest};
use rustix::process::Signal;
use serde_json::{Map, Value, json};
use strum::IntoEnumIterator as _;

use super::command::this_program;
use super::layout::Layout;
use super::process::Service;
use super::queues::{self, Queues, REGION};
use super::{http, progress};
use crate::error::{Context, Error, Result};

const BATCH: i32 = 10;
/// `MaximumConcurrency` of the mapping.
const CONCURRENCY: usize = 2;
const LONG_POLL_SECONDS: i32 = 20;
/// The longest timeout of a function is 300 s.
const INVOCATION_TIMEOUT: Duration = Duration::from_secs(305);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Interval at which unfinished redrives and replays are continued (template.yaml).
const CONTINUE: Duration = Duration::from_mins(1);

/// The pump as a background process: this tool with its hidden verb `pump`.
pub struct Pump {
    service: Service,
}

impl Pump {
    #[must_use]
    pub fn of(layout: &Layout) -> Self {
        Self { service: Service::new(layout, "pump") }
    }

    /// Restarts the pump, because a running one may use outdated addresses.
    pub async fn start(&self, sqs_endpoint: &str, base_url: &str) -> Result<()> {
        self.stop().await?;
        progress("Starting the pump between queues and functions");
        let mut pump = process::Command::new(this_program()?);
        pump.args(["pump", "--sqs-endpoint", sqs_endpoint, "--base-url", base_url]);
        self.service.spawn(&mut pump, 0)?;
        Ok(())
    }

    /// Stops the pump. Returns false if it was not running.
    pub async fn stop(&self) -> Result<bool> {
        self.service.stop(Signal::TERM).await
    }

    /// Background process of the pump.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }
}

/// A queue and the function that consumes it.
#[derive(Clone)]
struct Mapping {
    sqs: Client,
    http: reqwest::Client,
    queue_url: String,
    queue_arn: String,
    batch: i32,
    invocations_url: String,
}

/// Moves messages until it is dropped. `base_url` is the URL of the functions.
pub async fn run(sqs: &Client, queues: &Queues, base_url: &str) -> Result<()> {
    let http = http::client(INVOCATION_TIMEOUT)?;
    let mut pollers = Vec::new();
    for function in queues::consumers() {
        let queue_url = queues[&queues::queue_of(&function)].clone();
        let mapping = Mapping {
            queue_arn: queues::arn(sqs, &queue_url).await?,
            queue_url,
            sqs: sqs.clone(),
            http: http.clone(),
            batch: if function == queues::RECORDINGS { 1 } else { BATCH },
            invocations_url: invocations_url(base_url, &function),
        };
        pollers.extend((0..CONCURRENCY).map(|_| poll(mapping.clone())));
    }
    tracing::info!(pollers = pollers.len(), "pump started");
    let jobs = Job::iter().map(|job| {
        let url = invocations_url(base_url, "maintenance");
        keep(http.clone(), url, json!(JobRequest { job, dry_run: false }), job.interval())
    });
    let operations =
        keep(http.clone(), invocations_url(base_url, "admin"), json!(Command::ContinueOperations {}), CONTINUE);
    futures_util::future::join3(join_all(pollers), join_all(jobs), operations).await;
    Ok(())
}

/// URL at which a function is invoked.
#[must_use]
pub fn invocations_url(base_url: &str, function: &str) -> String {
    format!("{base_url}/2015-03-31/functions/{function}/invocations")
}

/// Invokes a function with a payload periodically.
async fn keep(http: reqwest::Client, url: String, payload: Value, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        let invoked = http.post(&url).json(&payload).send().await;
        if let Err(error) = invoked.and_then(reqwest::Response::error_for_status) {
            tracing::warn!(%payload, "a scheduled invocation failed: {error}");
        }
    }
}

async fn poll(mapping: Mapping) {
    loop {
        if let Err(error) = mapping.move_batch().await {
            tracing::warn!(queue = mapping.queue_arn, "{error}");
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
    }
}

impl Mapping {
    async fn move_batch(&self) -> Result<()> {
        let messages = self.receive().await?;
        if messages.is_empty() {
            return Ok(());
        }
        let failed = self.invoke(&messages).await?;
        tracing::info!(
            queue = self.queue_arn,
            batch.size = messages.len(),
            batch.failed = failed.len(),
            "batch handled"
        );
        self.delete(messages.iter().filter(|message| !is_in(&failed, message))).await
    }

    async fn receive(&self) -> Result<Vec<Message>> {
        let request = self.sqs.receive_message().queue_url(&self.queue_url).max_number_of_messages(self.batch);
        let answer = request
            .wait_time_seconds(LONG_POLL_SECONDS)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .send()
            .await;
        let answer = answer.map_err(|error| refused("receive messages", &error))?;
        Ok(answer.messages.unwrap_or_default())
    }

    /// Ids of the messages that the function reported as failed.
    async fn invoke(&self, messages: &[Message]) -> Result<HashSet<String>> {
        let request = self.http.post(&self.invocations_url).json(&self.event(messages));
        let answer =
            request.send().await.and_then(reqwest::Response::error_for_status).context("invoke the function")?;
        let answer = answer.bytes().await.context("read the function's answer")?;
        failures(&answer, messages)
    }

    /// SQS event for the function.
    fn event(&self, messages: &[Message]) -> Value {
        json!({ "Records": messages.iter().map(|message| self.record(message)).collect::<Vec<_>>() })
    }

    fn record(&self, message: &Message) -> Value {
        let system = message.attributes.iter().flatten();
        let own = message.message_attributes.iter().flatten();
        json!({
            "messageId": message.message_id,
            "receiptHandle": message.receipt_handle,
            "body": message.body,
            "md5OfBody": message.md5_of_body,
            "md5OfMessageAttributes": message.md5_of_message_attributes,
            "attributes": system.map(|(name, value)| (name.as_str().to_owned(), json!(value))).collect::<Map<_, _>>(),
            "messageAttributes": own.map(|(name, value)| (name.clone(), attribute(value))).collect::<Map<_, _>>(),
            "eventSource": "aws:sqs",
            "eventSourceARN": self.queue_arn,
            "awsRegion": REGION,
        })
    }

    async fn delete(&self, messages: impl Iterator<Item = &Message>) -> Result<()> {
        let entries = messages
            .enumerate()
            .map(|(index, message)| {
                let entry = DeleteMessageBatchRequestEntry::builder().id(index.to_string());
                entry.receipt_handle(message.receipt_handle.clone().unwrap_or_default()).build()
            })
            .collect::<std::result::Result<Vec<_>, _>>()
            .context("name the messages to delete")?;
        if entries.is_empty() {
            return Ok(());
        }
        let request = self.sqs.delete_message_batch().queue_url(&self.queue_url).set_entries(Some(entries));
        request.send().await.map_err(|error| refused("delete messages", &error))?;
        Ok(())
    }
}

fn attribute(value: &MessageAttributeValue) -> Value {
    json!({
        "dataType": value.data_type,
        "stringValue": value.string_value,
        "binaryValue": value.binary_value().map(|bytes| STANDARD.encode(bytes)),
        "stringListValues": [],
        "binaryListValues": [],
    })
}

/// Parses a partial batch response as Lambda does: `null` and `{}` mean that all messages succeeded. An unreadable
/// response, or an id that was not in the batch, means that all failed.
fn failures(answer: &[u8], batch: &[Message]) -> Result<HashSet<String>> {
    let response: Option<Value> = serde_json::from_slice(answer).context("read the function's answer")?;
    let listed = response.filter(|response| !response["batchItemFailures"].is_null());
    let Some(response) = listed else { return Ok(HashSet::new()) };
    let response: SqsBatchResponse = serde_json::from_value(response).context("read the partial batch response")?;
    let failed: HashSet<String> =
        response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect();
    let known: HashSet<&str> = batch.iter().filter_map(Message::message_id).collect();
    if failed.iter().all(|id| known.contains(id.as_str())) {
        return Ok(failed);
    }
    Err(Error::new("the partial batch response names a message that was not in the batch"))
}

fn is_in(ids: &HashSet<String>, message: &Message) -> bool {
    message.message_id().is_some_and(|id| ids.contains(id))
}

fn refused(doing: &str, error: &(impl std::error::Error + Send + Sync + 'static)) -> Error {
    Error::new(format!("could not {doing}: {}", DisplayErrorContext(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(ids: &[&str]) -> Vec<Message> {
        ids.iter().map(|id| Message::builder().message_id(*id).build()).collect()
    }

    #[test]
    fn an_answer_without_failures_means_success() {
        for answer in ["null", "{}", r#"{"batchItemFailures":null}"#, r#"{"batchItemFailures":[]}"#] {
            assert!(failures(answer.as_bytes(), &batch(&["a"])).unwrap().is_empty(), "{answer}");
        }
    }

    #[test]
    fn listed_messages_failed_and_the_others_did_not() {
        let answer = br#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#;
        assert_eq!(failures(answer, &batch(&["a", "b"])).unwrap(), HashSet::from(["b".to_owned()]));
    }

    #[test]
    fn an_unreadable_answer_or_a_foreign_id_fails_the_batch() {
        for answer in
            ["", "<html>", r#"{"batchItemFailures":[{"itemIdentifier":"c"}]}"#, r#"{"batchItemFailures":[{}]}"#]
        {
            assert!(failures(answer.as_bytes(), &batch(&["a", "b"])).is_err(), "{answer}");
        }
    }
}
