//! Queues of the template: a retry queue per event function, the queue of broadcasts and the queue of recordings, each
//! with its dead-letter queue.

use std::collections::{BTreeMap, HashMap};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::QueueAttributeName;
use ringfence_runtime::consumer::LAST_RECEIVE;
use ringfence_runtime::queues::BROADCAST_RETRY;
use ringfence_runtime::recordings::RECORDING_UPLOAD;
use ringfence_vapi::Function;
use serde_json::json;
use strum::IntoEnumIterator as _;

use crate::error::{Error, Result};

/// Region and credentials of all local services. MiniStack accepts any.
pub const REGION: &str = "us-east-1";
pub const ACCESS_KEY: &str = "local";

const RETENTION_SECONDS: &str = "1209600";

/// Time settings of the queues.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Visibility timeout in seconds.
    pub visibility_seconds: u32,
}

impl Timing {
    /// As in the template: six times the timeout of the functions, as AWS recommends for queues that trigger functions.
    pub const DEPLOYED: Self = Self { visibility_seconds: 360 };
}

/// URLs of the queues by name.
pub type Queues = BTreeMap<String, String>;

/// SDK configuration for the local endpoint only.
#[must_use]
pub fn configuration(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new(ACCESS_KEY, ACCESS_KEY, None, None, "ringfence local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .build()
}

/// Client of the local SQS.
#[must_use]
pub fn client(endpoint: &str) -> Client {
    Client::new(&configuration(endpoint))
}

/// Name of a function's retry queue.
#[must_use]
pub fn retry_queue(function: Function) -> String {
    queue_of(function.as_str())
}

/// Name of a function's dead-letter queue.
#[must_use]
pub fn dead_letter_queue(function: Function) -> String {
    dead_letters_of(function.as_str())
}

/// Name of the queue of broadcasts and of its consumer.
pub const BROADCASTS: &str = BROADCAST_RETRY;

/// Name of the queue of recordings and of its consumer.
pub const RECORDINGS: &str = RECORDING_UPLOAD;

/// Names of the consumers. Each has a queue `ringfence-{name}` and a dead-letter queue.
pub fn consumers() -> impl Iterator<Item = String> {
    Function::iter().map(|function| function.to_string()).chain([BROADCASTS.to_owned(), RECORDINGS.to_owned()])
}

/// Name of a consumer's queue.
#[must_use]
pub fn queue_of(consumer: &str) -> String {
    format!("ringfence-{consumer}")
}

/// Name of a consumer's dead-letter queue.
#[must_use]
pub fn dead_letters_of(consumer: &str) -> String {
    format!("ringfence-{consumer}-dlq")
}

/// URL of every queue up to the name of its consumer. None: no queue was created.
#[must_use]
pub fn url_prefix(queues: &Queues) -> Option<&str> {
    queues.get(&queue_of(RECORDINGS))?.strip_suffix(RECORDINGS)
}

/// Creates all queues. Existing queues are not changed.
pub async fn create(client: &Client, timing: Timing) -> Result<Queues> {
    let mut queues = Queues::new();
    for consumer in consumers() {
        let (retry_queue, dead_letter_queue) = (queue_of(&consumer), dead_letters_of(&consumer));
        let dead_letters = create_queue(client, &dead_letter_queue, attributes()).await?;
        let mut with_redrive = attributes();
        with_redrive.insert(QueueAttributeName::VisibilityTimeout, timing.visibility_seconds.to_string());
        with_redrive.insert(QueueAttributeName::RedrivePolicy, redrive_policy(&arn(client, &dead_letters).await?));
        let retries = create_queue(client, &retry_queue, with_redrive).await?;
        queues.insert(dead_letter_queue, dead_letters);
        queues.insert(retry_queue, retries);
    }
    Ok(queues)
}

/// Sends a message.
pub async fn send(client: &Client, url: &str, body: &str) -> Result<()> {
    let sent = client.send_message().queue_url(url).message_body(body).send().await;
    sent.map(drop).map_err(|error| refused("send a message", &error))
}

/// Number of messages in a queue, visible or in flight.
pub async fn depth(client: &Client, url: &str) -> Result<u64> {
    let visible = QueueAttributeName::ApproximateNumberOfMessages;
    let in_flight = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
    let request = client.get_queue_attributes().queue_url(url);
    let answer = request.attribute_names(visible.clone()).attribute_names(in_flight.clone()).send().await;
    let answer = answer.map_err(|error| refused("count a queue's messages", &error))?;
    let count = |name| answer.attributes()?.get(&name)?.parse::<u64>().ok();
    Ok(count(visible).unwrap_or(0) + count(in_flight).unwrap_or(0))
}

/// ARN of a queue.
pub async fn arn(client: &Client, url: &str) -> Result<String> {
    let request = client.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::QueueArn);
    let answer = request.send().await.map_err(|error| refused("ask for a queue's ARN", &error))?;
    let arn = answer.attributes().and_then(|attributes| attributes.get(&QueueAttributeName::QueueArn));
    arn.cloned().ok_or_else(|| Error::new(format!("the queue {url} has no ARN")))
}

fn attributes() -> HashMap<QueueAttributeName, String> {
    HashMap::from([
        (QueueAttributeName::MessageRetentionPeriod, RETENTION_SECONDS.to_owned()),
        (QueueAttributeName::SqsManagedSseEnabled, "true".to_owned()),
    ])
}

fn redrive_policy(dead_letter_arn: &str) -> String {
    json!({ "deadLetterTargetArn": dead_letter_arn, "maxReceiveCount": LAST_RECEIVE }).to_string()
}

async fn create_queue(client: &Client, name: &str, attributes: HashMap<QueueAttributeName, String>) -> Result<String> {
    let request = client.create_queue().queue_name(name).set_attributes(Some(attributes));
    let answer = request.send().await.map_err(|error| refused(&format!("create the queue {name}"), &error))?;
    answer.queue_url.ok_or_else(|| Error::new(format!("the queue {name} has no URL")))
}

/// The SDK's errors contain the reason only in their sources.
fn refused(doing: &str, error: &(impl std::error::Error + Send + Sync + 'static)) -> Error {
    Error::new(format!("could not {doing}: {}", DisplayErrorContext(error)))
}
